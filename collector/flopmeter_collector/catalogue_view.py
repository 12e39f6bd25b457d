"""The JSON contract of the threshold catalogue.

Owns: the names of the fields of a row as it stands on a day; a field is only ever added.
May touch: nothing; pure functions of the catalogue.
Called by http and the command line; docs/cli.md and docs/thresholds.md describe the documents.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

from flopmeter_collector.documents import Json
from flopmeter_core.catalogue import Threshold
from flopmeter_core.legal_status import Event

SCHEMA = 1

DayOf = Callable[[Threshold], datetime.date]
"""The day to look at a row on, on the calendar of its jurisdiction."""


def row_document(row: Threshold, date: datetime.date) -> Json:
    """A row as it stands on a day.

    Args:
        row: the row.
        date: the day, on the calendar of its jurisdiction.
    """
    status, dates = row.status_on(date), row.dates
    return {
        "id": row.id,
        "jurisdiction": row.jurisdiction,
        "instrument": row.instrument,
        "kind": row.kind.value,
        "binding": row.kind.binding,
        "quantity": row.quantity,
        "value": row.value_text,
        "unit": row.unit.value,
        "value_flop": row.value_flop_or_none,
        "operator": row.operator.value,
        "conditions": [{"id": c.id, "role": c.role.value, "text": c.text} for c in row.conditions],
        "counting_profile": row.counting_profile,
        "status": None if status is None else status.value,
        "in_force_from": _day(dates.in_force_from),
        "in_force_until": _day(dates.in_force_until),
        "entered_into_force": _day(dates.entered_into_force),
        "enforceable_from": _day(dates.enforceable_from),
        "transition_until": _day(dates.transition_until),
        "supersedes": list(row.supersedes),
        "verification": row.verification.value,
        "source": row.source,
        "checked_on": row.checked_on.isoformat(),
        "projected": row.projected(date),
    }


def list_document(rows: Iterable[Threshold], day_of: DayOf) -> list[Json]:
    """The laws on a day: a row before its first event is not there, nor is what is no law."""
    return [
        row_document(row, day_of(row)) for row in rows if row.status_on(day_of(row)) is not None
    ]


def full_document(row: Threshold, date: datetime.date) -> Json:
    """A row with its history, its notice and all else its file says."""
    notice = row.notice
    return {
        "schema": SCHEMA,
        **row_document(row, date),
        "value_flop_str": _text(row.value_flop_or_none),
        "subject": row.subject.value,
        "counts": row.counts,
        "planned_counts": row.planned_counts,
        "number_verification": row.number_verification.value,
        "may_alert": row.may_alert,
        "time_zone": row.time_zone,
        "note": row.note,
        "notice": None
        if notice is None
        else {
            "weeks": notice.weeks,
            "begins": notice.begins,
            "calendar": notice.calendar,
            "to": notice.to,
            "citation": notice.citation,
        },
        "events": [_event(event) for event in row.events],
    }


def thresholds_document(rows: Iterable[Threshold], day_of: DayOf) -> Json:
    """Every row of the catalogue, those without a status too, as it stands on a day."""
    return {
        "schema": SCHEMA,
        "thresholds": [
            {
                **row_document(row, day_of(row)),
                "value_flop_str": _text(row.value_flop_or_none),
                "counts": row.counts,
                "held": row.held_on(day_of(row)),
            }
            for row in rows
        ],
    }


def _event(event: Event) -> Json:
    return {
        "event": event.kind.value,
        "date": "unknown" if event.date is None else event.date.isoformat(),
        "reason": event.reason,
        "known_by": None if event.known_by is None else event.known_by.isoformat(),
        "citation": event.citation,
        "verification": event.verification.value,
        "note": event.note,
    }


def _day(day: datetime.date | str | None) -> str | None:
    return day.isoformat() if isinstance(day, datetime.date) else day


def _text(exact: int | None) -> str | None:
    return None if exact is None else str(exact)
