-- When each agent incarnation began to classify each device's time, as the collector saw it; how much
-- it classified is in its registers. Every number only ever gets smaller. since_ns and anchor_ns are
-- null for an incarnation that was never heard live.
CREATE TABLE coverage (
    incarnation BLOB NOT NULL,
    device TEXT NOT NULL,
    node TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    since_ns INTEGER,
    anchor_ns INTEGER,
    first_seen_ns INTEGER NOT NULL,
    first_covered_ns INTEGER NOT NULL,
    PRIMARY KEY (incarnation, device)
) STRICT, WITHOUT ROWID;
-- postgresql: ALTER TABLE coverage ADD COLUMN commit_number BIGINT NOT NULL DEFAULT 0;
-- postgresql: CREATE INDEX coverage_by_commit ON coverage (commit_number);
