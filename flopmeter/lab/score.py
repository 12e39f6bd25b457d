"""Scores the ladder: a recording and its truth become rows of estimated against true FLOP.

Owns: what a rung would have seen of a recording, the figures of that, and containment.
May touch: nothing; pure functions of recordings, truths and the device table.
Called by lab.calibrate and lab.scoreboard. The figures are made by the agent's accumulator and
the collector's totals, so that a score is of the meter and not of a second formula.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from flopmeter.lab.importers.base import NodeRecording, Recording
from flopmeter_agent.accumulate import Accumulator
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.totals import Totals
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Interval
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Evidence, Key, Vector

RUNGS: Mapping[str, Evidence] = {
    "cycles": Evidence.CYCLES,
    "gpm": Evidence.GPM,
    "energy": Evidence.ENERGY,
    "busy": Evidence.BUSY_SAMPLED,
    "allocation": Evidence.ALLOCATION,
}
"""The rungs a recording can be estimated on again, best first."""

_INCARNATION = "0" * 32


@dataclass(frozen=True, slots=True)
class Truth:
    """What a workload really did.

    Attributes:
        workload: its name.
        model_flop: by the model's formula; None where nobody agrees on one.
        executed_flop: what the silicon was given to do; None likewise.
    """

    workload: str
    model_flop: int | None
    executed_flop: int | None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One workload on one rung under one declaration.

    Attributes:
        truth: of the workload.
        rung: a name of `RUNGS`.
        declared: what the run declared, field by field.
        interval: estimated, in FLOP; None where the recording has nothing for the rung.
    """

    truth: Truth
    rung: str
    declared: Mapping[str, str]
    interval: Interval | None

    @property
    def best_over_true(self) -> float | None:
        """Best over executed FLOP; None without either, and for work of no FLOP."""
        if self.interval is None or not self.truth.executed_flop:
            return None
        return self.interval.best / self.truth.executed_flop

    @property
    def width(self) -> float | None:
        """Upper over lower; None where lower is 0."""
        if self.interval is None or not self.interval.lower:
            return None
        return self.interval.upper / self.interval.lower

    @property
    def likely_held(self) -> bool | None:
        """Whether lower..upper contains the executed FLOP."""
        return self._held(likely=True)

    @property
    def hard_held(self) -> bool | None:
        """Whether floor..ceiling contains the executed FLOP."""
        return self._held(likely=False)

    def _held(self, *, likely: bool) -> bool | None:
        true, found = self.truth.executed_flop, self.interval
        if true is None or found is None:
            return None
        low, high = (found.lower, found.upper) if likely else (found.floor, found.ceiling)
        return low <= true <= high


@dataclass(frozen=True, slots=True)
class RungScore:
    """All rows of one rung that have a truth and an estimate.

    Attributes:
        rung: its name.
        cases: how many rows.
        likely_count, hard_count: in how many the interval contains the executed FLOP.
        ratio_median: of best over true; None where no row has one.
        ratio_worst: the one farthest from 1, as a factor up or down.
        width_median: of upper over lower.
    """

    rung: str
    cases: int
    likely_count: int
    hard_count: int
    ratio_median: float | None
    ratio_worst: float | None
    width_median: float | None


def score_rung(rung: str, rows: Iterable[ScoreRow]) -> RungScore:
    """Count one rung's rows; those without truth or estimate are no cases."""
    cases = [row for row in rows if row.rung == rung and row.likely_held is not None]
    ratios = [row.best_over_true for row in cases if row.best_over_true is not None]
    widths = [row.width for row in cases if row.width is not None]
    return RungScore(
        rung=rung,
        cases=len(cases),
        likely_count=sum(row.likely_held is True for row in cases),
        hard_count=sum(row.hard_held is True for row in cases),
        ratio_median=median(ratios) if ratios else None,
        ratio_worst=max(ratios, key=_distance) if ratios else None,
        width_median=median(widths) if widths else None,
    )


def score_recording(
    recording: Recording,
    truth: Truth,
    parts: DeviceTable,
    *,
    rung: str,
    declarations: Sequence[Mapping[str, str]],
) -> list[ScoreRow]:
    """Estimate a recording whose readings are of one rung, once for each declaration.

    Raises:
        DataError: a declaration its field refuses, or a format the part does not have.
    """
    vectors = vectors_of(recording, parts)
    return [
        ScoreRow(truth, rung, declared, interval_of(recording, vectors, parts, declared))
        for declared in declarations
    ]


