"""Relays over real gRPC: what reaches the root, what agents are told, and who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from flopmeter_collector.app import CollectorApp
from flopmeter_collector.http.relay import RelayStatus
from flopmeter_collector.relay import forwarder
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.errors import UsageError
from flopmeter_core.reports import KeyedVector, Report
from flopmeter_core.writers import fingerprint, key_digest
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from support.certificates import Authority
from support.collector import running
from support.ingest import Sender, channel, hello, hourly, key, report, stream, vector
from support.processes import free_port

METHOD = "/flopmeter.ingest.v1.IngestService/StreamBatches"
HERE, ROOT = pb.DURABILITY_HERE, pb.DURABILITY_AT_ROOT
QUICK = {"forward_period_s": 0.05, "evaluate_period_s": 0.05}


@contextlib.asynccontextmanager
async def relaying(folder: Path, upstream: str, **changes: Any) -> AsyncIterator[CollectorApp]:
    """A relay in this process."""
    folder.mkdir(exist_ok=True)
    async with running(folder, upstream=upstream, **{**QUICK, **changes}) as app:
        yield app


@contextlib.asynccontextmanager
async def chain(folder: Path, length: int) -> AsyncIterator[list[CollectorApp]]:
    """A root and relays one behind the other; the last is the one agents report to."""
    async with contextlib.AsyncExitStack() as stack:
        (folder / "root").mkdir()
        apps = [await stack.enter_async_context(running(folder / "root", **QUICK))]
        for number in range(length):
            upstream = apps[-1].grpc_address
            relay = relaying(folder / f"relay-{number}", upstream)
            apps.append(await stack.enter_async_context(relay))
        yield apps


async def until(what: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.02)


async def told_at_root(sender: Sender, sequence: int, answer: pb.StreamReportsResponse) -> None:
    """Ask with empty reports until the relay says that the root has it.

    Args:
        sender: the stream.
        sequence: what the root is to have.
        answer: the last one: the relay says it once, and perhaps there already.
    """
    async with asyncio.timeout(20):
        while not any(
            ack.durability == ROOT and ack.sequence >= sequence for ack in answer.acknowledgements
        ):
            await asyncio.sleep(0.02)
            answer = await sender.exchange(sender.writer.report(Report({}, (), 1, 1)))
            assert all(ack.durability == ROOT for ack in answer.acknowledgements)


def status(app: CollectorApp) -> RelayStatus:
    """What a relay says of itself."""
    assert app.relay is not None
    return app.relay.status()


def held(app: CollectorApp) -> dict[Any, Any]:
    """Everything a collector's table holds."""
    return {k: [(b.sequence, b.vector) for b in branches] for k, branches in app.table.items()}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_root_has_what_agents_sent(tmp_path: Path, length: int) -> None:
    """Through any number of relays; a vector is durable here first and at the root later."""

    async def scenario() -> None:
        async with chain(tmp_path, length) as apps, stream(apps[-1].grpc_address) as sender:
            await sender.greet()
            answer = await sender.send(1, vector(5))
            assert answer.acknowledgements[0].durability in (HERE, ROOT)
            await told_at_root(sender, 1, answer)
            answer = await sender.send(2, vector(9), phase=3)
            await told_at_root(sender, 2, answer)
            assert held(apps[0]) == held(apps[-1])
            assert len(held(apps[0])) == 2
            await until(lambda: "node-1" in apps[0].intake.nodes)
            assert apps[0].intake.nodes["node-1"].hello == hello()

    asyncio.run(scenario())


def test_two_relays_without_a_root(tmp_path: Path) -> None:
    """What the next relay has is not at the root: nobody below is told so until it is."""

    async def scenario() -> None:
        async with (
            relaying(tmp_path / "middle", "127.0.0.1:9") as middle,
            relaying(tmp_path / "below", middle.grpc_address) as below,
            stream(below.grpc_address) as sender,
        ):
            await sender.greet()
            await sender.send(1, vector(5))
            await until(lambda: held(middle) == held(below))
            await until(lambda: status(below).batches >= status(below).vectors + 3)
            answer = await sender.exchange(sender.writer.report(Report({}, (), 1, 1)))
            assert list(answer.acknowledgements) == []

    asyncio.run(scenario())


