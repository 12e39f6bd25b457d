"""The scoreboard as Markdown.

Owns: its columns, and how a figure is written there.
May touch: nothing; rows in, text out.
Called by lab.scoreboard and lab.calibrate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from flopmeter.lab.score import RungScore, ScoreRow, score_rung
from flopmeter_core.methods import busy, cycles, dcgm, gpm

PERCENTAGE_CASES = 60
"""Below this many cases a share is printed as k of n alone: a percentage would claim too much."""

_ALL_RUNGS = ("cycles", "gpm", "dcgm", "energy", "busy", "allocation")

# What the methods allow for readings and work with number format and instruction family known: the
# truth as a share of best. Intervals add the slowest family and the widths of constants to it.
BUDGETS: Mapping[str, tuple[Fraction, Fraction]] = {
    "cycles": (cycles.BUDGET_LOWER, cycles.BUDGET_UPPER),
    "gpm": (gpm.BUDGET_LOWER, gpm.BUDGET_UPPER),
    "dcgm": (dcgm.BUDGET_LOWER, dcgm.BUDGET_UPPER),
    "busy": (
        busy.EFFICIENCY_LOWER / busy.EFFICIENCY_BEST,
        busy.EFFICIENCY_UPPER / busy.EFFICIENCY_BEST,
    ),
}

_ROW_HEAD = (
    "workload",
    "declared",
    "rung",
    "model FLOP",
    "executed FLOP",
    "lower .. upper",
    "floor .. ceiling",
    "best/true",
    "best/model",
    "u/l",
    "likely",
    "hard",
)
_RUNG_HEAD = (
    "rung",
    "declared",
    "cases",
    "likely interval holds",
    "hard bounds hold",
    "best/true median",
    "best/true worst",
    "u/l median",
)


def row_table(rows: Iterable[ScoreRow]) -> list[str]:
    """One line a workload, declaration and rung."""
    return _table(_ROW_HEAD, map(_row_cells, rows))


Widths = Mapping[str, tuple[Fraction, Fraction]]
"""Rung -> lower and upper over best, as the meter prints them (lab.live_widths)."""


def rung_table(rows: Sequence[ScoreRow], live: Widths) -> list[str]:
    """One line a rung, without and with a declaration; without a case it says its budget."""
    bare = [row for row in rows if not row.declared]
    declared = [row for row in rows if row.declared]
    lines = []
    for rung in _ALL_RUNGS:
        scores = [
            (words, score_rung(rung, group))
            for words, group in (("nothing", bare), ("something", declared))
        ]
        shown = [(words, score) for words, score in scores if score.cases] or [("-", scores[0][1])]
        lines += [rung_cells(score, live, declared=words) for words, score in shown]
    return _table(_RUNG_HEAD, lines)


def rung_cells(score: RungScore, live: Widths, *, declared: str) -> tuple[str, ...]:
    """The cells of one line."""
    if not score.cases:
        said = "unverified"
        if score.rung in BUDGETS:
            said += f"; budget {_span(BUDGETS[score.rung])} of best"
        if score.rung in live:
            said += f", interval {_span(live[score.rung])}"
        return (score.rung, declared, "0", said, "unverified", "-", "-", "-")
    return (
        score.rung,
        declared,
        str(score.cases),
        share(score.likely_count, score.cases),
        share(score.hard_count, score.cases),
        _ratio(score.ratio_median),
        _ratio(score.ratio_worst),
        _ratio(score.width_median),
    )


def whole_line(rows: Iterable[ScoreRow]) -> str:
    """The share of intervals that hold the truth, over all rungs."""
    cases = [row for row in rows if row.likely_held is not None]
    likely = share(sum(row.likely_held is True for row in cases), len(cases))
    hard = share(sum(row.hard_held is True for row in cases), len(cases))
    return f"Over all rungs lower..upper holds the truth in {likely}, floor..ceiling in {hard}."


def _span(span: tuple[Fraction, Fraction]) -> str:
    return f"{float(span[0]):.2f} to {float(span[1]):.2f}"


def share(count: int, cases: int) -> str:
    """So many of all, with a percentage where there are cases enough for one."""
    percent = f" ({100 * count / cases:.0f} %)" if cases >= PERCENTAGE_CASES else ""
    return f"{count} of {cases}{percent}"


def declared_text(declared: Mapping[str, str]) -> str:
    """What was declared, in the words of the declaration."""
    return ", ".join(declared[name] for name in sorted(declared, reverse=True)) or "nothing"


def flop_text(flop: int | None) -> str:
    """Three significant figures; a dash where there is no figure."""
    if flop is None:
        return "-"
    mantissa, exponential, exponent = f"{flop:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponential else mantissa


def _row_cells(row: ScoreRow) -> tuple[str, ...]:
    found, truth = row.interval, row.truth
    spans = (
        ("no evidence", "-")
        if found is None
        else (
            f"{flop_text(found.lower)} .. {flop_text(found.upper)}",
            f"{flop_text(found.floor)} .. {flop_text(found.ceiling)}",
        )
    )
    of_model = None if found is None or not truth.model_flop else found.best / truth.model_flop
    return (
        truth.workload,
        declared_text(row.declared),
        row.rung,
        flop_text(truth.model_flop),
        flop_text(truth.executed_flop),
        *spans,
        _ratio(row.best_over_true),
        _ratio(of_model),
        _ratio(row.width),
        _held(row.likely_held),
        _held(row.hard_held),
    )


def _held(held: bool | None) -> str:
    return {True: "yes", False: "NO", None: "-"}[held]


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---"] * len(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
