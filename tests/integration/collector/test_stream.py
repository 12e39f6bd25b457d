"""Reports over a real stream: what is acknowledged is committed, what is wrong is said."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flopmeter_collector import backends
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.branches import Outcome
from flopmeter_collector.limits import BURST_S
from flopmeter_collector.refusals import RefusedOnce
from flopmeter_collector.server import STOP_GRACE_S
from flopmeter_collector.turns import Turns
from flopmeter_collector.waits import STOPPING
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.values import MAXIMUM_MESSAGE_BYTES
from support.collector import Child, child, running
from support.ingest import (
    INCARNATION,
    RECORD,
    SECOND_NS,
    SIMULATED_RECORD,
    Sender,
    channel,
    hello,
    key,
    report,
    stream,
    vector,
)

METHOD = "/flopmeter.ingest.v1.IngestService/StreamReports"


def stored(folder: Path) -> dict[int, tuple[int, ...]]:
    """What another process finds in the ledger: sequence -> vector."""
    ledger = backends.read(str(folder / "ledger.db"))
    try:
        return {row.sequence: row.vector for row in ledger.vectors()}
    finally:
        ledger.close()


async def refused(sender: Sender, message: pb.StreamReportsRequest) -> grpc.aio.AioRpcError:
    """The status a message is answered with, where it ends the stream."""
    with pytest.raises(grpc.aio.AioRpcError) as status:
        await sender.exchange(message)
    return status.value


def test_acknowledged_is_committed(tmp_path: Path) -> None:
    """When an answer comes, another process already finds the very vector in the ledger."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            greeted = await sender.greet()
            assert (list(greeted.acknowledgements), greeted.commit_number) == ([], 0)
            for sequence in (1, 2, 7):
                answer = await sender.send(sequence, vector(sequence))
                assert await asyncio.to_thread(stored, tmp_path) == {sequence: vector(sequence)}
                (ack,) = answer.acknowledgements
                assert (ack.sequence, ack.durability) == (sequence, pb.DURABILITY_AT_ROOT)
                assert answer.ledger_id == greeted.ledger_id
            assert app.intake.counts.acknowledged_vectors == 3

    asyncio.run(scenario())


def test_disorder(tmp_path: Path) -> None:
    """Repeated and late vectors are acknowledged and change nothing; a restart keeps the newest."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            for sequence in (1, 3, 3, 2, 1):
                answer = await sender.send(sequence, vector(sequence))
                assert answer.acknowledgements[0].durability == pb.DURABILITY_AT_ROOT
            before = await app.evaluate_now()
            assert app.table.outcomes == {
                Outcome.NEW: 1,
                Outcome.ADVANCED: 1,
                Outcome.DUPLICATE: 1,
                Outcome.LATE: 2,
            }
        assert stored(tmp_path) == {3: vector(3)}
        async with running(tmp_path) as app:
            assert app.published is not None
            assert app.published.snapshot.runs == before.snapshot.runs

    asyncio.run(scenario())


def test_vectors_with_hello(tmp_path: Path) -> None:
    """The first message may carry vectors beside hello."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            message = sender.writer.hello(hello())
            message.MergeFrom(sender.writer.report(report([KeyedVector(key(), 4, vector(4))])))
            assert (await sender.exchange(message)).acknowledgements[0].sequence == 4
        assert stored(tmp_path) == {4: vector(4)}

    asyncio.run(scenario())


def test_impossible_vector(tmp_path: Path) -> None:
    """A vector that cannot be true is quarantined with its reason; the others pass."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            impossible = KeyedVector(key(phase=1), 5, vector(5, TENSOR_MEGACYCLES=2**60))
            possible = KeyedVector(key(), 6, vector(6))
            answer = await sender.exchange(sender.writer.report(report([impossible, possible])))
            first, second = answer.acknowledgements
            assert (first.durability, first.sequence) == (pb.DURABILITY_QUARANTINED, 5)
            assert "tensor_megacycles" in first.reason
            assert (second.durability, second.reason) == (pb.DURABILITY_AT_ROOT, "")
            counts = app.intake.counts
            assert (counts.quarantined_vectors, counts.acknowledged_vectors) == (1, 1)
        assert stored(tmp_path) == {6: vector(6)}

    asyncio.run(scenario())


def test_boot_time_binds_the_running_incarnation(tmp_path: Path) -> None:
    """Closed incarnations may be of an earlier boot; the running one has to fit into this one."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            booted = {"boot_ns": 10 * SECOND_NS}
            answer = await sender.send(1, vector(60), **booted)
            assert "booted only" in answer.acknowledgements[0].reason
            closed = await sender.send(1, vector(60), incarnation="f" * 32, **booted)
            assert closed.acknowledgements[0].durability == pb.DURABILITY_AT_ROOT

    asyncio.run(scenario())


