-- The cumulative vector of a key at the end of each hour of its incarnation's boot time. It enters no
-- total by itself: a declaration that holds for a part of the time finds in it when the newest vector's
-- content came about. What was added since the key's previous row was read in the hours first_hour
-- to hour; boot_ns and wall_ns are the instant of the last reading in the hour.
CREATE TABLE hour_vector (
    key INTEGER NOT NULL REFERENCES register_key (id),
    hour INTEGER NOT NULL,
    first_hour INTEGER NOT NULL CHECK (first_hour BETWEEN 0 AND hour),
    sequence INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    components BLOB NOT NULL CHECK (length(components) % 8 = 0),
    PRIMARY KEY (key, hour)
) STRICT, WITHOUT ROWID;

-- Hours are asked for by run, and a run's keys by their allocation.
CREATE INDEX register_key_by_allocation ON register_key (allocation);
