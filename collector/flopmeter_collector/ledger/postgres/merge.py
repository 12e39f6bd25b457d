"""The statements of a commit: rows of one collector merged with those of the others.

Owns: the temporary tables rows are copied into, the merges out of them, and the query for what
others wrote.
May touch: the connection it is given, inside the caller's transaction and under its lock.
Called by store. Rows go in by COPY, in the order of their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import Coverage, Foreign, QuarantinedVector, StoredVector
from flopmeter_collector.ledger.postgres.block import settle
from flopmeter_collector.ledger.postgres.server import Statements
from flopmeter_core.claims import Claim
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector, LedgerPosition

JoinBranches = Callable[
    [tuple[StoredVector, ...], tuple[StoredVector, ...]], tuple[StoredVector, ...]
]
"""Branches held and branches that come -> the branches both leave, numbered."""

_STAGED = {
    "staged_key": (
        "place bigint, incarnation bytea, device text, allocation text, phase bigint,"
        " evidence bigint, record bigint"
    ),
    "staged_vector": "key bigint, branch bigint, sequence bigint, components bytea",
    "staged_hour": (
        "key bigint, hour bigint, first_hour bigint, sequence bigint, boot_ns bigint,"
        " wall_ns bigint, components bytea"
    ),
    "staged_claim": (
        "run text, attempt text, scope bigint, rank bigint, writer bytea, pass_number bigint,"
        " first_step bigint, model text, format_mix text, activity text, quantity bigint,"
        " last_step bigint,"
        " step_count bigint, token_count bigint, compute_flop text, sequence bigint"
    ),
}
"""Temporary tables of a session and their columns."""


def prepare(connection: Statements) -> None:
    """Make a session's temporary tables; they are empty at the end of each transaction."""
    with connection.raw.transaction():
        # Nothing of them is to outlive the session: no standby has to have them.
        connection.execute("SET LOCAL synchronous_commit TO local")
        for table, columns in _STAGED.items():
            # What the ledger sorts byte by byte must not meet another order here.
            columns = columns.replace(" text", ' text COLLATE "C"')
            connection.execute(f"CREATE TEMPORARY TABLE {table} ({columns}) ON COMMIT DELETE ROWS")


def add_keys(connection: Statements, missing: Mapping[Key, int]) -> dict[Key, int]:
    """Find or add keys.

    Args:
        connection: under the ledger's lock.
        missing: keys this collector has no id of, with the row of their record.

    Returns:
        The id of each.
    """
    if not missing:
        return {}
    _copy(
        connection,
        "staged_key",
        (
            (place, *rows.key_row(key, record))
            for place, (key, record) in enumerate(missing.items())
        ),
    )
    # The planner knows nothing of a table made a moment ago.
    connection.execute("ANALYZE staged_key")
    known = f"SELECT place, id FROM staged_key JOIN register_key USING ({rows.KEY_COLUMNS})"
    # No constraint keeps a key from standing twice: its names may be too long for an index. The
    # ledger's lock does, under which nobody else adds one.
    connection.execute(
        f"INSERT INTO register_key ({rows.KEY_COLUMNS}) SELECT {rows.KEY_COLUMNS} FROM staged_key"
        f" WHERE place NOT IN (SELECT place FROM ({known}) AS known) ORDER BY place"
    )
    ids = dict(connection.execute(known).fetchall())
    return {key: ids[place] for place, key in enumerate(missing)}


