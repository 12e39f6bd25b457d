"""The link against collectors that are slow, wrong, refusing or away, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


async def report_for(seconds: float, port: int, source: Source) -> Link:
    """Run a link for a while, a report every 10 ms."""
    link = Link(f"127.0.0.1:{port}", lambda: HELLO, source)
    stop = asyncio.Event()
    task = asyncio.create_task(link.run(wait=lambda: asyncio.sleep(0.01), stop=stop))
    await asyncio.sleep(seconds)
    stop.set()
    await task
    return link


def test_a_collector_that_fails_after_hello_is_not_hammered() -> None:
    """Every stream dies after hello: the waits between tries grow all the same."""

    async def hello_then_fail(context: grpc.aio.ServicerContext[Any, Any], _stream: int) -> None:
        await context.read()
        await context.write(pb.StreamReportsResponse())
        await context.abort(grpc.StatusCode.INTERNAL, "planted")

    async def scenario() -> int:
        collector = Collector(hello_then_fail)
        server, port = await collector.serve()
        await report_for(1.8, port, Source())
        await server.stop(None)
        return collector.streams

    # Waits of 0.2, 0.4, 0.8, 1.6 s: four tries fit, hammering would make a hundred.
    assert 2 <= asyncio.run(scenario()) <= 5


def test_a_refused_sender_waits_long_and_says_why() -> None:
    """A final status is repeated at the longest wait, and its sentence is kept."""

    async def refuse(context: grpc.aio.ServicerContext[Any, Any], _stream: int) -> None:
        await context.read()
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this ledger keeps real readings")

    async def scenario() -> tuple[int, Link]:
        collector = Collector(refuse)
        server, port = await collector.serve()
        link = await report_for(1.0, port, Source())
        await server.stop(None)
        return collector.streams, link

    streams, link = asyncio.run(scenario())
    assert streams == 1
    assert link.state.last_error == "this ledger keeps real readings"


def test_a_collector_that_comes_back_gets_reports_again() -> None:
    """Nobody has to touch the agent after an outage."""

    async def scenario() -> tuple[int, int]:
        collector = Collector(answer_all)
        server, port = await collector.serve()
        source = Source()
        link = Link(f"127.0.0.1:{port}", lambda: HELLO, source)
        stop = asyncio.Event()
        task = asyncio.create_task(link.run(wait=lambda: asyncio.sleep(0.01), stop=stop))
        await asyncio.sleep(0.3)
        await server.stop(None)
        await asyncio.sleep(0.3)
        before = source.answers
        server, _ = await collector.serve(port)
        for _ in range(100):
            await asyncio.sleep(0.1)
            if source.answers > before:
                break
        after = source.answers
        stop.set()
        await task
        await server.stop(None)
        return before, after

    before, after = asyncio.run(scenario())
    assert 0 < before < after


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
            await report_for(5, port, Broken())
        finally:
            await server.stop(None)

    with pytest.raises(StorageError, match="replace the disk"):
        asyncio.run(scenario())
