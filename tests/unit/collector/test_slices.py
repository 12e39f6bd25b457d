"""A round in slices: what comes between two of them changes no figure but by what it says."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable

from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.sightings import Sighting
from flopmeter_collector.slices import ROWS_SLICE, Slices
from flopmeter_collector.totals import Totals
from flopmeter_core.registers import Component, Evidence, Key
from flopmeter_core.reports import KeyedVector
from flopmeter_core.units import NS_PER_S
from support.manual_clock import ManualClock
from support.totals import POSITION, h100, table, vector_of

BEGAN_NS = 1_790_000_000 * NS_PER_S
DEVICES = ROWS_SLICE + 10
"""So many that a round gives way while rows are left to count."""

FIRST, SECOND = 0, 1
"""Agents of each device: one from 100 s to 900 s after the boot, one from 1,000 s on."""


class Fleet:
    """Devices whose agents report, and rounds in between."""

    def __init__(self) -> None:
        self.registers, self.totals = RegisterTable(), Totals(table())
        self.records = [h100(f"GPU-{number}", node=f"n{number}") for number in range(DEVICES)]
        self.slices = Slices(self.registers, self.totals, ManualClock(), self._give_way)
        self.meanwhile: Callable[[], None] = lambda: None
        self._sequences: dict[Key, int] = {}

    async def _give_way(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()

    def report(self, at_s: int, agent: int) -> None:
        """Every agent of that number reports that its device was idle since the agent began."""
        for number, record in enumerate(self.records):
            incarnation = f"{2 * number + agent:032x}"
            key = Key(record.device, incarnation, "run:a", 0, Evidence.GPM, record.record_id)
            sequence = self._sequences[key] = self._sequences.get(key, 0) + 1
            idle_ns = (at_s - (100, 1_000)[agent]) * NS_PER_S
            vector, boot_ns = vector_of({Component.IDLE_NS: idle_ns}), at_s * NS_PER_S
            now_ns = BEGAN_NS + boot_ns
            if sequence == 1:
                keyed = KeyedVector(key, sequence, vector, boot_ns)
                self.registers.merge(keyed, record)
                self.registers.newcomers.meet(key, record, now_ns)
                self.registers.sightings.note_read(keyed)
            else:
                places = array("q", [self.registers.rows.place(key)])
                assert self.registers.grow(places, array("q", [sequence, boot_ns, *vector]), {})
            sighting = Sighting(record.node, "boot", boot_ns, now_ns)
            self.registers.sightings.note_live(incarnation, sighting)

    async def round(self, meanwhile: Callable[[], None] = lambda: None) -> list[Coverage]:
        """A round of totals, during which something happens once it gives way."""
        self.registers.take_uncommitted()
        changes, sightings = self.registers.take_uncounted(), self.registers.sightings.take()
        self.meanwhile = meanwhile
        await self.slices.count(changes, sightings)
        rows = await self.slices.place(sightings)
        self.totals.residuals.take_doubled()
        return rows

    def residual_ns(self, at_s: int) -> int:
        """What nobody classified of all devices."""
        told = self.totals.snapshot(BEGAN_NS + at_s * NS_PER_S, POSITION)
        return told.unattributed.residual_ns + sum(run.account.residual_ns for run in told.runs)


def test_a_report_during_a_round_makes_no_agent_begin_earlier() -> None:
    """Between two agents nobody measured for 100 s, whatever comes while a round is under way."""

    async def lived() -> tuple[int, list[int]]:
        fleet, placed = Fleet(), []
        for at_s, agent in ((200, FIRST), (900, FIRST), (1_030, SECOND), (1_060, SECOND)):
            fleet.report(at_s, agent)
            await fleet.round()
        fleet.report(1_090, SECOND)
        placed += await fleet.round(lambda: fleet.report(1_120, SECOND))
        placed += await fleet.round()
        since = [row.since_ns for row in placed if row.since_ns is not None]
        return fleet.residual_ns(1_130), since

    residual_ns, since = asyncio.run(lived())
    assert residual_ns == DEVICES * 100 * NS_PER_S
    assert all(each >= 1_000 * NS_PER_S for each in since)
