"""SQLite's own checks of a ledger's file, in words.

Owns: what the file's pages, indexes and links are checked with, and how many findings are told.
May touch: the connection it is given.
Called by store, for `flopmeter ledger verify`.
"""

from __future__ import annotations

import sqlite3

MAXIMUM_FINDINGS = 100
"""Findings of SQLite's own check that are told; a damaged file can have one a page."""


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
