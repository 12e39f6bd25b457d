"""The ratio of two intervals, in exact rationals: modification over original.

Owns: the division, and on which side of a line a ratio lies.
May touch: nothing; exact rationals.
Called by the collector's presentation of models and by reports.
Commission Guidelines C(2025) 7719, section 3.2: who modifies a model with more than a third of the
original's training compute becomes the provider of the modified model; where the original's is
unknown, a third of the lines 10^25 and 10^23 stands in its place.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.interval import Interval
from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True)
class Ratio:
    """Part over whole, bound by bound; None where the whole may be nothing, so no bound is known.

    floor <= lower <= best <= upper <= ceiling, as far as they are known.
    """

    floor: Fraction | None
    lower: Fraction | None
    best: Fraction | None
    upper: Fraction | None
    ceiling: Fraction | None

    def above(self, line: Fraction) -> bool | None:
        """Whether the best ratio lies above a line; None where it is not known."""
        return None if self.best is None else self.best > line

    def decided(self, line: Fraction) -> bool:
        """Whether the whole likely range lies on one side of a line."""
        if self.lower is not None and self.lower > line:
            return True
        return self.upper is not None and self.upper <= line


def ratio_of(part: Interval, whole: Interval) -> Ratio:
    """Divide two intervals: each bound of the part by the opposite bound of the whole.

    Nothing is assumed about how the errors of the two go together, so the range is the widest.
    """
    return Ratio(
        floor=_over(part.floor, whole.ceiling),
        lower=_over(part.lower, whole.upper),
        best=_over(part.best, whole.best),
        upper=_over(part.upper, whole.lower),
        ceiling=_over(part.ceiling, whole.floor),
    )


def _over(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None
