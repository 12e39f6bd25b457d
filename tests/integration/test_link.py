"""The link against collectors that are slow, wrong, refusing or away, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from flopmeter_core.errors import StorageError
from flopmeter_core.reports import Answer, Hello, Report
from flopmeter_proto import link as link_module
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from flopmeter_proto.link import Link, StreamEndedError

LIMIT_S = 60.0

HELLO = Hello(node="n0", incarnation="ab" * 16, simulated=True)
Handler = Callable[[grpc.aio.ServicerContext[Any, Any], int], Awaitable[None]]


class Source:
    """Always has an empty report; counts answers."""

    def __init__(self) -> None:
        """Nothing answered yet."""
        self.answers = 0

    async def next_report(self) -> Report | None:
        """A report without vectors, which a collector answers like any other."""
        return Report({}, (), boot_ns=1, wall_ns=1)

    async def acknowledge(self, answer: Answer) -> None:
        """Count."""
        self.answers += 1


class Collector(pb_grpc.IngestServiceServicer):
    """A collector whose streams do what a test says."""

    def __init__(self, handler: Handler) -> None:
        """Serve `handler(context, number of the stream)`."""
        self.streams = 0
        self._handler = handler

    async def StreamReports(self, _requests: Any, context: Any) -> None:
        """One stream."""
        self.streams += 1
        await self._handler(context, self.streams)

    async def serve(self, port: int = 0) -> tuple[grpc.aio.Server, int]:
        """Listen on loopback."""
        server = grpc.aio.server()
        pb_grpc.add_IngestServiceServicer_to_server(self, server)
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server, bound


async def answer_all(context: grpc.aio.ServicerContext[Any, Any], _stream: int) -> None:
    """A collector that works."""
    while await context.read() is not grpc.aio.EOF:
        await context.write(pb.StreamReportsResponse(ledger_id="L", commit_number=1))


@contextlib.asynccontextmanager
async def reporting(port: int, source: Source) -> AsyncIterator[Link]:
    """A link at work, a report every 10 ms."""
    link = Link(f"127.0.0.1:{port}", lambda: HELLO, source)
    stop = asyncio.Event()
    task = asyncio.create_task(link.run(wait=lambda: asyncio.sleep(0.01), stop=stop))
    try:
        yield link
    finally:
        stop.set()
        await task


async def until(reached: Callable[[], bool]) -> None:
    """Wait for what the other side does."""
    async with asyncio.timeout(LIMIT_S):
        while not reached():
            await asyncio.sleep(0.01)


def test_a_collector_that_fails_after_hello_is_not_hammered() -> None:
    """Every stream dies after hello: the waits between tries grow all the same."""
    began_s: list[float] = []

    async def hello_then_fail(context: grpc.aio.ServicerContext[Any, Any], _stream: int) -> None:
        began_s.append(time.monotonic())
        await context.read()
        await context.write(pb.StreamReportsResponse())
        await context.abort(grpc.StatusCode.INTERNAL, "planted")

    async def scenario() -> None:
        server, port = await Collector(hello_then_fail).serve()
        async with reporting(port, Source()):
            await until(lambda: len(began_s) == 4)
        await server.stop(None)

    asyncio.run(scenario())
    # Waits of 0.2, 0.4 and 0.8 s; hammering takes none.
    assert began_s[-1] - began_s[0] > 1.3


def test_a_refused_sender_waits_long_and_says_why() -> None:
    """A final status is repeated at the longest wait, and its sentence is kept."""

    async def refuse(context: grpc.aio.ServicerContext[Any, Any], _stream: int) -> None:
        await context.read()
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this ledger keeps real readings")

    async def scenario() -> tuple[int, Link]:
        collector = Collector(refuse)
        server, port = await collector.serve()
        async with reporting(port, Source()) as link:
            await until(lambda: link.state.last_error != "")
            # The first wait of a failure that may pass is 0.2 s.
            await asyncio.sleep(0.6)
        await server.stop(None)
        return collector.streams, link

    streams, link = asyncio.run(scenario())
    assert streams == 1
    assert link.state.last_error == "this ledger keeps real readings"


def test_a_collector_that_comes_back_gets_reports_again() -> None:
    """Nobody has to touch the agent after an outage."""

    async def scenario() -> None:
        collector = Collector(answer_all)
        server, port = await collector.serve()
        source = Source()
        async with reporting(port, source) as link:
            await until(lambda: source.answers > 0)
            await server.stop(None)
            await until(lambda: link.state.last_error != "")
            before = source.answers
            server, _ = await collector.serve(port)
            await until(lambda: source.answers > before)
        await server.stop(None)

    asyncio.run(scenario())


def test_a_silent_collector_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that takes a report and never answers does not hold the agent for ever."""
    monkeypatch.setattr(link_module, "ANSWER_DEADLINE_S", 0.2)

    async def swallow(context: grpc.aio.ServicerContext[Any, Any], _stream: int) -> None:
        await context.read()
        await asyncio.sleep(30)

    async def scenario() -> None:
        server, port = await Collector(swallow).serve()
        link = Link(f"127.0.0.1:{port}", lambda: HELLO, Source())
        try:
            async with link.connect():
                pass
        finally:
            await server.stop(None)

    with pytest.raises(StreamEndedError, match="did not answer in time"):
        asyncio.run(scenario())


def test_a_failing_journal_ends_the_link() -> None:
    """What cannot be made durable is not sent, and the agent learns of it."""

    class Broken(Source):
        async def next_report(self) -> Report | None:
            raise StorageError("the journal cannot be made durable; replace the disk")

    async def scenario() -> None:
        server, port = await Collector(answer_all).serve()
        try:
            link = Link(f"127.0.0.1:{port}", lambda: HELLO, Broken())
            async with asyncio.timeout(LIMIT_S):
                await link.run(wait=lambda: asyncio.sleep(0.01), stop=asyncio.Event())
        finally:
            await server.stop(None)

    with pytest.raises(StorageError, match="replace the disk"):
        asyncio.run(scenario())
