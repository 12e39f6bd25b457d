"""The threshold catalogue: legal limits as data, and how a figure stands to one.

Owns: the threshold row, its parsing, and the state of an interval against it.
May touch: nothing; the rows' text is handed in (`flopmeter_core.data` holds the built-in ones).
Called by the collector's evaluation, by totals and by the command line; docs/thresholds.md.
The tool compares figures; whether a law is met is a determination a named person records.
"""

from __future__ import annotations

import datetime
import enum
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_core.errors import DataError
from flopmeter_core.interval import Figures


class Operator(enum.StrEnum):
    """How a figure has to stand to the value for the threshold to be met."""

    ABOVE = "above"
    AT_LEAST = "at_least"

    def met(self, flop: int, value_flop: int) -> bool:
        """Whether `flop` meets the threshold; exact integers on both sides."""
        return flop > value_flop if self is Operator.ABOVE else flop >= value_flop


class State(enum.StrEnum):
    """How the best figure of a model stands to a threshold."""

    BELOW = "below"
    ABOVE = "above"
    ABOVE_BY_UNOBSERVED_ONLY = "above_by_unobserved_only"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One row of the catalogue; `value_flop` is exact."""

    id: str
    jurisdiction: str
    instrument: str
    kind: str
    quantity: str
    operator: Operator
    value_flop: int
    counts: str
    verification: str
    source: str
    checked_on: datetime.date

    @property
    def demonstration(self) -> bool:
        """Whether no law stands behind this row; it is tested on simulated models only."""
        return self.kind == "demonstration"


@dataclass(frozen=True, slots=True)
class Standing:
    """A figure held against a threshold.

    Attributes:
        state: the best figure against the value.
        decided: whether all of lower..upper lies on one side.
        ratio_lower, ratio_best, ratio_upper: figure over value.
    """

    threshold: Threshold
    state: State
    decided: bool
    ratio_lower: float
    ratio_best: float
    ratio_upper: float


def stand(figures: Figures, threshold: Threshold) -> Standing:
    """Hold figures against a threshold.

    A best figure is never raised by time nobody measured; when only the unobserved addend
    carries upper over the line, the state says so and nothing else follows from it.
    """
    met = threshold.operator.met
    total, value = figures.total, threshold.value_flop
    if met(total.best, value):
        state = State.ABOVE
    elif met(total.upper, value) and not met(figures.without_unobserved.upper, value):
        state = State.ABOVE_BY_UNOBSERVED_ONLY
    elif total.upper == 0:
        state = State.UNKNOWN
    else:
        state = State.BELOW
    return Standing(
        threshold=threshold,
        state=state,
        decided=met(total.lower, value) == met(total.upper, value),
        # Python divides whole numbers of any size to the nearest float.
        ratio_lower=total.lower / value,
        ratio_best=total.best / value,
        ratio_upper=total.upper / value,
    )


def parse_threshold(text: str, *, name: str) -> Threshold:
    """Read one threshold row.

    Args:
        text: the TOML text of the row.
        name: what to call the row in an error (its file).

    Raises:
        DataError: not TOML, a missing or unknown field, a value that is no exact integer.
    """
    try:
        row = tomllib.loads(text)
        unknown = row.keys() - _FIELDS
        if unknown:
            raise DataError(
                f"threshold {name} has unknown fields: {', '.join(sorted(unknown))}; remove them"
            )
        if row["unit"] != "FLOP":
            raise DataError(f"threshold {name}: unit must be FLOP, not {row['unit']!r}")
        if not isinstance(row["checked_on"], datetime.date):
            raise DataError(f"threshold {name}: checked_on must be a date such as 2026-11-21")
        return Threshold(
            id=_text(row, "id", name),
            jurisdiction=_text(row, "jurisdiction", name),
            instrument=_text(row, "instrument", name),
            kind=_text(row, "kind", name),
            quantity=_text(row, "quantity", name),
            operator=Operator(row["operator"]),
            value_flop=_value_flop(row, name),
            counts=_text(row, "counts", name),
            verification=_text(row, "verification", name),
            source=_text(row, "source", name),
            checked_on=row["checked_on"],
        )
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"threshold {name} is not valid TOML: {error}") from error
    except KeyError as error:
        raise DataError(f"threshold {name} lacks the field {error}; every row needs it") from error
    except ValueError as error:
        raise DataError(f"threshold {name}: {error}") from error


_FIELDS = {
    "id",
    "jurisdiction",
    "instrument",
    "kind",
    "quantity",
    "operator",
    "value",
    "unit",
    "counts",
    "verification",
    "source",
    "checked_on",
}


def parse_catalogue(files: Mapping[str, str]) -> tuple[Threshold, ...]:
    """Read all rows; two rows may not share an id.

    Raises:
        DataError: as `parse_threshold`, or a doubled id.
    """
    rows: dict[str, Threshold] = {}
    for name, text in files.items():
        threshold = parse_threshold(text, name=name)
        if threshold.id in rows:
            raise DataError(f"two threshold files have the id {threshold.id}; rename one")
        rows[threshold.id] = threshold
    return tuple(sorted(rows.values(), key=lambda row: (row.value_flop, row.id)))


# A negative exponent would make a fraction, a long one a number that fills the memory.
_EXACT_FLOP = re.compile(r"(?:(\d{1,40})\*)?(\d{1,40})(?:\^(\d{1,2}))?", re.ASCII)


def parse_flop(text: str) -> int:
    """Read an exact number of FLOP: ``10^25``, ``3*10^23`` or plain digits.

    Raises:
        DataError: anything else; floating point would not be exact.
    """
    match = _EXACT_FLOP.fullmatch(text.replace(" ", ""))
    if match is None:
        raise DataError(f"{text!r} is not an exact number of FLOP; write 10^25 or plain digits")
    factor, base, exponent = (int(group) if group else 1 for group in match.groups())
    value: int = factor * base**exponent
    if value <= 0:
        raise DataError(f"a threshold must be above 0, not {text!r}")
    return value


def _value_flop(row: Mapping[str, object], name: str) -> int:
    text = _text(row, "value", name)
    try:
        return parse_flop(text)
    except DataError as error:
        raise DataError(f"threshold {name}: {error}") from error


def _text(row: Mapping[str, object], field: str, name: str) -> str:
    content = row[field]
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"threshold {name}: {field} must be a text that is not empty")
    return content
