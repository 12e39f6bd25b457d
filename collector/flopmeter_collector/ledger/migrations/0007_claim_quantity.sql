-- Which FLOP a claim counts is part of whose claim it is: 1 model FLOP (all claims until now), 2 executed.
ALTER TABLE claim RENAME TO claim_of_schema_6;

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
    quantity INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    step_count INTEGER NOT NULL,
    token_count INTEGER NOT NULL,
    -- Decimal digits: a step's FLOP pass 2^63.
    compute_flop TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (
        run, attempt, scope, rank, writer, pass_number, first_step, model, format_mix, activity,
        quantity
    )
) STRICT, WITHOUT ROWID;

INSERT INTO claim
SELECT
    run, attempt, scope, rank, writer, pass_number, first_step, model, format_mix, activity, 1,
    last_step, step_count, token_count, compute_flop, sequence
FROM claim_of_schema_6;

DROP TABLE claim_of_schema_6;

-- As step 6 made them for the table before.
-- postgresql: ALTER TABLE claim ADD COLUMN commit_number BIGINT NOT NULL DEFAULT 0;
-- postgresql: CREATE INDEX claim_by_commit ON claim (commit_number);
