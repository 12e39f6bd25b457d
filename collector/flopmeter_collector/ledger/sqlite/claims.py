"""Reading and writing the claims of an SQLite ledger.

Owns: the rows of the table `claim`.
May touch: the connection it is given.
Called by store, inside its transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope

_COLUMNS = (
    "run, attempt, scope, rank, writer, pass_number, first_step, model, format_mix, activity,"
    " last_step, step_count, token_count, compute_flop, sequence"
)


def write_claims(connection: sqlite3.Connection, claims: Iterable[Claim]) -> None:
    """Put the newest counts of claims in the place of older ones."""
    connection.executemany(
        f"INSERT INTO claim ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET last_step = excluded.last_step,"
        " step_count = excluded.step_count, token_count = excluded.token_count,"
        " compute_flop = excluded.compute_flop, sequence = excluded.sequence",
        [
            (
                claim.key.run,
                claim.key.attempt,
                int(claim.key.scope),
                claim.key.rank,
                bytes.fromhex(claim.key.writer),
                claim.key.pass_number,
                claim.key.first_step,
                claim.key.model,
                claim.key.format_mix,
                claim.key.activity,
                claim.counts.last_step,
                claim.counts.step_count,
                claim.counts.token_count,
                str(claim.counts.compute_flop),
                claim.sequence,
            )
            for claim in claims
        ],
    )


def read_claims(connection: sqlite3.Connection) -> list[Claim]:
    """All claims, in key order."""
    claims = []
    for row in connection.execute(f"SELECT {_COLUMNS} FROM claim"):
        run, attempt, scope, rank, writer, pass_number, first, *labels = row[:10]
        last, steps, tokens, flop, sequence = row[10:]
        key = ClaimKey(
            run, attempt, ClaimScope(scope), rank, writer.hex(), pass_number, first, *labels
        )
        claims.append(Claim(key, ClaimCounts(last, steps, tokens, int(flop)), sequence))
    return claims
