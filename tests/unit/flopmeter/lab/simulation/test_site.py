"""A simulated collector's process and disk, before and between its lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter.lab.simulation.clock import Killed
from flopmeter.lab.simulation.plan import plan_for
from flopmeter.lab.simulation.site import FaultyLedger
from flopmeter.lab.simulation.world import World


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


def test_a_node_that_is_off_does_not_sleep(world: World) -> None:
    """Nothing is suspended that has no power, or that sleeps already."""
    (node,) = world.nodes.values()
    node.cut_power()
    node.suspend(10)
    assert not node.asleep
    node.close()
