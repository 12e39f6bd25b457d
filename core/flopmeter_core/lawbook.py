"""All that is known of the law: rows, counting profiles and calendars that fit together.

Owns: reading them as one, the checks between them, and what a newer set replaces.
May touch: nothing; text is handed in.
Called by the collector's site, by law_packages and by the command line; docs/thresholds.md.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import field, replace

from flopmeter_core.calendars import Calendar, parse_calendars
from flopmeter_core.catalogue import Threshold
from flopmeter_core.counting import Profile
from flopmeter_core.data import (
    builtin_calendar_texts,
    builtin_profile_texts,
    builtin_thresholds,
)
from flopmeter_core.errors import DataError
from flopmeter_core.profiles import parse_profiles
from flopmeter_core.threshold_files import in_order, parse_catalogue
from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True)
class LawFiles:
    """Files of the law as text, by name."""

    thresholds: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, str] = field(default_factory=dict)
    calendars: Mapping[str, str] = field(default_factory=dict)


@value_class(frozen=True, slots=True)
class LawBook:
    """What is applied: rows in the order of their numbers, profiles and calendars by id."""

    rows: tuple[Threshold, ...]
    profiles: Mapping[str, Profile]
    calendars: Mapping[str, Calendar]

    def profile_of(self, row: Threshold) -> Profile:
        """The counting profile of a row of this book."""
        return self.profiles[row.counting_profile]


def builtin_files() -> LawFiles:
    """The files flopmeter ships."""
    return LawFiles(builtin_thresholds(), builtin_profile_texts(), builtin_calendar_texts())


@functools.cache
def builtin_lawbook() -> LawBook:
    """What flopmeter ships, read once a process: another release is another process."""
    return parse_lawbook(builtin_files())


def parse_lawbook(files: LawFiles) -> LawBook:
    """Read files that were written together; they need not be complete.

    Raises:
        DataError: as the parsers of rows, profiles and calendars.
    """
    return LawBook(
        rows=parse_catalogue(files.thresholds),
        profiles=parse_profiles(files.profiles),
        calendars=parse_calendars(files.calendars),
    )


def updated(base: LawBook, newer: LawBook) -> LawBook:
    """Take over from `newer` what was checked no earlier than in `base`.

    So an update that was installed long ago does not undo what a later release ships.
    """
    rows = {row.id: row for row in base.rows}
    for row in newer.rows:
        if row.id not in rows or row.checked_on >= rows[row.id].checked_on:
            rows[row.id] = row
    profiles = dict(base.profiles)
    for name, profile in newer.profiles.items():
        if name not in profiles or profile.checked_on >= profiles[name].checked_on:
            profiles[name] = profile
    calendars = dict(base.calendars)
    for name, calendar in newer.calendars.items():
        if name not in calendars or calendar.checked_on >= calendars[name].checked_on:
            calendars[name] = calendar
    return LawBook(in_order(rows.values()), profiles, calendars)


def joined(base: LawBook, own: LawBook) -> LawBook:
    """Add a site's own files, which replace a built-in row only where they say so.

    Raises:
        DataError: an id that is taken, or a row that replaces none.
    """
    rows = {row.id: row for row in base.rows}
    for row in own.rows:
        if row.id in rows and not row.replaces_builtin:
            raise DataError(
                f"a row with the id {row.id} is built in; rename yours, or set "
                "replaces_builtin = true in it"
            )
        if row.replaces_builtin and row.id not in rows:
            raise DataError(f"no built-in row has the id {row.id}; remove replaces_builtin from it")
        rows[row.id] = row
    for kind, taken, more in (
        ("counting profile", base.profiles, own.profiles),
        ("calendar", base.calendars, own.calendars),
    ):
        if doubled := sorted(set(taken) & set(more)):
            raise DataError(f"a {kind} with the id {doubled[0]} is built in; rename yours")
    return LawBook(
        in_order(rows.values()),
        {**base.profiles, **own.profiles},
        {**base.calendars, **own.calendars},
    )


def check_references(book: LawBook) -> LawBook:
    """Bind each row to its profile and calendar; refuse one that names what is not there.

    So whoever holds a row holds the rules and the calendar it was read with: a site's own ones
    are used wherever its rows are.

    Raises:
        DataError: the row and the name.
    """
    ids = {row.id for row in book.rows}
    for row in book.rows:
        if row.counting_profile not in book.profiles:
            raise DataError(
                f"threshold {row.id}: counting_profile {row.counting_profile!r} is not there; "
                f"use one of {', '.join(sorted(book.profiles))}"
            )
        if row.notice is not None and row.notice.calendar not in book.calendars:
            raise DataError(
                f"threshold {row.id}: calendar {row.notice.calendar!r} is not there; "
                f"use one of {', '.join(sorted(book.calendars))}"
            )
        if missing := [name for name in row.supersedes if name not in ids]:
            raise DataError(f"threshold {row.id}: supersedes {missing[0]!r}, which is no row")
    return replace(book, rows=tuple(_bound(row, book) for row in book.rows))


def _bound(row: Threshold, book: LawBook) -> Threshold:
    return replace(
        row,
        rules=book.profiles[row.counting_profile],
        days=None if row.notice is None else book.calendars[row.notice.calendar],
    )
