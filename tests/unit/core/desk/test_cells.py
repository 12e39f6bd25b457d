"""Cells: what people write is read in whole, or refused with a sentence."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.desk.cells import Span, parse_quantity, parse_ratio
from flopmeter_core.errors import DataError

PLACE = "runs.csv line 2, column tokens,"


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("0.38", (0.38, 0.38, 0.38)),
        ("1e12", (1e12, 1e12, 1e12)),
        ("1,082,990", (1082990, 1082990, 1082990)),
        ("+5", (5, 5, 5)),
        (".5", (0.5, 0.5, 0.5)),
        ("0.38-0.43", (0.38, 0.405, 0.43)),
        ("0.38 \u2013 0.43", (0.38, 0.405, 0.43)),
        ("0.38..0.43", (0.38, 0.405, 0.43)),
        ("0.38 to 0.43", (0.38, 0.405, 0.43)),
        ("[257, 300]", (257, 278.5, 300)),
        ("300/257", (257, 278.5, 300)),
        ("257; 300", (257, 278.5, 300)),
        ("1e-3-2e-3", (0.001, 0.0015, 0.002)),
        ("<504000", (0, 504000, 504000)),
        ("\u2264 504,000", (0, 504000, 504000)),
        ("~100", (90, 100, 110)),
        ("about 100", (90, 100, 110)),
    ],
)
def test_read(text: str, bounds: tuple[float, float, float]) -> None:
    """Numbers, ranges, pairs and bounds, in the spellings seen."""
    span = parse_quantity(text, place=PLACE)
    assert span is not None
    assert tuple(map(float, (span.lower, span.best, span.upper))) == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nan", "no quantity"),
        ("NaN", "no quantity"),
        ("inf", "no quantity"),
        ("-inf", "no quantity"),
        ("-5", "cannot be negative"),
        ("\u22125", "cannot be negative"),
        ("0", "leave it empty"),
        ("0.0-0.4", "leave it empty"),
        (">100", "bounds nothing"),
        ("0.43-0.38", "written backwards"),
        ("many", "cannot be read"),
        ("1.2.3", "cannot be read"),
        ("10,00", "cannot be read"),
        ("3 4", "cannot be read"),
        ("1-2-3", "cannot be read"),
        ("e5", "no number"),
        (".", "no number"),
        ("1e999999999", "no number"),
        ("9" * 65, "65 characters"),
        ("=1+1", "cannot be read"),
    ],
)
def test_refused(text: str, sentence: str) -> None:
    """Each names its place, so that a person finds the cell."""
    with pytest.raises(DataError, match=sentence) as caught:
        parse_quantity(text, place=PLACE)
    assert str(caught.value).startswith(PLACE)
    assert "\n" not in str(caught.value)


def test_empty() -> None:
    """An empty cell is not known, which is not zero."""
    assert parse_quantity("  ", place=PLACE) is None


def test_ratio() -> None:
    """A utilisation is at most 1; percent is said or it is not percent."""
    assert parse_ratio("38%", place=PLACE) == parse_ratio("0.38", place=PLACE)
    assert parse_ratio("38-43%", place=PLACE) == parse_ratio("0.38-0.43", place=PLACE)
    for text in ("38", "1.01", "101%", "0.4-1.2"):
        with pytest.raises(DataError, match="between 0 and 1"):
            parse_ratio(text, place=PLACE)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    """Whatever a cell holds, it is read as an ordered span or refused; nothing else happens."""
    try:
        span = parse_quantity(text, place=PLACE)
    except DataError:
        return
    assert span is None or 0 <= span.lower <= span.best <= span.upper


@given(st.lists(st.fractions(min_value=0, max_value=10), min_size=6, max_size=6))
def test_products_hold_their_factors(numbers: list[Fraction]) -> None:
    """The product of two values inside two spans is inside the product of the spans."""
    first, second = Span(*sorted(numbers[:3])), Span(*sorted(numbers[3:]))
    assert first.best * second.best in first * second
    assert first.upper * second.lower in first * second
    assert first.best in first.hull(second) and second.best in first.hull(second)
