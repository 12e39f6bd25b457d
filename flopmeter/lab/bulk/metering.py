"""One series becomes registers: as an agent would have counted it, a block at a time.

Owns: the way of a series through the agent's accumulator, and the vectors at the ends of days.
May touch: the one file it is given, read only.
Called by bulk.load, in processes of its own; docs/adr/0036-bulk-telemetry.md.

The first row of a block goes the way of every reading of an agent; between the rows of a block
core.columns adds up, which gives the same registers to the unit. Nothing here depends on when,
where or how often a series is read: its keys are those of its identity, so that what is counted
twice is the same vector twice.
"""

from __future__ import annotations

import bisect
import functools
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flopmeter.lab.bulk.series_file import (
    ACTIVITY,
    ROWS_MAXIMUM,
    RUNNING,
    SINCE_NS,
    Block,
    SeriesHead,
    SeriesReader,
)
from flopmeter_agent.accumulate import Accumulator
from flopmeter_core.allocations import NONE
from flopmeter_core.columns import Columns, integrate, judged
from flopmeter_core.devices import DeviceTable, builtin_parts
from flopmeter_core.errors import DataError, unreadable
from flopmeter_core.increments import LONGEST_SAMPLED_PERIODS
from flopmeter_core.kernels.columns import running, widen
from flopmeter_core.packed import Sums, shape_of
from flopmeter_core.readings import Reading
from flopmeter_core.registers import COMPONENT_COUNT, Component, Key
from flopmeter_core.reports import HourlyVector, KeyedVector
from flopmeter_core.suspicion import Stillness
from flopmeter_core.units import NS_PER_HOUR

DAY_HOURS = 24
_DAY_NS = DAY_HOURS * NS_PER_HOUR

_ALONE = frozenset({"energy_mj", "busy_ppm", "engine_ppm"})
"""Columns that need more than the sums over packed rows tell."""

_ACTIVITIES = {ACTIVITY + component.name.lower(): component for component in Component}


@dataclass(slots=True)
class Metered:
    """What became of one series.

    Attributes:
        head: of the series.
        vectors: the newest vector of each key.
        hours: each key's vector at the end of each day it grew in.
        rows: readings in it.
        doubted: readings that were looked at one by one.
        first_ns, last_ns: time of its first and last reading in ns since its time 0.
    """

    head: SeriesHead
    vectors: list[KeyedVector] = field(default_factory=list)
    hours: list[HourlyVector] = field(default_factory=list)
    rows: int = 0
    doubted: int = 0
    first_ns: int = 0
    last_ns: int = 0


