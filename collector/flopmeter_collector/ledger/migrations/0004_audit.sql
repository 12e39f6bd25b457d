-- What was asked of the ledger's past and what it answered; rows are only ever added. `content` is
-- JSON: what the answer rests on, and the figures before and after.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    recorded_at_ns INTEGER NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    action TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
