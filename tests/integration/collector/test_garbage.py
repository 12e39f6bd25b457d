"""A collector that never searches its old objects leaves no cycles among them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path

import pytest

from flopmeter_collector.interpreter import prefer_answers
from flopmeter_core.reports import KeyedVector
from support.collector import running
from support.ingest import hello, key, report, stream, vector

STREAMS = 100


@pytest.fixture
def _as_a_collector() -> None:
    """The interpreter as a collector sets it; the test's end puts it back."""
    gc.collect()
    prefer_answers()


@pytest.mark.usefixtures("_as_a_collector")
def test_streams_leave_no_old_garbage(tmp_path: Path) -> None:
    """Streams that come, report and go leave nothing that only a full search would find."""
    assert asyncio.run(left_by_streams(tmp_path)) < STREAMS


async def left_by_streams(tmp_path: Path) -> int:
    """How many unreachable objects a hundred streams leave that lived long."""
    async with running(tmp_path) as app:

        async def come_and_go(numbers: range) -> None:
            async with contextlib.AsyncExitStack() as stack:
                senders = []
                for number in numbers:
                    sender = await stack.enter_async_context(stream(app.grpc_address))
                    senders.append(sender)
                    await sender.greet(hello(incarnation=f"{number:032x}"))
                    named = key(incarnation=f"{number:032x}", allocation=f"run:r{number}")
                    await sender.exchange(
                        sender.writer.report(report([KeyedVector(named, 1, vector(1))]))
                    )
                await app.evaluate_now()
                for _ in range(3):
                    gc.collect(1)  # what lives now is old
                for sender in senders:
                    await sender.close()

        await come_and_go(range(10))
        gc.collect()
        await come_and_go(range(10, 10 + STREAMS))
        gc.collect(1)
        return gc.collect(2)
