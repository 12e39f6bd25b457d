"""A PostgreSQL ledger whose server lost what it had stored, and a collector that outlived that."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from flopmeter_collector import backends
from flopmeter_collector.commit import Committer
from flopmeter_collector.ledger.base import (
    Batch,
    Coverage,
    Ledger,
    LedgerBusyError,
    StoredVector,
)
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, key, vector
from support.postgres import shared_server


@pytest.fixture
def url() -> str:
    """An empty database."""
    return shared_server().create(f"ledger_{secrets.token_hex(8)}")


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement from outside."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def stored(sequence: int, seconds: int, *, phase: int) -> StoredVector:
    """One vector of the test's key."""
    return StoredVector(key(phase=phase), 0, sequence, vector(seconds))


def batch(*vectors: StoredVector, whole: bool = False) -> Batch:
    """A batch of these vectors with the test's record."""
    return Batch(records={RECORD.record_id: RECORD}, vectors=vectors, whole=whole)


def put_back(url: str, change: Callable[[], object]) -> None:
    """Do something, then put the database back as it was before, and end every session."""
    name = url.rpartition("/")[2]
    beside = url.rpartition("/")[0] + "/postgres"
    copy, gone = f"copy_{secrets.token_hex(6)}", f"gone_{secrets.token_hex(6)}"
    ask(beside, f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
    change()
    ask(beside, f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    ask(beside, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    ask(beside, f'ALTER DATABASE "{name}" RENAME TO "{gone}"')
    ask(beside, f'ALTER DATABASE "{copy}" RENAME TO "{name}"')


def lose(ledger: Ledger, *vectors: StoredVector) -> None:
    """Store what the database will not have any more."""
    ledger.commit(batch(*vectors))
    ledger.close()


def commit_at_last(ledger: Ledger, batches: Iterator[Batch]) -> None:
    """Commit, through a connection that is lost and a ledger that went back."""
    for each in batches:
        with contextlib.suppress(LedgerBusyError):
            ledger.commit(each)
            return
    raise AssertionError("it was never taken")


def test_numbers_of_a_lost_history_are_forgotten(url: str) -> None:
    """After a failover that lost a key, its number may be another key's: no row goes there."""
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        ledger.commit(batch(stored(1, 10, phase=1)))
        ledger.close()
        put_back(url, lambda: lose(ledger, stored(1, 20, phase=2)))
        for each in (stored(1, 30, phase=3), stored(2, 40, phase=2)):
            commit_at_last(ledger, itertools.repeat(batch(each, whole=True), 3))
        found = [(v.key.phase, v.branch, v.sequence) for v in ledger.vectors()]
    assert sorted(found) == [(1, 0, 1), (2, 0, 2), (3, 0, 1)]


def test_lost_rows_are_stored_again_before_they_are_acknowledged(url: str) -> None:
    """A vector the collector holds and the server lost is no duplicate when it is sent again."""

    async def scenario(ledger: Ledger) -> None:
        table = RegisterTable()
        committer = Committer(ledger, table)
        committer.start()
        keyed = KeyedVector(key(phase=2), 1, vector(20))
        table.merge(KeyedVector(key(phase=1), 1, vector(10)), RECORD)
        before = await committer.durable()
        ledger.close()
        table.merge(keyed, RECORD)
        rows = [each for each in table.take_uncommitted().vectors if each.key == keyed.key]
        await asyncio.to_thread(put_back, url, lambda: lose(ledger, *rows))
        table.merge(keyed, RECORD)
        assert (await committer.durable()).went_back(before)
        assert ask(url, "SELECT count(*) FROM vector") == [(2,)]
        await committer.stop()

    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        asyncio.run(scenario(ledger))


def covered(number: int, **fields: Any) -> Coverage:
    """When an incarnation began to classify a device."""
    row = Coverage(f"{number:032x}", "GPU-1", "node-1", "boot", 5, 100, 200, 50)
    return replace(row, **fields)


def test_lost_coverage_is_stored_again(url: str) -> None:
    """When an incarnation began is known to the collector alone: a failover must not lose it."""

    async def scenario(ledger: Ledger) -> None:
        accounts = ResidualAccounts()
        committer = Committer(ledger, RegisterTable())
        committer.known_coverage = accounts.rows
        committer.start()
        accounts.restore([covered(1)])
        await committer.durable(coverage=[covered(1)])
        ledger.close()
        accounts.restore([covered(2)])
        lost = Batch(coverage=(covered(2),))

        def lose_it() -> None:
            ledger.commit(lost)
            ledger.close()

        await asyncio.to_thread(put_back, url, lose_it)
        assert ask(url, "SELECT count(*) FROM coverage") == [(1,)]
        # What is asked for now is newer than what is known, and neither row is lost.
        await committer.durable(coverage=[covered(1, since_ns=4)])
        assert list(ledger.coverage()) == [covered(1, since_ns=4), covered(2)]
        await committer.stop()

    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        asyncio.run(scenario(ledger))
