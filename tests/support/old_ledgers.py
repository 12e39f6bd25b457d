"""Small ledgers of every schema there ever was, as SQL text that is never changed again.

Owns: what such a ledger holds, and how its text is made by the steps up to that schema.
May touch: a database file of the caller.
Called by tests/integration/collector/test_old_ledgers.py.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import struct
from pathlib import Path

from flopmeter_collector.ledger import migrations
from flopmeter_collector.ledger.base import AuditRow, audit_link
from flopmeter_collector.ledger.sqlite.schema import APPLICATION_ID, bring_up, transaction
from support.ingest import INCARNATION, RECORD, vector

FOLDER = Path(__file__).parent.parent / "data" / "ledgers"

LEDGER_ID = "5" * 32

OLD_COMPONENTS = 16
"""A vector of the first schemas was shorter; what it lacks counts as 0."""


def text_path(schema: int) -> Path:
    """Where the text of a schema's ledger lies."""
    return FOLDER / f"schema-{schema}.sql"


def packed(seconds: int, count: int) -> bytes:
    """The first components of the test's vector, as a ledger holds them."""
    return struct.pack(f"<{count}q", *vector(seconds)[:count])


def text_of(schema: int, path: Path) -> str:
    """Make a ledger of a schema by the steps up to it, and tell it as SQL.

    Args:
        schema: its version.
        path: a file for it, which does not exist.
    """
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        steps = migrations.load()[:schema]
        bring_up(connection, path, steps, ledger_id=LEDGER_ID, simulated=False)
        with transaction(connection):
            _fill(connection, schema)
        pragmas = [
            f"PRAGMA application_id = {APPLICATION_ID};",
            f"PRAGMA user_version = {schema};",
        ]
        return "\n".join([*pragmas, *connection.iterdump()]) + "\n"


def build(schema: int, path: Path) -> None:
    """Make the ledger file of a schema from its text."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(text_path(schema).read_text())
        connection.execute("PRAGMA journal_mode = WAL")


def _fill(connection: sqlite3.Connection, schema: int) -> None:
    """A run with one forked key, a declaration and a transition; and what the schema has beside."""
    count = _count(schema)
    execute = connection.execute
    execute("UPDATE meta SET generation = 77, commit_number = 9")
    content = json.dumps(RECORD.to_json(), sort_keys=True)
    execute(
        "INSERT INTO record (id, record_id, content) VALUES (1, ?, ?)", (RECORD.record_id, content)
    )
    if schema >= 13:
        execute("UPDATE record SET node = ?", (RECORD.node,))
    for key, phase in ((1, 0), (2, 1)):
        execute(
            "INSERT INTO register_key VALUES (?, 1, 'GPU-1', ?, 'run:a', ?, 2)",
            (key, bytes.fromhex(INCARNATION), phase),
        )
    for key, branch, sequence, seconds in ((1, 0, 9, 7200), (2, 0, 3, 5), (2, 1, 3, 6)):
        execute(
            "INSERT INTO vector (key, branch, sequence, components) VALUES (?, ?, ?, ?)",
            (key, branch, sequence, packed(seconds, count)),
        )
    execute(
        "INSERT INTO declaration VALUES (1, 7, 'ada', 'cli', 'run', 'a', ?)",
        (json.dumps({"model": "m", "format": "bf16=1"}),),
    )
    execute(
        "INSERT INTO transition VALUES (1, 'm', 'line', 'unknown', 'below', 1, 7, 9, ?, 1)",
        (json.dumps({"best": "9"}),),
    )
    for since, fill in (
        (2, _fill_hours),
        (3, _fill_claims),
        (4, _fill_audit),
        (5, _fill_quarantine),
    ):
        if schema >= since:
            fill(connection, schema)
    if schema >= 8:
        execute(
            "INSERT INTO coverage (incarnation, device, node, boot_id, since_ns, anchor_ns,"
            " first_seen_ns, first_covered_ns) VALUES (?, 'GPU-1', 'node-1', 'boot', 5, 5, 9, 0)",
            (bytes.fromhex(INCARNATION),),
        )


def _count(schema: int) -> int:
    return OLD_COMPONENTS if schema < 3 else len(vector(0))


def _fill_hours(connection: sqlite3.Connection, schema: int) -> None:
    connection.execute(
        "INSERT INTO hour_vector (key, hour, first_hour, sequence, boot_ns, wall_ns, components)"
        " VALUES (1, 0, 0, 4, 3599000000000, 3599000000000, ?)",
        (packed(3000, _count(schema)),),
    )


def _fill_claims(connection: sqlite3.Connection, schema: int) -> None:
    columns = {
        **{"run": "a", "attempt": "0", "scope": 1, "rank": 0, "writer": b"w" * 16},
        **{"pass_number": 0, "first_step": 0, "model": "", "format_mix": "", "activity": ""},
        **{"last_step": 9, "step_count": 10, "token_count": 100, "compute_flop": "1234"},
        **{"sequence": 2},
        **({"quantity": 1} if schema >= 7 else {}),
    }
    marks = ", ".join("?" for _ in columns)
    connection.execute(
        f"INSERT INTO claim ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
    )


def _fill_audit(connection: sqlite3.Connection, schema: int) -> None:
    row = AuditRow(1, 7, "ada", "why", "recompute", "{}")
    columns = {
        **{"sequence": 1, "recorded_at_ns": 7, "author": "ada", "reason": "why"},
        **{"action": "recompute", "content": "{}"},
        **({"link": audit_link("", row)} if schema >= 5 else {}),
    }
    marks = ", ".join("?" for _ in columns)
    connection.execute(
        f"INSERT INTO audit ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
    )


def _fill_quarantine(connection: sqlite3.Connection, schema: int) -> None:
    connection.execute(
        "INSERT INTO quarantine (key, sequence, components, boot_ns, reason, quarantined_at_ns,"
        " released) VALUES (2, 4, ?, NULL, 'cannot be true', 7, 0)",
        (packed(9, _count(schema)),),
    )
