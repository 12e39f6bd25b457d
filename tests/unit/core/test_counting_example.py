"""The worked example of docs/counting.md: totals under each law, by hand and by the tool."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from flopmeter_core.activities import Activity, DataVisibility, Disposition, Edge, WorkLabel
from flopmeter_core.counting import OWN, Counted, Origin, WorkPart, count
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.recompute import Factor
from flopmeter_core.standing import Standing
from support.documents import document, sections

KEPT, PRIVATE = Disposition.KEPT, DataVisibility.NON_PUBLIC
NONE_AGAIN = Factor(Fraction(1), Fraction(1), Fraction(1), "none", Standing.VERIFIED)
UNIT = 10**22

WORK = {
    "east": (WorkLabel(Activity.PRETRAINING), 600),
    "west": (WorkLabel(Activity.PRETRAINING), 300),
    "west-restart": (WorkLabel(Activity.PRETRAINING, Disposition.ROLLED_BACK), 50),
    "cleaning": (WorkLabel(Activity.PREPROCESSING), 10),
    "samples-kept": (WorkLabel(Activity.SYNTHETIC_DATA, KEPT, PRIVATE), 10),
    "samples-discarded": (WorkLabel(Activity.SYNTHETIC_DATA, Disposition.DISCARDED, PRIVATE), 90),
    "benchmarks": (WorkLabel(Activity.EVALUATION), 20),
}
"""Run -> label and 10^22 FLOP, as the table in the document has them."""

TUNE = (WorkLabel(Activity.FINETUNING), 40)


def part(run: str, label: WorkLabel, amount: int, origin: Origin = OWN) -> WorkPart:
    """Work of exactly so many units."""
    flop = amount * UNIT
    return WorkPart(label, Figures(Interval(*[flop] * 5)), NONE_AGAIN, origin, run)


def base() -> list[WorkPart]:
    """The base model's work."""
    return [part(run, label, amount) for run, (label, amount) in WORK.items()]


def tuned() -> list[WorkPart]:
    """Another party's model: the base model over its weights, and a fine-tune."""
    inherited = Origin(frozenset({(Edge.WEIGHTS,)}), name="base")
    parts = [part(run, label, amount, inherited) for run, (label, amount) in WORK.items()]
    return [*parts, part("tune", *TUNE)]


def units(counted: Counted) -> tuple[str, str]:
    """Both totals as the document writes them."""
    totals = (counted.everything.total.best, counted.permitted.total.best)
    return tuple(f"{total / 10**24:.2f}e24" for total in totals)  # type: ignore[return-value]


# By hand, in 10^22 FLOP: east 600, west 300, rolled back 50, cleaning 10, samples 10 + 90,
# benchmarks 20; tune 40 on top of them for the other party.
BY_HAND = {
    # All but the evaluation, which may be left out; the silent rules count.
    "eu-cumulative": ((1080, 1060), (1120, 1100)),
    # What updates parameters: east, west, the rolled-back steps; the tune's own beside them.
    "eu-parameter-updates": ((950, 950), (990, 990)),
    # The statute names neither data work nor evaluation: counted, and said.
    "us-frontier-model": ((1080, 1080), (1120, 1120)),
    # Pre-processing is named; evaluation may be left out.
    "kr-ai-basic-act": ((1080, 1060), (1120, 1100)),
    "us-eo14110": ((1080, 1080), (1120, 1120)),
    # Pre-processing is not counted.
    "us-eccn-4e091": ((1070, 1070), (1110, 1110)),
}


@pytest.mark.parametrize("profile", sorted(BY_HAND))
def test_by_hand(profile: str) -> None:
    """The tool's totals are those of the sum by hand, exactly."""
    for parts, (everything, permitted) in zip((base(), tuned()), BY_HAND[profile], strict=True):
        counted = count(parts, builtin_profiles()[profile])
        assert counted.everything.total.best == everything * UNIT
        assert counted.permitted.total.best == permitted * UNIT


def test_document() -> None:
    """The document's example has the same work and the same totals."""
    pages = sections(document("counting.md"))
    rows = {row[0].strip("`"): row for row in pages["A worked example"].rows()}
    for run, (label, amount) in {**WORK, "tune": TUNE}.items():
        words = re.findall(r"`(\w+)`", rows[run][1])
        usual = WorkLabel(label.activity)
        said = [*words, *(usual.activity, usual.disposition, usual.visibility)[len(words) :]]
        assert [label.activity, label.disposition, label.visibility] == said
        assert Fraction(rows[run][2]) == amount * UNIT
    for profile in BY_HAND:
        counted = [count(parts, builtin_profiles()[profile]) for parts in (base(), tuned())]
        assert tuple(rows[profile][1:5]) == (*units(counted[0]), *units(counted[1]))
