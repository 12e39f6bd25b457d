"""Thresholds: exact integers on both sides, states that never blame unmeasured time."""

from __future__ import annotations

import pytest

from flopmeter_core.catalogue import (
    Operator,
    State,
    Threshold,
    parse_catalogue,
    parse_flop,
    parse_threshold,
    stand,
)
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import DataError
from flopmeter_core.interval import NO_FIGURES, Figures, Interval

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


def test_builtin_rows() -> None:
    """The shipped rows have the laws' exact values, lowest first."""
    rows = parse_catalogue(FILES)
    assert {row.id: row.value_flop for row in rows} == {
        "demo-line": 10**20,
        "eu-ai-act-51-2": 10**25,
        "ca-sb53": 10**26,
    }
    assert [row.value_flop for row in rows] == sorted(row.value_flop for row in rows)
    assert {row.id for row in rows if row.demonstration} == {"demo-line"}
    assert all(row.operator is Operator.ABOVE for row in rows)


CHANGES = [
    ('value = "10^25"', "value = 1e25", "must be a text"),
    ('value = "10^25"', 'value = "1e25"', "not an exact number"),
    ('value = "10^25"', 'value = "0"', "above 0"),
    ('unit = "FLOP"', 'unit = "FLOPS"', "unit must be FLOP"),
    ('unit = "FLOP"\n', "", "lacks the field 'unit'"),
    ('operator = "above"', 'operator = "over"', "'over' is not a valid Operator"),
    ("checked_on = 2026-11-21", 'checked_on = "soon"', "must be a date"),
    ('id = "eu-ai-act-51-2"', 'id = " "', "id must be a text that is not empty"),
    ('id = "eu', 'colour = "red"\nid = "eu', "unknown fields: colour"),
    ('unit = "FLOP"', "unit = FLOP", "not valid TOML"),
]


@pytest.mark.parametrize(("good", "bad", "sentence"), CHANGES)
def test_bad_row(good: str, bad: str, sentence: str) -> None:
    """Each thing a row may not say is refused, with the row's name."""
    assert good in ROW
    with pytest.raises(DataError, match=sentence) as caught:
        parse_threshold(ROW.replace(good, bad), name="mine.toml")
    assert "mine.toml" in str(caught.value)


def test_doubled_id() -> None:
    """Two files with one id would make the law depend on their order."""
    with pytest.raises(DataError, match="two threshold files have the id eu-ai-act-51-2"):
        parse_catalogue({"a.toml": ROW, "b.toml": ROW})


@pytest.mark.parametrize(
    ("text", "value"),
    [("10^26", 10**26), ("3*10^23", 3 * 10**23), ("3 * 10^23", 3 * 10**23), ("7", 7)],
)
def test_exact_flop(text: str, value: int) -> None:
    """Powers of ten and plain digits are read exactly."""
    assert parse_flop(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1e26",
        "10^",
        "^26",
        "10^-5",
        "10^2.5",
        "2*3*10^5",
        "*10^5",
        "0",
        "-1",
        "0*10^9",
        "10^999999999",
    ],
)
def test_inexact_flop(text: str) -> None:
    """Anything that is not exact, not above 0 or absurdly large is refused."""
    with pytest.raises(DataError):
        parse_flop(text)
