"""Intervals: ordered always, added bound to bound, with the doubtful addends kept apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import InvariantError
from flopmeter_core.interval import NO_FIGURES, ZERO, Figures, Interval, sum_figures

flop = st.integers(0, 10**27)
intervals = st.lists(flop, min_size=5, max_size=5).map(lambda bounds: Interval(*sorted(bounds)))
figures = st.builds(
    lambda observed, unobserved, upper, more: Figures(observed, unobserved, upper, upper + more),
    intervals,
    flop,
    flop,
    flop,
)

DISORDER = r"broken: an interval is ordered and not negative: Interval\(floor="


@pytest.mark.parametrize("place", range(4))
def test_disorder_is_refused(place: int) -> None:
    """Any two neighbours out of order, or a negative floor, are a programmer's error."""
    bounds = [1, 2, 3, 4, 5]
    assert Interval(*bounds).floor == 1
    bounds[place], bounds[place + 1] = bounds[place + 1], bounds[place]
    with pytest.raises(InvariantError, match=DISORDER):
        Interval(*bounds)


def test_negative_is_refused() -> None:
    """No count of operations is below 0."""
    with pytest.raises(InvariantError, match=DISORDER):
        Interval(-1, 2, 3, 4, 5)


@given(parts=st.lists(figures, max_size=6))
def test_sum_is_exact_and_order_free(parts: list[Figures]) -> None:
    """A sum is the same from either end, and bound by bound."""
    total = sum_figures(parts)
    assert total == sum_figures(reversed(parts))
    assert total.observed.best == sum(part.observed.best for part in parts)
    assert total.total.ceiling == sum(part.total.ceiling for part in parts)


@given(one=figures, other=figures)
def test_subtraction_undoes_addition(one: Figures, other: Figures) -> None:
    """An addend can be taken out again exactly; running totals depend on it."""
    assert one + other - other == one
    assert one - one == NO_FIGURES
    assert one.observed - one.observed == ZERO


@given(part=figures)
def test_addends_widen_the_upper_side_only(part: Figures) -> None:
    """Unobserved and boundary work never raise floor, lower or best."""
    total, observed = part.total, part.observed
    assert (total.floor, total.lower, total.best) == (
        observed.floor,
        observed.lower,
        observed.best,
    )
    bare = part.without_unobserved
    assert bare.upper == observed.upper + part.boundary_upper
    assert bare.ceiling == observed.ceiling + part.boundary_ceiling
    assert total.upper == bare.upper + part.unobserved_ceiling
    assert total.ceiling == bare.ceiling + part.unobserved_ceiling
