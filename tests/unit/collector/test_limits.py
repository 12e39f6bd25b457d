"""Counts of what one node has, and when they are made anew."""

from __future__ import annotations

from flopmeter_collector.limits import COUNT_PERIOD_S, HourCounts
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
