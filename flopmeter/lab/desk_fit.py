"""Learns the utilisation constants of desk estimates from published runs.

Owns: which runs teach what, the rule from runs to constants, and the form of the learned table.
May touch: one CSV file (reading) and standard output, when it is called as a program:
`python -m flopmeter.lab.desk_fit tests/data/published-runs/runs.csv` prints data/utilization.toml.
Called by lab.desk_score, which leaves one developer out at a time; docs/estimate.md explains it.

Rule for a run whose utilisation is not known: the extremes of the runs seen, rounded outward to
0.005. Of n runs alike, the next one lies between the extremes with probability (n - 1) / (n + 1):
95 % at 40 runs, whatever the distribution. Rule for a reported rate: lowest share seen less a
tenth (too few runs for the extremes alone), and up to 3 % above 1, because a whole run cannot
keep more than its own rate but parameters and tokens are rounded. Best is the median.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

from flopmeter.lab.published import read_published
from flopmeter_core.desk.architecture import architecture_flop
from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import Utilization, Written, builtin_written
from flopmeter_core.desk.hardware import SECONDS_PER_HOUR, TERA, device_hours, peak_flop_per_s
from flopmeter_core.desk.row import Row
from flopmeter_core.errors import DataError

STEP = Fraction(5, 1000)
"""Constants are rounded outward to this: more digits would claim more than the tables say."""
MARGIN_BELOW = Fraction(9, 10)
MOST_KEPT = Fraction(103, 100)
SAME_FIGURE = Fraction(5, 1000)
"""A reported MFU this near to 6ND / (hours x peak) was computed from it, so it teaches nothing of
how whole runs differ from reported rates."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one run teaches.

    Attributes:
        share: 6ND / (device-hours x dense peak of the declared format).
        kept: share / reported MFU; None where none is reported or it was computed from the share.
        kept_executed: share / reported HFU or TFLOP/s over the peak.
    """

    row: Row
    developer: str
    part: str
    share: Fraction
    kept: Fraction | None
    kept_executed: Fraction | None


def lessons_of(rows: Sequence[Row]) -> list[Lesson]:
    """The rows of class A with device-hours, parameters and tokens.

    Raises:
        DataError: a row without developer; leaving it out would not leave its like out.
    """
    found = []
    for row in rows:
        if row.texts["check_class"] != "A":
            continue
        lesson = _lesson(row, builtin_written())
        if lesson is not None:
            found.append(lesson)
    return found


def _lesson(row: Row, written: Written) -> Lesson | None:
    hours, _ = device_hours(row)
    truth, _ = architecture_flop(row, written)
    if hours is None or truth is None or row.part is None:
        return None
    if not row.texts["developer"]:
        raise DataError(f"{row.place} names no developer; the fit has to know whose runs are alike")
    peak, _, _ = peak_flop_per_s(row, row.part)
    share = truth.best / (hours.best * SECONDS_PER_HOUR * peak.best)
    kept = share / row.mfu.best if row.mfu is not None else None
    achieved = row.get("tflops_per_gpu")
    executed = row.hfu.best if row.hfu is not None else None
    if executed is None and achieved is not None:
        executed = achieved.best * TERA / peak.best
    return Lesson(
        row=row,
        developer=row.texts["developer"],
        part=row.part.id,
        share=share,
        kept=kept if kept is None or abs(kept - 1) > SAME_FIGURE else None,
        kept_executed=share / executed if executed is not None else None,
    )


def fit(lessons: Sequence[Lesson]) -> Utilization:
    """The constants these runs teach.

    Raises:
        DataError: too few runs to teach anything.
    """
    kept = [lesson.kept for lesson in lessons if lesson.kept is not None]
    executed = [e.kept_executed for e in lessons if e.kept_executed is not None]
    if len(lessons) < 2 or not kept or not executed:
        raise DataError("too few runs with hours, parameters, tokens and a reported rate to learn")
    shares = [lesson.share for lesson in lessons]
    return Utilization(
        unknown=Span(_down(min(shares)), _near(median(shares)), _up(max(shares))),
        reported=_kept(kept),
        reported_executed=_kept(executed),
        learned_on=frozenset(lesson.part for lesson in lessons),
    )


def _kept(ratios: Sequence[Fraction]) -> Span:
    return Span(_down(min(ratios) * MARGIN_BELOW), _near(median(ratios)), MOST_KEPT)


def _down(ratio: Fraction) -> Fraction:
    return ratio // STEP * STEP


def _up(ratio: Fraction) -> Fraction:
    return -(-ratio // STEP) * STEP


def _near(ratio: Fraction) -> Fraction:
    return round(ratio / STEP) * STEP


def to_toml(lessons: Sequence[Lesson], file_name: str) -> str:
    """The learned table as it is committed."""
    constants = fit(lessons)
    low = min(lessons, key=lambda lesson: lesson.share)
    high = max(lessons, key=lambda lesson: lesson.share)
    kept = [lesson.kept for lesson in lessons if lesson.kept is not None]
    executed = [e.kept_executed for e in lessons if e.kept_executed is not None]
    developers = {lesson.developer for lesson in lessons}
    parts = "\n".join(f'  "{part}",' for part in sorted(constants.learned_on))
    sources = {
        "unknown": f"6 x active parameters x tokens / (device-hours x dense peak of the declared "
        f"format) of {len(lessons)} published runs by {len(developers)} developers, {file_name}: "
        f"lowest {low.row.model} {float(low.share):.3f}, highest {high.row.model} "
        f"{float(high.share):.3f}",
        "reported": f"that share / reported MFU of {len(kept)} of them, lowest "
        f"{float(min(kept)):.3f} less a tenth; 1.03 leaves room for rounding",
        "reported_executed": f"that share / reported HFU or TFLOP/s of {len(executed)} of them, "
        f"lowest {float(min(executed)):.3f} less a tenth; it may count recomputation",
    }
    spans = {
        "unknown": constants.unknown,
        "reported": constants.reported,
        "reported_executed": constants.reported_executed,
    }
    rows = "\n".join(
        f"[utilization.{name}]\nlower = {float(span.lower)}\nbest = {float(span.best)}\n"
        f'upper = {float(span.upper)}\nsource = "{sources[name]}"\nstanding = "extrapolated"\n'
        for name, span in spans.items()
    )
    return (
        "# Utilisation constants of desk estimates. Made by, never edited:\n"
        f"# python -m flopmeter.lab.desk_fit {file_name}\n\n"
        f'version = "1"\nlearned_on = [\n{parts}\n]\n\n{rows}'
    )


def main(arguments: Sequence[str]) -> int:
    """Print the learned table of one file."""
    path = Path(arguments[0])
    sys.stdout.write(to_toml(lessons_of(read_published(path).rows), path.as_posix()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