def test_hours_claims_and_forks_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the stream carries reaches the root's ledger."""
    monkeypatch.setattr(forwarder, "NODE_PERIOD_NS", 10**7)
    claim = Claim(ClaimKey("a", "1", ClaimScope.RANK, 0, "ab" * 16, 0, 1), ClaimCounts(9, 9, 8, 7))

    async def scenario() -> None:
        async with chain(tmp_path, 2) as apps, stream(apps[-1].grpc_address) as sender:
            await sender.greet()
            hours = (hourly(0, 1, vector(4)), hourly(1, 2, vector(5)))
            sent = report([KeyedVector(key(), 3, vector(9))], hours=hours)
            sent = replace(sent, display_flop={"run:a": 77}, claims=(claim,))
            message = sender.writer.report(sent)
            answer = await sender.exchange(message)
            assert [ack.durability for ack in answer.hourly_acknowledgements] == [HERE, HERE]
            shown = apps[0].intake.nodes
            await until(lambda: "node-1" in shown and shown["node-1"].display_flop)
            assert shown["node-1"].display_flop == {"run:a": 77}
            await told_at_root(sender, 3, answer)
            # Two writers on one key of another phase: both branches arrive.
            await sender.send(5, vector(9), phase=1)
            await sender.send(5, vector(8), phase=1)
            await until(lambda: len(apps[0].table.branches(key(phase=1))) == 2)
            root = apps[0]._committer
            await until(lambda: len(root._table.claims) == 1)

            arrived: list[Any] = []
            while len(arrived) < 2:
                await asyncio.sleep(0.02)
                arrived = await root.read(lambda ledger: list(ledger.hours("run:a")))
            assert arrived == list(hours)
            assert held(apps[0]) == held(apps[1]) == held(apps[2])

    asyncio.run(scenario())


def test_an_outage_upstream_loses_nothing(tmp_path: Path) -> None:
    """Agents go on at the relay; what it took, over a restart too, is at the root in the end."""

    async def scenario() -> None:
        (tmp_path / "root").mkdir()
        async with running(tmp_path / "root", **QUICK) as root:
            address = root.grpc_address
        for sequence in (1, 2):
            async with (
                relaying(tmp_path / "relay", address) as relay,
                stream(relay.grpc_address) as sender,
            ):
                await sender.greet()
                answer = await sender.send(sequence, vector(sequence), phase=sequence)
                assert [ack.durability for ack in answer.acknowledgements] == [HERE]
                await until(lambda: status(relay).last_error)
                assert status(relay).backlog_keys == sequence
        async with (
            running(tmp_path / "root", grpc_listen=address, **QUICK) as root,
            relaying(tmp_path / "relay", address) as relay,
        ):
            await until(lambda: held(root) == held(relay))
            await until(lambda: status(relay).backlog_keys == 0)
            assert status(relay).connected

    asyncio.run(scenario())


def test_a_root_with_a_new_disk_gets_everything_again(tmp_path: Path) -> None:
    """From the relay's ledger; and agents behind it are made to send again too."""

    async def scenario() -> None:
        (tmp_path / "root").mkdir()
        (tmp_path / "new").mkdir()
        async with contextlib.AsyncExitStack() as stack:
            root = await stack.enter_async_context(running(tmp_path / "root", **QUICK))
            relay = await stack.enter_async_context(relaying(tmp_path / "relay", root.grpc_address))
            sender = await stack.enter_async_context(stream(relay.grpc_address))
            await sender.greet()
            answer = await sender.send(1, vector(5))
            await told_at_root(sender, 1, answer)
            before = (await sender.send(2, vector(6))).ledger_generation
            await root.stop()
            new = await stack.enter_async_context(
                running(tmp_path / "new", grpc_listen=root.grpc_address, **QUICK)
            )
            await until(lambda: held(new) == held(relay) and not status(relay).backlog_keys)
            # An agent that sees the other generation sends what it was told of before.
            answer = await sender.send(2, vector(6))
            assert answer.ledger_generation != before
            assert [ack.durability for ack in answer.acknowledgements] == [HERE, ROOT]
            assert status(relay).losses == 1

    asyncio.run(scenario())


