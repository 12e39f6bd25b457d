"""A forecast's dates are ordered, lie ahead, and move the way the line and the pace do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import InvariantError
from flopmeter_core.forecast import Basis, Crossing, Plan, at_pace, by_plan
from flopmeter_core.pace import Pace
from flopmeter_core.units import NS_PER_HOUR

NOW_NS = 1_800_000_000 * 10**9
PACE = Pace(10**21, 11 * 10**20, 0.1, 0.0, 300, 0)

paces = st.builds(
    Pace,
    likely_flop_per_h=st.integers(1, 10**24),
    level_flop_per_h=st.integers(1, 10**24),
    day_deviation=st.floats(0, 2),
    growth=st.floats(0, 3),
    history_h=st.integers(24, 1_440),
    stopped_h=st.integers(0, 336),
)


def hours(date_ns: int | None) -> float:
    """Hours from now."""
    assert date_ns is not None
    return (date_ns - NOW_NS) / NS_PER_HOUR


def test_a_steady_pace_crosses_where_it_must() -> None:
    """What is missing over the pace is the likely date."""
    found = at_pace(PACE, best_flop=4 * 10**24, value_flop=10**25, now_ns=NOW_NS)
    assert hours(found.likely_ns) == 6_000
    assert found.basis is Basis.PACE


@given(paces, st.integers(0, 10**26), st.integers(1, 10**27))
def test_dates_are_ordered_and_ahead(pace: Pace, best: int, value: int) -> None:
    """No date lies before now, and earliest <= likely <= latest, wherever there is one."""
    found = at_pace(pace, best_flop=best, value_flop=value, now_ns=NOW_NS)
    if found.likely_ns is None:
        assert found == Crossing(None, None, None, Basis.PACE)
        return
    assert found.earliest_ns is not None
    assert NOW_NS <= found.earliest_ns <= found.likely_ns
    assert found.latest_ns is None or found.likely_ns <= found.latest_ns


@given(paces, st.integers(1, 10**25), st.integers(1, 10**25))
def test_a_higher_line_is_never_crossed_sooner(pace: Pace, value: int, more: int) -> None:
    """Every date of a higher line is as late or later."""
    near = at_pace(pace, best_flop=0, value_flop=value, now_ns=NOW_NS)
    far = at_pace(pace, best_flop=0, value_flop=value + more, now_ns=NOW_NS)
    if far.likely_ns is None or near.likely_ns is None:
        assert far.likely_ns is None
        return
    assert near.likely_ns <= far.likely_ns
    assert (near.earliest_ns or 0) <= (far.earliest_ns or 0)
    assert far.latest_ns is None or (near.latest_ns or 0) <= far.latest_ns


def test_not_at_this_pace() -> None:
    """A line more than ten years away has no date, and neither has one without a pace."""
    slow = at_pace(PACE, best_flop=0, value_flop=10**26, now_ns=NOW_NS)
    assert slow == Crossing(None, None, None, Basis.PACE)
    still = Pace(0, 1, 0.0, 0.0, 300, 20)
    assert at_pace(still, best_flop=0, value_flop=1, now_ns=NOW_NS).likely_ns is None


def test_a_stop_under_way_widens_both_ends() -> None:
    """What stands still may come late (then it is crossed sooner) or go on standing."""
    stopped = Pace(10**21, 11 * 10**20, 0.1, 0.0, 300, 30)
    going = at_pace(PACE, best_flop=0, value_flop=10**23, now_ns=NOW_NS)
    standing = at_pace(stopped, best_flop=0, value_flop=10**23, now_ns=NOW_NS)
    assert hours(standing.earliest_ns) == pytest.approx(hours(going.earliest_ns) - 30)
    assert hours(standing.latest_ns) == pytest.approx(hours(going.latest_ns) + 60)
    assert standing.likely_ns == going.likely_ns


def test_a_plan_that_ends_above_is_crossed_on_its_way() -> None:
    """An even plan of 2e25 in 100 days is above 1e25 after 50; its bounds give the interval."""
    day_ns = 24 * NS_PER_HOUR
    plan = Plan(8 * 10**24, 2 * 10**25, 4 * 10**25, NOW_NS, NOW_NS + 100 * day_ns)
    found = by_plan(plan, best_flop=0, value_flop=10**25, now_ns=NOW_NS)
    assert found.basis is Basis.PLAN
    assert hours(found.likely_ns) == 50 * 24
    assert hours(found.earliest_ns) == 25 * 24
    assert found.latest_ns is None


def test_a_plan_to_come_begins_when_it_says() -> None:
    """Before its start nothing is crossed; a plan that ends below the line gives no date."""
    day_ns = 24 * NS_PER_HOUR
    start_ns = NOW_NS + 10 * day_ns
    plan = Plan(2 * 10**25, 2 * 10**25, 2 * 10**25, start_ns, start_ns + 20 * day_ns)
    found = by_plan(plan, best_flop=0, value_flop=10**25, now_ns=NOW_NS)
    assert hours(found.likely_ns) == hours(found.earliest_ns) == 20 * 24
    below = by_plan(plan, best_flop=0, value_flop=10**26, now_ns=NOW_NS)
    assert below == Crossing(None, None, None, Basis.PLAN)


@given(st.integers(0, 10**26), st.integers(1, 10**26), st.integers(-(10**17), 10**17))
def test_plan_dates_are_ordered_and_ahead(best: int, value: int, start: int) -> None:
    """A plan's dates lie between now and its end, in their order."""
    plan = Plan(10**24, 10**25, 10**26, NOW_NS + start, NOW_NS + start + 10**16)
    found = by_plan(plan, best_flop=best, value_flop=max(best + 1, value), now_ns=NOW_NS)
    dates = [d for d in (found.earliest_ns, found.likely_ns, found.latest_ns) if d is not None]
    assert dates == sorted(dates)
    assert all(NOW_NS <= date <= max(NOW_NS, plan.end_ns) for date in dates)


def test_an_impossible_plan_is_refused() -> None:
    """A plan that runs backwards is a programmer's error here; the command refuses it before."""
    with pytest.raises(InvariantError, match="a plan ends after it begins"):
        Plan(1, 2, 3, 10, 10)
    with pytest.raises(InvariantError, match="a plan is ordered"):
        Plan(3, 2, 1, 10, 20)
