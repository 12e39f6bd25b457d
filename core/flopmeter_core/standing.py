"""How well a constant is known, and how far the truth may lie from it.

Owns: the standings, and the width and reason of each.
May touch: its own table, data/standings.toml, through `flopmeter_core.data`; nothing else.
Called by every table of constants, by methods.base (live rungs) and by the desk estimate.
"""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Mapping
from fractions import Fraction

from flopmeter_core.data import builtin_table
from flopmeter_core.errors import DataError
from flopmeter_core.units import PPM


class Standing(enum.StrEnum):
    """How well a constant is known; the order is from well to badly."""

    VERIFIED = "verified"
    SAME_DIE = "same-die"
    EXTRAPOLATED = "extrapolated"
    UNVERIFIED = "unverified"

    @property
    def width(self) -> Fraction:
        """How far the truth may lie from a constant of this standing, as a share of it, 0..1."""
        return _builtin_widths()[self]


@functools.cache
def _builtin_widths() -> Mapping[Standing, Fraction]:
    return parse_widths(builtin_table("standings.toml"))


def parse_widths(text: str) -> Mapping[Standing, Fraction]:
    """Read the table of widths.

    Args:
        text: the content of ``standings.toml``.

    Raises:
        DataError: not TOML; a standing without row, or a row of none; a width that is no whole
            number of ppm from 0 to below 10^6, or below that of a better standing; no reason.
    """
    try:
        table = tomllib.loads(text)
        if set(table) != set(Standing):
            raise DataError(f"the table of standings must have just {', '.join(Standing)}")
        widths = {standing: _width(standing, table[standing]) for standing in Standing}
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the table of standings is not valid TOML: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"a row of the table of standings lacks a field: {error}") from error
    if list(widths.values()) != sorted(widths.values()):
        raise DataError(
            "the table of standings gives a worse standing less width than a better one"
        )
    return widths


def _width(standing: Standing, row: Mapping[str, object]) -> Fraction:
    ppm = row["width_ppm"]
    if type(ppm) is not int or not 0 <= ppm < PPM:
        raise DataError(f"width_ppm = {ppm!r} of {standing} is no whole number from 0 to 999999")
    if not str(row["reason"]).strip():
        raise DataError(f"the width of {standing} has an empty reason; say where it comes from")
    return Fraction(ppm, PPM)
