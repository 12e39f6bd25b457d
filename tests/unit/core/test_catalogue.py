"""Thresholds: exact integers on both sides, states that never blame unmeasured time."""

from __future__ import annotations

import datetime
from dataclasses import replace
from fractions import Fraction

import pytest

from flopmeter_core.catalogue import Operator, State, Threshold, held_on, stand
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import InvariantError
from flopmeter_core.interval import NO_FIGURES, Figures, Interval
from flopmeter_core.threshold_files import parse_catalogue, parse_threshold

FILES = builtin_thresholds()
ROW = FILES["eu-ai-act-51-2.toml"]
ABOVE = parse_threshold(ROW, name="row")
AT_LEAST = parse_threshold(ROW.replace('operator = "above"', 'operator = "at_least"'), name="row")
LINE = 10**25


def at(lower: int, best: int, upper: int, *, unobserved: int = 0, boundary: int = 0) -> Figures:
    """Figures relative to the line, in FLOP."""
    bounds = (LINE + lower, LINE + best, LINE + upper)
    return Figures(Interval(0, *bounds, 10 * LINE), unobserved, boundary, boundary)


def state(figures: Figures, threshold: Threshold = ABOVE) -> tuple[State, bool]:
    """State and whether it is decided."""
    standing = stand(figures, threshold)
    return standing.state, standing.decided


def test_operators_at_equality() -> None:
    """At 10^25 exactly a law that says 'greater than' is not met, one that says 'at least' is."""
    exactly = at(0, 0, 0)
    assert state(exactly, ABOVE) == (State.BELOW, True)
    assert state(exactly, AT_LEAST) == (State.ABOVE, True)
    assert state(at(1, 1, 1), ABOVE) == (State.ABOVE, True)
    assert state(at(-1, -1, -1), AT_LEAST) == (State.BELOW, True)


def test_one_flop_of_10_to_25() -> None:
    """One operation more than 10^25 is above it: doubles could not tell the two apart."""
    assert float(LINE) == float(LINE + 1)
    assert state(at(1, 1, 1))[0] is not state(at(0, 0, 0))[0]


def test_decided() -> None:
    """Decided means the whole likely interval lies on one side."""
    assert state(at(-5, -3, 0)) == (State.BELOW, True)
    assert state(at(-5, -3, 1)) == (State.BELOW, False)
    assert state(at(-5, 3, 9)) == (State.ABOVE, False)
    assert state(at(1, 3, 9)) == (State.ABOVE, True)


def test_above_by_unobserved_only() -> None:
    """Only the addend of unmeasured time carries upper over the line: its own, undecided state."""
    assert state(at(-9, -8, -7, unobserved=8)) == (State.ABOVE_BY_UNOBSERVED_ONLY, False)
    assert state(at(-9, -8, -7, unobserved=7)) == (State.BELOW, True)
    # With measured doubt alone over the line, unobserved time is not what did it.
    assert state(at(-9, -8, 1, unobserved=8)) == (State.BELOW, False)
    assert state(at(-9, -8, -7, unobserved=8, boundary=8)) == (State.BELOW, False)
    # However much is unmeasured, best stays below and nothing crosses.
    assert state(at(-9, -8, -7, unobserved=LINE))[0] is not State.ABOVE


def test_unknown() -> None:
    """Of a model nobody measured nothing is known: 0 FLOP is no 'below'."""
    assert state(NO_FIGURES)[0] is State.UNKNOWN


def test_ratios() -> None:
    """Ratios are of the total figures to the line."""
    standing = stand(Figures(Interval(0, LINE // 4, LINE // 2, LINE, LINE), LINE), ABOVE)
    assert standing.ratio_lower == 0.25
    assert standing.ratio_best == 0.5
    assert standing.ratio_upper == 2.0


def test_planned_dates_and_holding() -> None:
    """A model is held against rows in FLOP that apply, will apply or are guidance; no others."""
    rows = parse_catalogue(FILES)
    held = {row.id for row in held_on(rows, datetime.date(2026, 11, 30))}
    assert held == {
        "demo-line",
        "eu-gpai-indicative",
        "eu-ai-act-51-2",
        "ca-sb53",
        "il-sb315",
        "kr-ai-basic-act",
        "ny-raise-2026",
    }
    before = {row.id for row in held_on(rows, datetime.date(2024, 7, 1))}
    assert before == {"demo-line", "eu-ai-act-51-2", "us-eo14110", "us-eo14110-biology"}


def test_fraction_decides_like_a_whole_number() -> None:
    """10^25/3 is exact, and the whole number beside it decides every whole FLOP alike."""
    row = parse_threshold(FILES["eu-modification-systemic-fallback.toml"], name="row")
    assert row.exact == Fraction(10**25, 3)
    whole = 10**25 // 3
    assert row.value_flop == whole
    assert not row.operator.met(whole, row.value_flop) and whole < row.exact
    assert row.operator.met(whole + 1, row.value_flop) and whole + 1 > row.exact
    least = replace(row, operator=Operator.AT_LEAST)
    assert least.operator.met(whole + 1, least.value_flop)
    assert not least.operator.met(whole, least.value_flop)


def test_other_units_have_no_flop() -> None:
    """Money, ratios and rates are no FLOP, and nothing can take them for any."""
    row = parse_threshold(FILES["ca-sb53-large.toml"], name="row")
    assert row.value_flop_or_none is None
    with pytest.raises(InvariantError, match="USD, not FLOP"):
        _ = row.value_flop


def test_only_verified_rows_alert() -> None:
    """A row whose number nobody confirmed is a note and no alert."""
    rows = {row.id: row for row in parse_catalogue(FILES)}
    assert not rows["us-eo14110"].may_alert
    assert rows["eu-ai-act-51-2"].may_alert and rows["kr-ai-basic-act"].may_alert


def test_conditions() -> None:
    """One condition not met decides; one undeclared leaves it open; none is met of itself."""
    row = parse_threshold(FILES["kr-ai-basic-act.toml"], name="row")
    first, second = (condition.id for condition in row.required_conditions)
    assert row.conditions_met({}) is None
    assert row.conditions_met({first: True}) is None
    assert row.conditions_met({first: True, second: True}) is True
    assert row.conditions_met({first: False}) is False
    assert ABOVE.conditions_met({}) is True
    alternative = parse_threshold(FILES["il-sb3444.toml"], name="row")
    assert alternative.conditions_met({}) is True
