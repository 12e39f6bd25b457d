-- The ledger's first schema. Forward only: a change is a new numbered file, never an edit of this one.
-- STRICT keeps a wrong type out; integer keys are 3 to 14 times as fast as random texts or blobs.

-- One row: what this ledger is and where it stands.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    commit_number INTEGER NOT NULL,
    simulated INTEGER NOT NULL CHECK (simulated IN (0, 1))
) STRICT;

-- What agents read from devices; identity is the hash of the content.
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    record_id TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL
) STRICT;

-- Whose register a vector is.
CREATE TABLE register_key (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES record (id),
    device TEXT NOT NULL,
    incarnation BLOB NOT NULL,
    allocation TEXT NOT NULL,
    phase INTEGER NOT NULL,
    evidence INTEGER NOT NULL,
    UNIQUE (incarnation, device, allocation, phase, evidence, record)
) STRICT;

-- The newest vector of each branch of each key: int64, little-endian, in the order of
-- flopmeter_core.registers.Component.
CREATE TABLE vector (
    key INTEGER NOT NULL REFERENCES register_key (id),
    branch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    components BLOB NOT NULL CHECK (length(components) % 8 = 0),
    PRIMARY KEY (key, branch)
) STRICT, WITHOUT ROWID;

-- What readings mean; rows are only ever added.
CREATE TABLE declaration (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    declared_at_ns INTEGER NOT NULL,
    author TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Changes of a model's state against a threshold; only `delivered` is ever changed.
CREATE TABLE transition (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    threshold TEXT NOT NULL,
    state_before TEXT NOT NULL,
    state_after TEXT NOT NULL,
    decided INTEGER NOT NULL CHECK (decided IN (0, 1)),
    occurred_at_ns INTEGER NOT NULL,
    commit_number INTEGER NOT NULL,
    figures TEXT NOT NULL,
    delivered INTEGER NOT NULL CHECK (delivered IN (0, 1))
) STRICT;

CREATE TRIGGER declaration_is_not_rewritten BEFORE UPDATE ON declaration
BEGIN SELECT RAISE(ABORT, 'declarations are append-only'); END;
CREATE TRIGGER declaration_is_not_removed BEFORE DELETE ON declaration
BEGIN SELECT RAISE(ABORT, 'declarations are append-only'); END;
CREATE TRIGGER transition_is_not_removed BEFORE DELETE ON transition
BEGIN SELECT RAISE(ABORT, 'transitions are append-only'); END;
