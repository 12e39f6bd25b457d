"""When a cumulative figure will cross a line: a date with a stated interval, or none at this pace.

Owns: the pace of a history of totals, the dates a pace or a plan gives, and their coverage.
May touch: nothing; whole FLOP and nanoseconds in, dates out, and no date is finer than a second.
Called by the collector's outlook and by lab.backtest, which scores it (`make backtest`).
Explained in docs/forecast.md and docs/adr/0022-forecast.md.

The forecast is of the most likely figure. How wrong the meter itself may be is in the figure's own
likely range and not in these dates: a systematic error moves the line, not the pace.
"""

from __future__ import annotations

import enum
import math

from flopmeter_core.errors import invariant
from flopmeter_core.pace import Pace
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_core.values import value_class

FORECAST_COVERAGE = 0.90
"""The probability that earliest..latest claims to contain the date of the crossing."""

LONGEST_FORECAST_NS = 3_653 * 24 * NS_PER_HOUR
"""Ten years: what takes longer is not forecast, at no pace a run keeps."""

TAIL_DEVIATIONS = 1.645
"""Standard deviations beyond which a normal error lies with 5 %, each side."""

# Chosen on seeds 1 to 800 of lab.backtest_runs, which are never scored (docs/forecast.md).
SPEED_UP_PER_ROOT = 0.11
SLOW_DOWN_PER_ROOT = 0.07
"""How far the mean pace of the time to come may lie off the likely one, as a share, when history
and horizon are equally long; it grows with the square root of horizon over history."""
LARGEST_ROOT = 4.0
LARGEST_DEVIATION = 0.8
"""Beyond these the width would grow faster than the time it is a share of, and a higher line would
be crossed sooner: sixteen times the history ahead, and days that differ more than late data do."""
RAMP_CARRIES_ON = 0.3
"""The share of a recent growth that may come once more."""
STOP_TO_COME_H = 36
"""A stop of so many hours may lie ahead, whatever came before."""
STOP_GOES_ON = 2
"""A stop under way may last so many times longer than it has."""


class Basis(enum.StrEnum):
    """What a crossing's dates rest on."""

    PACE = "pace"
    PLAN = "plan"


@value_class(frozen=True, slots=True)
class Plan:
    """Compute that is planned for a model, as declared.

    Attributes:
        lower_flop, best_flop, upper_flop: what the model's figure will be at the end of the plan.
        start_ns, end_ns: when the planned work begins and ends, as Unix time in ns.
    """

    lower_flop: int
    best_flop: int
    upper_flop: int
    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        """Refuse a plan that runs backwards."""
        invariant(0 <= self.lower_flop <= self.best_flop <= self.upper_flop, "a plan is ordered")
        invariant(self.start_ns < self.end_ns, "a plan ends after it begins")


@value_class(frozen=True, slots=True)
class Crossing:
    """When a line will be crossed, as Unix time in ns; None where it is not within ten years.

    Attributes:
        earliest_ns, latest_ns: an interval that claims `FORECAST_COVERAGE` where it rests on a
            pace; where it rests on a plan, what the plan's own bounds give.
        likely_ns: the most likely date; None where the line is not crossed at this pace, or by
            this plan.
        basis: what it rests on.
    """

    earliest_ns: int | None
    likely_ns: int | None
    latest_ns: int | None
    basis: Basis


def at_pace(pace: Pace, *, best_flop: int, value_flop: int, now_ns: int) -> Crossing:
    """Say when a figure that goes on at a pace crosses a line.

    Args:
        pace: of the figure's history.
        best_flop: where the figure stands now, below the line.
        value_flop: the line.
        now_ns: Unix time in ns; no date lies before it.
    """
    missing = max(0, value_flop - best_flop)
    if pace.likely_flop_per_h <= 0:
        return Crossing(None, None, None, Basis.PACE)
    likely_h = missing / pace.likely_flop_per_h
    if likely_h * NS_PER_HOUR > LONGEST_FORECAST_NS:
        return Crossing(None, None, None, Basis.PACE)
    days = max(likely_h / 24, 0.5)
    deviation = min(pace.day_deviation, LARGEST_DEVIATION)
    noise = TAIL_DEVIATIONS * deviation * math.sqrt(24 / pace.history_h + 1 / days)
    root = min(LARGEST_ROOT, math.sqrt(likely_h / pace.history_h))
    growth = RAMP_CARRIES_ON * pace.growth
    earlier = math.exp(-(SPEED_UP_PER_ROOT * root + growth + noise))
    later = math.exp(SLOW_DOWN_PER_ROOT * root + noise)
    # What stands still may be a stop, or a gap whose work arrives late.
    earliest_h = max(0.0, likely_h * earlier - pace.stopped_h)
    latest_h = likely_h * later + STOP_TO_COME_H + STOP_GOES_ON * pace.stopped_h
    return Crossing(
        _date(now_ns, earliest_h), _date(now_ns, likely_h), _date(now_ns, latest_h), Basis.PACE
    )


def by_plan(plan: Plan, *, best_flop: int, value_flop: int, now_ns: int) -> Crossing:
    """Say when a planned figure crosses a line, if the plan is kept and its work is even.

    Args:
        plan: what is planned.
        best_flop: where the figure stands now, below the line.
        value_flop: the line.
        now_ns: Unix time in ns; no date lies before it.
    """
    start_ns = max(now_ns, plan.start_ns)
    end_ns = max(start_ns, plan.end_ns)

    def date(end_flop: int) -> int | None:
        """When the line is crossed on the way to a figure at the plan's end."""
        if end_flop < value_flop or end_flop <= best_flop:
            return None
        share_ns = (end_ns - start_ns) * (value_flop - best_flop) // (end_flop - best_flop)
        return start_ns + max(0, share_ns)

    return Crossing(date(plan.upper_flop), date(plan.best_flop), date(plan.lower_flop), Basis.PLAN)


def _date(now_ns: int, hours: float) -> int | None:
    """A date so many hours from now, to the second."""
    ahead_ns = round(hours * 3_600) * NS_PER_S
    return now_ns + ahead_ns if ahead_ns <= 2 * LONGEST_FORECAST_NS else None


class Outlook(enum.StrEnum):
    """Whether it is foreseen that a line will be met."""

    FORESEEN = "foreseen"
    NOT_FORESEEN = "not_foreseen"


LEAVES_AT = 1.5
"""A line that was foreseen is so until its date lies so many horizons away: a date that wanders
about the horizon changes nothing."""


def outlook(
    pace: Crossing | None,
    plan: Crossing | None,
    *,
    now_ns: int,
    horizon_ns: int,
    before: Outlook = Outlook.NOT_FORESEEN,
) -> Outlook:
    """Say whether it is foreseen that a line will be met.

    It is where the plan's most likely amount meets it, whenever that is, and where the likely date
    by the pace lies within the horizon.

    Args:
        pace: the dates at the present pace; None where there is none.
        plan: the dates by the declared plan; None without one.
        now_ns: Unix time in ns.
        horizon_ns: how far ahead a date counts as foreseen.
        before: what was said before; leaving it takes more than entering it.
    """
    if plan is not None and plan.likely_ns is not None:
        return Outlook.FORESEEN
    if pace is None or pace.likely_ns is None:
        return Outlook.NOT_FORESEEN
    reach_ns = round(horizon_ns * LEAVES_AT) if before is Outlook.FORESEEN else horizon_ns
    return Outlook.FORESEEN if pace.likely_ns - now_ns <= reach_ns else Outlook.NOT_FORESEEN
