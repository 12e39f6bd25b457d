"""What a calibration recording says of the counters themselves.

Owns: the questions docs/calibration.md lists, and how a recording answers each.
May touch: nothing; pure.
Called by lab.calibrate. Every answer comes with the numbers it rests on; a question the recording
has nothing for is answered "not answered", never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean, median
from typing import Any

from flopmeter.lab.recording import Recorded, Row
from flopmeter.lab.recording_rows import GPM_RETURN, NVML_NS, READ_NS, gpm_metrics
from flopmeter.lab.truths import TimedTruth
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.units import NS_PER_S

CUMULATIVE_IDS = (*range(248, 255), *range(257, 261))
_ELAPSED, _ANY_TENSOR_CYCLES = 248, 250
_ANY_TENSOR = 5
_CLASSES: Mapping[int, str] = {6: "DFMA", 7: "HMMA", 8: "DMMA", 9: "IMMA"}

_SUB_CORES_PER_SM = 4
_ACTIVE_PERCENT = 5.0
"""A window with less tensor activity than this says nothing of classes or parity."""

NOT_ANSWERED = "not answered"


@dataclass(frozen=True, slots=True)
class Finding:
    """One question with its answer and the numbers behind it."""

    question: str
    answer: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """Steps a second of the same work without and with a poller beside it."""

    alone_per_s: float
    polled_per_s: float


def of_recording(recorded: Recorded, truths: Sequence[TimedTruth]) -> dict[str, Finding]:
    """Answer what the recording alone answers."""
    (device, rows), *_ = recorded.rows.items()
    record = next(r for r in recorded.records[0] if r.device == device)
    return {
        "cumulative": _cumulative(rows, record),
        "parity": _parity(rows),
        "classes": _classes(rows, truths),
        "rate": _rates(rows, truths, record),
        "sample_cost": _cost(rows),
        "tile": _tile(truths),
    }


def polling(pairs: Sequence[Pair]) -> Finding:
    """Whether polling at 1 Hz slows a running matrix product: paired, order alternating."""
    question = "does polling at 1 Hz slow a running matrix product"
    if not pairs:
        return Finding(question, NOT_ANSWERED)
    changes = [100 * (pair.polled_per_s / pair.alone_per_s - 1) for pair in pairs]
    spread = max(changes) - min(changes)
    return Finding(
        question,
        f"speed changes by {median(changes):+.2f} % (median of {len(pairs)} pairs, which span "
        f"{spread:.2f} points)",
        {"change_percent": changes},
    )


def access(uid: int, *, works: bool | None, detail: str) -> Finding:
    """Whether a user without privilege can read the counters."""
    question = "may an unprivileged user read the counters"
    answer = NOT_ANSWERED if works is None else "yes" if works else "no"
    return Finding(question, answer, {"uid": uid, "detail": detail})


def _cumulative(rows: Sequence[Row], record: DeviceRecord) -> Finding:
    """Which of the ids since boot answer, and what one of their cycles is."""
    answered = sorted(
        {i for row in rows for i in CUMULATIVE_IDS if row.get(f"{GPM_RETURN}{i}") == 0}
    )
    question = "are the cumulative ids 248 to 260 there, and in which unit"
    if not answered:
        return Finding(question, "no id answers", {"driver": record.driver_version})
    multiples = []
    for before, after in pairwise(rows):
        old, new = gpm_metrics(before).get(_ELAPSED), gpm_metrics(after).get(_ELAPSED)
        clock_khz = after.get("clock_khz")
        elapsed_ns = after["monotonic_ns"] - before["monotonic_ns"]
        if old is not None and new is not None and clock_khz and elapsed_ns > 0:
            multiples.append((new - old) / (clock_khz * 1e-6 * elapsed_ns))
    unit = median(multiples) if multiples else 0.0
    candidates = {1: "mean of the SMs", record.sm_count: "sum over the SMs",
                  _SUB_CORES_PER_SM * record.sm_count: "sum over the sub-cores"}  # fmt: skip
    nearest = min(candidates, key=lambda n: abs(math.log((unit or 1e-9) / max(n, 1))))
    return Finding(
        question,
        f"ids {answered} answer; one cycle of the clock counts as {unit:.3g}, nearest to "
        f"{nearest} ({candidates[nearest]})",
        {"ids": answered, "counts_per_clock_cycle": unit, "driver": record.driver_version},
    )


def _parity(rows: Sequence[Row]) -> Finding:
    """Tensor share by the counters since boot against metric 5 over the same two samples."""
    differences = []
    for before, after in pairwise(rows):
        old, new = gpm_metrics(before), gpm_metrics(after)
        ids = (_ELAPSED, _ANY_TENSOR_CYCLES)
        if any(i not in sample for i in ids for sample in (old, new)) or _ANY_TENSOR not in new:
            continue
        elapsed = new[_ELAPSED] - old[_ELAPSED]
        if elapsed > 0:
            counted = 100 * (new[_ANY_TENSOR_CYCLES] - old[_ANY_TENSOR_CYCLES]) / elapsed
            differences.append(abs(counted - new[_ANY_TENSOR]))
    question = "does 100 x D(250) / D(248) equal metric 5"
    if not differences:
        return Finding(question, NOT_ANSWERED + ": the cumulative ids do not answer")
    return Finding(
        question,
        f"they differ by {median(differences):.2f} points in the median, "
        f"{max(differences):.2f} at most",
        {"samples": len(differences)},
    )


def _classes(rows: Sequence[Row], truths: Sequence[TimedTruth]) -> Finding:
    """Which tensor class each matrix workload shows up in."""
    shares: dict[str, dict[str, float]] = {}
    for truth in _ran(truths):
        seen = [gpm_metrics(row) for row in _inside(rows, truth)]
        tensor = _mean_of(seen, _ANY_TENSOR)
        if tensor is None or tensor < _ACTIVE_PERCENT:
            continue
        shares[truth.workload] = {
            name: share / tensor
            for metric, name in _CLASSES.items()
            if (share := _mean_of(seen, metric)) is not None
        }
    question = "which class counts which format (share of any-tensor activity)"
    if not shares:
        return Finding(question, NOT_ANSWERED + ": no workload shows tensor activity")
    told = [
        f"{workload}: {max(classes, key=lambda name: classes[name]) if classes else 'none'}"
        for workload, classes in shares.items()
    ]
    return Finding(question, "; ".join(told), {"shares": shares})


def _rates(rows: Sequence[Row], truths: Sequence[TimedTruth], record: DeviceRecord) -> Finding:
    """FLOP for each SM and tensor-active cycle, by workload: what a rate of the table should be."""
    rates: dict[str, dict[str, float]] = {}
    for truth in _ran(truths):
        cycles = 0.0
        for before, after in _enclosing(rows, truth):
            share, clock_khz = gpm_metrics(after).get(_ANY_TENSOR), after.get("clock_khz")
            if share is not None and clock_khz:
                elapsed_ns = after["monotonic_ns"] - before["monotonic_ns"]
                cycles += share / 100 * record.sm_count * clock_khz * 1e-6 * elapsed_ns
        work = truth.flop_model or truth.integer_operations
        if cycles > 0 and work:
            rates[truth.workload] = {
                "model": work / cycles,
                "issued": (truth.flop_issued or work) / cycles,
            }
    question = "operations for each SM and tensor-active cycle"
    if not rates:
        return Finding(question, NOT_ANSWERED + ": no workload shows tensor activity")
    told = "; ".join(f"{name}: {rate['issued']:.0f}" for name, rate in rates.items())
    return Finding(question, told, {"rates": rates})


def _cost(rows: Sequence[Row]) -> Finding:
    """How long the production sensor's reading and each single call take."""
    columns = [READ_NS, *sorted({name for row in rows for name in row if name.startswith(NVML_NS)})]
    numbers = {}
    for column in columns:
        taken = sorted(row[column] for row in rows if column in row)
        if taken:
            numbers[column] = {"median_us": median(taken) / 1e3, "p99_us": _p99(taken) / 1e3}
    question = "what does a sample cost"
    if READ_NS not in numbers:
        return Finding(question, NOT_ANSWERED)
    whole = numbers[READ_NS]
    return Finding(
        question,
        f"a reading of one device takes {whole['median_us']:.0f} us in the median, "
        f"{whole['p99_us']:.0f} us at p99, over {len(rows)} readings",
        numbers,
    )


