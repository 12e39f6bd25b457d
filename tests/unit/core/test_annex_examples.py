"""The worked examples of the EU guidelines' annex come out as printed.

Inputs and figures: annex A.3, models A to H, read in a stored copy of the guidelines' text.
The annex prints one or two figures and is not of one mind how to get them: C and E are rounded,
D (in its list), G and H are cut. So a figure must lie within one unit of the last digit printed,
and this file also says what the inputs give exactly.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from flopmeter_core.annex import (
    ArchitectureReport,
    HardwareReport,
    Period,
    from_device_hours,
    mean_peak,
    two_digits,
)
from flopmeter_core.errors import DataError

TERA = 10**12

ARCHITECTURE = {
    "A": (3_800_000_000, 3_300 * 10**9, "7.5e22", "7.524e22"),
    "C": (600_000_000, 36_000 * 10**9, "1.3e23", "1.296e23"),
    "D": (1_540_000_000, 18_000 * 10**9, "1.6e23", "1.6632e23"),
    "E": (1_700_000_000, 36_000 * 10**9, "3.7e23", "3.672e23"),
    "F": (2_500_000_000, 12_000 * 10**9, "1.8e23", "1.8e23"),
    "G": (2_600_000_000, 10_000 * 10**9, "1.5e23", "1.56e23"),
}
"""Model -> P, D, the figure as printed, what the inputs give. D's calculation prints 1.663e23."""

HARDWARE = {
    "B": (200_000, 300 * TERA, "1e23", "1.08e23"),
    "H": (370_000, 989 * TERA, "6.5e23", "6.58674e23"),
}
"""Model -> device-hours, H, the figure as printed, what the inputs give; U is 0.5 in both."""


def _within_last_digit(flop: Fraction, printed: str) -> bool:
    """Whether a figure could have been printed so, by rounding or by cutting."""
    digits, _, exponent = printed.partition("e")
    unit = Fraction(10) ** (int(exponent) - len(digits.partition(".")[2]))
    return abs(flop - Fraction(printed)) < unit


@pytest.mark.parametrize("model", ARCHITECTURE)
def test_architecture_based(model: str) -> None:
    """C = 6PD gives the annex's figure, and the report shows P and D."""
    parameters, tokens, printed, exact = ARCHITECTURE[model]
    report = ArchitectureReport(parameters, tokens)
    assert report.flop == Fraction(exact)
    assert _within_last_digit(report.flop, printed)
    lines = report.lines()
    assert lines[0] == f"P = {parameters} parameters, D = {tokens} tokens"
    assert two_digits(report.flop) in lines[1]


def test_tokens_include_epochs() -> None:
    """Model G: 61 billion tokens seen 164 times are the 10 trillion of the calculation."""
    assert 61 * 10**9 * 164 == 10_004 * 10**9
    assert _within_last_digit(ArchitectureReport(2_600_000_000, 61 * 10**9 * 164).flop, "1.5e23")


@pytest.mark.parametrize("model", HARDWARE)
def test_hardware_based(model: str) -> None:
    """C = N x L x H x U gives the annex's figure from device-hours."""
    hours, peak, printed, exact = HARDWARE[model]
    report = from_device_hours(
        Fraction(hours), peak_flop_per_s=Fraction(peak), utilization_ratio=Fraction(1, 2)
    )
    assert report.flop == Fraction(exact)
    assert _within_last_digit(report.flop, printed)


def test_report_can_be_redone_by_hand() -> None:
    """Every factor of the report's line multiplies to the figure at its end."""
    periods = (
        Period(1024, Fraction(86_400), Fraction(989 * TERA), Fraction(2, 5)),
        Period(512, Fraction(3_600), Fraction(989 * TERA), Fraction(3, 10)),
    )
    report = HardwareReport(periods)
    lines = report.lines()
    assert len(lines) == 3
    total = 0.0
    for line in lines[:2]:
        told = {
            part.split(" = ")[0]: part.split(" = ")[1] for part in line.split(":")[0].split(", ")
        }
        n, length, peak, share = (float(told[name].split()[0]) for name in ("N", "L", "H", "U"))
        assert float(line.rpartition(" = ")[2].split()[0]) == pytest.approx(
            n * length * peak * share, rel=1e-3
        )
        total += n * length * peak * share
    assert float(report.flop) == pytest.approx(total)
    assert two_digits(report.flop) in lines[2]


def test_mean_peak_is_weighted_by_units() -> None:
    """Three units of 100 and one of 500 have a mean peak of 200."""
    assert mean_peak([(3, Fraction(100)), (1, Fraction(500))]) == 200
    with pytest.raises(DataError, match="at least one unit"):
        mean_peak([])


@pytest.mark.parametrize(
    ("units", "length", "peak", "share", "sentence"),
    [
        (0, 1, 1, Fraction(1, 2), "above 0"),
        (1, -1, 1, Fraction(1, 2), "above 0"),
        (1, 1, 0, Fraction(1, 2), "above 0"),
        (1, 1, 1, Fraction(3, 2), "no share"),
        (1, 1, 1, Fraction(0), "no share"),
    ],
)
def test_impossible_factors(
    units: int, length: int, peak: int, share: Fraction, sentence: str
) -> None:
    """A factor that cannot be is refused."""
    with pytest.raises(DataError, match=sentence):
        Period(units, Fraction(length), Fraction(peak), share)
