"""Calendars of law: which days are working days, and when a period ends.

Owns: holidays as data, the EU's rule for periods, and the last instant of a day.
May touch: nothing; text and time zones are handed in.
Called by the collector's reviews and the command line; docs/thresholds.md.

Regulation (EEC, Euratom) No 1182/71 is the rule: the day of the event is not counted, and a period
that would end on a holiday, a Saturday or a Sunday runs to the end of the next working day.
A holiday that nobody verified never gives more time: `sure` is moved by verified ones alone.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping

from flopmeter_core.data import builtin_calendar_texts
from flopmeter_core.errors import DataError, invariant
from flopmeter_core.toml_fields import (
    count_of,
    date_of,
    only,
    parsed_by_id,
    table,
    tables_of,
    text_of,
    word_of,
)
from flopmeter_core.units import NS_PER_S
from flopmeter_core.values import value_class
from flopmeter_core.verification import Verification

DAY = datetime.timedelta(days=1)
WEEK = datetime.timedelta(weeks=1)

SATURDAY = 5
"""As `datetime.date.weekday` counts: Monday is 0."""

LEAST_WORKING_DAYS = 2
"""A period of two days or more holds at least these: Regulation 1182/71, Article 3(5)."""


@value_class(frozen=True, slots=True)
class Holiday:
    """A day on which an authority does not work."""

    date: datetime.date
    name: str
    verification: Verification


@value_class(frozen=True, slots=True)
class Calendar:
    """The working days of an authority.

    Attributes:
        time_zone: whose hours end a day.
        rule: how periods are counted, with its source.
        holidays: by date; weekends are no working days anyway.
        first_year, last_year: the years whose holidays are listed.
    """

    id: str
    title: str
    time_zone: str
    rule: str
    rule_verification: Verification
    holidays: Mapping[datetime.date, Holiday]
    first_year: int
    last_year: int
    source: str
    checked_on: datetime.date

    def lists(self, date: datetime.date) -> bool:
        """Whether the holidays of that day's year are known at all."""
        return self.first_year <= date.year <= self.last_year

    def works_on(self, date: datetime.date, *, sure: bool) -> bool:
        """Whether a day is a working day.

        Args:
            date: the day.
            sure: whether only verified holidays count; the others then are working days.
        """
        if date.weekday() >= SATURDAY:
            return False
        holiday = self.holidays.get(date)
        if holiday is None:
            return True
        return sure and holiday.verification is Verification.UNVERIFIED


@value_class(frozen=True, slots=True)
class PeriodEnd:
    """When a period ends: with the last hour of a day.

    Attributes:
        counted: the day it ends on before weekends and holidays move it.
        sure: the last day by weekends and verified holidays; act by this one.
        latest: the last day by every listed holiday.
        moved_by: why `latest` is not `counted`, a name a day.
        listed: whether the holidays of the years it touches are known.
    """

    counted: datetime.date
    sure: datetime.date
    latest: datetime.date
    moved_by: tuple[str, ...]
    listed: bool


def period_end(event: datetime.date, *, weeks: int, calendar: Calendar) -> PeriodEnd:
    """The end of a period in weeks from an event, after Regulation 1182/71, Article 3.

    Args:
        event: the day of the event, on the authority's calendar; it is not counted.
        weeks: length of the period, from 1.
        calendar: the authority's working days.
    """
    invariant(weeks >= 1, f"a period of {weeks} weeks has a length")
    counted = event + weeks * WEEK
    latest = _moved(event, counted, calendar, sure=False)
    passed = (counted + n * DAY for n in range((latest - counted).days))
    return PeriodEnd(
        counted=counted,
        sure=_moved(event, counted, calendar, sure=True),
        latest=latest,
        moved_by=tuple(_why(day, calendar) for day in passed),
        listed=calendar.lists(event) and calendar.lists(latest),
    )


def last_ns(date: datetime.date, zone: datetime.tzinfo) -> int:
    """The instant at which a day is over, as Unix time in ns: the next day's first.

    Args:
        date: the day.
        zone: the time zone whose day it is; summer time moves the instant.
    """
    midnight = datetime.datetime.combine(date + DAY, datetime.time(), tzinfo=zone)
    return int(midnight.timestamp()) * NS_PER_S


@functools.cache
def builtin_calendars() -> Mapping[str, Calendar]:
    """The calendars flopmeter ships, by id."""
    return parse_calendars(builtin_calendar_texts())


def parse_calendars(files: Mapping[str, str]) -> Mapping[str, Calendar]:
    """Read calendars; two may not share an id.

    Args:
        files: file name -> text.

    Raises:
        DataError: as `parse_calendar`, or a doubled id.
    """
    return parsed_by_id(files, parse_calendar, what="calendars")


def parse_calendar(text: str, *, name: str) -> Calendar:
    """Read one calendar.

    Args:
        text: the TOML text.
        name: what to call it in an error (its file).

    Raises:
        DataError: not TOML; a missing, unknown or empty field; a doubled or unlisted holiday.
    """
    where = f"calendar {name}"
    fields = only(table(text, where=where), _FIELDS, where=where)
    first_year = count_of(fields, "first_year", where=where)
    last_year = count_of(fields, "last_year", where=where)
    holidays: dict[datetime.date, Holiday] = {}
    for position, row in enumerate(tables_of(fields, "holiday", where=where), start=1):
        place = f"{where}: holiday {position}"
        entry = only(row, {"date", "name", "verification"}, where=place)
        date = date_of(entry, "date", where=place)
        if date in holidays:
            raise DataError(f"{place}: {date.isoformat()} stands there twice; remove one")
        if not first_year <= date.year <= last_year:
            raise DataError(
                f"{place}: {date.isoformat()} lies outside first_year to last_year; correct it"
            )
        holidays[date] = Holiday(
            date,
            text_of(entry, "name", where=place),
            word_of(Verification, entry, "verification", where=place),
        )
    return Calendar(
        id=text_of(fields, "id", where=where),
        title=text_of(fields, "title", where=where),
        time_zone=text_of(fields, "time_zone", where=where),
        rule=text_of(fields, "rule", where=where),
        rule_verification=word_of(Verification, fields, "rule_verification", where=where),
        holidays=holidays,
        first_year=first_year,
        last_year=last_year,
        source=text_of(fields, "source", where=where),
        checked_on=date_of(fields, "checked_on", where=where),
    )


_FIELDS = {"id", "title", "time_zone", "rule", "rule_verification", "first_year", "last_year"}
_FIELDS |= {"source", "checked_on", "holiday"}


def _moved(
    event: datetime.date, counted: datetime.date, calendar: Calendar, *, sure: bool
) -> datetime.date:
    """The first working day from `counted` on that leaves enough working days since the event."""
    day = event + DAY
    working = 0
    while True:
        works = calendar.works_on(day, sure=sure)
        working += works
        if works and day >= counted and working >= LEAST_WORKING_DAYS:
            return day
        day += DAY


def _why(day: datetime.date, calendar: Calendar) -> str:
    """Why a period does not end on a day."""
    holiday = calendar.holidays.get(day)
    if holiday is not None:
        doubt = ", unverified" if holiday.verification is Verification.UNVERIFIED else ""
        return f"{day.isoformat()} {holiday.name}{doubt}"
    return f"{day.isoformat()} {'weekend' if day.weekday() >= SATURDAY else 'too few working days'}"
