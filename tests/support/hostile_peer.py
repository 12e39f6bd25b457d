"""A peer that means harm, as a process of its own: ``python -m support.hostile_peer``.

Owns: what each kind of hostile peer sends.
May touch: connections to the collector it is given; standard output.
Called by tests/integration/collector/test_hostile.py, small in CI and in full by `make hostile`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Coroutine

import grpc
import grpc.aio

from flopmeter_core.reports import KeyedVector
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.stream import StreamWriter
from support.ingest import RECORD, channel, hello, key, report, vector

METHOD = "/flopmeter.ingest.v1.IngestService/StreamReports"

Raw = grpc.aio.StreamStreamCall[bytes, bytes]

GONE = (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError, TimeoutError)
"""What a collector that has had enough looks like from here."""

HOSTILE = dataclasses.replace(RECORD, node="hostile", device="GPU-hostile")


def open_raw(opened: grpc.aio.Channel) -> Raw:
    """A stream of bytes."""
    return opened.stream_stream(METHOD)()


def narrow(address: str) -> contextlib.AbstractAsyncContextManager[grpc.aio.Channel]:
    """A channel whose windows do not grow: little fits into them that nobody reads."""
    options = {"http2.bdp_probe": 0}
    return channel(address, None, **options)


PARTS = bytes([pb.StreamReportsRequest.CLAIMS_FIELD_NUMBER << 3 | 2, 0]) * 2_000_000
"""Two million empty claims: well formed, and costly to build."""


async def garbage(address: str, until: float, size: int) -> str:
    """Bytes that are no message, and messages of nothing, on one stream after the other."""
    sent = 0
    async with channel(address) as opened:
        while time.monotonic() < until and sent < size:
            call = open_raw(opened)
            raw = bytes([255, sent % 256]) * 32_768 if sent % 10 else PARTS
            with contextlib.suppress(*GONE):
                async with asyncio.timeout(max(0.01, until - time.monotonic())):
                    await call.write(raw)
                    await call.read()
            call.cancel()
            sent += 1
    return f"{sent:,} messages"


async def replay(address: str, until: float, size: int) -> str:
    """A year-old stream, byte for byte, again and again."""
    writer = StreamWriter()
    old = [writer.hello(hello(node="hostile")).SerializeToString()]
    for sequence in range(1, 101):
        keyed = KeyedVector(key(HOSTILE), sequence, vector(sequence))
        old.append(writer.report(report([keyed], [HOSTILE])).SerializeToString())
    sent = 0
    async with channel(address) as opened:
        while time.monotonic() < until and sent < size:
            call = open_raw(opened)
            with contextlib.suppress(*GONE):
                for raw in old:
                    async with asyncio.timeout(max(0.01, until - time.monotonic())):
                        await call.write(raw)
                        await call.read()
                    sent += 1
            call.cancel()
    return f"{sent:,} messages"


async def flood(address: str, until: float, size: int) -> str:
    """Reports as fast as they are taken, on several streams of one node."""

    async def one(number: int) -> int:
        writer, sent = StreamWriter(), 0
        named = key(HOSTILE, incarnation=f"{number:032x}")
        greeting = hello(node="hostile", incarnation=f"{number:032x}")
        async with channel(address) as opened:
            call = open_raw(opened)
            await call.write(writer.hello(greeting).SerializeToString())
            await call.read()
            while time.monotonic() < until:
                keyed = KeyedVector(named, sent + 1, vector(sent + 1))
                raw = writer.report(report([keyed], [HOSTILE])).SerializeToString()
                with contextlib.suppress(*GONE):
                    async with asyncio.timeout(max(0.01, until - time.monotonic())):
                        await call.write(raw)
                        await call.read()
                    sent += 1
            call.cancel()
        return sent

    return f"{sum(await asyncio.gather(*(one(number) for number in range(size)))):,} reports"


async def deaf(address: str, until: float, size: int) -> str:
    """Large reports whose answers nobody reads, on several streams."""

    async def one(number: int) -> int:
        writer, sent = StreamWriter(), 0
        greeting = hello(node=f"deaf-{number}", incarnation=f"{number:032x}")
        record = dataclasses.replace(HOSTILE, node=f"deaf-{number}")
        keys = [
            key(record, incarnation=f"{number:032x}", allocation=f"run:d{n}") for n in range(1_000)
        ]
        async with narrow(address) as opened:
            call = open_raw(opened)
            with contextlib.suppress(*GONE):
                await call.write(writer.hello(greeting).SerializeToString())
                while time.monotonic() < until:
                    rows = [KeyedVector(each, sent + 1, vector(sent + 1)) for each in keys]
                    raw = writer.report(report(rows, [record])).SerializeToString()
                    async with asyncio.timeout(max(0.01, until - time.monotonic())):
                        await call.write(raw)
                    sent += 1
            call.cancel()
        return sent

    return f"{sum(await asyncio.gather(*(one(number) for number in range(size)))):,} reports"


async def streams(address: str, until: float, size: int) -> str:
    """Many streams that say hello and nothing else."""
    async with channel(address) as opened:
        calls: list[Raw] = []
        let_in = 0

        async def one(number: int) -> None:
            nonlocal let_in
            call = open_raw(opened)
            calls.append(call)
            greeting = hello(node=f"crowd-{number}", incarnation=f"{number:032x}")
            with contextlib.suppress(*GONE):
                async with asyncio.timeout(max(0.01, until - time.monotonic())):
                    await call.write(StreamWriter().hello(greeting).SerializeToString())
                    answer = await call.read()
                    let_in += answer is not grpc.aio.EOF

        await asyncio.gather(*(one(number) for number in range(size)))
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        for call in calls:
            call.cancel()
    return f"{let_in:,} of {size:,} streams let in"


async def allocations(address: str, until: float, size: int) -> str:
    """One vector for each of many users."""
    taken = number = 0
    while number < size and time.monotonic() < until:
        writer = StreamWriter()  # a stream may state only so many keys
        async with channel(address) as opened:
            call = open_raw(opened)
            with contextlib.suppress(*GONE):
                async with asyncio.timeout(max(0.01, until - time.monotonic())):
                    await call.write(writer.hello(hello(node="hostile")).SerializeToString())
                    await call.read()
                    for _ in range(20):
                        names = range(number, min(size, number + 1_000))
                        if not names:
                            break
                        keys = [key(HOSTILE, allocation=f"run:h{name}") for name in names]
                        rows = [KeyedVector(each, 1, vector(1)) for each in keys]
                        await call.write(writer.report(report(rows, [HOSTILE])).SerializeToString())
                        taken += _taken(await call.read())
                        number = names.stop
            call.cancel()
    return f"{number:,} users, {taken:,} taken"


def _taken(raw: object) -> int:
    if not isinstance(raw, bytes):
        return 0
    answer = pb.StreamReportsResponse.FromString(raw)
    return sum(ack.durability != pb.DURABILITY_REFUSED for ack in answer.acknowledgements)


KINDS: dict[str, Callable[[str, float, int], Coroutine[None, None, str]]] = {
    "garbage": garbage,
    "replay": replay,
    "flood": flood,
    "deaf": deaf,
    "streams": streams,
    "allocations": allocations,
}


def main() -> None:
    """KIND ADDRESS SECONDS SIZE: be hostile, then print what was done."""
    kind, address, seconds, size = sys.argv[1:]
    # A peer computes on a machine of its own; here it shares the collector's cores.
    os.nice(10)
    until = time.monotonic() + float(seconds)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    sys.stdout.write(f"{asyncio.run(KINDS[kind](address, until, int(size)))}\n")


if __name__ == "__main__":
    main()
