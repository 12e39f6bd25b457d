"""Disks that fill up and commits that fail: nothing is acknowledged that is not there."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from pathlib import Path

import grpc
import grpc.aio
import pytest

from flopmeter_collector import backends
from flopmeter_core.errors import StorageError
from flopmeter_core.reports import KeyedVector
from support.collector import child, running
from support.ingest import key, report, stream, vector

FILE_LIMIT_BYTES = 300_000


def limit_files() -> None:
    """Let no file of this process grow beyond FILE_LIMIT_BYTES, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))


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
def test_full_disk(tmp_path: Path) -> None:
    """On a full disk the collector ends with one sentence and 74; all it acknowledged is there."""
    ledger = tmp_path / "ledger.db"
    with child(ledger, preexec_fn=limit_files) as collector:
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
    with child(ledger) as collector:
        assert collector.process.poll() is None


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
