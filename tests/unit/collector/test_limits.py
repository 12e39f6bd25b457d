"""Counts of what one node has, and when they are made anew."""

from __future__ import annotations

from flopmeter_collector.limits import BURST_S, COUNT_PERIOD_S, HourCounts, Pace
from flopmeter_core.units import NS_PER_S


def test_hours_are_counted_where_it_matters() -> None:
    """The ledger is asked from a tenth of the limit on, and at the limit now and then."""
    counts = HourCounts(100)
    assert not counts.is_due("n", 10, 0)
    for _ in range(10):
        counts.add("n")
    assert counts.is_due("n", 1, 0)
    assert not counts.is_due("other", 1, 0)
    counts.note("n", 98, 0)
    assert not counts.is_due("n", 2, 0)
    assert counts.refusal("n") == ""
    counts.add("n")
    counts.add("n")
    assert "n has 100 hourly vectors" in counts.refusal("n")
    assert not counts.is_due("n", 1, COUNT_PERIOD_S * NS_PER_S - 1)
    assert counts.is_due("n", 1, COUNT_PERIOD_S * NS_PER_S)
    counts.note("n", 40, COUNT_PERIOD_S * NS_PER_S)
    assert counts.refusal("n") == ""


def test_what_is_owed_is_told_without_more() -> None:
    """Asking what a sender owes adds nothing to it, and time pays it off."""
    pace = Pace(100)
    assert pace.owed_ns("a", 0) == 0
    pace.pause_ns("a", 100 * BURST_S, 0)
    owed_ns = pace.owed_ns("a", 0)
    assert owed_ns > 0
    assert pace.owed_ns("a", 0) == owed_ns
    assert pace.owed_ns("a", owed_ns) == 0
    assert pace.owed_ns("b", 0) == 0
