"""The five-number interval of a figure in FLOP, and the figures of a sum.

Owns: ordering and addition of intervals, and the addends that are kept apart from them.
May touch: nothing; unbounded Python integers.
Called by estimate (which makes figures), totals (which add them) and everything that shows one.
Explained in docs/adr/0004-interval-semantics.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from flopmeter_core.errors import invariant
from flopmeter_core.values import value_class

COVERAGE = 0.95
"""The probability that lower..upper claims to contain the truth."""


@value_class(frozen=True, slots=True)
class Interval:
    """floor <= lower <= best <= upper <= ceiling, all in whole FLOP.

    floor and ceiling are physics under the assumptions a method lists; lower..upper is the
    likely interval at `COVERAGE`; best is the most likely value.
    """

    floor: int
    lower: int
    best: int
    upper: int
    ceiling: int

    def __post_init__(self) -> None:
        """Refuse an interval that is not ordered or is negative."""
        if not 0 <= self.floor <= self.lower <= self.best <= self.upper <= self.ceiling:
            # Spelled out only when broken: every figure of every scrape comes through here.
            invariant(False, f"an interval is ordered and not negative: {self}")

    def __add__(self, other: Interval) -> Interval:
        """Add bound to bound: errors of one method are systematic and never average out."""
        return Interval(
            self.floor + other.floor,
            self.lower + other.lower,
            self.best + other.best,
            self.upper + other.upper,
            self.ceiling + other.ceiling,
        )

    def __sub__(self, other: Interval) -> Interval:
        """Take an addend out of a sum it was added to before."""
        return Interval(
            self.floor - other.floor,
            self.lower - other.lower,
            self.best - other.best,
            self.upper - other.upper,
            self.ceiling - other.ceiling,
        )

    def widened(self, *, upper: int, ceiling: int) -> Interval:
        """The interval with addends that only the upper side takes, in FLOP."""
        return Interval(
            self.floor, self.lower, self.best, self.upper + upper, self.ceiling + ceiling
        )


ZERO = Interval(0, 0, 0, 0, 0)


@value_class(frozen=True, slots=True)
class Figures:
    """What is known of the FLOP of one key, one run or one model.

    Attributes:
        observed: the interval from what was measured.
        unobserved_ceiling: FLOP that the unobserved time could hold at most; an addend of
            upper and ceiling, and of nothing else.
        boundary_upper: likely upper FLOP of periods shared with a neighbour.
        boundary_ceiling: greatest possible FLOP of those periods.
    """

    observed: Interval = ZERO
    unobserved_ceiling: int = 0
    boundary_upper: int = 0
    boundary_ceiling: int = 0

    def __add__(self, other: Figures) -> Figures:
        """Add part to part."""
        if self is NO_FIGURES:
            return other  # where every sum begins
        return Figures(
            self.observed + other.observed,
            self.unobserved_ceiling + other.unobserved_ceiling,
            self.boundary_upper + other.boundary_upper,
            self.boundary_ceiling + other.boundary_ceiling,
        )

    def __sub__(self, other: Figures) -> Figures:
        """Take an addend out of a sum it was added to before."""
        return Figures(
            self.observed - other.observed,
            self.unobserved_ceiling - other.unobserved_ceiling,
            self.boundary_upper - other.boundary_upper,
            self.boundary_ceiling - other.boundary_ceiling,
        )

    @property
    def without_unobserved(self) -> Interval:
        """The interval without the addend of the unobserved time."""
        return self.observed.widened(upper=self.boundary_upper, ceiling=self.boundary_ceiling)

    @property
    def total(self) -> Interval:
        """The interval with every addend: what is printed first."""
        # Made at once: a scrape asks for it of every run.
        return self.observed.widened(
            upper=self.boundary_upper + self.unobserved_ceiling,
            ceiling=self.boundary_ceiling + self.unobserved_ceiling,
        )


NO_FIGURES = Figures()


def sum_figures(figures: Iterable[Figures]) -> Figures:
    """Add any number of figures."""
    total = NO_FIGURES
    for addend in figures:
        total = total + addend
    return total
