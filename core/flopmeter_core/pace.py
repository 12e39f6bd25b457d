"""The pace of a cumulative figure: how fast it grows while it works, and how often it stands still.

Owns: reading a history of totals, with its stops, ramps, late arrivals and corrections.
May touch: nothing; whole FLOP and nanoseconds.
Called by forecast's callers (the collector's outlook, lab.backtest).
Explained in docs/forecast.md.

The pace is a level times a share: the level is what lately was done in an hour of work, the share
is how much of the time was worked so far. A mean over all the time would still hold a ramp of
weeks ago; a mean over the last day would take one failure for the rule.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from flopmeter_core.errors import invariant
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_core.values import value_class

WINDOW_H = 60 * 24
"""Hours looked back: a run that has lasted longer is judged by its last two months."""

SHORTEST_HISTORY_H = 24
"""Before a day of history there is no pace."""

LEVEL_H = 36
"""Hours of work the level is taken from: one and a half days, so that no single day decides."""

DAY_H = 24

USUAL_WORKING_SHARE = 0.93
USUAL_WEIGHT_H = 240
"""What is assumed of the share of time worked, and how many hours of history outweigh it: a run's
first long stop would otherwise pass for its habit. Chosen with the constants of `forecast`."""

LONGEST_STOP_H = 14 * 24
"""After two weeks without work there is no pace any more."""

LEVEL_PERCENTILE = 60
"""A little above the median: an hour in which a failure fell is no full hour of work."""


@value_class(frozen=True, slots=True)
class Point:
    """What a cumulative figure was at one time.

    Attributes:
        at_ns: Unix time in ns.
        best_flop: the most likely figure then.
        revalued: whether the step to here is a correction (a format declared late, another
            method) and no work.
    """

    at_ns: int
    best_flop: int
    revalued: bool = False


@value_class(frozen=True, slots=True)
class Pace:
    """How a figure grows.

    Attributes:
        likely_flop_per_h: the pace to reckon with, stops included.
        level_flop_per_h: what an hour of work does lately.
        day_deviation: standard deviation of a day's work, as a share of a full day's.
        growth: logarithm of the level over the least level of the last third; 0 or more.
        history_h: hours of history it rests on.
        stopped_h: hours it has stood still until now.
    """

    likely_flop_per_h: int
    level_flop_per_h: int
    day_deviation: float
    growth: float
    history_h: int
    stopped_h: int


def pace_of(points: Sequence[Point], *, now_ns: int) -> Pace | None:
    """Read the pace from a history.

    Args:
        points: oldest first. Between two of them the figure is taken to have grown evenly; after
            the last it has not grown.
        now_ns: Unix time in ns of the end.

    Returns:
        The pace; None where there is less than a day of work in the window, or none for two weeks.
    """
    hours = _worked_hours(points, now_ns)
    stopped = _trailing_zeros(hours)
    if len(hours) < SHORTEST_HISTORY_H or stopped > LONGEST_STOP_H:
        return None
    days = _days(hours)
    levels = _levels(days)
    level = _level([flop for flop in hours if flop > 0][-LEVEL_H:])
    full = [day_level * len(day) for day, day_level in zip(days, levels, strict=True)]
    shares = [sum(day) / whole for day, whole in zip(days, full, strict=True)]
    # The share worked, with what is usual as so many hours at the mean level.
    usual = sum(full) * USUAL_WEIGHT_H // len(hours)
    worked = sum(hours) + round(usual * USUAL_WORKING_SHARE)
    recent = levels[-max(2, len(levels) // 3) :]
    return Pace(
        # No more than all of the time: a leap that no standstill explains is not repeated.
        likely_flop_per_h=min(level, level * worked // (sum(full) + usual)),
        level_flop_per_h=level,
        day_deviation=statistics.pstdev(shares) if len(shares) > 1 else 1 - USUAL_WORKING_SHARE,
        growth=max(0.0, math.log(level / min(recent))),
        history_h=len(hours),
        stopped_h=stopped,
    )


def first_reached_ns(
    points: Sequence[Point], flop: int, entered: Sequence[tuple[int, int]] = ()
) -> int | None:
    """Say when a figure may first have reached an amount, as Unix time in ns.

    With a correction the past is counted as now, so that a date may lie before the day it was
    found out. What arrived at once after a standstill may have been done at its beginning, and
    what was entered by hand for a period in the past at the beginning of that.

    Args:
        points: as in `pace_of`; their last one holds what was entered too.
        flop: the amount.
        entered: when each such period began, in Unix ns, and its most likely FLOP.

    Returns:
        The earliest time the history allows; None where it was not reached.
    """
    metered = _without_entered(points, sum(amount for _, amount in entered))
    starts = sorted(entered)
    found: list[int] = []
    held = 0
    for number, start_ns in enumerate([None, *(at_ns for at_ns, _ in starts)]):
        if number:
            held += starts[number - 1][1]
        enough = number > 0 and flop <= held
        at_ns = start_ns if enough else _reached_ns(metered, flop - held)
        if at_ns is not None:
            found.append(at_ns if start_ns is None else max(start_ns, at_ns))
    return min(found, default=None)


def _without_entered(points: Sequence[Point], entered_flop: int) -> list[Point]:
    """What was metered, as it is counted now: the share that the newest point has of it."""
    continuous = _without_corrections(points) if points else []
    if not entered_flop or not continuous:
        return continuous
    whole = continuous[-1].best_flop
    metered = max(0, whole - entered_flop)
    return [
        Point(point.at_ns, point.best_flop * metered // whole if whole else 0)
        for point in continuous
    ]


def _reached_ns(points: Sequence[Point], flop: int) -> int | None:
    """When a history without corrections may first have reached an amount above 0."""
    before: Point | None = None
    for point in points:
        if point.best_flop >= flop:
            if before is None or point.at_ns == before.at_ns:
                return point.at_ns
            if point.at_ns - before.at_ns > NS_PER_HOUR:
                return before.at_ns
            share = (point.at_ns - before.at_ns) * (flop - before.best_flop)
            return before.at_ns + share // (point.best_flop - before.best_flop)
        if before is None or point.best_flop > before.best_flop:
            # Of a standstill its beginning: what follows may have been done in it.
            before = point
    return None


def _worked_hours(points: Sequence[Point], now_ns: int) -> list[int]:
    """What was done in each hour of the window since the first work, the newest last."""
    if not points:
        return []
    continuous = _without_corrections(points)
    if continuous[-1].at_ns < now_ns:
        continuous.append(Point(now_ns, continuous[-1].best_flop))
    count = min(WINDOW_H, (now_ns - continuous[0].at_ns) // NS_PER_HOUR)
    hours = _spread_late(_increments(continuous, count, now_ns))
    first = next((number for number, flop in enumerate(hours) if flop > 0), len(hours))
    return hours[first:]


def _without_corrections(points: Sequence[Point]) -> list[Point]:
    """The history as if it had always been counted as now: a correction scales what was before."""
    scaled: list[Point] = []
    # From the newest backwards: numerator and denominator of what older figures are worth today.
    worth, of = 1, 1
    for point, after in zip(reversed(points), [None, *reversed(points)], strict=False):
        if after is not None and after.revalued and point.best_flop > 0:
            worth, of = worth * after.best_flop, of * point.best_flop
            shared = math.gcd(worth, of)
            worth, of = worth // shared, of // shared
        scaled.append(Point(point.at_ns, point.best_flop * worth // of))
    scaled.reverse()
    return scaled


def _increments(points: Sequence[Point], count: int, end_ns: int) -> list[int]:
    """Growth in each of the last `count` hours, the newest last; even between two points."""
    place = len(points) - 1
    flop_after = points[-1].best_flop
    grown: list[int] = []
    for number in range(1, count + 1):
        at_ns = end_ns - number * NS_PER_HOUR
        while place > 0 and points[place].at_ns > at_ns:
            place -= 1
        before, after = points[place], points[min(place + 1, len(points) - 1)]
        invariant(before.at_ns <= at_ns, "a window begins within its history")
        flop = before.best_flop
        if after.at_ns > before.at_ns:
            flop += (
                (after.best_flop - before.best_flop)
                * (at_ns - before.at_ns)
                // (after.at_ns - before.at_ns)
            )
        # A figure may go back where doubtful work was taken out; that is no work.
        grown.append(max(0, flop_after - flop))
        flop_after = flop
    grown.reverse()
    return grown


def _spread_late(hours: Sequence[int]) -> list[int]:
    """Spread what arrived at once after a standstill evenly over it: late reports."""
    spread = list(hours)
    worked = [flop for flop in hours if flop > 0]
    if not worked:
        return spread
    usual = statistics.median_low(worked)
    zeros = 0
    for number, flop in enumerate(hours):
        if flop == 0:
            zeros += 1
            continue
        if zeros and flop > usual:
            around = (
                *hours[max(0, number - zeros - 2 * DAY_H) : number - zeros],
                *hours[number + 1 : number + 1 + 2 * DAY_H],
            )
            near = statistics.median_low([each for each in around if each > 0] or [usual])
            # More than one hour can do, and no more than all of the standstill could have held.
            if 9 * near < 5 * flop <= 8 * near * (zeros + 2):
                share, rest = divmod(flop, zeros + 1)
                spread[number - zeros : number + 1] = [share] * zeros + [share + rest]
        zeros = 0
    return spread


def _days(hours: Sequence[int]) -> list[Sequence[int]]:
    """The hours in days counted back from the newest; a short first day joins the second."""
    first = len(hours) % DAY_H
    cuts = range(first, len(hours), DAY_H)
    days = [hours[cut : cut + DAY_H] for cut in cuts]
    return [hours[:first], *days] if first >= DAY_H // 2 else [hours[: first + DAY_H], *days[1:]]


def _levels(days: Sequence[Sequence[int]]) -> list[int]:
    """What an hour of work did around each day; a day without work has its neighbour's."""
    found: list[int] = []
    for number in range(len(days)):
        around = [flop for day in days[max(0, number - 1) : number + 2] for flop in day if flop > 0]
        found.append(_level(around) if around else found[-1] if found else 0)
    first = next(level for level in found if level > 0)
    return [level or first for level in found]


def _level(worked: Sequence[int]) -> int:
    ordered = sorted(worked)
    return ordered[min(len(ordered) - 1, len(ordered) * LEVEL_PERCENTILE // 100)]


def _trailing_zeros(hours: Sequence[int]) -> int:
    return next((count for count, flop in enumerate(reversed(hours)) if flop > 0), len(hours))