def test_a_lost_relay_disk(tmp_path: Path) -> None:
    """Another ledger id makes the agents send again; the root's figure stays as it is."""

    async def scenario() -> None:
        (tmp_path / "root").mkdir()
        async with running(tmp_path / "root", **QUICK) as root:
            ids = []
            for disk in ("one", "two"):
                async with (
                    relaying(tmp_path / disk, root.grpc_address) as relay,
                    stream(relay.grpc_address) as sender,
                ):
                    ids.append((await sender.greet()).ledger_id)
                    answer = await sender.send(4, vector(5))
                    await told_at_root(sender, 4, answer)
            assert ids[0] != ids[1]
            assert held(root) == {key(): [(4, vector(5))]}

    asyncio.run(scenario())


def test_two_parents(tmp_path: Path) -> None:
    """One agent at two relays of one root, and a relay that changes its parent: counted once."""

    async def scenario() -> None:
        async with chain(tmp_path, 1) as (root, left):
            async with relaying(tmp_path / "right", root.grpc_address) as right:
                for relay in (left, right):
                    async with stream(relay.grpc_address) as sender:
                        await sender.greet()
                        answer = await sender.send(4, vector(5))
                        await told_at_root(sender, 4, answer)
            async with relaying(tmp_path / "right", left.grpc_address) as right:
                await until(lambda: status(right).backlog_keys == 0)
                assert status(right).losses == 1
            assert held(root) == {key(): [(4, vector(5))]}

    asyncio.run(scenario())


async def asked(sender: Sender) -> pb.Doubt:
    """Report until the stream is asked whether a vector is its agent's; once it is, no more."""
    doubts: list[pb.Doubt] = []
    async with asyncio.timeout(20):
        while not doubts:
            await asyncio.sleep(0.02)
            answer = await sender.exchange(sender.writer.report(Report({}, (), 1, 1)))
            doubts = list(answer.doubts)
    answer = await sender.exchange(sender.writer.report(Report({}, (), 1, 1)))
    assert not answer.doubts
    (doubt,) = doubts
    return doubt


@pytest.mark.parametrize("sequence", [7, 70])
@pytest.mark.parametrize("twin_at", ["root", "right"])
def test_the_other_writer_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twin_at: str, sequence: int
) -> None:
    """Of an ended clone's vector, which came through a relay, below its own or in its place."""
    monkeypatch.setattr(forwarder, "NODE_PERIOD_NS", 10**7)

    async def scenario() -> None:
        async with (
            chain(tmp_path, 1) as (root, left),
            relaying(tmp_path / "right", root.grpc_address) as right,
            stream((root if twin_at == "root" else right).grpc_address) as twin,
            stream(left.grpc_address) as ended,
            stream(left.grpc_address) as neighbour,
        ):
            await twin.greet()
            await twin.send(57, vector(57))
            await until(lambda: root.table.branches(key()))
            # A stream that never stated the key: the agent is in another incarnation now.
            await twin.close()
            async with stream((root if twin_at == "root" else right).grpc_address) as twin:
                await twin.greet(hello(incarnation="b" * 32))
                await twin.send(1, vector(1), incarnation="b" * 32)
                await neighbour.greet(hello(node="node-2"))
                await ended.greet(hello(incarnation="a" * 32))
                await ended.send(sequence, vector(sequence))
                doubt = await asked(twin)
            assert (doubt.node, doubt.key_digest) == ("node-1", key_digest(key()))
            assert (doubt.held_sequence, doubt.held_fingerprint) == (
                sequence,
                fingerprint(sequence, vector(sequence)),
            )
            answer = await neighbour.exchange(neighbour.writer.report(Report({}, (), 1, 1)))
            assert not answer.doubts

    asyncio.run(scenario())


