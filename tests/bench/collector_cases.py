"""What a report costs the collector.

Owns: parse and merge of a report, and the streamed report end to end, by live keys a device.
May touch: child processes and sockets on loopback, a temporary folder.
Called by run and quick.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench.result import Result, paired, processor_us
from flopmeter_collector.intake import Intake
from flopmeter_collector.known import KnownKeys
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.reports import Hello, KeyedVector, Report
from flopmeter_core.units import NS_PER_MS, NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.known import KnownReader
from flopmeter_proto.wire.stream import StreamReader, StreamWriter
from support.totals import AS_OF_NS, busy_vector, h100, key_of

DEVICES = 8
STREAMS = 100
SECONDS = 5.0
LIVE_KEYS = (1, 4, 20)
"""Keys of a device that change between two reports: users and phases of it."""

SHARE_OF_RATE = 0.6
"""Of the reports that a collector takes where streams send as fast as they can: so many come in
where the wait for an answer is measured. Full use says nothing of a wait: whoever stands in a line
of 100 waits for 100."""

ANSWER_BUDGET_MS = 50.0

STEP_MS = 20
"""Between two reports by a node's clock, where reports follow each other as fast as they can."""

# Figures of 6 counters and one key a device, interpreted: 20 us; this vector has 18 components.
MERGE_BUDGET_US = 2 * 20 * 3
STREAMED_BUDGET_US = 250

