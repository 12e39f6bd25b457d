"""Exact numbers of laws as people write them: 10^25, 3*10^23, 10^25/3, 1/3.

Owns: their syntax, and the whole number that decides like a fraction.
May touch: nothing; exact rationals.
Called by threshold_files and catalogue; a float would not be exact.
"""

from __future__ import annotations

import re
from fractions import Fraction

from flopmeter_core.errors import DataError

# A negative exponent would make a fraction, a long one a number that fills the memory.
_EXACT = re.compile(r"(?:(\d{1,40})\*)?(\d{1,40})(?:\^(\d{1,2}))?(?:/(\d{1,40}))?", re.ASCII)


def parse_exact(text: str) -> Fraction:
    """Read an exact number: ``10^25``, ``3*10^23``, ``10^25/3``, ``1/3`` or plain digits.

    Raises:
        DataError: anything else, or a number that is not above 0.
    """
    match = _EXACT.fullmatch(text.replace(" ", ""))
    if match is None:
        raise DataError(
            f"{text!r} is not an exact number; write 10^25, 3*10^23, 10^25/3 or plain digits"
        )
    factor, base, exponent, divisor = (int(group) if group else 1 for group in match.groups())
    if divisor == 0:
        raise DataError(f"{text!r} divides by 0; correct it")
    exact = Fraction(factor * base**exponent, divisor)
    if exact <= 0:
        raise DataError(f"a threshold must be above 0, not {text!r}")
    return exact