def vectors_of(recording: Recording, parts: DeviceTable) -> list[tuple[Key, DeviceRecord, Vector]]:
    """The registers agents would have kept of a recording."""
    found = []
    for node in recording.nodes:
        accumulator = Accumulator(
            _INCARNATION,
            recording.sample_period_ns,
            rated_power_w=lambda record: parts.recognise(record).power_w,
        )
        records = {record.device: record for record in node.records}
        begin_ns = min([recording.start_ns, *(r.monotonic_ns for r in node.readings[:1])])
        for record in node.records:
            accumulator.start_device(
                record,
                allocation=for_run(recording.run) if begin_ns == recording.start_ns else NONE,
                monotonic_ns=begin_ns,
                boottime_ns=begin_ns,
            )
        for reading in node.readings:
            accumulator.observe(
                records[reading.device], reading, allocation=reading.allocation or NONE
            )
        for device in list(accumulator.devices):
            accumulator.unobserved_until(
                device,
                monotonic_ns=recording.stop_ns,
                boottime_ns=recording.stop_ns,
                allocation=for_run(recording.run),
            )
        found += [
            (key, records[key.device], register.vector)
            for key, register in accumulator.registers.items()
        ]
    return found


def interval_of(
    recording: Recording,
    vectors: Iterable[tuple[Key, DeviceRecord, Vector]],
    parts: DeviceTable,
    declared: Mapping[str, str],
) -> Interval:
    """The run's interval with every addend, as the collector totals it.

    Raises:
        DataError: a declaration its field refuses.
    """
    totals = Totals(parts, simulated=recording.simulated)
    totals.declare(parse_run_declaration(recording.run, {"model": recording.run, **declared}))
    for key, record, vector in vectors:
        totals.update(key, record, [StoredVector(key, 0, 1, vector)])
    snapshot = totals.snapshot(recording.epoch_ns, None)
    (run,) = (each for each in snapshot.runs if each.run == recording.run)
    return run.account.figures.total


def as_allocation(recording: Recording) -> Recording:
    """The recording as one who knows nothing of the devices but their user would have it."""
    nodes = tuple(
        dataclasses.replace(
            node,
            readings=[
                Reading(
                    device=reading.device,
                    evidence=Evidence.ALLOCATION,
                    monotonic_ns=reading.monotonic_ns,
                    boottime_ns=reading.boottime_ns,
                    allocation=reading.allocation,
                )
                for reading in node.readings
            ],
        )
        for node in recording.nodes
    )
    return dataclasses.replace(recording, nodes=nodes)


def within(recording: Recording, start_ns: int, stop_ns: int, *, run: str) -> Recording:
    """The readings that enclose a stretch of time, as a run of its own.

    Each device's last reading before the stretch to its first one after it: the work of the
    stretch is whole between them, and so is a moment of whatever was beside it.

    Args:
        recording: of one node.
        start_ns: when it began, in ns since the recording's epoch.
        stop_ns: when it ended, likewise.
        run: the name of the stretch.

    Raises:
        DataError: a device has no reading on one side.
    """
    (node,) = recording.nodes
    readings: list[Reading] = []
    for record in node.records:
        own = [reading for reading in node.readings if reading.device == record.device]
        before = [place for place, r in enumerate(own) if r.monotonic_ns <= start_ns]
        after = [place for place, r in enumerate(own) if r.monotonic_ns >= stop_ns]
        if not before or not after:
            raise DataError(
                f"the recording has no reading of {record.device} on both sides of {run}; record "
                "from before the first workload until after the last"
            )
        readings += own[before[-1] : after[0] + 1]
    readings.sort(key=lambda reading: reading.monotonic_ns)
    user = for_run(run)
    return dataclasses.replace(
        recording,
        run=run,
        start_ns=readings[0].monotonic_ns,
        stop_ns=readings[-1].monotonic_ns,
        nodes=(
            NodeRecording(
                node=node.node,
                records=node.records,
                readings=[dataclasses.replace(r, allocation=user) for r in readings],
            ),
        ),
    )


def _distance(ratio: float) -> float:
    """How far a ratio is from 1, alike up and down."""
    return max(ratio, 1 / ratio) if ratio > 0 else float("inf")