def test_who_moved_is_asked(tmp_path: Path) -> None:
    """A relay that kept its vector, and got the other one late, asks through its upstream."""

    async def scenario() -> None:
        async with (
            chain(tmp_path, 1) as (root, left),
            stream(left.grpc_address) as twin,
            stream(left.grpc_address) as ended,
        ):
            await twin.greet()
            await twin.send(57, vector(57))
            await until(lambda: root.table.branches(key()))
            await twin.close()
            async with stream(root.grpc_address) as moved:
                await moved.greet(hello(incarnation="b" * 32))
                await ended.greet(hello(incarnation="a" * 32))
                await ended.send(7, vector(5))
                assert (await asked(moved)).held_sequence == 7

    asyncio.run(scenario())


def test_loops_are_refused(tmp_path: Path) -> None:
    """A relay that is its own upstream, and two that are each other's, hear why."""

    async def scenario() -> None:
        own = f"127.0.0.1:{free_port()}"
        async with relaying(tmp_path / "self", own, grpc_listen=own) as relay:
            await until(lambda: status(relay).refused)
            assert "would thus forward to itself" in status(relay).last_error
            async with stream(own) as sender:
                await sender.greet()
                answer = await sender.send(1, vector(5))
                assert answer.acknowledgements[0].durability == HERE
        first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        async with (
            relaying(tmp_path / "a", second, grpc_listen=first) as a,
            relaying(tmp_path / "b", first, grpc_listen=second) as b,
        ):
            await until(lambda: status(a).refused or status(b).refused)

    asyncio.run(scenario())


def test_a_simulated_relay_and_a_real_root(tmp_path: Path) -> None:
    """Made-up readings are refused at the hello, before any vector."""

    async def scenario() -> None:
        (tmp_path / "root").mkdir()
        async with (
            running(tmp_path / "root", **QUICK) as root,
            relaying(tmp_path / "relay", root.grpc_address, simulated=True) as relay,
        ):
            await until(lambda: status(relay).refused)
            assert "sends simulated readings" in status(relay).last_error
            assert held(root) == {}

    asyncio.run(scenario())


def test_an_agents_mark_cannot_hide_in_a_batch(tmp_path: Path) -> None:
    """A second hello on a relay's stream, and garbage, end it with a sentence."""

    async def scenario() -> None:
        (tmp_path / "root").mkdir()
        async with (
            running(tmp_path / "root", **QUICK) as root,
            channel(root.grpc_address) as opened,
        ):
            for raw, status in (
                (b"\xff\xff garbage", grpc.StatusCode.INVALID_ARGUMENT),
                (pb.StreamBatchesRequest().SerializeToString(), grpc.StatusCode.INVALID_ARGUMENT),
                (
                    pb.StreamBatchesRequest(
                        hello=pb.RelayHello(protocol_version=9, relay="r")
                    ).SerializeToString(),
                    grpc.StatusCode.FAILED_PRECONDITION,
                ),
            ):
                call: Any = opened.stream_stream(
                    "/flopmeter.ingest.v1.IngestService/StreamBatches"
                )()
                await call.write(raw)
                with pytest.raises(grpc.aio.AioRpcError):
                    await call.read()
                assert await call.code() == status

    asyncio.run(scenario())


def test_plaintext_stays_on_this_host(tmp_path: Path) -> None:
    """A relay says how to forward to another host, and does so only when it is allowed."""

    async def scenario() -> None:
        with pytest.raises(UsageError, match="give upstream_tls_ca, or allow it with"):
            async with relaying(tmp_path, "192.0.2.7:8425"):
                pass
        assert not (tmp_path / "ledger.db").exists()
        async with relaying(tmp_path, "192.0.2.7:8425", allow_plaintext=True) as relay:
            assert not status(relay).connected

    asyncio.run(scenario())


