"""Agents and collectors of different versions: both upgrade orders, from recorded messages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from flopmeter_core.batches import RelayBatch, RelayHello
from flopmeter_core.reports import Durability
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from flopmeter_proto.wire.batch import BatchWriter
from flopmeter_proto.wire.stream import StreamWriter
from support.collector import running
from support.ingest import channel, hello, key, stream, vector
from support.wire_versions import Version, todays_report, versions

VERSIONS = versions()

UNKNOWN = b"\xfa\x7f\x03abc\xf0\x7f\x05"
"""Field 2047 with a text and field 2046 with a number, which no version has."""


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> Version:
    """Each recorded version."""
    found = request.param
    assert isinstance(found, Version)
    return found


def test_there_are_versions() -> None:
    """The recordings are there: two versions back at least."""
    assert len(VERSIONS) >= 3


def test_collector_first(tmp_path: Path, version: Version) -> None:
    """An agent of any version is taken by today's collector, and then upgraded: keys go on."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            async with stream(app.grpc_address) as sender:
                answers = [
                    await sender.exchange(pb.StreamReportsRequest.FromString(raw))
                    for raw in version.said
                ]
            acks = [ack for answer in answers for ack in answer.acknowledgements]
            assert [(ack.sequence, ack.durability) for ack in acks] == [
                (3, pb.DURABILITY_AT_ROOT),
                (1, pb.DURABILITY_AT_ROOT),
                (5, pb.DURABILITY_AT_ROOT),
            ]
            assert app.table.branches(key())[0].vector == vector(9)
            async with stream(app.grpc_address) as sender:
                await sender.greet()
                await sender.exchange(sender.writer.report(todays_report()))
            # The same keys under the same records: an upgrade forks and doubles nothing.
            assert len(app.table) == 2
            assert app.table.forked_key_count() == 0
            assert app.table.branches(key())[0].vector == vector(7200)

    asyncio.run(scenario())


RELAYED = [version for version in VERSIONS if version.relayed]


def test_there_are_relays() -> None:
    """The recordings hold a relay of an earlier version."""
    assert RELAYED


@pytest.mark.parametrize("version", RELAYED, ids=lambda version: version.name)
def test_root_first(tmp_path: Path, version: Version) -> None:
    """A relay of an earlier version is taken by today's root, as far as it says anything."""

    async def scenario() -> None:
        async with running(tmp_path) as app, channel(app.grpc_address) as opened:
            call = pb_grpc.IngestServiceStub(opened).StreamBatches()
            for raw in version.relayed:
                await call.write(pb.StreamBatchesRequest.FromString(raw))
                answer = await call.read()
            assert isinstance(answer, pb.StreamBatchesResponse)
            assert list(answer.durabilities) == [pb.DURABILITY_AT_ROOT] * 2
            assert app.table.branches(key())[0].vector == vector(7200)
            timed = version.name != "before-boot-times"
            assert (app.table.branches(key())[0].boot_ns is not None) == timed
            call.cancel()

    asyncio.run(scenario())


def test_relay_first() -> None:
    """What today's relay says to an earlier root is what that one knows, and a field beside it."""
    (version,) = (each for each in RELAYED if each.name == "before-boot-times")
    said = todays_report()
    writer = BatchWriter()
    writer.hello(RelayHello("relay-1", False))
    timed = tuple(replace(keyed, boot_ns=10**15) for keyed in said.vectors)
    batch = writer.batch(RelayBatch((), said.records, timed, said.hours))
    assert list(batch.boot_duration_ns) == [10**15] * 2
    batch.ClearField("boot_duration_ns")
    assert batch == pb.StreamBatchesRequest.FromString(version.relayed[1])


def test_agent_first(version: Version) -> None:
    """Today's agent understands what an older collector answers, and keeps what that one lacks."""
    writer = StreamWriter()
    writer.hello(hello())
    first, second = (pb.StreamReportsResponse.FromString(raw) for raw in version.answered)
    assert writer.answer(first).acknowledgements == ()
    said = todays_report()
    writer.report(said)
    answer = writer.answer(second)
    assert [(ack.key, ack.sequence) for ack in answer.acknowledgements] == [
        (keyed.key, keyed.sequence) for keyed in said.vectors
    ]
    assert {ack.durability for ack in answer.acknowledgements} == {Durability.AT_ROOT}
    old = version.name == "before-hours-and-claims"
    assert len(answer.hours) == len(answer.claims) == (0 if old else 1)


def newer(raw: pb.StreamReportsRequest) -> pb.StreamReportsRequest:
    """The same message of an agent that says more, everywhere it can."""
    message = pb.StreamReportsRequest.FromString(raw.SerializeToString() + UNKNOWN)
    parts = [*message.keys, *message.vectors, *message.device_records, *message.hourly_vectors]
    for part in [*parts, *message.claims, *([message.hello] if message.HasField("hello") else [])]:
        part.MergeFromString(UNKNOWN)
    return message


def test_newer_agent(tmp_path: Path) -> None:
    """An agent one version ahead, with fields nobody here knows, is taken as far as it is known."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.exchange(newer(sender.writer.hello(hello())))
            answer = await sender.exchange(newer(sender.writer.report(todays_report())))
            durable = [ack.durability for ack in answer.acknowledgements]
            assert durable == [pb.DURABILITY_AT_ROOT] * 2
            assert len(answer.hourly_acknowledgements) == len(answer.claim_acknowledgements) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("amount", "taken"), [(0, True), (1, False)])
def test_newer_component(tmp_path: Path, amount: int, taken: bool) -> None:
    """A component nobody here knows is let pass while it is 0; a value of it waits at its agent."""

    async def scenario() -> bool:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            message = sender.writer.report(todays_report())
            for said in message.vectors:
                said.component_values.append(amount)
            try:
                await sender.exchange(message)
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
                assert len(app.table) == 0
                return False
            return app.table.branches(key())[0].vector == vector(7200)

    assert asyncio.run(scenario()) == taken


def test_sparse_agent(tmp_path: Path) -> None:
    """Everything that is only said for people may be missing."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            greeting = sender.writer.hello(hello())
            for field in ("cluster", "agent_version", "method_version", "boot_id", "sensor"):
                greeting.hello.ClearField(field)
            await sender.exchange(greeting)
            message = sender.writer.report(todays_report())
            message.ClearField("observe_time")
            for said in message.vectors:
                del said.component_values[16:]
            answer = await sender.exchange(message)
            assert [ack.durability for ack in answer.acknowledgements] == [
                pb.DURABILITY_AT_ROOT
            ] * 2

    asyncio.run(scenario())
