"""Filing forms: which fields a report for a law has, and how exactly each recipient is told.

Owns: the form, its fields, the precision of a field for a recipient, and the reading of a form.
May touch: nothing; the text of a form is handed in, built-in ones come from `flopmeter_core.data`.
Called by the collector's filings and by the command line; docs/filings.md.
A form says what is asked for and how long it is kept; which figures go in is not decided here.
"""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Mapping
from typing import Any

from flopmeter_core.data import builtin_filing_texts
from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

INTERNAL = "internal"
"""The reader inside the organisation: everything in full."""

AUDITOR = "auditor"
"""Whoever checks the report against the ledger: everything in full."""

FULL_READERS = {
    INTERNAL: "the organisation itself",
    AUDITOR: "auditor",
}


class Precision(enum.StrEnum):
    """How exactly a recipient is told a field."""

    FULL = "full"
    TWO_FIGURES = "two_figures"
    ONE_FIGURE = "one_figure"
    ORDER_OF_MAGNITUDE = "order_of_magnitude"
    RANGE = "range"
    WITHHELD = "withheld"


class FieldId(enum.StrEnum):
    """What a form may ask for."""

    COMPUTE = "compute"
    COMPUTE_METHOD = "compute_method"
    TRAINING_TIME = "training_time"
    HARDWARE_TIME = "hardware_time"
    ENERGY = "energy"
    DEPENDENCIES = "dependencies"
    STANDING = "standing"
    EVIDENCE = "evidence"


@value_class(frozen=True, slots=True)
class FormField:
    """One field of a form: what asks for it, and how exactly each recipient is told."""

    id: FieldId
    source: str
    precision: Mapping[str, Precision]


@value_class(frozen=True, slots=True)
class Form:
    """What one law, or one practice under it, asks for.

    Attributes:
        thresholds: ids of the rows the report holds the model against.
        headline_profile: id of the counting profile whose figure comes first.
        other_profiles: ids of those shown beside it.
        margin_percent: how far the estimate may be from the truth; None where no law says.
        retention_years: how long a filed version is kept, from the placing on the market.
        recipients: id -> who that is; `FULL_READERS` come in addition to these.
        fields: in the order they are shown in.
    """

    id: str
    title: str
    jurisdiction: str
    thresholds: tuple[str, ...]
    headline_profile: str
    other_profiles: tuple[str, ...]
    margin_percent: int | None
    margin_source: str
    retention_years: int
    retention_source: str
    recipients: Mapping[str, str]
    fields: tuple[FormField, ...]

    @property
    def profiles(self) -> tuple[str, ...]:
        """Every counting profile it shows, the headline first."""
        return (self.headline_profile, *self.other_profiles)

    @property
    def readers(self) -> Mapping[str, str]:
        """Everybody a report of this form may be made for: id -> who that is."""
        return {**FULL_READERS, **self.recipients}

    def precision(self, field: FormField, recipient: str) -> Precision:
        """How exactly a recipient is told a field.

        Raises:
            DataError: a recipient this form does not know.
        """
        if recipient in FULL_READERS:
            return Precision.FULL
        if recipient not in self.recipients:
            raise DataError(
                f"form {self.id} has no recipient {recipient!r}; it has {', '.join(self.readers)}"
            )
        return field.precision[recipient]


@functools.cache
def builtin_forms() -> Mapping[str, Form]:
    """The forms flopmeter ships, by id."""
    forms = [parse_form(text, name=name) for name, text in builtin_filing_texts().items()]
    return {form.id: form for form in forms}


_FIELDS = {
    "id", "title", "jurisdiction", "thresholds", "headline_profile", "other_profiles",
    "retention_years", "retention_source", "recipients", "field",
}  # fmt: skip
_OPTIONAL = {"margin_percent", "margin_source"}


def parse_form(text: str, *, name: str) -> Form:
    """Read a form.

    Args:
        text: the TOML text.
        name: what to call it in an error (its file).

    Raises:
        DataError: not TOML; a missing or unknown field; a recipient without a precision.
    """
    try:
        table = tomllib.loads(text)
        if wrong := sorted((table.keys() ^ _FIELDS) - _OPTIONAL):
            raise DataError(f"form {name}: {', '.join(wrong)} is missing or unknown; correct it")
        recipients = dict(table["recipients"])
        return Form(
            id=table["id"],
            title=table["title"],
            jurisdiction=table["jurisdiction"],
            thresholds=tuple(table["thresholds"]),
            headline_profile=table["headline_profile"],
            other_profiles=tuple(table["other_profiles"]),
            margin_percent=table.get("margin_percent"),
            margin_source=table.get("margin_source", ""),
            retention_years=int(table["retention_years"]),
            retention_source=table["retention_source"],
            recipients=recipients,
            fields=tuple(_field(row, recipients, name) for row in table["field"]),
        )
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"form {name} is not valid TOML: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"form {name} cannot be read ({error!r}); correct it") from error


def _field(row: Mapping[str, Any], recipients: Mapping[str, str], name: str) -> FormField:
    field = FieldId(row["id"])
    if not row["source"]:
        raise DataError(f"form {name}: field {field} has no source; every field names what asks")
    if row["precision"].keys() != recipients.keys():
        raise DataError(
            f"form {name}: field {field} must have a precision for each of "
            f"{', '.join(recipients) or 'no recipients'}"
        )
    told = {recipient: Precision(text) for recipient, text in row["precision"].items()}
    return FormField(field, row["source"], told)