@pytest.mark.parametrize("shown", ["own", "none", "stranger"])
def test_a_relay_shows_the_certificate_of_its_site(tmp_path: Path, shown: str) -> None:
    """A root that asks for certificates takes what a relay of its authority forwards, only that."""
    authority, stranger = Authority(tmp_path, "fleet"), Authority(tmp_path, "stranger")
    root_pair = authority.sign("root")
    signer = {"own": authority, "stranger": stranger}.get(shown)
    changes: dict[str, Any] = {"upstream_tls_ca": authority.certificate}
    if signer is not None:
        pair = signer.sign("site")
        changes |= {"upstream_tls_cert": pair.certificate, "upstream_tls_key": pair.key}
    asked = {
        "tls_cert": root_pair.certificate,
        "tls_key": root_pair.key,
        "tls_client_ca": authority.certificate,
        "relays": ("site",),
    }

    async def scenario() -> None:
        (tmp_path / "root").mkdir()
        async with (
            running(tmp_path / "root", **QUICK, **asked) as root,
            relaying(tmp_path / "relay", root.grpc_address, **changes) as relay,
            stream(relay.grpc_address) as sender,
        ):
            await sender.greet()
            answer = await sender.send(1, vector(5))
            if shown == "own":
                await told_at_root(sender, 1, answer)
                assert held(root) == held(relay) != {}
            else:
                await until(lambda: status(relay).last_error)
                assert not status(relay).connected
                assert held(root) == {}
                assert status(relay).backlog_keys == 1

    asyncio.run(scenario())


def test_a_relay_forwards_to_no_root_it_does_not_trust(tmp_path: Path) -> None:
    """A root of another authority, or one without TLS, gets nothing from a relay."""
    authority, stranger = Authority(tmp_path, "fleet"), Authority(tmp_path, "stranger")
    pair = stranger.sign("root")
    served: list[dict[str, Any]] = [{"tls_cert": pair.certificate, "tls_key": pair.key}, {}]

    async def scenario(number: int, changes: dict[str, Any]) -> None:
        folder = tmp_path / f"root-{number}"
        folder.mkdir()
        trusted = {"upstream_tls_ca": authority.certificate}
        async with (
            running(folder, **QUICK, **changes) as root,
            relaying(tmp_path / f"relay-{number}", root.grpc_address, **trusted) as relay,
            stream(relay.grpc_address) as sender,
        ):
            await sender.greet()
            await sender.send(1, vector(5))
            await until(lambda: status(relay).last_error)
            assert held(root) == {}
            assert len(held(relay)) == 1

    for number, changes in enumerate(served):
        asyncio.run(scenario(number, changes))


def test_a_site_says_what_it_is(tmp_path: Path) -> None:
    """Page, JSON and metrics of a relay are marked, and hold no threshold."""

    async def scenario() -> None:
        address = f"127.0.0.1:{free_port()}"
        async with relaying(tmp_path, address, http_listen="127.0.0.1:0") as relay:

            def fetch(path: str) -> str:
                with urllib.request.urlopen(f"http://{relay.http_address}{path}") as answer:
                    return str(answer.read().decode())

            page = await asyncio.to_thread(fetch, "/")
            assert (
                f"Site view: these totals are of what reports here; the collector {address}" in page
            )
            totals = json.loads(await asyncio.to_thread(fetch, "/api/v1/totals"))
            assert totals["site_view"].startswith("Site view")
            metrics = await asyncio.to_thread(fetch, "/metrics")
            assert "flopmeter_site_view 1" in metrics
            assert "flopmeter_relay_upstream_connected 0" in metrics
            assert relay.thresholds == ()

    asyncio.run(scenario())