def test_fork_is_kept(tmp_path: Path) -> None:
    """Two histories of one key are both acknowledged and both survive a restart."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(5, vector(5))
            answer = await sender.send(5, vector(9))
            assert answer.acknowledgements[0].durability == pb.DURABILITY_AT_ROOT
        async with running(tmp_path) as app:
            assert [row.vector for row in app.table.branches(key())] == [vector(5), vector(9)]
            assert app.table.forked_key_count() == 1
            assert app.published is not None
            assert app.published.snapshot.runs[0].account.fork_count == 1

    asyncio.run(scenario())


def bad_hello(**fields: Any) -> Callable[[Sender], pb.StreamReportsRequest]:
    """A first message whose hello says something else."""

    def build(sender: Sender) -> pb.StreamReportsRequest:
        message = sender.writer.hello(hello())
        message.hello.MergeFrom(pb.Hello(**fields))
        return message

    return build


def unstated_key(sender: Sender) -> pb.StreamReportsRequest:
    """A first message with a vector of a key nobody stated."""
    message = sender.writer.hello(hello())
    message.vectors.add(key_number=7, sequence=1, component_values=[1])
    return message


def negative_component(sender: Sender) -> pb.StreamReportsRequest:
    """A first message with a component below 0."""
    message = sender.writer.hello(hello())
    negative = KeyedVector(key(), 1, (-1, *vector(1)[1:]))
    message.MergeFrom(sender.writer.report(report([negative])))
    return message


FAULTS: dict[str, tuple[Callable[[Sender], pb.StreamReportsRequest], grpc.StatusCode, str]] = {
    "no hello": (
        lambda sender: pb.StreamReportsRequest(),
        grpc.StatusCode.INVALID_ARGUMENT,
        "must carry hello",
    ),
    "newer protocol": (
        bad_hello(protocol_version=2),
        grpc.StatusCode.FAILED_PRECONDITION,
        "upgrade the older side",
    ),
    "long name": (
        bad_hello(node="n" * 300),
        grpc.StatusCode.INVALID_ARGUMENT,
        "at most 256",
    ),
    "short incarnation": (
        bad_hello(incarnation=b"short"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "16 bytes",
    ),
    "simulated sender": (
        bad_hello(simulated=True),
        grpc.StatusCode.PERMISSION_DENIED,
        "started with --simulated",
    ),
    "unstated key": (unstated_key, grpc.StatusCode.INVALID_ARGUMENT, "never stated"),
    "negative component": (negative_component, grpc.StatusCode.INVALID_ARGUMENT, "outside 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_sender(tmp_path: Path, fault: str) -> None:
    """Each fault ends its stream with its own status and sentence; others are still served."""
    build, code, said = FAULTS[fault]

    async def scenario() -> None:
        async with running(tmp_path) as app:
            async with stream(app.grpc_address) as sender:
                status = await refused(sender, build(sender))
                assert (status.code(), said in (status.details() or "")) == (code, True), status
            assert app.intake.counts.refused_streams == 1
            assert app.intake.counts.open_streams == 0
            async with stream(app.grpc_address) as sender:
                await sender.greet()
                await sender.send(1, vector(1))

    asyncio.run(scenario())


def test_refused_streams_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is refused is named with the reason, once however often it tries again."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            for fault in ("simulated sender", "simulated sender", "short incarnation"):
                async with stream(app.grpc_address) as sender:
                    await refused(sender, FAULTS[fault][0](sender))

    asyncio.run(scenario())
    told = [vars(r) for r in caplog.records if r.getMessage() == "stream refused"]
    reasons = [row["flopmeter_fields"]["reason"] for row in told]
    assert ["started with --simulated" in reason for reason in reasons] == [True, False]
    assert {row["flopmeter_fields"]["peer"] for row in told} == {"ipv4:127.0.0.1"}
    assert {row["levelname"] for row in told} == {"WARNING"}


def test_memory_of_refusals_is_bounded() -> None:
    """Beyond the limit the oldest is forgotten, and would be logged again."""
    told = RefusedOnce(limit=2)
    assert [told.first("a", "1"), told.first("b", "1"), told.first("a", "1")] == [True, True, False]
    assert told.first("c", "1")
    assert [told.first("b", "1"), told.first("a", "1")] == [False, True]
    assert len(told) == 2


def test_simulated_device_of_a_real_node(tmp_path: Path) -> None:
    """A device marked as simulated is refused even where its node said it is real."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            keyed = KeyedVector(key(SIMULATED_RECORD), 1, vector(1))
            message = sender.writer.report(report([keyed], [SIMULATED_RECORD]))
            status = await refused(sender, message)
            assert status.code() == grpc.StatusCode.PERMISSION_DENIED
        assert stored(tmp_path) == {}

    asyncio.run(scenario())


