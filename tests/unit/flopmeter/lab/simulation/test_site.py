"""A simulated collector's process and disk, before and between its lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flopmeter.lab.simulation.clock import Killed
from flopmeter.lab.simulation.plan import plan_for
from flopmeter.lab.simulation.site import CommitFault, FaultyLedger, SimulatedServer
from flopmeter.lab.simulation.world import World
from flopmeter_collector.ledger.base import Batch, StoredVector
from flopmeter_core.errors import StorageError
from flopmeter_core.reports import LedgerPosition
from support.ingest import key, vector


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A small world in which nothing has moved yet."""
    made = World(plan_for(1, nodes=1, devices=1, hours=0.2), tmp_path, keep_trace=True)
    yield made
    made.close()


def events(world: World, what: str) -> int:
    """How often something happened at the collector."""
    return sum(f" {what} " in f" {line} " for line in world.trace.lines or ())


def test_a_process_is_there_once(world: World) -> None:
    """A second start is none, and neither is a kill of what does not run."""
    site = world.site
    site.kill()
    assert (site.alive, events(world, "kill")) == (False, 0)
    site.start()
    site.start()
    assert (site.alive, events(world, "start")) == (True, 1)
    site.kill()
    site.kill(power=True)
    assert (site.alive, events(world, "kill"), events(world, "power_cut")) == (False, 1, 0)


def test_an_empty_disk(world: World) -> None:
    """There is nothing to back up, and an empty one in its place is as empty."""
    site = world.site
    assert site.backup() is None and site.vectors() == []
    site.restore(None)
    assert site.backup() is None


def test_a_torn_copy(world: World, tmp_path: Path) -> None:
    """What was durable stays whole; a log that was begun anew since is not touched."""
    site, before = world.site, tmp_path / "before"
    before.mkdir()
    (site._files / "ledger.db-wal").write_bytes(b"durable and more")
    (before / "ledger.db-wal").write_bytes(b"durable")
    torn = (site.torn_copy(before) / "ledger.db-wal").read_bytes()
    assert torn.startswith(b"durable") and len(torn) < len(b"durable and more")
    (before / "ledger.db-wal").write_bytes(b"another log")
    assert (site.torn_copy(before) / "ledger.db-wal").read_bytes() == b"another log"


def test_who_is_dead_commits_nothing(world: World) -> None:
    """A process that was killed does not get to the end of its commit."""
    ledger = FaultyLedger(None, world.site)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        ledger.commit(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("fault", [None, *CommitFault])
def test_faults_of_a_commit(world: World, fault: CommitFault | None, shared: bool) -> None:
    """Each strikes once, at a commit of vectors; what was stored before it is there."""
    site, stored = world.site, []

    class Inner:
        def commit(self, batch: Batch) -> LedgerPosition:
            stored.append(batch)
            return LedgerPosition("l", 1, len(stored))

    site.start()
    site._server, site.figures = (cast(Any, object()) if shared else None), None
    ledger = FaultyLedger(cast(Any, Inner()), site)
    (site._files / "ledger.db-wal").write_bytes(b"of some length")
    row = StoredVector(key(), 0, 1, vector(1))
    site.fault = fault
    ledger.commit(Batch())
    assert (site.fault, len(stored)) == (fault, 1), "a commit without vectors is not struck"
    error = {
        None: None,
        CommitFault.FAILED_BEFORE: StorageError,
        CommitFault.FAILED_AFTER: StorageError,
    }.get(fault, Killed)
    with contextlib.nullcontext() if error is None else pytest.raises(error):
        ledger.commit(Batch(vectors=(row,)))
    before = {CommitFault.FAILED_BEFORE, CommitFault.KILLED_BEFORE}
    # A server's commit is never half there: one that tears is none at all.
    lost = fault in before or (shared and fault is CommitFault.TORN)
    assert len(stored) == (1 if lost else 2)
    assert (ledger.torn is not None) is (fault is CommitFault.TORN and not shared)
    assert site.fault is None
    ledger.commit(Batch(vectors=(row,)))
    site._server = None
    site.group = None


def test_who_is_dead_serves_nobody(world: World) -> None:
    """A server of a process that was killed neither begins to serve nor ends another one's."""
    site, told = world.site, []

    class Wire:
        def serve(self, *_: object) -> None:
            told.append("serves")

        def stop_serving(self, *_: object, noticed: bool) -> None:
            told.append("stops")

    site.start()
    group = site.group
    assert group is not None
    service = SimpleNamespace(stream_reports=None, stream_batches=None)
    server = SimulatedServer(cast(Any, Wire()), cast(Any, service), group)
    asyncio.run(server.start())
    asyncio.run(server.stop())
    assert told == ["serves", "stops"]
    site.kill()
    asyncio.run(server.start())
    asyncio.run(server.stop())
    assert told == ["serves", "stops"]


def test_a_node_that_is_off_does_not_sleep(world: World) -> None:
    """Nothing is suspended that has no power, or that sleeps already."""
    (node,) = world.nodes.values()
    node.cut_power()
    node.suspend(10)
    assert not node.asleep
    node.close()
