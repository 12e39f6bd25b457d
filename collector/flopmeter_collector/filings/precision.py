"""How a figure is told at a recipient's precision.

Owns: the rounding of counts, time and energy, and the ranges of the Model Documentation Form.
May touch: nothing; pure functions of exact numbers.
Called by the sections of a report; docs/filings.md.
A figure is never rounded on or across a threshold: one more digit is told instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopmeter_collector.documents import Json
from flopmeter_collector.rounding import Rounding, round_flop
from flopmeter_core.filings import Precision
from flopmeter_core.interval import Interval
from flopmeter_core.units import NS_PER_S

NS_PER_DAY = 86_400 * NS_PER_S

DAYS_PER_MONTH = 365.2425 / 12
"""The mean month of the Gregorian calendar."""

TRAINING_TIME_RANGES = (
    (1, "less than 1 month"),
    (3, "1 to 3 months"),
    (6, "3 to 6 months"),
)
"""Months below which each range ends: Model Documentation Form (10 July 2025), training time."""

LONGEST_RANGE = "more than 6 months"


def flop_text(
    flop: int,
    precision: Precision,
    *,
    thresholds: Sequence[int] = (),
    rounding: Rounding = Rounding.NEAREST,
) -> str:
    """A count of FLOP in words for people.

    Args:
        flop: exact.
        precision: the recipient's.
        thresholds: exact values it may not be rounded on or across.
        rounding: which way.
    """
    if precision is Precision.ORDER_OF_MAGNITUDE:
        return _magnitude(flop, rounding)
    return str(round_flop(flop, thresholds=thresholds, rounding=rounding))


def _magnitude(flop: int, rounding: Rounding) -> str:
    """The two powers of ten a count lies between; of a bound the one on its outer side."""
    if flop == 0:
        return "0"
    below = len(str(flop)) - 1
    above = below if flop == 10**below else below + 1
    if rounding is Rounding.NEAREST:
        return f"10^{below} to 10^{below + 1}"
    return f"10^{below if rounding is Rounding.DOWN else above}"


def interval_json(
    interval: Interval, precision: Precision, *, thresholds: Sequence[int] = ()
) -> Json:
    """An interval in words, and exactly where the recipient is told everything.

    An order of magnitude is of the best figure alone; what is withheld is not there at all.
    """
    if precision is Precision.WITHHELD:
        return {}
    if precision is Precision.ORDER_OF_MAGNITUDE:
        return {"best": flop_text(interval.best, precision)}
    told: Json = {
        bound: flop_text(
            getattr(interval, bound), precision, thresholds=thresholds, rounding=rounding
        )
        for bound, rounding in _ROUNDINGS.items()
    }
    if precision is Precision.FULL:
        told |= {f"{bound}_flop_str": str(getattr(interval, bound)) for bound in _ROUNDINGS}
    return told


_ROUNDINGS = {
    "floor": Rounding.DOWN,
    "lower": Rounding.DOWN,
    "best": Rounding.NEAREST,
    "upper": Rounding.UP,
    "ceiling": Rounding.UP,
}


def figures_text(amount: float, figures: int) -> str:
    """A positive number with so many significant figures, without a power of ten.

    Args:
        amount: 0 or more.
        figures: 1 or more.
    """
    if amount == 0:
        return "0"
    rounded = float(f"{amount:.{figures - 1}e}")
    if rounded >= 10 ** (figures - 1):
        return f"{rounded:.0f}"
    return f"{rounded:.{figures + 8}f}".rstrip("0").rstrip(".")


def days(ns: int) -> float:
    """Time in ns as days of 24 hours."""
    return ns / NS_PER_DAY


def time_range(ns: int) -> str:
    """The range of the form that a training time falls into."""
    months = days(ns) / DAYS_PER_MONTH
    return next((text for end, text in TRAINING_TIME_RANGES if months < end), LONGEST_RANGE)
