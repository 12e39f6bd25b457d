"""A PostgreSQL ledger as one of its collectors has it, asked from outside too; small rows for it.

Owns: nothing; what is opened is closed by the block that opened it.
May touch: one database of the tests' server.
Called by the integration tests of the PostgreSQL ledger.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, Ledger, StoredVector
from support.ingest import RECORD, key, vector


@contextlib.contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """The ledger as a collector has it."""
    ledger = backends.collect(url, simulated=False)
    with contextlib.closing(ledger):
        yield ledger


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement from outside."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def batch(*vectors: StoredVector, **more: Any) -> Batch:
    """A batch of these vectors with the test's record."""
    return Batch(records={RECORD.record_id: RECORD}, vectors=vectors, **more)


def stored(sequence: int, seconds: int, **fields: Any) -> StoredVector:
    """One vector of the test's key."""
    return StoredVector(key(**fields), 0, sequence, vector(seconds))
