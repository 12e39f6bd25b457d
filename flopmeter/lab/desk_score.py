"""Scores desk estimates against published runs, each developer estimated from the others' runs.

Owns: the leave-one-developer-out loop, the acceptance figures and their text.
May touch: one CSV file (reading) and standard output, when it is called as a program:
`python -m flopmeter.lab.desk_score tests/data/published-runs/runs.csv`.
Called by lab.scoreboard, and by tests, which hold docs/estimate.md to its output.

The truth is 6ND: it does not use hours. No run of a developer takes part in the constants that
its own runs are estimated with, so a developer's habits cannot confirm themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from flopmeter.lab.desk_fit import Lesson, fit, lessons_of
from flopmeter.lab.published import read_published
from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import builtin_written
from flopmeter_core.desk.energy import energy_flop
from flopmeter_core.desk.reconcile import DeskEstimate, estimate_row
from flopmeter_core.desk.row import Row

RATE_COLUMNS = ("tflops_per_gpu", "tokens_per_s_per_gpu")


@dataclass(frozen=True, slots=True)
class Scored:
    """One run estimated without its developer.

    Attributes:
        blind: as if no utilisation had been reported.
        informed: with what was reported.
    """

    lesson: Lesson
    blind: DeskEstimate
    informed: DeskEstimate

    @property
    def truth_flop(self) -> float:
        """6ND."""
        assert self.blind.architecture is not None
        return float(self.blind.architecture.best)

    @property
    def reported(self) -> bool:
        """Whether the run reports a utilisation or a rate."""
        return self.informed.basis["utilization_basis"] != self.blind.basis["utilization_basis"]


def score(lessons: Sequence[Lesson]) -> list[Scored]:
    """Estimate each run with constants from all other developers' runs."""
    constants = {
        developer: fit([lesson for lesson in lessons if lesson.developer != developer])
        for developer in {lesson.developer for lesson in lessons}
    }
    return [
        Scored(
            lesson=lesson,
            blind=estimate_row(without_rates(lesson.row), utilization=constants[lesson.developer]),
            informed=estimate_row(lesson.row, utilization=constants[lesson.developer]),
        )
        for lesson in lessons
    ]


def without_rates(row: Row) -> Row:
    """The row as if it reported no utilisation and no rate."""
    kept = {name: span for name, span in row.quantities.items() if name not in RATE_COLUMNS}
    return replace(row, mfu=None, hfu=None, quantities=kept)


def inside(estimate: DeskEstimate) -> bool:
    """Whether the architecture-based figure lies in the hardware-based interval."""
    assert estimate.architecture is not None and estimate.hardware is not None
    return estimate.architecture.best in estimate.hardware


def width(span: Span | None) -> float:
    """Upper over lower."""
    assert span is not None
    return float(span.upper / span.lower)


def lines(scored: Sequence[Scored]) -> list[str]:
    """The acceptance figures as a table in Markdown."""
    rated = [run for run in scored if run.reported]
    model = [run for run in rated if not _counts_recomputation(run)]
    executed = [run for run in rated if _counts_recomputation(run)]
    rows = [
        _line("utilisation not used", scored, [run.blind for run in scored]),
        _line("MFU or token rate reported", model, [run.informed for run in model]),
        _line("HFU or TFLOP/s reported", executed, [run.informed for run in executed]),
        _line("all with a reported rate", rated, [run.informed for run in rated]),
        _line("all, as the command estimates them", scored, [run.informed for run in scored]),
    ]
    missed = [run for run in scored if not inside(run.blind)]
    named = ", ".join(
        f"{run.lesson.row.model} ({float(run.lesson.share):.3f} of peak)" for run in missed
    )
    return [
        "| runs | 6ND inside the hardware-based interval | median upper / lower "
        "| median best / 6ND | worst best / 6ND |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Outside without utilisation: {named or 'none'}.",
    ]


def energy_line(rows: Sequence[Row]) -> str:
    """How often 6ND lies in the energy-based interval of an energy not computed from hours."""
    runs = []
    for row in rows:
        found = estimate_row(row)
        if found.energy is None or found.architecture is None:
            continue
        if energy_flop(row, builtin_written())[1]:
            runs.append((row.model, found.architecture.best in found.energy, width(found.energy)))
    hits = sum(hit for _, hit, _ in runs)
    named = ", ".join(name for name, _, _ in runs)
    wide = median(wide for _, _, wide in runs)
    return (
        f"Energy-based interval around 6ND: {hits} of {len(runs)} ({named}), "
        f"median upper / lower {wide:.1f}."
    )


def _line(name: str, runs: Sequence[Scored], estimates: Sequence[DeskEstimate]) -> str:
    if not runs:
        return f"| {name} | no runs | | | |"
    widths = [width(estimate.hardware) for estimate in estimates]
    ratios = [
        float(estimate.hardware.best) / run.truth_flop
        for run, estimate in zip(runs, estimates, strict=True)
        if estimate.hardware is not None
    ]
    worst = max(ratios, key=lambda ratio: max(ratio, 1 / ratio))
    hits = sum(inside(estimate) for estimate in estimates)
    return (
        f"| {name} | {hits} of {len(runs)} | {median(widths):.2f} "
        f"| {median(ratios):.2f} | {worst:.2f} |"
    )


def _counts_recomputation(run: Scored) -> bool:
    return run.informed.basis["utilization_basis"] in ("reported hfu", "reported tflops_per_gpu")


def main(arguments: Sequence[str]) -> int:
    """Print the acceptance figures of one file."""
    rows = read_published(Path(arguments[0])).rows
    text = [*lines(score(lessons_of(rows))), "", energy_line(rows)]
    sys.stdout.write("\n".join(text) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
