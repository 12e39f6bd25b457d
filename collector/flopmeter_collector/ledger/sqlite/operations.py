"""Rows beside the registers of an SQLite ledger: quarantine and audit, and the check of the file.

Owns: the tables `quarantine` and `audit`, and SQLite's own checks in words.
May touch: the connection it is given.
Called by store, inside its transactions.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping

from flopmeter_collector.ledger.base import AuditRow, QuarantinedVector, audit_link
from flopmeter_core.registers import Key, Vector

MAXIMUM_FINDINGS = 100
"""Findings of SQLite's own check that are told; a damaged file can have one a page."""


def write_quarantine(
    connection: sqlite3.Connection,
    rows: Iterable[QuarantinedVector],
    key_id: Callable[[Key], int],
    pack: Callable[[Vector], bytes],
) -> None:
    """Put quarantined vectors in the place of older ones of the same keys."""
    connection.executemany(
        "INSERT OR REPLACE INTO quarantine (key, sequence, components, boot_ns, reason,"
        " quarantined_at_ns, released) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                key_id(row.key),
                row.sequence,
                pack(row.vector),
                row.boot_ns,
                row.reason,
                row.quarantined_at_ns,
                row.released,
            )
            for row in rows
        ],
    )


def drop_quarantine(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Remove the rows of these keys."""
    connection.executemany("DELETE FROM quarantine WHERE key = ?", [(key,) for key in ids])


def read_quarantine(
    connection: sqlite3.Connection, keys: Mapping[int, Key], unpack: Callable[[bytes], Vector]
) -> list[QuarantinedVector]:
    """All rows, in key order."""
    rows = connection.execute(
        "SELECT key, sequence, components, boot_ns, reason, quarantined_at_ns, released"
        " FROM quarantine ORDER BY key"
    )
    return [
        QuarantinedVector(keys[key], sequence, unpack(components), boot_ns, reason, at_ns, released)
        for key, sequence, components, boot_ns, reason, at_ns, released in rows
    ]


def write_audit(connection: sqlite3.Connection, row: AuditRow) -> AuditRow:
    """Add one row and chain it to those before it; returns it with its sequence and link."""
    newest = connection.execute("SELECT link FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
    before: str = newest[0] if newest else ""
    if not before:
        for earlier in read_audit(connection):
            before = audit_link(before, earlier)
    cursor = connection.execute(
        "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'audit'"
    )
    row = dataclasses.replace(row, sequence=cursor.fetchone()[0])
    row = dataclasses.replace(row, link=audit_link(before, row))
    connection.execute(
        "INSERT INTO audit (sequence, recorded_at_ns, author, reason, action, content, link)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        dataclasses.astuple(row),
    )
    return row


def read_audit(connection: sqlite3.Connection) -> Iterator[AuditRow]:
    """The audit log, oldest first."""
    for row in connection.execute(
        "SELECT sequence, recorded_at_ns, author, reason, action, content, link"
        " FROM audit ORDER BY sequence"
    ):
        yield AuditRow(*row)


def damage(connection: sqlite3.Connection) -> list[str]:
    """SQLite's checks of its pages, its indexes and the links between its tables."""
    found = [
        f"SQLite finds the file damaged ({text}); restore a backup"
        for (text,) in connection.execute(f"PRAGMA integrity_check({MAXIMUM_FINDINGS})")
        if text != "ok"
    ]
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        if len(found) < MAXIMUM_FINDINGS:
            found.append(
                f"a row of table {table} ({row if row is not None else 'without a number'}) names "
                f"a row of table {parent} that does not exist; restore a backup"
            )
    return found
