"""Several rows by one statement.

Owns: how many rows a statement writes, and the rows of new keys with their numbers.
May touch: the connection it is given.
Called by the SQLite ledger. Explained in docs/adr/0050-large-reports-in-steps.md.

A statement gives the interpreter away at each of its steps and then waits for it: ten statements of
a row each, beside a thread that computes, waited 40 ms for what is 0.2 ms of work.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence

from flopmeter_collector.ledger import rows

MOST = 64
"""Rows of one statement: SQLite takes 999 values, and what is written is a power of two, so that
seven statements of a kind are prepared and kept."""

KeyRow = tuple[bytes, str, str, int, int, int]


def parts(count: int) -> Iterator[slice]:
    """So many rows in as few statements as there may be."""
    start = 0
    while start < count:
        size = MOST
        while size > count - start:
            size //= 2
        yield slice(start, start + size)
        start += size


def insert_keys(connection: sqlite3.Connection, keys: Sequence[KeyRow]) -> Iterator[int]:
    """Write keys, each once, and give the number of each in their order.

    Args:
        connection: in a transaction.
        keys: the columns of each; some of them may be in the ledger.
    """
    for part in parts(len(keys)):
        some = keys[part]
        values = [value for row in some for value in row]
        cursor = connection.execute(_insert_keys(len(some)), values)
        # Whoever is added is numbered from the highest number on, in the order of the statement:
        # https://www.sqlite.org/autoinc.html
        if cursor.rowcount == len(some) and cursor.lastrowid is not None:
            yield from range(cursor.lastrowid - len(some) + 1, cursor.lastrowid + 1)
            continue
        for row in some:
            found = connection.execute(
                f"SELECT id FROM register_key WHERE ({rows.KEY_COLUMNS}) = (?, ?, ?, ?, ?, ?)", row
            ).fetchone()
            yield found[0]


def write_vectors(
    connection: sqlite3.Connection,
    keys: Sequence[int],
    sequences: Sequence[int],
    components: Sequence[bytes],
    in_its_place: str,
) -> None:
    """Write the only branch of keys.

    Args:
        connection: in a transaction.
        keys: their numbers, each once.
        sequences: of each.
        components: of each.
        in_its_place: what becomes of a row that is there.
    """
    for part in parts(len(keys)):
        values: list[object] = [None] * (3 * (part.stop - part.start))
        for place, column in enumerate((keys, sequences, components)):
            values[place::3] = column[part]
        connection.execute(_insert_vectors(part.stop - part.start, in_its_place), values)


@functools.cache
def _insert_keys(count: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * count)
    return f"INSERT INTO register_key ({rows.KEY_COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING"


@functools.cache
def _insert_vectors(count: int, in_its_place: str) -> str:
    return f"INSERT INTO vector VALUES {', '.join(['(?, 0, ?, ?)'] * count)} {in_its_place}"
