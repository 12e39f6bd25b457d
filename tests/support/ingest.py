"""A small hand-made agent's side of the ingest protocol, and values to send with it.

Owns: device records, vectors and keys that may be true, and one stream spoken message by message.
May touch: one gRPC channel.
Called by the tests of the collector and of the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio

from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence, Key, Vector
from flopmeter_core.reports import Hello, HourlyVector, KeyedVector, Report
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from flopmeter_proto.wire.stream import StreamWriter

INCARNATION = "0123456789abcdef" * 2
BOOT_NS = 10**15
SECOND_NS = 10**9

RECORD = DeviceRecord(
    node="node-1",
    device="GPU-1",
    vendor="nvidia",
    product_name="NVIDIA H100 80GB HBM3",
    pci_device_id=0x233010DE,
    sm_count=132,
    max_sm_clock_mhz=1980,
    memory_mib=81_559,
    driver_version="570.10",
    energy_scope=EnergyScope.GPU,
)
SIMULATED_RECORD = replace(RECORD, simulated=True)


def vector(seconds: int, **components: int) -> Vector:
    """A vector of `seconds` busy at half of all cycles; components may be overridden by name."""
    found = [0] * COMPONENT_COUNT
    cycles = 132 * 1980 * seconds
    found[Component.SM_ELAPSED_MEGACYCLES] = cycles
    found[Component.SM_ACTIVE_MEGACYCLES] = cycles * 8 // 10
    found[Component.TENSOR_MEGACYCLES] = cycles // 2
    found[Component.BUSY_MEGACYCLES] = 1980 * seconds
    found[Component.ENERGY_MJ] = 700_000 * seconds
    found[Component.BUSY_NS] = seconds * SECOND_NS
    for name, amount in components.items():
        found[Component[name]] = amount
    return tuple(found)


def key(of: DeviceRecord = RECORD, **fields: Any) -> Key:
    """A key of a device, in the test's incarnation and allocated to run a."""
    defaults: dict[str, Any] = {
        "device": of.device,
        "incarnation": INCARNATION,
        "allocation": "run:a",
        "phase": 0,
        "evidence": Evidence.GPM,
        "record": of.record_id,
    }
    return Key(**(defaults | fields))


def hello(**fields: Any) -> Hello:
    """The first message of node-1's agent."""
    defaults: dict[str, Any] = {
        "node": "node-1",
        "incarnation": INCARNATION,
        "simulated": False,
    }
    return Hello(**(defaults | fields))


def report(
    vectors: Iterable[KeyedVector],
    records: Iterable[DeviceRecord] = (RECORD,),
    *,
    boot_ns: int = BOOT_NS,
    display_flop: Mapping[str, int] | None = None,
    hours: Iterable[HourlyVector] = (),
) -> Report:
    """A report of these vectors."""
    return Report(
        records={record.record_id: record for record in records},
        vectors=tuple(vectors),
        boot_ns=boot_ns,
        wall_ns=1_800_000_000 * SECOND_NS,
        display_flop=display_flop or {},
        hours=tuple(hours),
    )


def hourly(hour: int, sequence: int, values: Vector, **changes: Any) -> HourlyVector:
    """The vector of the test's key at the end of an hour; hour 0 began at Unix time 0."""
    boot_ns = changes.pop("boot_ns", (hour + 1) * NS_PER_HOUR - SECOND_NS)
    wall_ns = changes.pop("wall_ns", boot_ns)
    first_hour = changes.pop("first_hour", hour)
    of = changes.pop("key", None) or key(**changes)
    return HourlyVector(of, sequence, values, first_hour, boot_ns, wall_ns)


class Sender:
    """One open stream, spoken message by message."""

    def __init__(self, call: Any) -> None:
        """Take over an open call."""
        self._call = call
        self.writer = StreamWriter()

    async def exchange(self, message: pb.StreamReportsRequest) -> pb.StreamReportsResponse:
        """Send a message and take its answer.

        Raises:
            grpc.aio.AioRpcError: the collector ended the stream with a status.
        """
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError:  # the collector has ended the stream already
            raise await self.ended() from None
        answer = await self._call.read()
        if answer is grpc.aio.EOF:
            raise await self.ended()
        assert isinstance(answer, pb.StreamReportsResponse)
        return answer

    async def greet(self, greeting: Hello | None = None) -> pb.StreamReportsResponse:
        """Say hello."""
        return await self.exchange(self.writer.hello(greeting or hello()))

    async def send(self, sequence: int, values: Vector, **fields: Any) -> pb.StreamReportsResponse:
        """Send one vector of the test's key."""
        record = fields.pop("record", RECORD)
        boot_ns = fields.pop("boot_ns", BOOT_NS)
        keyed = KeyedVector(key(record, **fields), sequence, values)
        return await self.exchange(self.writer.report(report([keyed], [record], boot_ns=boot_ns)))

    async def close(self) -> None:
        """End the stream in order, and wait until the collector has ended it too."""
        await self._call.done_writing()
        assert await self._call.read() is grpc.aio.EOF
        assert await self._call.code() == grpc.StatusCode.OK

    async def ended(self) -> grpc.aio.AioRpcError:
        """The status the collector ended the stream with."""
        return grpc.aio.AioRpcError(
            await self._call.code(),
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            await self._call.details(),
        )


@contextlib.asynccontextmanager
async def channel(
    address: str, credentials: grpc.ChannelCredentials | None = None, **options: int
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of its own to a collector; options are gRPC's, with _ for the dot after grpc."""
    pairs = [("grpc.use_local_subchannel_pool", 1)]
    pairs += [(f"grpc.{name}", number) for name, number in options.items()]
    if credentials is None:
        opened = grpc.aio.insecure_channel(address, options=pairs)
    else:
        opened = grpc.aio.secure_channel(address, credentials, options=pairs)
    async with opened:
        yield opened


@contextlib.asynccontextmanager
async def stream(
    address: str, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[Sender]:
    """An open stream to a collector; nothing is said on it yet."""
    async with channel(address, credentials) as opened:
        call = pb_grpc.IngestServiceStub(opened).StreamReports()
        try:
            yield Sender(call)
        finally:
            call.cancel()
