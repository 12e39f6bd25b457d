"""Exact numbers of laws: powers, products and fractions, and nothing a float could blur."""

from __future__ import annotations

from fractions import Fraction

import pytest

from flopmeter_core.errors import DataError
from flopmeter_core.quantities import parse_exact


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("10^26", Fraction(10**26)),
        ("3*10^23", Fraction(3 * 10**23)),
        ("3 * 10^23", Fraction(3 * 10**23)),
        ("7", Fraction(7)),
        ("10^25/3", Fraction(10**25, 3)),
        ("1/3", Fraction(1, 3)),
    ],
)
def test_exact(text: str, exact: Fraction) -> None:
    """Powers of ten, products, fractions and plain digits are read exactly."""
    assert parse_exact(text) == exact


NOT_EXACT = """1e26 10^ ^26 10^-5 10^2.5 2*3*10^5 *10^5 0 -1 0*10^9 10^999999999
1/0 1/3/3 1/ /3 0.333 1/-3"""


@pytest.mark.parametrize("text", ["", *NOT_EXACT.split()])
def test_inexact(text: str) -> None:
    """Anything that is not exact, not above 0 or absurdly large is refused."""
    with pytest.raises(DataError):
        parse_exact(text)
