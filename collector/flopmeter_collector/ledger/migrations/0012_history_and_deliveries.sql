-- What each model's published totals were, once an hour while they grew: the dated series a forecast rests on,
-- and the record of what was known when. totals is JSON: counting profile -> most likely FLOP as digits.
-- revalued says that the step to here is a correction and no work; basis names method and device table.
CREATE TABLE total_history (
    model TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    totals TEXT NOT NULL,
    revalued INTEGER NOT NULL,
    basis TEXT NOT NULL
) STRICT;
CREATE INDEX total_history_by_time ON total_history (at_ns);

-- Which receiver accepted which event of an alert. event is the sequence of the transition, the number of the
-- time it fires, and whether it began or ended; receiver is a digest of the receiver's address.
CREATE TABLE alert_delivery (
    event TEXT NOT NULL,
    receiver TEXT NOT NULL,
    accepted_at_ns INTEGER NOT NULL,
    PRIMARY KEY (event, receiver)
) STRICT, WITHOUT ROWID;
