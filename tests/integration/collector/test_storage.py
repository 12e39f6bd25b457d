"""Disks that fill up and commits that fail: nothing is acknowledged that is not there."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from pathlib import Path

import grpc
import grpc.aio
import pytest

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, StoredVector
from flopmeter_core.errors import StorageError
from flopmeter_core.reports import KeyedVector, LedgerPosition
from support.collector import child, running
from support.ingest import SIMULATED_RECORD, key, report, stream, vector

FILE_LIMIT_BYTES = 300_000
"""Beyond this no file of the collector grows, as on a disk that is full."""


async def report_new_keys(address: str) -> tuple[int, grpc.aio.AioRpcError]:
    """Report ten new keys a time until refused; returns how many were acknowledged."""
    acknowledged = 0
    async with stream(address) as sender:
        await sender.greet()
        try:
            while acknowledged < 10**6:
                first = acknowledged
                keyed = [KeyedVector(key(phase=first + n), 1, vector(1)) for n in range(10)]
                await sender.exchange(sender.writer.report(report(keyed)))
                acknowledged += 10
        except grpc.aio.AioRpcError as error:
            return acknowledged, error
    raise AssertionError("the disk never filled up")


@pytest.mark.slow
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the collector ends with one sentence and 74; all it acknowledged is there."""
    # Whoever counts lines writes a file too, which has no room either, and says so in other words.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    ledger = tmp_path / "ledger.db"
    with child(ledger) as collector:
        limits = (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES)
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, limits)
        acknowledged, error = asyncio.run(report_new_keys(collector.address))
        assert collector.process.wait(20) == 74
        assert collector.process.stderr is not None
        said = collector.process.stderr.read().splitlines()
    assert acknowledged > 0
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert said[-1].startswith(f"flopmeter: the ledger {ledger} cannot store a commit: ")
    held = backends.read(str(ledger))
    phases = {row.key.phase for row in held.vectors()}
    held.close()
    assert phases >= set(range(acknowledged))
    # Once there is room again, the same ledger is collected to.
    with contextlib.closing(backends.collect(str(ledger), simulated=False)) as again:
        assert {row.key.phase for row in again.vectors()} == phases
        again.commit(Batch(vectors=(StoredVector(key(), 0, 2, vector(2)),)))
        assert max(row.sequence for row in again.vectors()) == 2


def test_failed_commit(tmp_path: Path) -> None:
    """After a failed commit nothing is acknowledged any more, whatever comes."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            async with stream(app.grpc_address) as sender:
                await sender.greet()
                await sender.send(1, vector(1))
                spoil(tmp_path)
                with pytest.raises(grpc.aio.AioRpcError) as status:
                    await sender.send(2, vector(2))
                assert status.value.code() == grpc.StatusCode.UNAVAILABLE
            failure = await app.wait_failed()
            assert isinstance(failure, StorageError)
            async with stream(app.grpc_address) as sender:
                with pytest.raises(grpc.aio.AioRpcError):
                    await sender.greet()

    asyncio.run(scenario())
    held = backends.read(str(tmp_path / "ledger.db"))
    assert [row.sequence for row in held.vectors()] == [1]
    held.close()


def spoil(folder: Path) -> None:
    """Make every further write of vectors fail, from outside."""
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    other.execute(
        "CREATE TRIGGER broken BEFORE UPDATE ON vector BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    other.close()


def test_a_lock_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While another process holds the ledger the collector waits, says so once, and goes on."""
    monkeypatch.setattr("flopmeter_collector.ledger.sqlite.file.BUSY_TIMEOUT_S", 0.02)
    monkeypatch.setattr("flopmeter_collector.commit.RETRY_S", 0.02)

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            sent = asyncio.create_task(sender.send(1, vector(1)))
            while app._committer.waiting is None:
                await asyncio.sleep(0.01)
            for _ in range(10):
                await asyncio.sleep(0.03)
                assert "database is locked" in app.rounds.not_ready()
            assert not sent.done()
            holder.execute("ROLLBACK")
            holder.close()
            answer = await asyncio.wait_for(sent, 10)
            assert answer.acknowledgements[0].sequence == 1
            assert app._committer.failure is None
            await app.evaluate_now()
            await app.rounds.one()
            assert app.rounds.not_ready() == ""

    asyncio.run(scenario())
    waits = [row for row in caplog.records if row.message == "commits wait for the ledger"]
    assert len(waits) == 1


def test_a_cancelled_round_records_nothing_twice(tmp_path: Path) -> None:
    """A round cancelled after its transitions were committed is not repeated by the next."""

    async def scenario() -> list[tuple[str, str]]:
        async with running(tmp_path, evaluate_period_s=3_600, simulated=True) as app:
            keyed = KeyedVector(key(SIMULATED_RECORD), 1, vector(9_000_000))
            app.table.merge(keyed, SIMULATED_RECORD)
            committed, go_on = asyncio.Event(), asyncio.Event()
            alone = app._committer.alone

            async def slow(batch: Batch) -> LedgerPosition:
                position = await alone(batch)
                committed.set()
                await go_on.wait()
                return position

            app._committer.alone = slow  # type: ignore[method-assign]
            round_ = asyncio.create_task(app._publisher.round())
            await committed.wait()
            round_.cancel()
            with pytest.raises(asyncio.CancelledError):
                await round_
            go_on.set()
            await app.evaluate_now()
        with contextlib.closing(backends.read(str(tmp_path / "ledger.db"))) as ledger:
            return [(row.model, row.threshold) for row in ledger.transitions()]

    recorded = asyncio.run(scenario())
    assert recorded and len(recorded) == len(set(recorded))