def test_second_hello(tmp_path: Path) -> None:
    """Hello in the middle of a stream is refused: who sends may not change."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            status = await refused(sender, sender.writer.hello(hello()))
            assert status.code() == grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\xff" * 50, grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x0a\x05abc", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x0a" * (MAXIMUM_MESSAGE_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["garbage", "truncated", "oversized"],
)
def test_not_a_message(tmp_path: Path, raw: bytes, code: grpc.StatusCode) -> None:
    """Bytes that are no message, and messages that are too large, are the sender's fault."""

    async def scenario() -> None:
        async with (
            running(tmp_path) as app,
            channel(app.grpc_address, max_send_message_length=-1) as opened,
        ):
            call: Any = opened.stream_stream(METHOD)()
            await call.write(raw)
            assert await call.code() == code

    asyncio.run(scenario())


def test_streams_are_limited(tmp_path: Path) -> None:
    """One stream more than the limit is refused with a sentence; a free place is given again."""

    async def scenario() -> None:
        async with running(tmp_path, maximum_streams=1) as app:
            async with stream(app.grpc_address) as first:
                await first.greet()
                # A stream takes its place when it is opened, before it says anything.
                async with stream(app.grpc_address) as second:
                    status = await refused(second, second.writer.hello(hello()))
                assert status.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "maximum_streams" in (status.details() or "")
                await first.close()
            async with stream(app.grpc_address) as third:
                await third.greet()

    asyncio.run(scenario())


def test_nodes_are_remembered(tmp_path: Path) -> None:
    """What an agent said of itself, when it reported and what it estimates is kept for metrics."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet(hello(sensor="nvml"))
            keyed = KeyedVector(key(), 1, vector(1))
            shown = {"run:a": 10**20}
            await sender.exchange(sender.writer.report(report([keyed], display_flop=shown)))
            status = app.intake.nodes["node-1"]
            assert status.hello == hello(sensor="nvml")
            assert status.last_report_ns > 0
            assert (status.display_flop, status.streams) == (shown, 1)
            await sender.close()
            assert app.intake.nodes["node-1"].streams == 0

    asyncio.run(scenario())


def test_health(tmp_path: Path) -> None:
    """The standard health check finds the service serving."""

    async def ask(app: CollectorApp) -> int:
        async with channel(app.grpc_address) as opened:
            stub: Any = health_pb2_grpc.HealthStub(opened)
            name = "flopmeter.ingest.v1.IngestService"
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            return int(answer.status)

    async def scenario() -> None:
        async with running(tmp_path) as app:
            assert await ask(app) == health_pb2.HealthCheckResponse.SERVING

    asyncio.run(scenario())


def test_declarations_from_outside(tmp_path: Path) -> None:
    """A declaration written by another process changes the totals of the next round."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(1, vector(10))
            before = (await app.evaluate_now()).snapshot.runs[0]
            assert before.model == "a"
            await app.declare("a", {"model": "m"}, author="person", source="cli")
            after = (await app.evaluate_now()).snapshot
            assert [model.model for model in after.models] == ["m"]
            assert after.runs[0].account == dataclasses.replace(before.account)

    asyncio.run(scenario())


