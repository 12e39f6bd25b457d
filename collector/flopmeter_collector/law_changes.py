"""What differs between two states of the law: before and after an update, or on two days.

Owns: the comparison of rows, profiles and calendars, and its JSON.
May touch: nothing; pure functions.
Called by the command line, before an update takes effect; docs/thresholds.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from flopmeter_collector.catalogue_view import DayOf, full_document
from flopmeter_collector.documents import Json
from flopmeter_core.activities import Edge, every_label
from flopmeter_core.calendars import Calendar
from flopmeter_core.catalogue import Threshold
from flopmeter_core.counting import Entry, Profile
from flopmeter_core.lawbook import LawBook

ABSENT = "absent"
"""What stands for a row that is not there, and for one before its first event."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one row, profile or calendar that differs."""

    what: str
    id: str
    field: str
    before: str
    after: str

    def document(self) -> Json:
        """The change as JSON."""
        return {
            "what": self.what,
            "id": self.id,
            "field": self.field,
            "before": self.before,
            "after": self.after,
        }


def changes(
    before: LawBook, after: LawBook, *, day_before: DayOf, day_after: DayOf
) -> list[Change]:
    """What differs, rows first.

    Args:
        before: one state of the law.
        after: the other; the same one to compare two days.
        day_before: the day to look at a row of `before` on.
        day_after: the day to look at a row of `after` on.
    """
    pairs = (
        (
            "threshold",
            {row.id: _row(row, day_before) for row in before.rows},
            {row.id: _row(row, day_after) for row in after.rows},
        ),
        ("profile", _told(before.profiles, _profile), _told(after.profiles, _profile)),
        ("calendar", _told(before.calendars, _calendar), _told(after.calendars, _calendar)),
    )
    return [change for what, old, new in pairs for change in _differences(what, old, new)]


Fields = Mapping[str, str]
_Thing = TypeVar("_Thing")


def _differences(
    what: str, old: Mapping[str, Fields], new: Mapping[str, Fields]
) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            states = [ABSENT if name not in side else "there" for side in (old, new)]
            yield Change(what, name, "row" if what == "threshold" else what, states[0], states[1])
            continue
        for field in dict.fromkeys([*old[name], *new[name]]):
            one, other = old[name].get(field, ABSENT), new[name].get(field, ABSENT)
            if one != other:
                yield Change(what, name, field, one, other)


def _told(things: Mapping[str, _Thing], fields: Callable[[_Thing], Fields]) -> dict[str, Fields]:
    return {name: fields(thing) for name, thing in things.items()}


def _row(row: Threshold, day_of: DayOf) -> Fields:
    """What a row says on a day, its status first."""
    document = full_document(row, day_of(row))
    # Whether a day lies after the check is said of the day, not of the law.
    said = {name: _text(said) for name, said in document.items() if name not in _NOT_LAW}
    return {"status": said.pop("status"), **said}


_NOT_LAW = {"schema", "id", "projected"}


def _profile(profile: Profile) -> Fields:
    entries: dict[str, Entry] = {str(label): profile.entry(label) for label in every_label()}
    entries |= {f"parent by {edge}": profile.inherited[edge] for edge in Edge}
    entries |= {
        "recomputation": profile.recomputation,
        "external": profile.external,
        "unattributed": profile.unattributed,
    }
    said = {name: f"{entry.verdict} ({entry.citation})" for name, entry in entries.items()}
    return {"version": str(profile.version), "source": profile.source, **said}


def _calendar(calendar: Calendar) -> Fields:
    holidays = {
        date.isoformat(): f"{holiday.name} ({holiday.verification})"
        for date, holiday in calendar.holidays.items()
    }
    years = f"{calendar.first_year} to {calendar.last_year}"
    return {"years": years, "rule": calendar.rule, "source": calendar.source, **holidays}


def _text(content: object) -> str:
    return ABSENT if content is None else str(content)
