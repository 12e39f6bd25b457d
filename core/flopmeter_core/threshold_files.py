"""Threshold rows as text: one TOML file a row, with its sources and its history.

Owns: the fields of a row's file, and every check on them.
May touch: nothing; text is handed in, the built-in files come from `flopmeter_core.data`.
Called by the collector's site and by the command line; docs/thresholds.md says how to write one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from flopmeter_core.catalogue import (
    Condition,
    Kind,
    Notice,
    Operator,
    Role,
    Subject,
    Threshold,
    Unit,
)
from flopmeter_core.errors import DataError
from flopmeter_core.legal_status import Event, EventKind, check_order
from flopmeter_core.profiles import DEFAULT_PROFILE
from flopmeter_core.quantities import parse_exact
from flopmeter_core.toml_fields import (
    UNKNOWN,
    count_of,
    date_of,
    member,
    only,
    parsed_by_id,
    required,
    table,
    tables_of,
    text_of,
    word_of,
)
from flopmeter_core.verification import Verification, weakest


def parse_catalogue(files: Mapping[str, str]) -> tuple[Threshold, ...]:
    """Read all rows, in the order of their numbers; two rows may not share an id.

    Args:
        files: file name -> text.

    Raises:
        DataError: as `parse_threshold`, or a doubled id.
    """
    return in_order(parsed_by_id(files, parse_threshold, what="threshold files").values())


def in_order(rows: Iterable[Threshold]) -> tuple[Threshold, ...]:
    """Rows by unit, then by number, then by id."""
    units = list(Unit)
    return tuple(sorted(rows, key=lambda row: (units.index(row.unit), row.exact, row.id)))


def parse_threshold(text: str, *, name: str) -> Threshold:
    """Read one threshold row.

    Args:
        text: the TOML text of the row.
        name: what to call the row in an error (its file).

    Raises:
        DataError: not TOML; a missing, unknown or empty field; an unknown word; a number that is
            not exact; a date that is none; a history that cannot have happened.
    """
    where = f"threshold {name}"
    row = only(table(text, where=where), _FIELDS, where=where)
    kind = word_of(Kind, row, "kind", where=where)
    events = tuple(
        _event(entry, kind, f"{where}: event {position}")
        for position, entry in enumerate(tables_of(row, "event", where=where), start=1)
    )
    if kind is not Kind.DEMONSTRATION or events:
        check_order(events, where=where)
    number = _number_verification(row, where)
    return Threshold(
        id=_id(row, "id", where),
        jurisdiction=text_of(row, "jurisdiction", where=where),
        time_zone=text_of(row, "time_zone", where=where) if "time_zone" in row else "UTC",
        instrument=text_of(row, "instrument", where=where),
        kind=kind,
        quantity=text_of(row, "quantity", where=where),
        operator=word_of(Operator, row, "operator", where=where),
        value_text=text_of(row, "value", where=where),
        exact=_exact(row, where),
        unit=word_of(Unit, row, "unit", where=where),
        subject=word_of(Subject, row, "subject", where=where)
        if "subject" in row
        else Subject.MODEL,
        counts=text_of(row, "counts", where=where),
        counting_profile=_profile(row, where),
        verification=weakest([number, *(e.verification for e in events if e.counts_from)]),
        number_verification=number,
        source=text_of(row, "source", where=where),
        checked_on=date_of(row, "checked_on", where=where),
        events=events,
        conditions=_conditions(row, where),
        supersedes=_supersedes(row, where),
        notice=_notice(row["notice"], f"{where}: notice") if "notice" in row else None,
        planned_counts=_flag(row, "planned_counts", where),
        replaces_builtin=_flag(row, "replaces_builtin", where),
        note=text_of(row, "note", where=where) if "note" in row else "",
    )


_REQUIRED = {"id", "jurisdiction", "instrument", "kind", "quantity", "operator", "value", "unit"}
_REQUIRED |= {"counts", "verification", "source", "checked_on"}
_FIELDS = _REQUIRED | {"time_zone", "subject", "counting_profile", "event", "condition", "note"}
_FIELDS |= {"supersedes", "notice", "planned_counts", "replaces_builtin"}
_EVENT_FIELDS = {"event", "date", "citation", "verification", "reason", "known_by", "note"}

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

_NOT_BINDING = {EventKind.ADOPTED, EventKind.APPLIES, EventKind.ENTERED_INTO_FORCE}
_IMPOSSIBLE = {
    Kind.GUIDANCE: _NOT_BINDING | {EventKind.REPEALED, EventKind.VETOED},
    Kind.PROPOSED_RULE: _NOT_BINDING | {EventKind.GUIDANCE_ISSUED, EventKind.VETOED},
    Kind.BILL: _NOT_BINDING | {EventKind.GUIDANCE_ISSUED},
}
"""What cannot happen to a text of a kind: guidance is never in force, a bill that is enacted is a
statute, a rule that is made is a delegated act."""


def _event(entry: object, kind: Kind, where: str) -> Event:
    fields = only(entry, _EVENT_FIELDS, where=where)
    happened = word_of(EventKind, fields, "event", where=where)
    if happened in _IMPOSSIBLE.get(kind, ()):
        raise DataError(f"{where}: {happened} cannot happen to a {kind}; correct the kind or event")
    unknown = required(fields, "date", where=where) == UNKNOWN
    if unknown == ("reason" not in fields):
        raise DataError(
            f'{where}: a date "unknown" needs a reason, and a known date has none; correct it'
        )
    if "known_by" in fields and not unknown:
        raise DataError(f"{where}: known_by belongs to an unknown date; remove it")
    return Event(
        kind=happened,
        date=None if unknown else date_of(fields, "date", where=where),
        citation=text_of(fields, "citation", where=where),
        verification=word_of(Verification, fields, "verification", where=where),
        reason=text_of(fields, "reason", where=where) if unknown else "",
        known_by=date_of(fields, "known_by", where=where) if "known_by" in fields else None,
        note=text_of(fields, "note", where=where) if "note" in fields else "",
    )


def _number_verification(row: Mapping[str, Any], where: str) -> Verification:
    """The weaker of number and operator; one word stands for both."""
    stated = required(row, "verification", where=where)
    if isinstance(stated, dict):
        both = only(stated, {"number", "operator"}, where=f"{where}: verification")
        place = f"{where}: verification"
        return weakest(word_of(Verification, both, f, where=place) for f in ("number", "operator"))
    return member(Verification, stated, "verification", where=where)


def _exact(row: Mapping[str, Any], where: str) -> Any:
    text = text_of(row, "value", where=where)
    try:
        return parse_exact(text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _profile(row: Mapping[str, Any], where: str) -> str:
    if "counting_profile" not in row:
        return DEFAULT_PROFILE
    return text_of(row, "counting_profile", where=where)


def _conditions(row: Mapping[str, Any], where: str) -> tuple[Condition, ...]:
    found: dict[str, Condition] = {}
    for position, entry in enumerate(tables_of(row, "condition", where=where), start=1):
        place = f"{where}: condition {position}"
        fields = only(entry, {"id", "role", "text"}, where=place)
        condition = Condition(
            id=_id(fields, "id", place),
            role=word_of(Role, fields, "role", where=place),
            text=text_of(fields, "text", where=place),
        )
        if condition.id in found:
            raise DataError(f"{place}: another condition has the id {condition.id}; rename one")
        found[condition.id] = condition
    return tuple(found.values())


def _supersedes(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    names = row.get("supersedes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: supersedes must be a list of ids")
    return tuple(names)


def _notice(entry: object, where: str) -> Notice:
    fields = only(entry, {"weeks", "begins", "calendar", "to", "citation"}, where=where)
    return Notice(
        weeks=count_of(fields, "weeks", where=where),
        begins=text_of(fields, "begins", where=where),
        calendar=text_of(fields, "calendar", where=where),
        to=text_of(fields, "to", where=where),
        citation=text_of(fields, "citation", where=where),
    )


def _id(fields: Mapping[str, Any], field: str, where: str) -> str:
    name = text_of(fields, field, where=where)
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{where}: {field} {name!r} is no name; use small letters, digits and hyphens, up to 63"
        )
    return name


def _flag(row: Mapping[str, Any], field: str, where: str) -> bool:
    flag = row.get(field, False)
    if not isinstance(flag, bool):
        raise DataError(f"{where}: {field} must be true or false")
    return flag
