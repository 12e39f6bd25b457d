"""What hourly vectors say of when work was done, held against when it was read.

A row says in which time its increment came about; a cut puts work on a side by that. Nothing of it
is in the comparison of registers at the end of a simulation.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.plan import plan_for
from flopmeter.lab.simulation.world import World
from flopmeter_collector.split import Told, reach_ns, told_after
from flopmeter_core.registers import Key, covered_ns
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_S

SAMPLE_S = 60
SLACK_NS = (2 * SAMPLE_S + 1) * NS_PER_S
"""An hour is told no more exactly than two sampling periods."""

FAULTS = tuple(name for name in TABLE if name != "wall_step")
"""A wall clock that steps has no one time that work was done at."""


class Watch:
    """When each sequence of each key was read, on the clock of its node."""

    def __init__(self, world: World) -> None:
        """Look on at each sample."""
        self._world = world
        self._sampled = world.oracle.sampled
        self.read_ns: dict[Key, dict[int, int]] = {}
        world.oracle.sampled = self.sampled  # type: ignore[method-assign]

    def sampled(self, node: str, loop: Any, seen: Any, **kept: Any) -> None:
        """Note what is new."""
        wall_ns = self._world.nodes[node].clock.wall_ns()
        for key, register in loop.accumulator.registers.items():
            self.read_ns.setdefault(key, {}).setdefault(register.sequence, wall_ns)
        self._sampled(node, loop, seen, **kept)

    def outside(self, key: Key, sequences: range, from_ns: int, until_ns: int | None) -> list[int]:
        """Which increments lie outside of a time."""
        written = self._world.oracle.history
        found = []
        for sequence in sequences:
            read_ns = self.read_ns.get(key, {}).get(sequence)
            vector, before = (written.vector(key, each) for each in (sequence, sequence - 1))
            if read_ns is None or not any(vector) or (sequence > 1 and not any(before)):
                continue  # it was read and never journaled
            began_ns = read_ns - (covered_ns(vector) - covered_ns(before))
            if began_ns < from_ns - SLACK_NS or (until_ns is not None and read_ns >= until_ns):
                found.append(sequence)
        return found


def misplaced(world: World, watch: Watch, newest: Mapping[Key, int]) -> list[tuple[Key, list[int]]]:
    """The increments of the root's rows, and beyond them, that are said to be of another time."""
    found: list[tuple[Key, list[int]]] = []
    before: dict[Key, tuple[HourlyVector, Told]] = {}
    ledger = world.site._ledger
    assert ledger is not None
    for allocation in ledger.inner.allocations():
        for row in ledger.inner.hours(allocation):
            last, told = before.get(row.key, (None, None))
            since = last.sequence if last is not None else 0
            more = range(since + 1, row.sequence + 1)
            found.append((row.key, watch.outside(row.key, more, *reach_ns(row, told))))
            before[row.key] = row, told_after(row, last, told)
    for key, (last, told) in before.items():
        more = range(last.sequence + 1, newest.get(key, 0) + 1)
        found.append((key, watch.outside(key, more, told.wall_ns, None)))
    shared = world.oracle.history.shared
    return [(key, sequences) for key, sequences in found if sequences and key not in shared]


@pytest.mark.parametrize("seed", [1, 5])
def test_no_work_is_told_of_another_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever is silent, lost, put back, cloned or late: each increment lies where it is told."""
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    plan = plan_for(seed, nodes=3, devices=2, hours=8, sample_s=SAMPLE_S, faults=FAULTS)
    world = World(plan, tmp_path)
    watch = Watch(world)
    try:
        ledger, converged = world.run()
        assert converged and not world.oracle.violations
        newest = {key: max(each.sequence for each in held) for key, held in ledger.items()}
        assert watch.read_ns
        assert misplaced(world, watch, newest) == []
    finally:
        world.close()
