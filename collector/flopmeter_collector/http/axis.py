"""One model on a logarithmic line of FLOP, with every threshold on it; figures as HTML.

Owns: the line's extent, where a figure lies on it, and the mark-up of a figure.
May touch: nothing; pure functions. Positions are floats for drawing and enter no comparison.
Called by http.page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from flopmeter_collector.alike import name_of, put_together
from flopmeter_collector.rounding import Rounded, Rounding, exact_flop, round_flop, round_range
from flopmeter_core.catalogue import Threshold
from flopmeter_core.interval import Figures, Interval

DECADES_BELOW = 3
"""How far the line reaches below the lowest threshold at least."""

MAXIMUM_TICKS = 14


def figure_html(flop: int, thresholds: Sequence[int], rounding: Rounding = Rounding.NEAREST) -> str:
    """A rounded figure: ``1.2 x 10^25`` as people print it."""
    return _html(round_flop(flop, thresholds=thresholds, rounding=rounding))


def line_html(value_flop: int) -> str:
    """A line's own value, exact: ``10^25`` as a law prints it."""
    exact = exact_flop(value_flop)
    return f"10<sup>{exact.exponent}</sup>" if exact.mantissa == "1" else _html(exact)


def range_html(interval: Interval, thresholds: Sequence[int]) -> str:
    """The likely range, rounded outward, with a shared power of ten written once."""
    lower, upper = round_range(interval.lower, interval.upper, thresholds=thresholds)
    if lower.exponent == upper.exponent and interval.lower:
        return f"{lower.mantissa} to {_html(upper)}"
    return f"{_html(lower)} to {_html(upper)}"


def axis(figures: Figures, thresholds: Sequence[Threshold]) -> str:
    """The line of one model.

    Args:
        figures: the model's figures.
        thresholds: what stands on the line.
    """
    total = figures.total
    low, high = _extent(total, thresholds)

    def place(flop: int) -> float:
        """Percent of the line's width; what is smaller than its start lies on its start."""
        if flop <= 0:
            return 0.0
        return min(100.0, max(0.0, (math.log10(flop) - low) * 100 / (high - low)))

    parts = ['<div class="rail"></div>']
    if total.ceiling:
        parts.append(_span("hard", place(total.floor), place(total.ceiling)))
    if total.upper:
        parts.append(_span("likely", place(total.lower), place(total.upper)))
    if total.best:
        parts.append(f'<div class="best" style="left:{place(total.best):.2f}%"></div>')
    groups = put_together(thresholds, lambda threshold: threshold.value_flop)
    for number, group in enumerate(groups):
        threshold = group[0]
        kind = " demo" if threshold.demonstration else ""
        kind += " up" if number % 2 else ""
        left = place(threshold.value_flop)
        parts.append(
            f'<div class="limit{kind}" style="left:{left:.2f}%">'
            f"<span>{escape(name_of([each.id for each in group]))}</span></div>"
        )
    step = max(1, math.ceil((high - low) / MAXIMUM_TICKS))
    for power in range(low, high + 1, step):
        left = (power - low) * 100 / (high - low)
        parts.append(f'<div class="tick" style="left:{left:.2f}%">10<sup>{power}</sup></div>')
    words = f"most likely {round_flop(total.best)} FLOP on a line from 1e{low} to 1e{high}"
    return f'<div class="axis" role="img" aria-label="{words}">{"".join(parts)}</div>'


def _extent(total: Interval, thresholds: Sequence[Threshold]) -> tuple[int, int]:
    """First and last power of ten: thresholds and figures with room at both ends."""
    values = [threshold.value_flop for threshold in thresholds] or [1]
    powers = [_power(min(values)) - DECADES_BELOW]
    powers += [_power(flop) for flop in (total.lower, total.best) if flop]
    return max(0, min(powers)), max(_power(max(values)), _power(max(1, total.upper))) + 1


def _power(flop: int) -> int:
    return len(str(flop)) - 1


def _span(kind: str, start: float, end: float) -> str:
    return (
        f'<div class="{kind}" style="left:{start:.2f}%;width:{max(0.0, end - start):.2f}%"></div>'
    )


def _html(rounded: Rounded) -> str:
    if rounded.mantissa == "0":
        return "0"
    return f"{rounded.mantissa}&nbsp;&times;&nbsp;10<sup>{rounded.exponent}</sup>"
