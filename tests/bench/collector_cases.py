"""What a report costs the collector, and what a scrape does.

Owns: parse and merge of a report, the streamed report end to end, totals and exposition.
May touch: child processes and sockets on loopback, a temporary folder.
Called by run.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bench.result import Result, processor_us, repeated
from flopmeter_collector.admit import refusal
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.http.metrics import exposition
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.totals import Totals
from flopmeter_core.reports import Hello, KeyedVector, Report
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire import StreamReader, StreamWriter
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table, thresholds

DEVICES = 8
STREAMS = 100
SECONDS = 4.0
RUNS = 1_000

# Figures of 6 counters and one key a device, interpreted: 20 us; this vector has 18 components.
MERGE_BUDGET_US = 2 * 20 * 3

_ECHO = """
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

_COLLECTOR = """
import asyncio, sys
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_proto.daemon.clock import SystemClock
async def main():
    config = CollectorConfig(ledger=sys.argv[1], grpc_listen="127.0.0.1:0", http_listen="")
    app = CollectorApp(config, SystemClock())
    await app.start()
    print(app.grpc_address.rpartition(":")[2], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def report(node: str, second: int) -> Report:
    """One report of eight devices, `second` seconds into a run."""
    records = [h100(f"{node}-{number}", node=node) for number in range(DEVICES)]
    vectors = tuple(KeyedVector(key_of(record), second, busy_vector(second)) for record in records)
    return Report(
        {record.record_id: record for record in records},
        vectors,
        boot_ns=(second + 1) * NS_PER_S,
        wall_ns=AS_OF_NS,
    )


def parse_and_merge() -> list[Result]:
    """Processor time to read, admit and merge a report, against parsing its bytes alone."""
    writer, reader, merged = StreamWriter(), StreamReader(), RegisterTable()
    rounds = 500
    messages = [
        writer.report(report("n", second)).SerializeToString() for second in range(1, rounds + 1)
    ]
    waiting = iter(messages)

    def take() -> None:
        request = pb.StreamReportsRequest.FromString(next(waiting))
        taken = reader.report(request)
        for keyed in taken.vectors:
            record = taken.records[keyed.key.record]
            if not refusal(keyed.vector, record, boot_ns=taken.boot_ns):
                merged.merge(keyed, record)

    ours = processor_us(take, rounds)
    parse = processor_us(lambda: pb.StreamReportsRequest.FromString(messages[-1]), 5_000)
    name = "collector: parse, admit and merge a report of 8 devices"
    return [Result(name, ours, "us", parse, "protobuf parse alone", MERGE_BUDGET_US)]


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


async def stream(port: int, node: str, until: float, waits_ms: list[float]) -> int:
    """Send reports over one stream, one in flight, until a time; count the answers."""
    writer = StreamWriter()
    hello = Hello(node=node, incarnation="0" * 32, simulated=False)
    answers = 0
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        call: grpc.aio.StreamStreamCall[Any, Any] = channel.stream_stream(
            "/flopmeter.ingest.v1.IngestService/StreamReports"
        )()
        await call.write(writer.hello(hello).SerializeToString())
        await call.read()
        while time.monotonic() < until:
            raw = writer.report(report(node, answers + 1)).SerializeToString()
            sent = time.monotonic()
            await call.write(raw)
            await call.read()
            waits_ms.append((time.monotonic() - sent) * 1e3)
            answers += 1
        await call.done_writing()
    return answers


def streamed(script: str, *arguments: str) -> tuple[float, float, float]:
    """Server processor time a report in us, reports a second, and p99 of the answer in ms."""

    async def load(port: int) -> tuple[int, list[float]]:
        waits: list[float] = []
        until = time.monotonic() + SECONDS
        counts = await asyncio.gather(
            *(stream(port, f"n{number}", until, waits) for number in range(STREAMS))
        )
        return sum(counts), waits

    with served(script, *arguments) as (pid, port):
        before = processor_s(pid)
        reports, waits = asyncio.run(load(port))
        spent = processor_s(pid) - before
    return spent / reports * 1e6, reports / SECONDS, sorted(waits)[len(waits) * 99 // 100]


def end_to_end() -> list[Result]:
    """A streamed report from bytes to acknowledgement, against an echo of the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        ours, rate, p99 = streamed(_COLLECTOR, f"{folder}/ledger.sqlite")
    echo, echo_rate, echo_p99 = streamed(_ECHO)
    detail = f"{STREAMS} streams of 8 devices, saturated"
    return [
        Result(f"collector: processor time a report ({detail})", ours, "us", echo, "echo", 250),
        Result(
            f"collector: time between reports ({detail})",
            1e6 / rate,
            "us",
            1e6 / echo_rate,
            "echo",
            1e6 / 3_000,
        ),
        Result(f"collector: p99 of the answer ({detail})", p99, "ms", echo_p99, "echo", 50),
    ]


def scrape() -> list[Result]:
    """Rendering the metrics of 1,000 runs, against prometheus_client with as many series."""
    totals = Totals(table())
    record = h100()
    for number in range(RUNS):
        feed(totals, key_of(record, f"run:r{number}"), record, busy_vector(100 + number))
        totals.declare(parse_run_declaration(f"r{number}", {"format": "bf16"}))
    snapshot = totals.snapshot(AS_OF_NS, POSITION)
    laws = thresholds()
    series = exposition(snapshot, laws, ServiceStatus()).count("\n")
    ours, spread = repeated(
        lambda: processor_us(lambda: exposition(snapshot, laws, ServiceStatus()), 1), 5
    )
    registry = CollectorRegistry()
    gauge = Gauge("flopmeter_bench", "As many series.", ["run", "simulated"], registry=registry)
    for number in range(series):
        gauge.labels(f"r{number}", "false").set(number)
    peer, _ = repeated(lambda: processor_us(lambda: generate_latest(registry), 1), 3)
    return [
        Result(
            f"collector: scrape, per 100,000 series ({series} rendered)",
            ours / series * 100_000 / 1e6,
            "s",
            peer / series * 100_000 / 1e6,
            "prometheus_client",
            0.05,
            spread / series * 100_000 / 1e6,
        )
    ]


def cases() -> list[Result]:
    """All lines about the collector."""
    return [*parse_and_merge(), *end_to_end(), *scrape()]
