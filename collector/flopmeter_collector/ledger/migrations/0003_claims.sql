-- What training processes claim: the newest counts of each stretch of steps of each process.
-- Never added to a metered figure.
CREATE TABLE claim (
    run TEXT NOT NULL,
    attempt TEXT NOT NULL,
    scope INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    writer BLOB NOT NULL,
    pass_number INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    model TEXT NOT NULL,
    format_mix TEXT NOT NULL,
    activity TEXT NOT NULL,
    last_step INTEGER NOT NULL,
    step_count INTEGER NOT NULL,
    token_count INTEGER NOT NULL,
    -- Decimal digits: a step's FLOP pass 2^63.
    compute_flop TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (
        run, attempt, scope, rank, writer, pass_number, first_step, model, format_mix, activity
    )
) STRICT, WITHOUT ROWID;
