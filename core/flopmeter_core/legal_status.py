"""What became of a rule, and when: its dated events and the status that follows from them.

Owns: the events a rule can have, the status each leads to, and the status on a date.
May touch: nothing; dates are those of the jurisdiction's own calendar.
Called by catalogue; docs/thresholds.md and docs/adr/0020-law-as-data.md.

Half-open: an event holds from the start of its day, so a rule repealed on a day is repealed on it.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable

from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class
from flopmeter_core.verification import Verification


class Status(enum.StrEnum):
    """How a rule stands on a date."""

    PROPOSED = "proposed"
    ADOPTED = "adopted"
    IN_FORCE = "in_force"
    NOT_ENFORCED = "not_enforced"
    REPEALED = "repealed"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    SUPERSEDED = "superseded"
    VETOED = "vetoed"
    GUIDANCE = "guidance"


class EventKind(enum.StrEnum):
    """What can happen to a rule."""

    PROPOSED = "proposed"
    PASSED = "passed"
    ADOPTED = "adopted"
    PUBLISHED = "published"
    CONFIRMED = "confirmed"
    AMENDED = "amended"
    ENTERED_INTO_FORCE = "entered_into_force"
    APPLIES = "applies"
    ENFORCEABLE = "enforceable"
    TRANSITION_ENDS = "transition_ends"
    GUIDANCE_ISSUED = "guidance_issued"
    NOT_ENFORCED = "not_enforced"
    REPEALED = "repealed"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    SUPERSEDED = "superseded"
    VETOED = "vetoed"


STATUS_AFTER = {
    EventKind.PROPOSED: Status.PROPOSED,
    EventKind.PASSED: Status.PROPOSED,
    EventKind.ADOPTED: Status.ADOPTED,
    EventKind.APPLIES: Status.IN_FORCE,
    EventKind.GUIDANCE_ISSUED: Status.GUIDANCE,
    EventKind.NOT_ENFORCED: Status.NOT_ENFORCED,
    EventKind.REPEALED: Status.REPEALED,
    EventKind.WITHDRAWN: Status.WITHDRAWN,
    EventKind.LAPSED: Status.LAPSED,
    EventKind.SUPERSEDED: Status.SUPERSEDED,
    EventKind.VETOED: Status.VETOED,
}
"""The status an event leads to; the others leave it as it is. An act that entered into force and
does not apply yet stays `adopted`."""

ENDS = frozenset(
    {
        EventKind.NOT_ENFORCED,
        EventKind.REPEALED,
        EventKind.WITHDRAWN,
        EventKind.LAPSED,
        EventKind.SUPERSEDED,
        EventKind.VETOED,
    }
)
"""What ends the time in which a rule is in force."""


@value_class(frozen=True, slots=True)
class Event:
    """One thing that happened to a rule.

    Attributes:
        kind: what happened.
        date: the day, on the jurisdiction's calendar; None where nobody could settle it.
        citation: where it is written.
        verification: how the date was checked.
        reason: why the date is unknown; empty where it is known.
        known_by: the day by which an event of unknown date is known to have happened.
        note: what else to know.
    """

    kind: EventKind
    date: datetime.date | None
    citation: str
    verification: Verification
    reason: str = ""
    known_by: datetime.date | None = None
    note: str = ""

    @property
    def counts_from(self) -> datetime.date | None:
        """The day from which it moves a status; None where it moves none."""
        return self.date or self.known_by


@value_class(frozen=True, slots=True)
class Dates:
    """The days of a rule that people ask for.

    A day is None where there is no such event, and `unknown` where there is one without a date.
    """

    entered_into_force: datetime.date | str | None
    in_force_from: datetime.date | str | None
    in_force_until: datetime.date | str | None
    enforceable_from: datetime.date | str | None
    transition_until: datetime.date | str | None


def status_on(events: Iterable[Event], date: datetime.date) -> Status | None:
    """The status on a date of the jurisdiction's calendar.

    Args:
        events: in their order.
        date: the day.

    Returns:
        The status the latest event up to and on that day led to; None before the first event.
    """
    status = None
    for event in events:
        if event.counts_from is not None and event.counts_from <= date:
            status = STATUS_AFTER.get(event.kind, status)
    return status


def dates_of(events: Iterable[Event]) -> Dates:
    """Read the days people ask for out of a rule's events."""
    found = tuple(events)

    def day(kinds: Iterable[EventKind]) -> datetime.date | str | None:
        for event in found:
            if event.kind in kinds:
                return event.date or "unknown"
        return None

    applied = day([EventKind.APPLIES])
    return Dates(
        entered_into_force=day([EventKind.ENTERED_INTO_FORCE]),
        in_force_from=applied,
        in_force_until=day(ENDS) if applied is not None else None,
        enforceable_from=day([EventKind.ENFORCEABLE]),
        transition_until=day([EventKind.TRANSITION_ENDS]),
    )


def check_order(events: Iterable[Event], *, where: str) -> None:
    """Refuse a history that cannot have happened.

    Raises:
        DataError: no event with a day; a first one without status; days out of order; anything
            after the end but another end.
    """
    days: list[datetime.date] = []
    ended = False
    history = tuple(events)
    if history and history[0].kind not in STATUS_AFTER:
        raise DataError(
            f"{where}: a history cannot begin with {history[0].kind}, which says of no status; "
            "put what came before it first"
        )
    for event in history:
        if event.counts_from is not None:
            days.append(event.counts_from)
        if ended and event.kind not in ENDS:
            raise DataError(f"{where}: {event.kind} comes after the rule ended; correct the events")
        ended = ended or event.kind in ENDS
    if not days:
        raise DataError(f"{where} has no event with a date; give at least one a date or known_by")
    if days != sorted(days):
        raise DataError(f"{where}: the events are not in the order of their dates; order them")
