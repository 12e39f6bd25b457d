"""How exactly a figure is told: withheld is nothing at all, and no digit is made up."""

from __future__ import annotations

import pytest

from flopmeter_collector.filings.precision import figures_text, interval_json, time_range
from flopmeter_core.filings import Precision
from flopmeter_core.interval import Interval

FLOP = Interval(1, 2 * 10**24, 3 * 10**24, 4 * 10**24, 5 * 10**24)
DAY_NS = 86_400 * 10**9


def test_withheld_is_not_there() -> None:
    """A recipient who is told no figure finds no bound of it either."""
    assert interval_json(FLOP, Precision.WITHHELD) == {}
    assert set(interval_json(FLOP, Precision.ORDER_OF_MAGNITUDE)) == {"best"}
    assert interval_json(FLOP, Precision.FULL)["lower_flop_str"] == str(FLOP.lower)


@pytest.mark.parametrize(
    ("amount", "figures", "text"),
    [
        (0, 2, "0"),
        (0.0512, 2, "0.051"),
        (0.5, 2, "0.5"),
        (9.96, 2, "10"),
        (12.4, 2, "12"),
        (123_456, 2, "120000"),
    ],
)
def test_significant_figures(amount: float, figures: int, text: str) -> None:
    """So many figures, however small or large the number is, and never a power of ten."""
    assert figures_text(amount, figures) == text


def test_the_longest_training_has_a_range_too() -> None:
    """A training of ten years falls into the last range."""
    assert time_range(3_650 * DAY_NS) == time_range(7_300 * DAY_NS) != time_range(DAY_NS)