def test_record_of_another_device(tmp_path: Path) -> None:
    """Two devices of one node are two keys, each with its own record."""
    other = dataclasses.replace(RECORD, device="GPU-2")

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            keyed = [KeyedVector(key(), 1, vector(1)), KeyedVector(key(other), 2, vector(2))]
            await sender.exchange(sender.writer.report(report(keyed, [RECORD, other])))
            (run,) = (await app.evaluate_now()).snapshot.runs
            assert (run.account.node_count, run.account.device_count) == (1, 2)
        assert stored(tmp_path) == {1: vector(1), 2: vector(2)}

    asyncio.run(scenario())


def test_incarnation_is_the_hello_s(tmp_path: Path) -> None:
    """The test's own incarnation is the running one, or the boot-time test would prove nothing."""
    assert hello().incarnation == key().incarnation == INCARNATION


def test_an_orderly_stop_ends_streams_at_once(tmp_path: Path) -> None:
    """Each sender is told why at once, and the log holds no line for each, nor a traceback."""

    async def play(served: Child) -> None:
        async with contextlib.AsyncExitStack() as streams:
            opened = [await streams.enter_async_context(stream(served.address)) for _ in range(5)]
            for sender in opened:
                await sender.greet()
            served.process.send_signal(signal.SIGTERM)
            for sender in opened:
                status = await asyncio.wait_for(sender.ended(), 20.0)
                assert (status.code(), status.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPING)

    with child(tmp_path / "ledger.db") as served:
        asyncio.run(play(served))
        _, log = served.process.communicate(timeout=10)
        assert served.process.returncode == 0
    assert "Aborting" not in log
    assert "Traceback" not in log


def test_who_rests_for_its_pace_holds_up_no_stop(tmp_path: Path) -> None:
    """A sender that has sent more than its share is told at once too, and is not waited for."""

    async def scenario() -> None:
        async with (
            running(tmp_path, maximum_work_per_address_s=1_000) as app,
            stream(app.grpc_address) as sender,
        ):
            await sender.greet()
            (address,) = app._address_pace._busy_until_ns
            app._address_pace.add(address, 1_000 * (BURST_S + 20), SystemClock().monotonic_ns())
            await sender.exchange(sender.writer.report(report([KeyedVector(key(), 1, vector(1))])))
            began_s = asyncio.get_running_loop().time()
            await app.stop()
            assert asyncio.get_running_loop().time() - began_s < STOP_GRACE_S
            status = await asyncio.wait_for(sender.ended(), 20.0)
            assert (status.code(), status.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPING)

    asyncio.run(scenario())


def test_a_node_with_many_live_keys_waits_for_one_commit(tmp_path: Path) -> None:
    """20 users and phases on each of 8 devices are one commit, once they are stated."""
    asyncio.run(a_node_with_many_live_keys_waits_for_one_commit(tmp_path))


async def a_node_with_many_live_keys_waits_for_one_commit(tmp_path: Path) -> None:
    """As `test_a_node_with_many_live_keys_waits_for_one_commit` says."""
    records = [dataclasses.replace(RECORD, device=f"GPU-{number}") for number in range(8)]
    keys = [key(record, allocation=f"run:r{live}") for record in records for live in range(20)]
    async with running(tmp_path, evaluate_period_s=3_600) as app, stream(app.grpc_address) as sent:
        await sent.greet()
        await sent.exchange(
            sent.writer.report(report([KeyedVector(each, 1, vector(1)) for each in keys], records))
        )
        for sequence in range(2, 6):
            before = app._committer.commit_count
            rows = [KeyedVector(each, sequence, vector(sequence)) for each in keys]
            answer = await sent.exchange(sent.writer.report(report(rows, records)))
            assert len(answer.acknowledgements) == len(keys)
            assert app._committer.commit_count == before + 1


def test_an_ordinary_report_does_not_wait_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of more than a slice gives others their turn; it is no long work that gives way."""
    waited = []

    async def give_way(turns: Turns) -> None:
        waited.append(turns)

    async def reported() -> None:
        keys = [key(allocation=f"run:r{live}") for live in range(75)]
        async with (
            running(tmp_path, evaluate_period_s=3_600) as app,
            stream(app.grpc_address) as sent,
        ):
            await sent.greet()
            monkeypatch.setattr(Turns, "give_way", give_way)
            await sent.exchange(
                sent.writer.report(report([KeyedVector(each, 1, vector(1)) for each in keys]))
            )
            monkeypatch.undo()

    asyncio.run(reported())
    assert waited == []
