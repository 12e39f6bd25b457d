"""Many readings of one device at once: columns in, one exact increment out.

Owns: which checks a column needs, so that the sum is that of `increments` and `suspicion`.
May touch: nothing; pure functions of columns and the device record.
Called by the lab's bulk replay and import; docs/adr/0031-kernels-compiled-by-the-block.md.

The kernels take the usual periods; each other one is made into two readings and decided as if it
had come alone. What is usual is narrower than what is right: a doubt costs time, never a figure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from flopmeter_core import suspicion
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import DataError
from flopmeter_core.increments import (
    JITTER_PPM,
    LONGEST_SAMPLED_PERIODS,
    Increment,
    increment,
)
from flopmeter_core.kernels import columns as kernels
from flopmeter_core.readings import Reading
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence
from flopmeter_core.suspicion import Stillness
from flopmeter_core.units import PPM
from flopmeter_core.values import value_class

Column = Sequence[int]
"""One int64 a reading: an `array('q')`, or a memoryview of format q."""

BLOCK_ROWS = 8_192
"""Rows taken at a time: what is worked on then lies in the processor's nearer caches."""

_ACTIVITY = frozenset({Evidence.GPM, Evidence.DCGM_SAMPLED})
_NO_WORK = frozenset({Evidence.ENERGY, Evidence.POWER_SAMPLED, Evidence.ALLOCATION})

_GREATEST_PLAIN = (1 << 47) - 1
"""Above this a value may be a blank of DCGM or NVML (`suspicion.is_blank`)."""


@value_class(frozen=True, slots=True)
class Columns:
    """Readings of one device in time order, all of the same shape.

    Attributes:
        evidence: the rung of all of them; cumulative cycle counters are no columns.
        monotonic_ns, boottime_ns: time stamps; may be the same column.
        clock_khz, power_mw, energy_mj, busy_ppm, engine_ppm: as in `readings.Reading`; None where
            no reading said it.
        activity_ppm: a column for each component whose activity was read.
    """

    evidence: Evidence
    monotonic_ns: Column
    boottime_ns: Column
    clock_khz: Column | None = None
    power_mw: Column | None = None
    energy_mj: Column | None = None
    busy_ppm: Column | None = None
    engine_ppm: Column | None = None
    activity_ppm: Mapping[Component, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.monotonic_ns)

    def reading(self, row: int, device: str) -> Reading:
        """One row as a reading of a device."""
        return Reading(
            device=device,
            evidence=self.evidence,
            monotonic_ns=self.monotonic_ns[row],
            boottime_ns=self.boottime_ns[row],
            clock_khz=_at(self.clock_khz, row),
            power_mw=_at(self.power_mw, row),
            energy_mj=_at(self.energy_mj, row),
            busy_ppm=_at(self.busy_ppm, row),
            engine_ppm=_at(self.engine_ppm, row),
            activity_ppm={kind: column[row] for kind, column in self.activity_ppm.items()},
        )

    def part(self, first: int, stop: int) -> Columns:
        """Rows `first` to before `stop`, without a copy."""
        same = self.boottime_ns is self.monotonic_ns
        monotonic_ns = memoryview(self.monotonic_ns)[first:stop]  # type: ignore[arg-type]
        views = {
            name: memoryview(column)[first:stop]  # type: ignore[arg-type]
            for name, column in self._optional()
        }
        return Columns(
            self.evidence,
            monotonic_ns,
            monotonic_ns if same else memoryview(self.boottime_ns)[first:stop],  # type: ignore[arg-type]
            activity_ppm={
                kind: memoryview(column)[first:stop]  # type: ignore[arg-type]
                for kind, column in self.activity_ppm.items()
            },
            **views,
        )

    def check(self) -> None:
        """Refuse what the kernels cannot read in place.

        Raises:
            DataError: a column that is no contiguous run of int64, or of another length.
        """
        if self.evidence is Evidence.CYCLES:
            raise DataError("cumulative cycle counters cannot be taken in columns; replay them")
        named = [("monotonic_ns", self.monotonic_ns), ("boottime_ns", self.boottime_ns)]
        named += self._optional()
        named += [(kind.name.lower(), column) for kind, column in self.activity_ppm.items()]
        for name, column in named:
            view = memoryview(column)  # type: ignore[arg-type]
            if view.format != "q" or not view.c_contiguous or view.ndim != 1:
                raise DataError(f"column {name} is no contiguous run of 64-bit integers")
            if len(view) != len(self):
                raise DataError(f"column {name} has {len(view)} rows, not {len(self)}")

    def _optional(self) -> list[tuple[str, Column]]:
        named = [
            ("clock_khz", self.clock_khz),
            ("power_mw", self.power_mw),
            ("energy_mj", self.energy_mj),
            ("busy_ppm", self.busy_ppm),
            ("engine_ppm", self.engine_ppm),
        ]
        return [(name, column) for name, column in named if column is not None]


