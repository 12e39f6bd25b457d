"""Batches of a relay: the same vectors in columns, checked by the same rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from flopmeter_collector.branches import Outcome
from flopmeter_core.registers import COMPONENT_COUNT
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from flopmeter_proto.wire.stream import StreamWriter
from support.collector import running
from support.ingest import BOOT_NS, RECORD, channel, key, report, vector

METHOD = "/flopmeter.ingest.v1.IngestService/SubmitBatch"


def batch(vectors: list[KeyedVector], **fields: Any) -> pb.SubmitBatchRequest:
    """A batch of these vectors, in columns."""
    stated = StreamWriter().report(report(vectors))
    columns = zip(*(keyed.vector for keyed in vectors), strict=True)
    defaults: dict[str, Any] = {
        "protocol_version": 1,
        "relay": "relay-1",
        "device_records": stated.device_records,
        "keys": stated.keys,
        "sequences": [keyed.sequence for keyed in vectors],
        "boot_duration_ns": [BOOT_NS] * len(vectors),
        "columns": [pb.Column(component_values=column) for column in columns],
    }
    return pb.SubmitBatchRequest(**(defaults | fields))


def three() -> list[KeyedVector]:
    """Three vectors that may be true, of three keys."""
    return [KeyedVector(key(phase=n), n + 1, vector(n + 1)) for n in range(3)]


async def submit(address: str, request: pb.SubmitBatchRequest) -> pb.SubmitBatchResponse:
    """Send a batch and take its answer."""
    async with channel(address) as opened:
        answer = await pb_grpc.IngestServiceStub(opened).SubmitBatch(request)
        assert isinstance(answer, pb.SubmitBatchResponse)
        return answer


def test_batch_is_stream(tmp_path: Path) -> None:
    """A batch is acknowledged per key and stored like reports; sent again it changes nothing."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            for _ in range(2):
                answer = await submit(app.grpc_address, batch(three()))
                assert [
                    (ack.key_number, ack.sequence, ack.durability)
                    for ack in answer.acknowledgements
                ] == [(n, n + 1, pb.DURABILITY_AT_ROOT) for n in range(3)]
                # At least: a round of an evaluation commits too.
                assert answer.commit_number >= 1
            # Of the second time nothing is left to commit.
            assert app.table.outcomes == {Outcome.NEW: 3, Outcome.DUPLICATE: 3}
            assert not app.table.take_uncommitted()
            assert app.intake.nodes["node-1"].last_report_ns > 0
        async with running(tmp_path) as app:
            for keyed in three():
                assert [row.vector for row in app.table.branches(keyed.key)] == [keyed.vector]

    asyncio.run(scenario())


def test_a_relay_has_it_and_the_root_does_not(tmp_path: Path) -> None:
    """A collector that forwards answers for its own disk only; its senders keep what is closed."""

    async def scenario() -> None:
        async with running(tmp_path, upstream="127.0.0.1:9") as app:
            answer = await submit(app.grpc_address, batch(three()))
            found = {ack.durability for ack in answer.acknowledgements}
            assert found == {pb.DURABILITY_HERE}

    asyncio.run(scenario())


def test_agents_are_asked_about_what_a_batch_brings(tmp_path: Path) -> None:
    """Below what is held or in its place it may be a clone's; what nobody held is nobody else's."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            asked = app.intake.doubts.listen((RECORD.node,))
            told = []
            for sequences in ((5, 5, 5), (3, 7, 5)):
                vectors = [
                    KeyedVector(key(phase=n), sequence, vector(sequence))
                    for n, sequence in enumerate(sequences)
                ]
                await submit(app.grpc_address, batch(vectors))
                told.append(sorted(each.held.sequence for each in app.intake.doubts.tell(asked)))
            assert told == [[], [3, 7]]

    asyncio.run(scenario())


def test_impossible_vector(tmp_path: Path) -> None:
    """Each key's vector has to fit into its own boot time; the others of the batch pass."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            boots = [BOOT_NS, 0, BOOT_NS]
            answer = await submit(app.grpc_address, batch(three(), boot_duration_ns=boots))
            assert [ack.durability for ack in answer.acknowledgements] == [
                pb.DURABILITY_AT_ROOT,
                pb.DURABILITY_QUARANTINED,
                pb.DURABILITY_AT_ROOT,
            ]
            assert "booted only" in answer.acknowledgements[1].reason

    asyncio.run(scenario())


def double_key(request: pb.SubmitBatchRequest) -> None:
    """State one key number twice."""
    request.keys[2].key_number = request.keys[1].key_number


def short_column(request: pb.SubmitBatchRequest) -> None:
    """Leave out the last entry of one column."""
    del request.columns[4].component_values[-1]


def many_columns(request: pb.SubmitBatchRequest) -> None:
    """Add a component this version does not know."""
    while len(request.columns) <= COMPONENT_COUNT:
        request.columns.add(component_values=[0, 1, 0])


FAULTS: dict[str, tuple[Callable[[pb.SubmitBatchRequest], Any], grpc.StatusCode, str]] = {
    "version": (
        lambda r: setattr(r, "protocol_version", 9),
        grpc.StatusCode.FAILED_PRECONDITION,
        "upgrade",
    ),
    "simulated": (
        lambda r: setattr(r, "simulated", True),
        grpc.StatusCode.PERMISSION_DENIED,
        "--simulated",
    ),
    "sequences": (lambda r: r.sequences.append(1), grpc.StatusCode.INVALID_ARGUMENT, "3 keys"),
    "boots": (lambda r: r.boot_duration_ns.pop(), grpc.StatusCode.INVALID_ARGUMENT, "3 keys"),
    "short column": (short_column, grpc.StatusCode.INVALID_ARGUMENT, "3 keys"),
    "no columns": (lambda r: r.ClearField("columns"), grpc.StatusCode.INVALID_ARGUMENT, "column"),
    "many columns": (many_columns, grpc.StatusCode.INVALID_ARGUMENT, "components"),
    "double key": (double_key, grpc.StatusCode.INVALID_ARGUMENT, "twice"),
    "negative boot": (
        lambda r: r.boot_duration_ns.__setitem__(0, -1),
        grpc.StatusCode.INVALID_ARGUMENT,
        "negative",
    ),
    "zero sequence": (
        lambda r: r.sequences.__setitem__(0, 0),
        grpc.StatusCode.INVALID_ARGUMENT,
        "sequence 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_relay(tmp_path: Path, fault: str) -> None:
    """A batch with a fault is refused whole, with its own status and sentence."""
    spoil, code, said = FAULTS[fault]

    async def scenario() -> None:
        async with running(tmp_path) as app:
            request = batch(three())
            spoil(request)
            with pytest.raises(grpc.aio.AioRpcError) as status:
                await submit(app.grpc_address, request)
            assert status.value.code() == code, status.value
            assert said in (status.value.details() or "")
            assert len(app.table) == 0

    asyncio.run(scenario())


def test_not_a_batch(tmp_path: Path) -> None:
    """Bytes that are no batch are the sender's fault."""

    async def scenario() -> None:
        async with running(tmp_path) as app, channel(app.grpc_address) as opened:
            call: Any = opened.unary_unary(METHOD)
            with pytest.raises(grpc.aio.AioRpcError) as status:
                await call(b"\xff" * 50)
            assert status.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())


def test_empty_batch(tmp_path: Path) -> None:
    """A batch without keys has no column to fit, and is refused rather than acknowledged."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            with pytest.raises(grpc.aio.AioRpcError, match="at least one column"):
                await submit(app.grpc_address, pb.SubmitBatchRequest(protocol_version=1))

    asyncio.run(scenario())