def _tile(truths: Sequence[TimedTruth]) -> Finding:
    """How much slower a product off the tile is."""
    speed = {
        truth.workload: truth.flop_model / truth.seconds
        for truth in _ran(truths)
        if truth.workload in ("bf16-8192", "bf16-8193")
    }
    question = "what does a size off the tile cost (8193 against 8192)"
    if len(speed) < 2 or not all(speed.values()):
        return Finding(question, NOT_ANSWERED)
    ratio = speed["bf16-8193"] / speed["bf16-8192"]
    return Finding(
        question, f"8193 reaches {ratio:.3f} of the FLOP/s of 8192", {"flop_per_s": speed}
    )


def _ran(truths: Iterable[TimedTruth]) -> Iterator[TimedTruth]:
    return (truth for truth in truths if not truth.not_run)


def _inside(rows: Sequence[Row], truth: TimedTruth) -> list[Row]:
    """Rows whose period, the one before them, is wholly in the workload."""
    return [
        after
        for before, after in pairwise(rows)
        if truth.start_ns <= before["monotonic_ns"] and after["monotonic_ns"] <= truth.stop_ns
    ]


def _enclosing(rows: Sequence[Row], truth: TimedTruth) -> list[tuple[Row, Row]]:
    """Periods that touch the workload: together they hold all of it."""
    return [
        (before, after)
        for before, after in pairwise(rows)
        if after["monotonic_ns"] > truth.start_ns and before["monotonic_ns"] < truth.stop_ns
    ]


def _mean_of(samples: Sequence[Mapping[int, float]], metric: int) -> float | None:
    found = [sample[metric] for sample in samples if metric in sample]
    return mean(found) if found else None


def _p99(ordered: Sequence[int]) -> int:
    """The smallest number that at least 99 % are not above."""
    return ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)]


def length_s(recorded: Recorded) -> float:
    """How long the recording is."""
    return (recorded.rounds[-1]["end_ns"] - recorded.rounds[0]["begin_ns"]) / NS_PER_S
