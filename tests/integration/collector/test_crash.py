"""A collector killed at any moment: nothing it acknowledged is missing afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import grpc.aio
import pytest

from flopmeter_collector import backends
from support.collector import Child, child
from support.ingest import key, stream, vector

STREAMS = 4


async def report_until_cut(address: str, number: int, acknowledged: dict[int, int]) -> None:
    """Report as fast as answers come, noting each acknowledged sequence, until the stream ends."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        async with stream(address) as sender:
            await sender.greet()
            for sequence in range(acknowledged[number] + 1, 10**6):
                await sender.send(sequence, vector(sequence), phase=number)
                acknowledged[number] = sequence


async def kill_under_load(collector: Child, acknowledged: dict[int, int], reports: int) -> None:
    """Kill the collector once so many more reports were acknowledged."""
    enough = sum(acknowledged.values()) + reports
    senders = [
        asyncio.create_task(report_until_cut(collector.address, number, acknowledged))
        for number in range(STREAMS)
    ]
    async with asyncio.timeout(60):
        while sum(acknowledged.values()) < enough:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(collector.kill)
        await asyncio.gather(*senders)


@pytest.mark.slow
def test_killed_mid_stream(tmp_path: Path) -> None:
    """Killed three times among reports, a ledger holds each acknowledged vector or a newer one."""
    ledger = tmp_path / "ledger.db"
    acknowledged = dict.fromkeys(range(STREAMS), 0)
    for reports in (40, 90, 60):
        with child(ledger) as collector:
            asyncio.run(kill_under_load(collector, acknowledged, reports))
        held = backends.read(str(ledger))
        rows = {row.key: row for row in held.vectors()}
        held.close()
        for number, sequence in acknowledged.items():
            row = rows[key(phase=number)]
            # One report may have been committed whose answer never arrived.
            assert sequence <= row.sequence <= sequence + 1
            assert row.vector == vector(row.sequence)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_orderly_stop(tmp_path: Path, number: signal.Signals) -> None:
    """Asked to stop, a collector ends its streams, closes its ledger and exits 0."""
    ledger = tmp_path / "ledger.db"

    async def scenario(collector: Child) -> None:
        async with stream(collector.address) as sender:
            await sender.greet()
            await sender.send(1, vector(1))
            collector.process.send_signal(number)
            with pytest.raises(grpc.aio.AioRpcError):
                while True:
                    await sender.send(2, vector(2))

    with child(ledger) as collector:
        asyncio.run(scenario(collector))
        assert collector.process.wait(20) == 0
    # Closed in order, SQLite leaves no write-ahead log behind.
    assert not (tmp_path / "ledger.db-wal").exists()
