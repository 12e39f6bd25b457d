"""One vector over every way into a ledger: what becomes of it depends on its content alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flopmeter_collector.app import CollectorApp
from flopmeter_collector.held_rows import HeldRows
from flopmeter_core.batches import RelayBatch, RelayHello
from flopmeter_core.registers import Key
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from flopmeter_proto.wire.batch import BatchWriter
from support.collector import running
from support.ingest import (
    BOOT_NS,
    RECORD,
    SECOND_NS,
    Sender,
    channel,
    hello,
    key,
    report,
    stream,
    vector,
)

BOOTED_S = 600
COUNTED, HELD = pb.DURABILITY_AT_ROOT, pb.DURABILITY_QUARANTINED

Route = Callable[[CollectorApp, KeyedVector], Awaitable[int]]


async def as_running(app: CollectorApp, keyed: KeyedVector, *, boot_ns: int = BOOT_NS) -> int:
    """From the agent that writes the key, long after it was read."""
    async with stream(app.grpc_address) as sender:
        await sender.greet(hello(incarnation=keyed.key.incarnation))
        return await told(sender, keyed, boot_ns=boot_ns)


async def as_closed(app: CollectorApp, keyed: KeyedVector) -> int:
    """From a later agent of the node, after a reboot."""
    async with stream(app.grpc_address) as sender:
        await sender.greet(hello(incarnation="f" * 32))
        return await told(sender, keyed, boot_ns=SECOND_NS)


async def told(sender: Sender, keyed: KeyedVector, *, boot_ns: int) -> int:
    """What a collector says of a vector on an agent's stream."""
    answer = await sender.exchange(sender.writer.report(report([keyed], boot_ns=boot_ns)))
    # A relay that was quick says in the same answer that the root has it too.
    return answer.acknowledgements[0].durability


async def as_relayed(app: CollectorApp, keyed: KeyedVector) -> int:
    """From a relay that took it, whatever its own rules are."""
    writer = BatchWriter()
    async with channel(app.grpc_address) as opened:
        call = pb_grpc.IngestServiceStub(opened).StreamBatches()
        await call.write(writer.hello(RelayHello("relay-1", False, "1", ("e" * 32,))))
        await call.read()
        await call.write(writer.batch(RelayBatch((), {RECORD.record_id: RECORD}, (keyed,))))
        answer = await call.read()
        call.cancel()
    assert isinstance(answer, pb.StreamBatchesResponse)
    (durability,) = answer.durabilities
    return durability


ROUTES: tuple[Route, ...] = (as_running, as_closed, as_relayed)


@dataclass
class Keys:
    """A new key for each case."""

    drawn: int = 0

    def vector(self, seconds: int, boot_ns: int | None) -> KeyedVector:
        """A vector of a key that no collector has seen."""
        self.drawn += 1
        of: Key = key(incarnation=f"{self.drawn:032x}")
        return KeyedVector(of, 3, vector(seconds), boot_ns)


def test_the_route_decides_nothing(tmp_path: Path) -> None:
    """Time since boot travels with a vector: running, closed, relayed, again, in any order."""

    async def scenario() -> None:
        keys = Keys()
        async with running(tmp_path) as app:
            for first, second in itertools.product(ROUTES, ROUTES):
                for seconds, expected in ((BOOTED_S, COUNTED), (BOOTED_S + 2, HELD)):
                    keyed = keys.vector(seconds, BOOTED_S * SECOND_NS)
                    said = [await route(app, keyed) for route in (first, second)]
                    assert said == [expected] * 2, (first, second, seconds)
                    assert bool(app.table.branches(keyed.key)) == (expected == COUNTED)

    asyncio.run(scenario())


def test_an_older_agent_says_no_boot_time(tmp_path: Path) -> None:
    """Then its running vector has the report's; what is held stays so when it comes as closed."""

    async def scenario() -> None:
        keys = Keys()
        async with running(tmp_path) as app:
            keyed = keys.vector(BOOTED_S + 2, None)
            assert await as_running(app, keyed, boot_ns=BOOTED_S * SECOND_NS) == HELD
            for route in (as_closed, as_relayed):
                assert await route(app, keyed) == HELD
                assert not app.table.branches(keyed.key)
            # Nobody said of this one how long its boot had been.
            assert await as_closed(app, keys.vector(BOOTED_S + 2, None)) == COUNTED

    asyncio.run(scenario())


@pytest.mark.parametrize("said", [True, False])
def test_a_relay_passes_it_on(tmp_path: Path, said: bool) -> None:
    """The root judges by the time the agent said at the relay, or the relay by its report."""

    async def scenario() -> None:
        keyed = Keys().vector(BOOTED_S, BOOTED_S * SECOND_NS if said else None)
        (tmp_path / "root").mkdir()
        (tmp_path / "relay").mkdir()
        quick = {"forward_period_s": 0.05, "evaluate_period_s": 0.05}
        async with (
            running(tmp_path / "root", **quick) as root,
            running(tmp_path / "relay", upstream=root.grpc_address, **quick) as relay,
        ):
            boot_ns = (BOOTED_S if not said else BOOTED_S + 9) * SECOND_NS
            assert await as_running(relay, keyed, boot_ns=boot_ns) == pb.DURABILITY_HERE
            async with asyncio.timeout(20):
                while not root.table.branches(keyed.key):
                    await asyncio.sleep(0.02)
            (stored,) = root.table.branches(keyed.key)
            assert stored.boot_ns == BOOTED_S * SECOND_NS

    asyncio.run(scenario())


def test_what_a_person_released_is_judged_anew_upstream(tmp_path: Path) -> None:
    """A relay's person speaks for the relay: the root holds the vector, after a restart too."""

    async def scenario() -> None:
        keyed = Keys().vector(BOOTED_S + 2, BOOTED_S * SECOND_NS)
        async with running(tmp_path) as app:
            assert await as_closed(app, keyed) == HELD
            (row,) = app.table.quarantine.held()
            released = replace(row, released=1)
            app.table.restore({RECORD.record_id: RECORD}, (), [released])
            assert await as_closed(app, keyed) == COUNTED
            (stored,) = app.table.branches(keyed.key)
            assert stored.boot_ns == keyed.boot_ns
            # As a start finds it: the ledger keeps the time with the quarantined row.
            app.table.rows = HeldRows()
            bare = replace(stored, boot_ns=None)
            app.table.restore({RECORD.record_id: RECORD}, [bare], [released])
            assert app.table.branches(keyed.key)[0].boot_ns == keyed.boot_ns

    asyncio.run(scenario())