ECHO = """
import asyncio, sys, grpc, grpc.aio
async def echo(_requests, context):
    while (raw := await context.read()) is not grpc.aio.EOF:
        await context.write(b"")
async def main():
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "flopmeter.ingest.v1.IngestService", {"StreamReports": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""

COLLECTOR = """
import asyncio, sys
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_proto.daemon.clock import SystemClock
async def main():
    config = CollectorConfig(
        ledger=sys.argv[1], grpc_listen="127.0.0.1:0", http_listen="",
        maximum_work_per_node_s=0, maximum_work_per_address_s=0,
    )
    app = CollectorApp(config, SystemClock())
    await app.start()
    print(app.grpc_address.rpartition(":")[2], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Node:
    """Eight devices of one node, each with some live keys."""

    def __init__(self, node: str, live_keys: int) -> None:
        """Name the devices and their keys."""
        records = [h100(f"{node}-{number}", node=node) for number in range(DEVICES)]
        self._records = {record.record_id: record for record in records}
        self._keys = [
            key_of(record, f"run:r{live}") for record in records for live in range(live_keys)
        ]

    def report(self, sequence: int, step_ms: int = STEP_MS) -> Report:
        """The report of a sequence, every key changed.

        Args:
            sequence: from 1.
            step_ms: between two reports by the node's own clock. No more than really passes: what
                a collector knows of a boot gets better with each report of a clock that runs fast.
        """
        busy_ms = sequence * step_ms
        vector = tuple(value * busy_ms // 1_000 for value in busy_vector(1))
        boot_ns = busy_ms * NS_PER_MS + NS_PER_S
        vectors = tuple(KeyedVector(key, sequence, vector, boot_ns) for key in self._keys)
        return Report(self._records, vectors, boot_ns=boot_ns, wall_ns=AS_OF_NS)


def messages(live_keys: int, count: int) -> list[bytes]:
    """The reports of one stream, one after the other."""
    writer, node = StreamWriter(), Node("n", live_keys)
    return [writer.report(node.report(at)).SerializeToString() for at in range(1, count + 1)]


def _ours(raws: list[bytes]) -> float:
    """Processor time in us to read, admit and merge one of these, after the first."""
    reader, merged, known, waiting = StreamReader(), RegisterTable(), KnownKeys(), iter(raws)
    hello = Hello(node="n", incarnation="0" * 32, simulated=False)
    unused: Any = None
    intake = Intake(merged, unused, SystemClock(), simulated=False, ledger_id="")
    first = reader.report(pb.StreamReportsRequest.FromString(next(waiting)))
    for keyed in first.vectors:
        merged.merge(keyed, first.records[keyed.key.record])
    known.learn(intake, first.vectors, reader.number)

    usual_reader = KnownReader(DEVICES * max(LIVE_KEYS))

    def take() -> None:
        usual = usual_reader.read(next(waiting))
        assert usual is not None and known.take(intake, usual, hello)

    return processor_us(take, len(raws) - 1)


def _plain(raws: list[bytes]) -> float:
    """The least a collector does in pure Python: the newest of each key in a dict, unchecked."""
    newest: dict[int, tuple[int, tuple[int, ...]]] = {}
    waiting = iter(raws)

    def take() -> None:
        for vector in pb.StreamReportsRequest.FromString(next(waiting)).vectors:
            number = vector.key_number
            came = (vector.sequence, tuple(vector.component_values))
            held = newest.get(number)
            if held is None or held < came:
                newest[number] = came

    return processor_us(take, len(raws))


def taken_in(live_keys: tuple[int, ...] = LIVE_KEYS, times: int = 5) -> list[Result]:
    """Processor time to read, admit and merge a report, against the least in pure Python."""
    results = []
    for live in live_keys:
        raws = messages(live, 400 // live)
        pair = paired(lambda raws=raws: _ours(raws), lambda raws=raws: _plain(raws), times)  # type: ignore[misc]
        results.append(
            Result(
                f"collector: parse, admit and merge a report of 8 devices, live keys: {live}",
                pair.ours,
                "us",
                pair.limit,
                "pure Python: newest in a dict",
                MERGE_BUDGET_US * live,
                pair.spread,
            )
        )
    return results


@contextmanager
def served(script: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """A child process that prints its port; gives its pid and port, and stops it by its pid."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        yield child.pid, int(child.stdout.readline())
    finally:
        child.terminate()
        child.wait(10)
        child.stdout.close()


def processor_s(pid: int) -> float:
    """User and system time of a process in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """How a server is kept busy: streams of one report in flight each, for a time.

    Attributes:
        streams: how many.
        period_s: for how long.
        live_keys: keys of a device.
        rate: reports a second of all streams together, evenly; None sends as fast as they can.
    """

    streams: int = STREAMS
    period_s: float = SECONDS
    live_keys: int = 1
    rate: float | None = None


class Stream:
    """One stream with one report in flight; its keys are stated before anything is counted."""

    def __init__(self, port: int, name: str, live_keys: int) -> None:
        """Prepare."""
        self.waits: list[tuple[float, float]] = []
        """When each report was due, and how long in ms its answer took."""
        self._writer, self._node = StreamWriter(), Node(name, live_keys)
        self._hello = Hello(node=name, incarnation="0" * 32, simulated=False)
        self._channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._call: grpc.aio.StreamStreamCall[Any, Any] = self._channel.stream_stream(
            "/flopmeter.ingest.v1.IngestService/StreamReports"
        )()
        self._second = 0

    async def open(self) -> None:
        """Say hello and state every key."""
        await self._call.write(self._writer.hello(self._hello).SerializeToString())
        await self._call.read()
        await self._send(time.monotonic())
        self.waits.clear()

    async def keep_busy(self, until: float) -> None:
        """Send report after report until a time."""
        while (due := time.monotonic()) < until:
            await self._send(due)

    async def keep_pace(self, due: float, period_s: float, until: float) -> None:
        """Send a report each period; one that waits for the answer before is late from then on.

        Args:
            due: when the first is sent.
            period_s: between two.
            until: none is sent from then on.
        """
        while due < until:
            early_s = due - time.monotonic()
            await asyncio.sleep(max(0.0, early_s))
            # What this process is late by itself is no wait; what the server made late is.
            await self._send(time.monotonic() if early_s > 0 else due)
            due += period_s

    async def close(self) -> None:
        """End the stream."""
        await self._call.done_writing()
        await self._channel.close()

    async def _send(self, due: float) -> None:
        """Send the next report, and note the time to its answer."""
        self._second += 1
        raw = self._writer.report(self._node.report(self._second)).SerializeToString()
        await self._call.write(raw)
        await self._call.read()
        self.waits.append((due, (time.monotonic() - due) * 1e3))


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a load did.

    Attributes:
        report_us: processor time of the server a report.
        between_us: between two reports.
        p99_ms: p99 of the answer in the median second: what other work does to one second is no
            property of a server.
    """

    report_us: float
    between_us: float
    p99_ms: float


def usual_p99_ms(waits: Iterable[tuple[float, float]]) -> float:
    """The p99 of each second's waits in ms, and of those the median.

    Args:
        waits: in which second, and how long in ms.
    """
    by_second: dict[int, list[float]] = {}
    for second, wait_ms in waits:
        by_second.setdefault(int(second), []).append(wait_ms)
    return statistics.median(sorted(each)[len(each) * 99 // 100] for each in by_second.values())


def streamed(load: Load, script: str, *arguments: str) -> Streamed:
    """Keep a server busy."""

    async def keep_busy(pid: int, port: int) -> Streamed:
        streams = [Stream(port, f"n{number}", load.live_keys) for number in range(load.streams)]
        await asyncio.gather(*(stream.open() for stream in streams))
        before, began = processor_s(pid), time.monotonic()
        until = began + load.period_s
        if load.rate is None:
            await asyncio.gather(*(stream.keep_busy(until) for stream in streams))
        else:
            each_s = 1 / load.rate
            await asyncio.gather(
                *(
                    stream.keep_pace(began + number * each_s, len(streams) * each_s, until)
                    for number, stream in enumerate(streams)
                )
            )
        spent_s, took_s = processor_s(pid) - before, time.monotonic() - began
        for stream in streams:
            await stream.close()
        waits = [wait for stream in streams for wait in stream.waits]
        reports = len(waits)
        p99_ms = usual_p99_ms((due - began, wait_ms) for due, wait_ms in waits)
        return Streamed(spent_s / reports * 1e6, took_s / reports * 1e6, p99_ms)

    with served(script, *arguments) as (pid, port):
        return asyncio.run(keep_busy(pid, port))


def collected(load: Load) -> Streamed:
    """The collector under a load, with a ledger of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return streamed(load, COLLECTOR, f"{folder}/ledger.sqlite")


def echoed(load: Load) -> Streamed:
    """A bare gRPC server that reads the same bytes and answers with none."""
    return streamed(load, ECHO)


def end_to_end(live_keys: tuple[int, ...] = LIVE_KEYS) -> list[Result]:
    """A streamed report from bytes to acknowledgement, against an echo of the same bytes."""
    results = []
    for live in live_keys:
        load = Load(live_keys=live)
        ours, echo = collected(load), echoed(load)
        detail = f"{STREAMS} streams of 8 devices, saturated, live keys: {live}"
        results += [
            Result(
                f"collector: processor time a report ({detail})",
                ours.report_us,
                "us",
                echo.report_us,
                "echo",
                STREAMED_BUDGET_US * live,
            ),
            Result(
                f"collector: time between reports ({detail})",
                ours.between_us,
                "us",
                echo.between_us,
                "echo",
                1e6 / 3_000 * live,
            ),
            _answered(live, SHARE_OF_RATE * 1e6 / ours.between_us),
        ]
    return results


def _answered(live: int, rate: float) -> Result:
    """The wait for an answer where so many reports come a second, evenly."""
    load = Load(live_keys=live, rate=rate)
    ours, echo = collected(load).p99_ms, echoed(load).p99_ms
    detail = f"{STREAMS} streams, {SHARE_OF_RATE:.0%} of the same rate, live keys: {live}"
    name = f"collector: p99 of the answer ({detail})"
    return Result(name, ours, "ms", echo, "echo", ANSWER_BUDGET_MS)


def cases() -> list[Result]:
    """All lines about the collector."""
    return [*taken_in(), *end_to_end()]
