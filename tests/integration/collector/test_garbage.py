"""A collector that never searches its old objects leaves no cycles among them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flopmeter_collector.app import CollectorApp
from flopmeter_collector.interpreter import Cycles, prefer_answers
from flopmeter_collector.server import GrpcServer
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.wire.stream import StreamWriter
from support.collector import running, settings
from support.ingest import hello, key, report, stream, vector

STREAMS = 100


CALLS = 20


@pytest.fixture
def _as_a_collector() -> Iterator[None]:
    """The interpreter as a collector sets it; the test's end puts it back."""
    gc.collect()
    prefer_answers()
    yield
    gc.unfreeze()


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


@pytest.mark.usefixtures("_as_a_collector")
def test_calls_that_are_refused_late_leave_nothing(tmp_path: Path) -> None:
    """What a call held goes with it, although the error that ended it is kept by gRPC."""

    async def left() -> int:
        async with running(tmp_path) as app, grpc.aio.insecure_channel(app.grpc_address) as channel:
            path = "/flopmeter.ingest.v1.IngestService/StreamReports"
            open_call: Any = channel.stream_stream(path)
            calls = [open_call() for _ in range(CALLS)]
            for number, call in enumerate(calls):
                greeting = StreamWriter().hello(hello(incarnation=f"{number:032x}"))
                await call.write(greeting.SerializeToString())
                await call.read()
            gc.collect()
            for call in calls:
                await call.write(b"\xff")
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            return gc.collect()

    assert asyncio.run(left()) < CALLS


@pytest.mark.usefixtures("_as_a_collector")
def test_connections_of_readers_leave_nothing(tmp_path: Path) -> None:
    """A scraper keeps its connection for seconds: it is old when it is closed."""

    async def left() -> int:
        async with running(tmp_path, http_listen="127.0.0.1:0") as app:
            assert app.http_address is not None
            readers = [http.client.HTTPConnection(app.http_address) for _ in range(CALLS)]

            def ask() -> None:
                for reader in readers:
                    reader.request("GET", "/metrics")
                    assert reader.getresponse().read()

            await asyncio.to_thread(ask)
            gc.collect()
            for reader in readers:
                reader.close()
            await asyncio.sleep(0.1)
            return gc.collect()

    assert asyncio.run(left()) < CALLS


@pytest.mark.usefixtures("_as_a_collector")
def test_every_call_that_is_opened_is_searched_after(tmp_path: Path) -> None:
    """Streams, health checks and calls that nobody serves: the cycles of each are found at once."""

    async def left() -> int:
        cycles = Cycles()
        listen = functools.partial(GrpcServer, opened=cycles.made)
        app = CollectorApp(settings(tmp_path), SystemClock(), listen=listen)
        await app.start()
        try:
            async with grpc.aio.insecure_channel(app.grpc_address) as channel:
                unknown: Any = channel.unary_unary("/flopmeter.ingest.v1.IngestService/Unknown")
                health: Any = health_pb2_grpc.HealthStub(channel)
                gc.collect()
                for number in range(CALLS):
                    await health.Check(health_pb2.HealthCheckRequest())
                    cycles.settle()
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        await unknown(b"")
                    cycles.settle()
                    async with stream(app.grpc_address) as sender:
                        await sender.greet(hello(incarnation=f"{number:032x}"))
                        cycles.settle()
                cycles.settle()
            gc.unfreeze()
            return gc.collect()
        finally:
            await app.stop()

    assert asyncio.run(left()) < CALLS
