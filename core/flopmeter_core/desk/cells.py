"""Cells as people write them, read into a range or refused with a sentence.

Owns: the syntax of a number, a range (``0.38-0.43``), a bound (``<504000``) and a pair.
May touch: nothing; exact rationals.
Called by desk.row. A cell is read in whole or refused; nothing is skipped or guessed.
Explained in docs/estimate.md.
"""

from __future__ import annotations

import re
from fractions import Fraction

from flopmeter_core.errors import DataError, invariant
from flopmeter_core.values import value_class

CELL_LENGTH_MAX = 64
EXPONENT_MAX = 40
"""10^40 FLOP is beyond anything; 1e999999999 would be a number of a gigabyte."""

ABOUT = Fraction(1, 10)
"""What ``~`` and ``about`` are taken to leave open on either side; a convention of ours."""

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d{1,9})?"
_DASHES = "-\u2013\u2014"
_MINUSES = ("-", "\u2212")
_SINGLE = re.compile(
    rf"(?P<mark><=|>=|[<>≤≥~≈]|about |up to )?\s*(?P<number>{_NUMBER})\s*(?P<percent>%)?"
)
_PAIR = re.compile(
    rf"[\[(]?\s*(?P<first>{_NUMBER})\s*(?P<first_percent>%)?"
    rf"(?:\s*(?P<joint>\.\.|[{_DASHES}]|\bto\b|[/;|]|\band\b)\s*|,\s+(?=\S))"
    rf"(?P<second>{_NUMBER})\s*(?P<percent>%)?\s*[\])]?"
)


@value_class(frozen=True, slots=True)
class Span:
    """A quantity with its bounds: lower <= best <= upper, exact, not negative."""

    lower: Fraction
    best: Fraction
    upper: Fraction

    def __post_init__(self) -> None:
        """Refuse a span that is not ordered or is negative."""
        invariant(0 <= self.lower <= self.best <= self.upper, f"a span rises: {self}")

    @classmethod
    def exactly(cls, quantity: Fraction | int) -> Span:
        """A quantity that is known."""
        return cls(Fraction(quantity), Fraction(quantity), Fraction(quantity))

    def __mul__(self, other: Span | Fraction | int) -> Span:
        """Multiply bound by bound: nothing averages out."""
        factor = other if isinstance(other, Span) else Span.exactly(other)
        return Span(self.lower * factor.lower, self.best * factor.best, self.upper * factor.upper)

    def hull(self, other: Span) -> Span:
        """The smallest span that holds both; best stays this one's."""
        return Span(min(self.lower, other.lower), self.best, max(self.upper, other.upper))

    def overlaps(self, other: Span) -> bool:
        """Whether one value could lie in both."""
        return self.lower <= other.upper and other.lower <= self.upper

    def __contains__(self, quantity: Fraction | int) -> bool:
        """Whether a value lies between the bounds."""
        return self.lower <= quantity <= self.upper


def parse_quantity(text: str, *, place: str) -> Span | None:
    """Read a number above 0, a range, a pair or a bound.

    Args:
        text: the cell; empty means not known.
        place: where it stands, for the sentence.

    Returns:
        None for an empty cell. ``<x`` is 0..x with best x; ``~x`` is x within `ABOUT`; a range
        has its middle as best.

    Raises:
        DataError: anything else: words, NaN, infinity, a negative number, zero, a bound without
            an upper end, a range written backwards.
    """
    cell = text.strip()
    if not cell:
        return None
    if len(cell) > CELL_LENGTH_MAX:
        raise DataError(f"{place} has {len(cell)} characters; a number has {CELL_LENGTH_MAX}")
    if re.match(r"[+-]?\s*(nan|inf)", cell, re.IGNORECASE):
        raise DataError(f"{place} is {cell!r}, which is no quantity; leave it empty if not known")
    if cell.startswith(_MINUSES):
        raise DataError(f"{place} is {cell!r}; it cannot be negative")
    cell = cell.removeprefix("+")
    single = _SINGLE.fullmatch(cell)
    if single is not None and single["number"]:
        return _marked(single, cell, place)
    pair = _PAIR.fullmatch(cell)
    if pair is None or not pair["first"] or not pair["second"]:
        raise DataError(
            f"{place} is {cell!r}, which cannot be read; write a number, a range such as "
            "0.38-0.43, or a bound such as <504000"
        )
    return _range(pair, cell, place)


def parse_ratio(text: str, *, place: str) -> Span | None:
    """Read a fraction of a peak, above 0 and at most 1; ``38%`` is 0.38.

    Raises:
        DataError: as `parse_quantity`, or above 1.
    """
    ratio = parse_quantity(text, place=place)
    if ratio is not None and ratio.upper > 1:
        raise DataError(
            f"{place} is {text.strip()!r}; a utilisation lies between 0 and 1 (or write 38%)"
        )
    return ratio


def _marked(match: re.Match[str], cell: str, place: str) -> Span:
    quantity = _number(match["number"], match["percent"], cell, place)
    mark = (match["mark"] or "").strip()
    if mark in ("<", "<=", "≤", "up to"):
        return Span(Fraction(0), quantity, quantity)
    if mark in (">", ">=", "≥"):
        raise DataError(f"{place} is {cell!r}: without an upper end it bounds nothing")
    if mark:
        return Span(quantity * (1 - ABOUT), quantity, quantity * (1 + ABOUT))
    return Span.exactly(quantity)


def _range(match: re.Match[str], cell: str, place: str) -> Span:
    percent = match["percent"] or match["first_percent"]
    first = _number(match["first"], percent, cell, place)
    second = _number(match["second"], percent, cell, place)
    if first > second and (match["joint"] or ",") in ("..", "to", *_DASHES):
        raise DataError(f"{place} is {cell!r}: the range is written backwards")
    lower, upper = min(first, second), max(first, second)
    return Span(lower, (lower + upper) / 2, upper)


def _number(text: str, percent: str | None, cell: str, place: str) -> Fraction:
    exponent = re.search(r"[eE]([+-]?\d+)$", text)
    try:
        if exponent is not None and abs(int(exponent[1])) > EXPONENT_MAX:
            raise ValueError(text)
        quantity = Fraction(text.replace(",", ""))
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(f"{place} is {cell!r}, which is no number of this world") from error
    if quantity == 0:
        raise DataError(f"{place} is {cell!r}; leave it empty if it is not known")
    return quantity / 100 if percent else quantity
