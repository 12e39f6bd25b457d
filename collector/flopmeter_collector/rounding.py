"""Figures for people: two significant digits, and one more where two would mislead.

Owns: rounding of exact integers in FLOP to text, the rule that rounding never moves a figure on or
across a threshold, and the text of a threshold's own value.
May touch: nothing; pure functions of integers and of the built-in catalogue.
Called by presentation, the page and the alerts; machines get exact integers instead.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flopmeter_core.catalogue import Unit
from flopmeter_core.lawbook import builtin_files, parse_lawbook

SIGNIFICANT_DIGITS = 2
"""As much as the figures carry; the EU's notification asks for two (C(2025) 7719, 2.3.2)."""

_LINE_DIGITS = 6

_PERCENT_DECIMALS = 30
_PERCENT_SCALE = 100 * 10**_PERCENT_DECIMALS
"""A ratio is rounded as a whole number of 10^-30 percent: 1 FLOP of 10^26 is not lost."""

_PLAIN_EXPONENTS = range(-4, 4)
"""Percentages from 0.0001 to 9999 are written without a power of ten."""


class Rounding(enum.Enum):
    """Which way a figure is rounded: lower bounds down, upper bounds up, best to nearest."""

    DOWN = "down"
    NEAREST = "nearest"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Rounded:
    """A figure as digits and a power of ten: mantissa ``1.2`` and exponent 25."""

    mantissa: str
    exponent: int

    def __str__(self) -> str:
        """The text form, for instance ``1.2e25``; zero is ``0``."""
        return self.mantissa if self.mantissa == "0" else f"{self.mantissa}e{self.exponent}"


def round_flop(
    flop: int, *, thresholds: Iterable[int] = (), rounding: Rounding = Rounding.NEAREST
) -> Rounded:
    """Round to two significant digits, and to more while that would land on or cross a threshold.

    The lines of the built-in catalogue count always: whoever forgets to name one must not print
    a figure below it as one on it.

    Args:
        flop: an exact count, 0 or more.
        thresholds: further exact values in FLOP, such as a site's own, that the rounded figure
            must stay on the side of.
        rounding: which way.
    """
    # A figure that is a line's own value is on no wrong side of it, however it is rounded.
    known = known_lines()
    return _rounded(flop, (*(() if flop in known else known), *thresholds), rounding)


def exact_flop(value_flop: int) -> Rounded:
    """A line's own value, exact: ``1e25``, ``1.254e23``; a law's number is no measurement.

    Args:
        value_flop: above 0; one that does not end after six digits, such as a third, is rounded.
    """
    digits = str(value_flop).rstrip("0")
    if len(digits) > _LINE_DIGITS:
        return round_flop(value_flop)
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return Rounded(mantissa, len(str(value_flop)) - 1)


@functools.cache
def known_lines() -> tuple[int, ...]:
    """The exact values in FLOP of the built-in catalogue's rows, in force or not."""
    rows = parse_lawbook(builtin_files()).rows
    return tuple(sorted({row.value_flop for row in rows if row.unit is Unit.FLOP}))


def _rounded(flop: int, values: Sequence[int], rounding: Rounding) -> Rounded:
    if flop == 0:
        return Rounded("0", 0)
    for digits in range(SIGNIFICANT_DIGITS, len(str(flop)) + 1):
        rounded = _round(flop, digits, rounding)
        if all(_side(rounded, value) == _side(flop, value) for value in values):
            return _text(rounded, digits)
    return _text(flop, max(SIGNIFICANT_DIGITS, len(str(flop))))


def round_range(
    lower_flop: int, upper_flop: int, *, thresholds: Iterable[int] = ()
) -> tuple[Rounded, Rounded]:
    """Round the ends of a range outward, so that what is shown holds what is exact (ADR 4).

    Args:
        lower_flop: exact lower end.
        upper_flop: exact upper end.
        thresholds: as in `round_flop`.
    """
    values = tuple(thresholds)
    return (
        round_flop(lower_flop, thresholds=values, rounding=Rounding.DOWN),
        round_flop(upper_flop, thresholds=values, rounding=Rounding.UP),
    )


def percent_text(flop: int, value_flop: int, rounding: Rounding = Rounding.NEAREST) -> str:
    """A figure as a share of a threshold: ``12 %``; 99.6 % never becomes 100 %.

    Args:
        flop: exact figure.
        value_flop: exact threshold, above 0.
        rounding: which way.
    """
    scaled = flop * _PERCENT_SCALE // value_flop
    if flop > value_flop:
        scaled = max(scaled, _PERCENT_SCALE + 1)
    rounded = _rounded(scaled, (_PERCENT_SCALE,), rounding)
    return f"{_percent_digits(rounded)} %"


def percent_range(lower_flop: int, upper_flop: int, value_flop: int) -> tuple[str, str]:
    """The ends of a range as shares of a threshold, rounded outward like `round_range`."""
    return (
        percent_text(lower_flop, value_flop, Rounding.DOWN),
        percent_text(upper_flop, value_flop, Rounding.UP),
    )


def _percent_digits(rounded: Rounded) -> str:
    exponent = rounded.exponent - _PERCENT_DECIMALS
    if rounded.mantissa == "0":
        return "0"
    if exponent not in _PLAIN_EXPONENTS:
        return f"{rounded.mantissa}e{exponent}"
    digits = rounded.mantissa.replace(".", "")
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    rest = digits[exponent + 1 :]
    return f"{whole}.{rest}" if rest else whole


def _round(flop: int, digits: int, rounding: Rounding) -> int:
    unit: int = 10 ** max(0, len(str(flop)) - digits)
    whole, rest = divmod(flop, unit)
    up = {
        Rounding.DOWN: False,
        Rounding.NEAREST: 2 * rest >= unit,
        Rounding.UP: rest > 0,
    }[rounding]
    return (whole + up) * unit if rest else flop


def _side(flop: int, value_flop: int) -> int:
    """-1 below, 0 on, 1 above the value."""
    return (flop > value_flop) - (flop < value_flop)


def _text(flop: int, digits: int) -> Rounded:
    exponent = len(str(flop)) - 1
    shown = str(flop).ljust(digits, "0")[:digits]
    return Rounded(f"{shown[0]}.{shown[1:]}", exponent)