def meter_file(
    path: Path, passed: Callable[[int, int], None] = lambda size_bytes, rows: None
) -> Metered:
    """Meter a series.

    Args:
        path: its file.
        passed: told bytes and rows of each block that was metered.

    Raises:
        UsageError: it cannot be read.
        DataError: it is garbled, or its times go back.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            reader = SeriesReader(stream, str(path))
            meter = _Meter(reader.head, str(path))
            before = 0
            for block in reader.blocks():
                meter.take(block)
                passed(reader.offset - before, block.rows)
                before = reader.offset
            return meter.end()
    except OSError as error:
        raise unreadable(path, error) from error


class _Meter:
    """The registers of one series."""

    def __init__(self, head: SeriesHead, name: str) -> None:
        self._name = name
        self._head = head
        rated_w = _parts().recognise(head.record).power_w
        self._rated_w = rated_w
        self._accumulator = Accumulator(head.identity, head.period_ns, lambda record: rated_w)
        # Written over by each block: to reserve and clear them anew costs as much as to fill them.
        self._wide = {
            name: memoryview(array("q", bytes(8 * ROWS_MAXIMUM)))
            for name in (SINCE_NS, *head.columns)
        }
        self._packed = _packed(head, rated_w)
        self._told: dict[Key, int] = {}
        self._grew_at: dict[Key, int] = {}
        self._since_hour = 0
        self._last_ns: int | None = None
        self._metered = Metered(head)

    def take(self, block: Block) -> None:
        """Add a block."""
        if block.first_ns < 0:
            raise DataError(f"{self._name} has a block from before its own time 0")
        if self._last_ns is None:
            self._metered.first_ns = block.first_ns
        elif block.first_ns < self._last_ns:
            raise DataError(
                f"{self._name} has a block that begins at {block.first_ns} ns, where the one "
                f"before had come to {self._last_ns}; write the series in the order of time"
            )
        if self._packed is not None:
            self._take_packed(self._packed, block)
            return
        columns = self._columns(block)
        times, start = columns.monotonic_ns, 0
        for stop in _day_ends(times):
            self._turn(times[start])
            self._stretch(columns.part(start, stop), block.user, self._metered.rows + start)
            start = stop
        self._metered.rows += block.rows

    def _take_packed(self, packed: Sums, block: Block) -> None:
        """Add a block as it lies there: usual rows at once, each other row by itself."""
        head, record = self._head, self._head.record
        row, now_ns = 0, block.first_ns
        while row < block.rows:
            # The first row of a block or day goes the way of every reading.
            self._turn(now_ns)
            last = _reading(head, block, row, now_ns)
            suspicions = self._accumulator.observe(record, last, allocation=block.user)
            self._grew(self._metered.rows + row + 1)
            self._metered.doubted += bool(suspicions)
            day_ends_ns = (now_ns // _DAY_NS + 1) * _DAY_NS
            amount, begun = [0] * COMPONENT_COUNT, row
            row += 1
            while row < block.rows:
                row, taken_ns = packed.take(
                    block.cells, block.rows, row, day_ends_ns - 1 - now_ns, amount
                )
                now_ns += taken_ns
                if row == block.rows:
                    break
                after_ns = now_ns + block.columns[SINCE_NS][row]
                if after_ns >= day_ends_ns:
                    break
                before = _reading(head, block, row - 1, now_ns)
                self._judge(before, _reading(head, block, row, after_ns), block.user, amount)
                row, now_ns = row + 1, after_ns
            if row - 1 > begun:
                last = _reading(head, block, row - 1, now_ns)
                self._accumulator.take_stretch(
                    record.device, last, tuple(amount), Stillness(0, now_ns)
                )
                self._grew(self._metered.rows + row)
            self._last_ns = now_ns
            if row < block.rows:
                now_ns += block.columns[SINCE_NS][row]
        self._metered.rows += block.rows

    def _judge(self, before: Reading, after: Reading, user: str, amount: list[int]) -> None:
        """Add a period that is not usual."""
        # Without a counter of energy nothing of such readings is told by their standing still.
        one = judged(
            before,
            after,
            self._head.record,
            period_ns=self._head.period_ns,
            allocated=user != NONE,
            rated_power_w=self._rated_w,
            stillness=Stillness(0, after.monotonic_ns),
        )
        for place, subunits in enumerate(one):
            amount[place] += subunits
        self._metered.doubted += 1

    def end(self) -> Metered:
        """The vectors of everything taken."""
        self._close_day()
        metered = self._metered
        metered.last_ns = self._last_ns or 0
        metered.vectors = [
            KeyedVector(key, self._grew_at[key], register.vector, register.boot_ns)
            for key, register in self._accumulator.registers.items()
        ]
        return metered

    def _grew(self, rows: int) -> None:
        """Note with how many rows registers stand where they do: their sequence.

        Additions are counted by the block, and the last block of a series that is packed again
        with more rows holds more in as many additions: one sequence of two vectors, a fork.
        """
        for key in self._accumulator.grown:
            self._grew_at[key] = rows
        self._accumulator.grown.clear()

    def _columns(self, block: Block) -> Columns:
        """A block's cells as columns of 64 bits; they hold until the next block."""
        wide: dict[str, Any] = {}
        for name, cells in block.columns.items():
            column: Any = self._wide[name][: block.rows]
            wide[name] = column
            if name in RUNNING:
                running(cells, block.bases[name], column)
            elif name == SINCE_NS:
                running(cells, block.first_ns, column)
            else:
                widen(cells, 1, column)
        times = wide.pop(SINCE_NS)
        names = [name for name in self._head.columns if name in _ACTIVITIES]
        return Columns(
            evidence=self._head.evidence,
            monotonic_ns=times,
            boottime_ns=times,
            activity_ppm={_ACTIVITIES[name]: wide.pop(name) for name in names},
            **wide,
        )

    def _stretch(self, columns: Columns, user: str, before: int) -> None:
        """Rows of one day, with so many before them: the first by itself, then all that follow."""
        record = self._head.record
        first, last = columns.reading(0, record.device), columns.reading(-1, record.device)
        doubted = self._accumulator.observe(record, first, allocation=user)
        self._grew(before + 1)
        self._metered.doubted += bool(doubted)
        if len(columns.monotonic_ns) > 1:
            integrated = integrate(
                columns,
                record,
                period_ns=self._head.period_ns,
                allocated=user != NONE,
                rated_power_w=self._rated_w,
                stillness=self._accumulator.devices[record.device].stillness,
            )
            self._accumulator.take_stretch(
                record.device, last, integrated.amount, integrated.stillness
            )
            self._grew(before + len(columns.monotonic_ns))
            self._metered.doubted += integrated.doubted
        self._last_ns = last.monotonic_ns

    def _turn(self, now_ns: int) -> None:
        """Close the day of the last reading when the next one lies in a later one."""
        last_ns = self._last_ns
        if last_ns is None or last_ns // _DAY_NS == now_ns // _DAY_NS:
            return
        self._close_day()
        self._since_hour = now_ns // _DAY_NS * DAY_HOURS
        if now_ns - last_ns > LONGEST_SAMPLED_PERIODS * self._head.period_ns:
            # What the first reading after a gap brings may have come about anywhere in it.
            self._since_hour = min(self._since_hour, last_ns // NS_PER_HOUR)

    def _close_day(self) -> None:
        if self._last_ns is None:
            return
        for key, register in self._accumulator.registers.items():
            sequence = self._grew_at[key]
            if sequence == self._told.get(key):
                continue
            self._told[key] = sequence
            self._metered.hours.append(
                HourlyVector(
                    key,
                    sequence,
                    register.vector,
                    self._since_hour,
                    self._last_ns,
                    self._head.epoch_ns + self._last_ns,
                )
            )


def _packed(head: SeriesHead, rated_w: int) -> Sums | None:
    """What adds the blocks of a series up as they lie there, where they are of that shape."""
    place = {name: number for number, name in enumerate(head.columns, start=1)}
    if place.keys() & _ALONE:
        return None
    shape = shape_of(
        head.record,
        head.evidence,
        clock_place=place.get("clock_khz", 0),
        power_place=place.get("power_mw", 0),
        activity_places=[(_ACTIVITIES[name], place[name]) for name in place if name in _ACTIVITIES],
        period_ns=head.period_ns,
        rated_power_w=rated_w,
    )
    return None if shape is None else Sums(shape)


def _reading(head: SeriesHead, block: Block, row: int, at_ns: int) -> Reading:
    """A row without running columns as a reading."""
    said: dict[str, Any] = {name: block.columns[name][row] for name in head.columns}
    activity = {_ACTIVITIES[name]: said.pop(name) for name in head.columns if name in _ACTIVITIES}
    return Reading(
        device=head.record.device,
        evidence=head.evidence,
        monotonic_ns=at_ns,
        boottime_ns=at_ns,
        activity_ppm=activity,
        **said,
    )


def _day_ends(times: Sequence[int]) -> Iterator[int]:
    """Where each day's rows end."""
    start = 0
    while start < len(times):
        start = bisect.bisect_left(times, (times[start] // _DAY_NS + 1) * _DAY_NS, start)
        yield start


@functools.cache
def _parts() -> DeviceTable:
    return builtin_parts()
