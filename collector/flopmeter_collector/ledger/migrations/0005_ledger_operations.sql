-- Vectors that cannot be true by their own content: the newest of each key, kept apart from every total
-- until a named person releases it. `released` is the sequence of that declaration, 0 while held.
CREATE TABLE quarantine (
    key INTEGER PRIMARY KEY REFERENCES register_key (id),
    sequence INTEGER NOT NULL,
    components BLOB NOT NULL CHECK (length(components) % 8 = 0),
    boot_ns INTEGER,
    reason TEXT NOT NULL,
    quarantined_at_ns INTEGER NOT NULL,
    released INTEGER NOT NULL
) STRICT;

-- SHA-256 over the row before and this one; rows of schema 4 have none, the first link covers them too.
ALTER TABLE audit ADD COLUMN link TEXT NOT NULL DEFAULT '';
