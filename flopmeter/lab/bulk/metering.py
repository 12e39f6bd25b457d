"""One series becomes registers: as an agent would have counted it, a block at a time.

Owns: the way of a series through the agent's accumulator, and the vectors at the ends of days.
May touch: the one file it is given, read only.
Called by bulk.load, in processes of its own; docs/adr/0036-bulk-telemetry.md.

The first row of a block goes the way of every reading of an agent; between the rows of a block
core.columns integrates, which gives the same registers to the unit. Nothing here depends on when,
where or how often a series is read: its keys are those of its identity, so that what is counted
twice is the same vector twice.
"""

from __future__ import annotations

import bisect
import functools
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flopmeter.lab.bulk.series_file import (
    ACTIVITY,
    RUNNING,
    SINCE_NS,
    Block,
    SeriesHead,
    SeriesReader,
)
from flopmeter.lab.bulk.stretch import Columns, integrate, running, widen
from flopmeter_agent.accumulate import Accumulator
from flopmeter_core.allocations import NONE
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceTable, parse_device_table
from flopmeter_core.errors import DataError
from flopmeter_core.increments import LONGEST_SAMPLED_PERIODS
from flopmeter_core.registers import Component, Key
from flopmeter_core.reports import HourlyVector, KeyedVector
from flopmeter_core.units import NS_PER_HOUR

DAY_HOURS = 24
_DAY_NS = DAY_HOURS * NS_PER_HOUR

_ACTIVITIES = {ACTIVITY + component.name.lower(): component for component in Component}


@dataclass(slots=True)
class Metered:
    """What became of one series.

    Attributes:
        head: of the series.
        vectors: the newest vector of each key.
        hours: each key's vector at the end of each day it grew in.
        rows: readings in it.
        doubted: readings that were doubted.
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
        DataError: it cannot be read, is garbled, or its times go back.
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
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


class _Meter:
    """The registers of one series."""

    def __init__(self, head: SeriesHead, name: str) -> None:
        self._name = name
        self._head = head
        rated_w = _parts().recognise(head.record).power_w
        self._rated_w = rated_w
        self._accumulator = Accumulator(head.identity, head.period_ns, lambda record: rated_w)
        self._told: dict[Key, int] = {}
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
        times = running(block.columns[SINCE_NS], block.first_ns)
        wide = {
            name: running(cells, block.bases[name]) if name in RUNNING else widen(cells)
            for name, cells in block.columns.items()
            if name != SINCE_NS
        }
        start = 0
        for stop in _day_ends(times):
            self._turn(times[start])
            self._stretch(_part(self._head, times, wide, start, stop), block.user)
            start = stop
        self._metered.rows += block.rows

    def end(self) -> Metered:
        """The vectors of everything taken."""
        self._close_day()
        metered = self._metered
        metered.last_ns = self._last_ns or 0
        metered.vectors = [
            KeyedVector(key, register.sequence, register.vector, register.boot_ns)
            for key, register in self._accumulator.registers.items()
        ]
        return metered

    def _stretch(self, columns: Columns, user: str) -> None:
        """Rows of one day: the first by itself, then all that follow it."""
        record = self._head.record
        first, last = columns.reading(record.device, 0), columns.reading(record.device, -1)
        doubted = self._accumulator.observe(record, first, allocation=user)
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
            if register.sequence == self._told.get(key):
                continue
            self._told[key] = register.sequence
            self._metered.hours.append(
                HourlyVector(
                    key,
                    register.sequence,
                    register.vector,
                    self._since_hour,
                    self._last_ns,
                    self._head.epoch_ns + self._last_ns,
                )
            )


def _part(
    head: SeriesHead, times: array[int], wide: Mapping[str, array[int]], start: int, stop: int
) -> Columns:
    """Some rows of a block as columns; nothing is copied."""
    parts = {name: memoryview(cells)[start:stop] for name, cells in wide.items()}
    activity = {_ACTIVITIES[name]: parts.pop(name) for name in wide if name in _ACTIVITIES}
    part_times = memoryview(times)[start:stop]
    return Columns(
        evidence=head.evidence,
        monotonic_ns=part_times,
        boottime_ns=part_times,
        activity_ppm=activity,
        **parts,
    )


def _day_ends(times: array[int]) -> Iterator[int]:
    """Where each day's rows end."""
    start = 0
    while start < len(times):
        start = bisect.bisect_left(times, (times[start] // _DAY_NS + 1) * _DAY_NS, start)
        yield start


@functools.cache
def _parts() -> DeviceTable:
    return parse_device_table(builtin_table("devices.toml"))
