"""The ratio of two intervals holds every ratio of their members, exactly."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.interval import Interval
from flopmeter_core.ratio import Ratio, ratio_of

THIRD = Fraction(1, 3)
intervals = st.lists(st.integers(0, 10**27), min_size=5, max_size=5).map(
    lambda bounds: Interval(*sorted(bounds))
)


@given(intervals, intervals, st.integers(0, 4), st.integers(0, 4))
def test_holds_every_ratio(part: Interval, whole: Interval, one: int, other: int) -> None:
    """Any likely part over any likely whole lies between lower and upper."""
    found = ratio_of(part, whole)
    bounds = ("floor", "lower", "best", "upper", "ceiling")
    known = [getattr(found, bound) for bound in bounds if getattr(found, bound) is not None]
    assert known == sorted(known)
    amount, over = getattr(part, bounds[one]), getattr(whole, bounds[other])
    if over:
        assert found.floor is None or found.floor <= Fraction(amount, over)
        assert found.ceiling is None or found.ceiling >= Fraction(amount, over)


def test_exact_at_the_line() -> None:
    """A third is a third: one FLOP more is above, and nothing is rounded on the way."""
    whole = 3 * 10**24 + 3
    exact = ratio_of(_sure(whole // 3), _sure(whole))
    above = ratio_of(_sure(whole // 3 + 1), _sure(whole))
    assert exact.above(THIRD) is False and exact.decided(THIRD)
    assert above.above(THIRD) is True and above.decided(THIRD)


def test_nothing_is_no_ratio() -> None:
    """Where the whole may be nothing the upper side has no bound, and nothing is decided."""
    found = ratio_of(_sure(5), Interval(0, 0, 10, 20, 30))
    assert found == Ratio(Fraction(1, 6), Fraction(1, 4), Fraction(1, 2), None, None)
    assert found.above(THIRD) is True and not found.decided(THIRD)


def _sure(flop: int) -> Interval:
    return Interval(flop, flop, flop, flop, flop)