def merge_vectors(
    connection: Statements,
    vectors: Sequence[StoredVector],
    ids: Mapping[Key, int],
    number: int,
    join_branches: JoinBranches,
    name: str,
) -> bool:
    """Merge the branches of each named key with those in the ledger.

    Returns:
        Whether each key now has exactly the branches that were given.
    """
    given: dict[int, list[StoredVector]] = {}
    for stored in vectors:
        given.setdefault(ids[stored.key], []).append(stored)
    found = _held(connection, list(given))
    settled = settle(given, found)
    alone, written = settled.alone, settled.written
    held: dict[int, list[StoredVector]] = {}
    for key_id, branch, sequence, components in found:
        if key_id not in settled.keys:
            key, vector = given[key_id][0].key, rows.unpack(components, name)
            held.setdefault(key_id, []).append(StoredVector(key, branch, sequence, vector))
    fewer = []
    for key_id in sorted(given.keys() - settled.keys):
        coming, there = given[key_id], held.get(key_id, [])
        left = join_branches(tuple(there), tuple(coming)) if there else tuple(coming)
        alone &= left == tuple(coming)
        if left == tuple(there):
            continue
        if len(left) < len(there):
            fewer.append((key_id, len(left)))
        written += ((key_id, s.branch, s.sequence, rows.pack(s.vector)) for s in left)
    connection.executemany("DELETE FROM vector WHERE key = ? AND branch >= ?", fewer)
    if written:
        _copy(connection, "staged_vector", sorted(written))
        connection.execute(
            "INSERT INTO vector (key, branch, sequence, components, commit_number)"
            " SELECT key, branch, sequence, components, ? FROM staged_vector ORDER BY key, branch"
            " ON CONFLICT (key, branch) DO UPDATE SET sequence = excluded.sequence,"
            " components = excluded.components, commit_number = excluded.commit_number",
            (number,),
        )
    return alone


def merge_hours(connection: Statements, hours: Sequence[tuple[Any, ...]], number: int) -> None:
    """Keep of each key and hour the newest vector, in whatever order two of them come.

    A row that comes after one that stands for its hour too may miss those before it.
    """
    if not hours:
        return
    _copy(connection, "staged_hour", hours)
    newest = "sequence, components, -first_hour, boot_ns, wall_ns"
    connection.execute(
        "INSERT INTO hour_vector (key, hour, first_hour, sequence, boot_ns, wall_ns, components,"
        " commit_number) SELECT key, hour, CASE WHEN EXISTS (SELECT 1 FROM hour_vector AS held"
        " WHERE held.key = coming.key AND held.hour = coming.hour) THEN first_hour ELSE"
        " least(first_hour, (SELECT min(later.first_hour) FROM hour_vector AS later WHERE"
        " later.key = coming.key AND later.hour > coming.hour AND later.first_hour <="
        " coming.hour)) END, sequence, boot_ns, wall_ns,"
        " components, ?::bigint FROM (SELECT DISTINCT ON (key, hour) * FROM staged_hour ORDER BY"
        " key, hour, sequence DESC, components DESC, first_hour, boot_ns DESC, wall_ns DESC)"
        " AS coming"
        " ON CONFLICT (key, hour) DO UPDATE SET first_hour = excluded.first_hour,"
        " sequence = excluded.sequence, boot_ns = excluded.boot_ns, wall_ns = excluded.wall_ns,"
        " components = excluded.components, commit_number = excluded.commit_number"
        f" WHERE ({_of('excluded', newest)}) > ({_of('hour_vector', newest)})",
        (number,),
    )


def merge_claims(connection: Statements, claims: Sequence[Claim], number: int) -> bool:
    """Keep of each claim register the larger of each count.

    Returns:
        Whether each register now has exactly the counts that were given.
    """
    if not claims:
        return True
    _copy(connection, "staged_claim", sorted(map(rows.claim_row, claims)))
    connection.execute(
        f"INSERT INTO claim ({rows.CLAIM_COLUMNS}, commit_number)"
        f" SELECT {rows.CLAIM_COLUMNS}, ?::bigint FROM staged_claim"
        f" ORDER BY {rows.CLAIM_KEY_COLUMNS}"
        f" ON CONFLICT ({rows.CLAIM_KEY_COLUMNS}) DO UPDATE SET"
        " last_step = greatest(excluded.last_step, claim.last_step),"
        " step_count = greatest(excluded.step_count, claim.step_count),"
        " token_count = greatest(excluded.token_count, claim.token_count),"
        " compute_flop = greatest(excluded.compute_flop::numeric, claim.compute_flop::numeric)"
        "::text,"
        " sequence = greatest(excluded.sequence, claim.sequence),"
        " commit_number = excluded.commit_number",
        (number,),
    )
    found = connection.execute(
        f"SELECT count(*) FROM staged_claim JOIN claim USING ({rows.CLAIM_COLUMNS})"
    ).fetchone()
    return found is not None and found[0] == len(claims)


def mark_quarantine(connection: Statements, ids: Sequence[int], number: int) -> None:
    """Note which commit wrote quarantine rows."""
    if ids:
        connection.execute(
            "UPDATE quarantine SET commit_number = ? WHERE key = ANY(?)", (number, list(ids))
        )


