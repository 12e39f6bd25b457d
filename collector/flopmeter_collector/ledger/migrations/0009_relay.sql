-- What a collector that forwards to another one remembers over a restart. It is a help, not a truth: without
-- it everything is sent again.

-- One row while this ledger is forwarded: where the upstream ledger stood, how often it went back, and the
-- hour up to which all hours are being sent again (NULL where none are).
CREATE TABLE upstream (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    commit_number INTEGER NOT NULL,
    loss_count INTEGER NOT NULL,
    resent_key INTEGER,
    resent_hour INTEGER
) STRICT;

-- Keys of which the root has everything up to a sequence; only those that no longer change.
CREATE TABLE key_at_root (
    key INTEGER PRIMARY KEY REFERENCES register_key (id),
    sequence INTEGER NOT NULL
) STRICT;

-- Hours the upstream collector has not acknowledged.
CREATE TABLE hour_to_forward (
    key INTEGER NOT NULL REFERENCES register_key (id),
    hour INTEGER NOT NULL,
    PRIMARY KEY (key, hour)
) STRICT, WITHOUT ROWID;