@value_class(frozen=True, slots=True)
class Integrated:
    """What a stretch of readings adds to a register.

    Attributes:
        amount: the increment in sub-units: the sum over all its periods.
        doubted: how many periods were not the usual case.
        stillness: of the device after the last row.
    """

    amount: Increment
    doubted: int
    stillness: Stillness


def integrate(
    columns: Columns,
    record: DeviceRecord,
    *,
    first: int = 0,
    period_ns: int,
    allocated: bool,
    rated_power_w: int = 0,
    stillness: Stillness = Stillness(),  # noqa: B008 -- frozen
) -> Integrated:
    """Add up the increments of all periods of a stretch.

    Args:
        columns: readings in time order; a stretch has one user at both ends of each period.
        record: the device as it was over the whole stretch.
        first: the row the first period begins at; it is the baseline and adds nothing itself.
        period_ns: the sampling period.
        allocated: whether a user of the device was confirmed.
        rated_power_w: rated power of the part in W; 0 where it is not known.
        stillness: of the device at row `first`.

    Returns:
        Exactly what `increments.increment` and `suspicion` give, period by period.

    Raises:
        DataError: columns that are no int64 of the same length, or of a rung without columns.
    """
    columns.check()
    amount = [0] * COMPONENT_COUNT
    doubted = 0
    rule = _Rule(record, period_ns, allocated, rated_power_w)
    while first + 1 < len(columns):
        part = columns.part(first, min(first + BLOCK_ROWS + 1, len(columns)))
        found, stillness = rule.take(part, amount, stillness)
        doubted += found
        first += BLOCK_ROWS
    return Integrated(tuple(amount), doubted, stillness)


def judged(
    before: Reading,
    after: Reading,
    record: DeviceRecord,
    *,
    period_ns: int,
    allocated: bool,
    rated_power_w: int,
    stillness: Stillness,
) -> Increment:
    """The increment of one period, its time made suspect where its reading is doubted.

    Args:
        before: the reading at its begin.
        after: the reading at its end.
        record: the device.
        period_ns: the sampling period.
        allocated: whether a user was confirmed over it.
        rated_power_w: rated power in W; 0 where it is not known.
        stillness: of the device, `after` included.
    """
    before = suspicion.as_baseline(before, record)
    amount = increment(before, after, record, period_ns=period_ns, allocated=allocated)
    suspicions = suspicion.inspect(
        before, after, record, stillness=stillness, rated_power_w=rated_power_w
    ) or suspicion.impossible_counts(record.device, amount)
    return suspicion.widened(amount, suspicions)


