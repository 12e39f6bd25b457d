"""The pace of a history: stops, ramps, late arrivals and corrections move it as they should."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.pace import (
    LONGEST_STOP_H,
    SHORTEST_HISTORY_H,
    USUAL_WORKING_SHARE,
    Pace,
    Point,
    first_reached_ns,
    pace_of,
)
from flopmeter_core.units import NS_PER_HOUR

START_NS = 1_800_000_000 * 10**9
HOUR_FLOP = 10**21

histories = st.lists(st.just(0) | st.integers(10**18, 10**22), min_size=30, max_size=120)


def trail(hours: Sequence[int]) -> list[Point]:
    """The history of so many hours of work."""
    flop, points = 0, [Point(START_NS, 0)]
    for number, work in enumerate(hours, start=1):
        flop += work
        points.append(Point(START_NS + number * NS_PER_HOUR, flop))
    return points


def pace(hours: Sequence[int]) -> Pace:
    """Its pace at its end."""
    points = trail(hours)
    found = pace_of(points, now_ns=points[-1].at_ns)
    assert found is not None
    return found


def test_steady_work_has_its_own_pace_less_the_stops_to_expect() -> None:
    """A run that never stood still goes on at its level, with a few stops reckoned in."""
    found = pace([HOUR_FLOP] * 1_000)
    assert found.level_flop_per_h == HOUR_FLOP
    assert USUAL_WORKING_SHARE * HOUR_FLOP < found.likely_flop_per_h <= HOUR_FLOP
    assert (found.day_deviation, found.growth, found.stopped_h) == (0.0, 0.0, 0)


def test_no_pace_before_a_day_nor_after_two_weeks_without_work() -> None:
    """Too little history gives no pace, and a run that stopped has none any more."""
    assert pace_of([], now_ns=START_NS) is None
    points = trail([HOUR_FLOP] * SHORTEST_HISTORY_H)
    assert pace_of(points[:-1], now_ns=points[-2].at_ns) is None
    assert pace_of(points, now_ns=points[-1].at_ns) is not None
    stopped_ns = points[-1].at_ns + LONGEST_STOP_H * NS_PER_HOUR
    assert pace_of(points, now_ns=stopped_ns) is not None
    assert pace_of(points, now_ns=stopped_ns + NS_PER_HOUR) is None


def test_a_ramp_of_weeks_ago_does_not_slow_the_pace() -> None:
    """What counts is the level of late, not the mean of all time."""
    found = pace([HOUR_FLOP // 10] * 300 + [HOUR_FLOP] * 400)
    assert found.likely_flop_per_h > 0.95 * HOUR_FLOP
    assert found.growth == 0.0
    assert pace([HOUR_FLOP // 2] * 300 + [HOUR_FLOP] * 40).growth == pytest.approx(0.69, abs=0.01)


def test_stops_count_into_the_pace() -> None:
    """A run that stands still one hour in four goes on so."""
    found = pace([HOUR_FLOP, HOUR_FLOP, HOUR_FLOP, 0] * 300)
    assert found.level_flop_per_h == HOUR_FLOP
    assert 0.74 * HOUR_FLOP < found.likely_flop_per_h < 0.82 * HOUR_FLOP


def test_work_that_arrives_late_is_the_same_as_work_in_time() -> None:
    """Three days without reports whose work arrives at once leave the pace where it was."""
    late = [HOUR_FLOP] * 300 + [0] * 72 + [73 * HOUR_FLOP] + [HOUR_FLOP] * 100
    assert pace(late) == pace([HOUR_FLOP] * 473)


def test_an_hour_cannot_hold_more_than_its_standstill() -> None:
    """A leap that no standstill explains is no late arrival, and no pace: it is not repeated."""
    leap = [HOUR_FLOP] * 300 + [0] * 2 + [100 * HOUR_FLOP] + [HOUR_FLOP] * 100
    assert pace(leap).day_deviation > 0.5
    assert pace(leap).likely_flop_per_h <= HOUR_FLOP


@given(st.integers(2, 9), st.integers(30, 200))
def test_a_correction_is_no_work(factor: int, at: int) -> None:
    """A format declared late multiplies the past; the pace is that of the corrected past."""
    points = trail([HOUR_FLOP] * 300)
    corrected = [
        *points[: at + 1],
        *(Point(point.at_ns, factor * point.best_flop) for point in points[at + 1 :]),
    ]
    first = corrected[at + 1]
    corrected.insert(at + 1, Point(points[at].at_ns, factor * points[at].best_flop, revalued=True))
    assert first.best_flop > corrected[at].best_flop
    found = pace_of(corrected, now_ns=points[-1].at_ns)
    assert found is not None
    assert found.level_flop_per_h == factor * HOUR_FLOP
    assert found.day_deviation < 1e-9


@given(histories, st.integers(2, 1_000))
def test_the_unit_does_not_matter(hours: list[int], factor: int) -> None:
    """Figures so many times as large have a pace so many times as large; nothing else moves."""
    hours = [10**20, *hours]
    plain, scaled = pace(hours), pace([factor * flop for flop in hours])
    assert scaled.likely_flop_per_h / factor == pytest.approx(plain.likely_flop_per_h, rel=1e-9)
    assert (scaled.history_h, scaled.stopped_h) == (plain.history_h, plain.stopped_h)
    assert scaled.day_deviation == pytest.approx(plain.day_deviation, rel=1e-6, abs=1e-9)


@given(histories)
def test_sparse_rows_tell_the_same(hours: list[int]) -> None:
    """Rows that only repeat the figure before and after them may be left out."""
    hours = [10**21, *hours]
    points = trail(hours)
    kept = [
        point
        for number, point in enumerate(points)
        if number in (0, len(points) - 1)
        or not (points[number - 1].best_flop == point.best_flop == points[number + 1].best_flop)
    ]
    now_ns = points[-1].at_ns
    assert pace_of(kept, now_ns=now_ns) == pace_of(points, now_ns=now_ns)


@given(st.integers(1, NS_PER_HOUR - 1))
def test_between_two_hours(offset_ns: int) -> None:
    """A forecast may be made at any time, not only on the hour."""
    points = trail([HOUR_FLOP] * 100)
    found = pace_of(points, now_ns=points[-1].at_ns + offset_ns)
    assert found is not None
    assert found.level_flop_per_h == pytest.approx(HOUR_FLOP, rel=0.01)


def test_a_figure_that_goes_back_is_no_work() -> None:
    """Where doubtful work was taken out, the hour has none; nothing becomes negative."""
    points = trail([HOUR_FLOP] * 200)
    points += [
        Point(points[-1].at_ns + NS_PER_HOUR, points[-1].best_flop - 5 * HOUR_FLOP),
        Point(points[-1].at_ns + 2 * NS_PER_HOUR, points[-1].best_flop - 4 * HOUR_FLOP),
    ]
    found = pace_of(points, now_ns=points[-1].at_ns)
    assert found is not None
    assert 0 < found.likely_flop_per_h <= HOUR_FLOP


def test_when_an_amount_was_reached() -> None:
    """In the middle of an hour; at the beginning of a standstill; at the first point; or never."""
    points = trail([HOUR_FLOP] * 10)
    hour_ns = NS_PER_HOUR
    assert first_reached_ns(points, 5 * HOUR_FLOP // 2) == START_NS + 5 * hour_ns // 2
    assert first_reached_ns(points, 0) == START_NS
    assert first_reached_ns(points, 11 * HOUR_FLOP) is None
    assert first_reached_ns([], 1) is None
    # Ten hours without a report, and then all of their work at once: it may have been done first.
    late = [*points, Point(points[-1].at_ns + 10 * hour_ns, 20 * HOUR_FLOP)]
    assert first_reached_ns(late, 15 * HOUR_FLOP) == points[-1].at_ns
    still = [*points, Point(points[-1].at_ns + hour_ns, points[-1].best_flop), late[-1]]
    assert first_reached_ns(still, 15 * HOUR_FLOP) == points[-1].at_ns
    # Two rows of one instant: the later one is as early.
    twice = [Point(START_NS, 0), Point(START_NS, HOUR_FLOP)]
    assert first_reached_ns(twice, HOUR_FLOP) == START_NS


DAY_NS = 24 * NS_PER_HOUR
LONG_AGO_NS = START_NS - 100 * DAY_NS


def entered(points: list[Point], flop: int) -> list[Point]:
    """A history after which so much was entered by hand, as the totals show it."""
    last = points[-1]
    return [*points, last, Point(last.at_ns, last.best_flop + flop, revalued=True)]


def test_what_was_entered_for_the_past_may_have_been_reached_then() -> None:
    """Of external compute the beginning of its period, where it is enough by itself."""
    points = entered(trail([HOUR_FLOP] * 48), 1_000 * HOUR_FLOP)
    period = [(LONG_AGO_NS, 1_000 * HOUR_FLOP)]
    assert first_reached_ns(points, 900 * HOUR_FLOP, period) == LONG_AGO_NS
    at_ns = first_reached_ns(points, 1_010 * HOUR_FLOP, period)
    assert at_ns == START_NS + 10 * NS_PER_HOUR, "with ten metered hours beside it"
    late = [(START_NS + 20 * NS_PER_HOUR, 1_000 * HOUR_FLOP)]
    assert first_reached_ns(points, 1_010 * HOUR_FLOP, late) == late[0][0]
    assert first_reached_ns(points, 5 * HOUR_FLOP, late) == START_NS + 5 * NS_PER_HOUR
    assert first_reached_ns(points, 2_000 * HOUR_FLOP, period) is None


def test_two_periods_reach_it_together() -> None:
    """Neither is enough alone: the date is that of the later beginning."""
    points = [Point(START_NS, 9 * HOUR_FLOP)]
    periods = [(LONG_AGO_NS, 4 * HOUR_FLOP), (LONG_AGO_NS + DAY_NS, 5 * HOUR_FLOP)]
    assert first_reached_ns(points, 9 * HOUR_FLOP, periods) == LONG_AGO_NS + DAY_NS


@given(histories, st.integers(0, 200), st.integers(1, 10**24))
def test_an_entry_never_makes_it_later(hours: list[int], days: int, flop: int) -> None:
    """The date with an entry of a period is not after the one that takes it for a correction."""
    points = entered(trail(hours), 10**22)
    period = [(START_NS - days * DAY_NS, 10**22)]
    with_period, plain = first_reached_ns(points, flop, period), first_reached_ns(points, flop)
    assert (with_period is None) == (plain is None)
    if with_period is not None and plain is not None:
        assert with_period <= max(plain, START_NS + NS_PER_HOUR * len(hours))
