"""Rows of a block as one increment.

Owns: the columns of a stretch of readings, and their sum.
May touch: nothing; pure.
Called by bulk.metering; docs/adr/0036-bulk-telemetry.md.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter_core import suspicion
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.increments import Increment, increment
from flopmeter_core.readings import Reading
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence
from flopmeter_core.suspicion import Stillness

Cells = Sequence[int]


def widen(packed: memoryview) -> array[int]:
    """32-bit cells as 64-bit ones."""
    return array("q", packed)


def running(packed: memoryview, start: int) -> array[int]:
    """Cells that say what came since the row before, added up from `start`."""
    sums = array("q", itertools.accumulate(packed, initial=start))
    del sums[0]
    return sums


@dataclass(frozen=True, slots=True)
class Columns:
    """Readings of one device in order, a column for each thing read; all equally long."""

    evidence: Evidence
    monotonic_ns: Cells
    boottime_ns: Cells
    clock_khz: Cells | None = None
    power_mw: Cells | None = None
    energy_mj: Cells | None = None
    busy_ppm: Cells | None = None
    engine_ppm: Cells | None = None
    activity_ppm: Mapping[Component, Cells] = field(default_factory=dict)

    def reading(self, device: str, row: int) -> Reading:
        """One row as the reading an agent would have taken."""
        said = {name: cells[row] for name in OPTIONAL if (cells := getattr(self, name)) is not None}
        return Reading(
            device=device,
            evidence=self.evidence,
            monotonic_ns=self.monotonic_ns[row],
            boottime_ns=self.boottime_ns[row],
            activity_ppm={each: cells[row] for each, cells in self.activity_ppm.items()},
            **said,
        )


OPTIONAL = ("clock_khz", "power_mw", "energy_mj", "busy_ppm", "engine_ppm")


@dataclass(frozen=True, slots=True)
class Integrated:
    """The sum of a stretch.

    Attributes:
        amount: in sub-units, what is doubted already widened.
        doubted: readings that were doubted.
        stillness: of the device at the last row.
    """

    amount: Increment
    doubted: int
    stillness: Stillness


def integrate(
    columns: Columns,
    record: DeviceRecord,
    *,
    period_ns: int,
    allocated: bool,
    rated_power_w: int,
    stillness: Stillness,
) -> Integrated:
    """The sum of the periods between the rows.

    Args:
        columns: the rows; the first is where the first period begins.
        record: the device.
        period_ns: the sampling period.
        allocated: whether a user was confirmed.
        rated_power_w: of the device; 0 where it is not known.
        stillness: of the device at the first row.
    """
    total = [0] * COMPONENT_COUNT
    doubted = 0
    before = columns.reading(record.device, 0)
    for row in range(1, len(columns.monotonic_ns)):
        after = columns.reading(record.device, row)
        amount = increment(before, after, record, period_ns=period_ns, allocated=allocated)
        stillness = stillness.after(before, after)
        found = suspicion.inspect(
            before, after, record, stillness=stillness, rated_power_w=rated_power_w
        ) or suspicion.impossible_counts(record.device, amount)
        doubted += bool(found)
        for place, each in enumerate(suspicion.widened(amount, found)):
            total[place] += each
        before = after
    return Integrated(tuple(total), doubted, stillness)