class _Rule:
    """What is usual of one device, and what usual periods add."""

    def __init__(
        self, record: DeviceRecord, period_ns: int, allocated: bool, rated_power_w: int
    ) -> None:
        self._record = record
        self._period_ns = period_ns
        self._allocated = allocated
        self._rated_power_w = rated_power_w
        self._greatest_mw = suspicion.GREATEST_POWER_W * 1_000 * record.device_count
        self._loud_mw = 0
        if record.energy_scope is EnergyScope.GPU:
            self._loud_mw = rated_power_w * suspicion.LOUD_POWER_PPM // 1_000
        self._words = array("Q", bytes(24))

    def take(self, part: Columns, amount: list[int], stillness: Stillness) -> tuple[int, Stillness]:
        """Add what a block of rows makes; returns how many were in doubt, and the stillness."""
        count = len(part)
        elapsed, busy, loudest = (array("q", bytes(8 * count)) for _ in range(3))
        doubts = bytearray(count)
        longest_ns = kernels.LONGEST_NS
        if not part.evidence.integrates:
            longest_ns = min(longest_ns, LONGEST_SAMPLED_PERIODS * self._period_ns)
        kernels.spans(part.monotonic_ns, part.boottime_ns, longest_ns, elapsed, doubts)
        self._doubt(part, elapsed, loudest, doubts)
        kernels.settle(elapsed, loudest, doubts, busy)
        if part.evidence in _NO_WORK:
            busy = elapsed if self._allocated else array("q", bytes(8 * count))
        elif part.evidence is Evidence.BUSY_SAMPLED and part.busy_ppm is not None:
            kernels.share_of(elapsed, part.busy_ppm, PPM, busy)
        self._add_time(part, elapsed, busy, doubts, amount)
        self._add_work(part, elapsed, busy, amount)
        return self._decide(part, doubts, amount, stillness)

    def _doubt(
        self, part: Columns, elapsed: array[int], loudest: array[int], doubts: bytearray
    ) -> None:
        """Mark what is not usual, and find the greatest activity of each row."""
        record, active = self._record, part.evidence in _ACTIVITY
        limits = (
            (part.clock_khz, 1 if active else 0, suspicion.greatest_clock_khz(record)),
            (part.power_mw, 0, min(self._greatest_mw, _GREATEST_PLAIN)),
            (part.energy_mj, 0, _GREATEST_PLAIN),
            (part.busy_ppm, 0, _GREATEST_PLAIN),
            (part.engine_ppm, 0, suspicion.GREATEST_SHARE_PPM),
            *((column, 0, suspicion.GREATEST_SHARE_PPM) for column in part.activity_ppm.values()),
        )
        for column, least, greatest in limits:
            if column is not None:
                kernels.within(column, least, greatest, doubts)
        known = max(self._greatest_mw, self._loud_mw) < kernels.GREATEST_MW
        if not known or not _has_difference(part):
            doubts[1:] = b"\1" * (len(doubts) - 1)
        silence = -1
        if active:
            shares = [*part.activity_ppm.values()]
            shares += [] if part.engine_ppm is None else [part.engine_ppm]
            for column in shares:
                kernels.raise_to(column, loudest)
            # Beside no other counter, tensor activity has to be 0 to be silent.
            silence = suspicion.SILENCE_PPM if len(shares) > 1 else 0
            counted = record.sm_count or part.evidence is Evidence.DCGM_SAMPLED
            if part.clock_khz is not None and counted and record.max_sm_clock_mhz:
                limit = record.max_sm_clock_mhz * 1_000 * (PPM + JITTER_PPM)
                most = array("q", [PPM]) * len(part)
                kernels.raise_to(loudest, most)
                kernels.fast(part.clock_khz, most, min(limit, kernels.GREATEST), doubts)
        if known:
            self._doubt_silence(part, elapsed, loudest, silence, doubts)

    def _doubt_silence(
        self,
        part: Columns,
        elapsed: array[int],
        loudest: array[int],
        silence: int,
        doubts: bytearray,
    ) -> None:
        """Mark periods without activity that power or utilisation may speak against."""
        greatest_mw, loud_mw = self._greatest_mw, self._loud_mw
        if part.energy_mj is not None:
            kernels.energy_steps(
                part.energy_mj, elapsed, greatest_mw, loud_mw, loudest, silence, doubts
            )
        elif part.power_mw is not None and loud_mw:
            kernels.loud_in_silence(part.power_mw, loud_mw, loudest, silence, doubts)
        if part.busy_ppm is not None:
            loud_ppm = suspicion.LOUD_BUSY_PPM
            kernels.loud_in_silence(part.busy_ppm, loud_ppm, loudest, silence, doubts)

    def _add_time(
        self,
        part: Columns,
        elapsed: array[int],
        busy: array[int],
        doubts: bytearray,
        amount: list[int],
    ) -> None:
        """Time and energy of the usual periods."""
        busy_ns, all_ns = kernels.total_of(busy), kernels.total_of(elapsed)
        amount[Component.BUSY_NS] += busy_ns
        amount[Component.IDLE_NS] += all_ns - busy_ns
        amount[Component.SUSPENDED_NS] += _covered_ns(part, doubts) - all_ns
        if part.energy_mj is not None:
            # Two sub-units are a nJ: `registers.SUBUNITS_PER_MJ`.
            amount[Component.ENERGY_MJ] += kernels.kept_steps(part.energy_mj, doubts) * 2 * 10**9
        elif part.power_mw is not None:
            # The sum of both ends times the time: what `trapezoid` adds up.
            power = memoryview(part.power_mw)  # type: ignore[arg-type]
            spans = memoryview(elapsed)
            amount[Component.ENERGY_MJ] += self._dot(power[1:], spans[1:])
            amount[Component.ENERGY_MJ] += self._dot(power[:-1], spans[1:])

    def _add_work(
        self,
        part: Columns,
        elapsed: array[int],
        busy: array[int],
        amount: list[int],
    ) -> None:
        """Cycles of the usual periods: what `active_cycles` adds up."""
        clock = part.clock_khz
        if clock is None:
            return
        work = array("q", bytes(8 * len(part)))
        kernels.means(clock, work)
        amount[Component.BUSY_MEGACYCLES] += PPM * self._dot(work, busy)
        if part.evidence not in _ACTIVITY:
            return
        # An exporter never says how many SMs a device has: its cycles are those of one.
        unsaid = 1 if part.evidence is Evidence.DCGM_SAMPLED else 0
        units = self._record.sm_count or unsaid
        kernels.weights(elapsed, clock, work)
        if Component.SM_ELAPSED_MEGACYCLES not in part.activity_ppm:
            amount[Component.SM_ELAPSED_MEGACYCLES] += PPM * units * self._dot(clock, elapsed)
        for component, column in part.activity_ppm.items():
            amount[component] += units * self._dot(column, work)

    def _dot(self, first: Column, second: Column) -> int:
        words = self._words
        kernels.dot(first, second, words)
        return words[2] << 128 | words[1] << 64 | words[0]

    def _decide(
        self, part: Columns, doubts: bytearray, amount: list[int], stillness: Stillness
    ) -> tuple[int, Stillness]:
        """Take the periods in doubt one by one."""
        found, last = 0, 0
        device = self._record.device
        for row in _marked(doubts):
            before, after = part.reading(row - 1, device), part.reading(row, device)
            if row - 1 > last:
                # A usual period before it: there something had moved.
                stillness = Stillness(0, before.monotonic_ns)
            stillness = stillness.after(before, after)
            one = judged(
                before,
                after,
                self._record,
                period_ns=self._period_ns,
                allocated=self._allocated,
                rated_power_w=self._rated_power_w,
                stillness=stillness,
            )
            for place, subunits in enumerate(one):
                amount[place] += subunits
            found, last = found + 1, row
        if last < len(part) - 1:
            stillness = Stillness(0, part.monotonic_ns[len(part) - 1])
        return found, stillness


def _at(column: Column | None, row: int) -> int | None:
    return None if column is None else column[row]


def _has_difference(part: Columns) -> bool:
    """Whether its readings have what their rung is told by (`increments.NoDifferenceError`)."""
    if part.evidence in _ACTIVITY:
        return part.clock_khz is not None and bool(part.activity_ppm)
    if part.evidence in (Evidence.ENERGY, Evidence.POWER_SAMPLED):
        return part.energy_mj is not None or part.power_mw is not None
    return part.evidence is not Evidence.BUSY_SAMPLED or part.busy_ppm is not None


def _covered_ns(part: Columns, doubts: bytearray) -> int:
    """Boot time of the usual periods."""
    first, last = part.boottime_ns[0], part.boottime_ns[len(part) - 1]
    marked = sum(part.boottime_ns[row] - part.boottime_ns[row - 1] for row in _marked(doubts))
    return last - first - marked


def _marked(doubts: bytearray) -> Iterator[int]:
    """The rows in doubt."""
    row = doubts.find(1)
    while row >= 0:
        yield row
        row = doubts.find(1, row + 1)