def mark_coverage(connection: Statements, coverage: Sequence[Coverage], number: int) -> None:
    """Note which commit wrote coverage rows."""
    connection.executemany(
        "UPDATE coverage SET commit_number = ? WHERE incarnation = ? AND device = ?",
        [(number, bytes.fromhex(row.incarnation), row.device) for row in coverage],
    )


def changed(
    connection: Statements,
    position: LedgerPosition,
    numbers: Sequence[int],
    ids: dict[Key, int],
    name: str,
) -> Foreign:
    """Read every row that one of these commits wrote last.

    Args:
        connection: in a transaction that reads one state.
        position: of that state.
        numbers: the commits.
        ids: gets the ids of keys that are met.
        name: the ledger, for messages.
    """
    wanted = (list(numbers),)
    hours = connection.execute(
        "SELECT key, sequence, components, first_hour, boot_ns, wall_ns FROM hour_vector"
        " WHERE commit_number = ANY(?) ORDER BY key, hour",
        wanted,
    ).fetchall()
    vectors = connection.execute(
        "SELECT key, branch, sequence, components FROM vector WHERE commit_number = ANY(?)"
        " ORDER BY key, branch",
        wanted,
    ).fetchall()
    held = connection.execute(
        f"SELECT key, {rows.QUARANTINE_COLUMNS} FROM quarantine WHERE commit_number = ANY(?)"
        " ORDER BY key",
        wanted,
    ).fetchall()
    claims = connection.execute(
        f"SELECT {rows.CLAIM_COLUMNS} FROM claim WHERE commit_number = ANY(?)", wanted
    ).fetchall()
    coverage = connection.execute(
        f"SELECT {rows.COVERAGE_COLUMNS} FROM coverage WHERE commit_number = ANY(?)", wanted
    ).fetchall()
    named = {row[0] for table in (hours, vectors, held) for row in table}
    keys, records = _keys(connection, named, name)
    ids.update((key, row_id) for row_id, key in keys.items())
    return Foreign(
        position,
        records=records,
        vectors=tuple(
            StoredVector(keys[key], branch, sequence, rows.unpack(components, name))
            for key, branch, sequence, components in vectors
        ),
        hours=tuple(
            HourlyVector(keys[key], sequence, rows.unpack(components, name), *rest)
            for key, sequence, components, *rest in hours
        ),
        claims=tuple(map(rows.claim_of, claims)),
        quarantined=tuple(_quarantined(keys, held, name)),
        coverage=tuple(map(rows.coverage_of, coverage)),
    )


def _quarantined(
    keys: Mapping[int, Key], held: Sequence[Any], name: str
) -> Iterable[QuarantinedVector]:
    return (rows.quarantined_of(keys[key], row, name) for key, *row in held)


def _keys(
    connection: Statements, ids: Iterable[int], name: str
) -> tuple[dict[int, Key], dict[str, Any]]:
    """Keys by id, and the device records they name."""
    found = connection.execute(
        "SELECT k.id, r.content, k.incarnation, k.device, k.allocation, k.phase, k.evidence,"
        " r.record_id FROM register_key AS k JOIN record AS r ON r.id = k.record"
        " WHERE k.id = ANY(?)",
        (list(ids),),
    ).fetchall()
    keys, texts = {}, {}
    for row_id, content, *columns in found:
        keys[row_id] = rows.key_of(columns)
        texts[columns[-1]] = content
    return keys, {record: rows.record_of(text, name) for record, text in texts.items()}


def _held(connection: Statements, ids: list[int]) -> list[Any]:
    """Rows of all branches of these keys, now and, under the ledger's lock, until the commit."""
    if not ids:
        return []
    return connection.execute(
        "SELECT key, branch, sequence, components FROM vector WHERE key = ANY(?)"
        " ORDER BY key, branch",
        (ids,),
    ).fetchall()


def _copy(connection: Statements, table: str, content: Iterable[Sequence[Any]]) -> None:
    """Send rows into one of the session's tables, which is empty again after this transaction."""
    types = [column.split()[1] for column in _STAGED[table].split(", ")]
    connection.copy_in(table, types, content)


def _of(table: str, columns: str) -> str:
    """Columns with their table's name before each, for a statement that knows two of them."""
    return ", ".join(
        f"-{table}.{column[1:]}" if column.startswith("-") else f"{table}.{column}"
        for column in columns.split(", ")
    )
