"""The formulas of the EU guidelines' annex, with every input shown beside the result.

Owns: C = N x L x H x U over periods, and C = 6 x P x D, as the annex writes them.
May touch: nothing; exact rationals.
Called by reports that a reader must be able to redo by hand (docs/architecture-flop.md).

Source: guidelines on the scope of the obligations for general-purpose AI models, C(2025) 7719,
annex A.2.1 (hardware) and A.2.2 (architecture). The annex says neither which peak nor which
utilisation: here H is the dense peak of the format in use and U is model FLOP over H x time, so
that C is model FLOP; a busy time or a tensor activity put for U would give another quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from flopmeter_core.architecture.six_pd import six_pd
from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

SECONDS_PER_HOUR = 3_600


@value_class(frozen=True, slots=True)
class Period:
    """A time over which the number of units is constant.

    Attributes:
        units: N, hardware units, 1 or more.
        length_s: L, seconds of use, above 0.
        peak_flop_per_s: H, peak of one unit (weighted by units where types differ), above 0.
        utilization_ratio: U, mean utilisation, above 0, at most 1.
    """

    units: int
    length_s: Fraction
    peak_flop_per_s: Fraction
    utilization_ratio: Fraction

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            DataError: as the attributes say.
        """
        if self.units < 1 or self.length_s <= 0 or self.peak_flop_per_s <= 0:
            raise DataError("N, L and H of the annex's formula are above 0; correct the one not")
        if not 0 < self.utilization_ratio <= 1:
            raise DataError(f"U = {float(self.utilization_ratio)} is no share above 0, at most 1")

    @property
    def flop(self) -> Fraction:
        """N x L x H x U."""
        return self.units * self.length_s * self.peak_flop_per_s * self.utilization_ratio


@value_class(frozen=True, slots=True)
class HardwareReport:
    """A hardware-based figure (annex A.2.1), period by period."""

    periods: tuple[Period, ...]

    @property
    def flop(self) -> Fraction:
        """The sum over the periods."""
        return sum((period.flop for period in self.periods), Fraction(0))

    def lines(self) -> list[str]:
        """The report, one line a period and one for the sum; digits enough to redo it."""
        lines = [
            f"N = {period.units} units, L = {float(period.length_s):.10g} s, "
            f"H = {float(period.peak_flop_per_s):.10g} FLOP/s, "
            f"U = {float(period.utilization_ratio):.10g}: "
            f"N x L x H x U = {float(period.flop):.4g} FLOP"
            for period in self.periods
        ]
        return [*lines, f"C = {float(self.flop):.4g} FLOP ({two_digits(self.flop)})"]


@value_class(frozen=True, slots=True)
class ArchitectureReport:
    """An architecture-based figure (annex A.2.2).

    Attributes:
        parameters: P, of a dense model.
        tokens: D, repetitions counted.
    """

    parameters: int
    tokens: int

    @property
    def flop(self) -> Fraction:
        """6 x P x D; `architecture.six_pd` says where it holds."""
        return Fraction(six_pd(self.parameters, self.tokens))

    def lines(self) -> list[str]:
        """The report; digits enough to redo it."""
        return [
            f"P = {self.parameters} parameters, D = {self.tokens} tokens",
            f"C = 6 x P x D = {float(self.flop):.4g} FLOP ({two_digits(self.flop)})",
        ]


def from_device_hours(
    device_hours: Fraction, *, peak_flop_per_s: Fraction, utilization_ratio: Fraction
) -> HardwareReport:
    """A report from device-hours, where only the product N x L is known: N is written as 1."""
    length_s = device_hours * SECONDS_PER_HOUR
    return HardwareReport((Period(1, length_s, peak_flop_per_s, utilization_ratio),))


def mean_peak(units: Sequence[tuple[int, Fraction]]) -> Fraction:
    """H of several types of unit: the mean of their peaks, weighted by their numbers.

    Raises:
        DataError: no unit.
    """
    count = sum(number for number, _ in units)
    if count < 1:
        raise DataError("a mean peak needs at least one unit")
    return sum((number * peak for number, peak in units), Fraction(0)) / count


def two_digits(flop: Fraction) -> str:
    """Two significant figures, as a notification to the AI Office states them."""
    return f"{float(flop):.1e}"
