"""Calendars: when a period of the EU ends, whatever falls into it."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.calendars import (
    Calendar,
    builtin_calendars,
    last_ns,
    parse_calendar,
    parse_calendars,
    period_end,
)
from flopmeter_core.data import builtin_calendar_texts
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S
from flopmeter_core.verification import Verification

EU = builtin_calendars()["eu-institutions"]
BRUSSELS = zoneinfo.ZoneInfo("Europe/Brussels")
DAY = datetime.timedelta(days=1)
DAYS = st.dates(datetime.date(2025, 1, 1), datetime.date(2027, 11, 30))


def day(text: str) -> datetime.date:
    """A day from its ISO text."""
    return datetime.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("event", "sure", "latest"),
    [
        # A Monday to the Monday two weeks on: the day of the event is not counted.
        ("2026-09-07", "2026-09-21", "2026-09-21"),
        # Saturday and Sunday run to Monday.
        ("2026-09-05", "2026-09-21", "2026-09-21"),
        ("2026-09-06", "2026-09-21", "2026-09-21"),
        # Easter Monday 2026, and Good Friday before it.
        ("2026-03-23", "2026-04-07", "2026-04-07"),
        ("2026-03-20", "2026-04-07", "2026-04-07"),
        # Ascension and the day after it, then a weekend.
        ("2026-04-30", "2026-05-18", "2026-05-18"),
        # The end of the year: days listed for 2026 count, those of 2027 that nobody verified do
        # not give more time.
        ("2026-12-10", "2027-01-04", "2027-01-04"),
        ("2026-12-18", "2027-01-04", "2027-01-04"),
        ("2027-03-11", "2027-03-25", "2027-03-30"),
    ],
)
def test_two_weeks(event: str, sure: str, latest: str) -> None:
    """Two weeks from an event, moved on over weekends and holidays."""
    end = period_end(day(event), weeks=2, calendar=EU)
    assert (end.sure, end.latest) == (day(sure), day(latest))
    assert end.listed
    assert bool(end.moved_by) == (end.latest != end.counted)


@given(DAYS, st.integers(1, 8))
def test_period_rule(event: datetime.date, weeks: int) -> None:
    """It ends on a working day, not before its weeks are over, and skips no working day."""
    end = period_end(event, weeks=weeks, calendar=EU)
    assert end.counted == event + datetime.timedelta(weeks=weeks)
    assert end.counted.weekday() == event.weekday()
    assert end.counted <= end.sure <= end.latest
    for last, sure in ((end.sure, True), (end.latest, False)):
        assert EU.works_on(last, sure=sure)
        if weeks > 1:
            passed = (end.counted + n * DAY for n in range((last - end.counted).days))
            assert not any(EU.works_on(passed_day, sure=sure) for passed_day in passed)


@given(DAYS, DAYS)
def test_later_events_end_no_sooner(one: datetime.date, other: datetime.date) -> None:
    """Whoever learns of it later has not less time."""
    first, second = sorted((one, other))
    ends = [period_end(event, weeks=2, calendar=EU) for event in (first, second)]
    assert ends[0].sure <= ends[1].sure and ends[0].latest <= ends[1].latest


@given(DAYS)
def test_unverified_holidays_give_no_time(date: datetime.date) -> None:
    """A day that nobody verified is a working day where it has to be sure."""
    holiday = EU.holidays.get(date)
    if holiday is None:
        assert EU.works_on(date, sure=True) == EU.works_on(date, sure=False)
    else:
        assert not EU.works_on(date, sure=False)
        assert EU.works_on(date, sure=True) == (holiday.verification is Verification.UNVERIFIED)


def test_at_least_two_working_days() -> None:
    """A week without two working days is drawn out: Regulation 1182/71, Article 3(5)."""
    monday = day("2026-12-21")
    closed = "\n".join(
        f'[[holiday]]\ndate = {monday + n * DAY}\nname = "closed"\nverification = "primary"'
        for n in range(1, 7)
    )
    text = HEAD + closed
    end = period_end(monday, weeks=1, calendar=parse_calendar(text, name="t"))
    assert end.counted == day("2026-12-28")
    assert end.sure == end.latest == day("2026-12-29")


def test_years_without_list() -> None:
    """Where no holidays are listed the end is by weekends alone, and says so."""
    end = period_end(day("2031-12-17"), weeks=2, calendar=EU)
    assert not end.listed and end.sure == day("2031-12-31")


@pytest.mark.parametrize(
    ("date", "instant"),
    [
        # The clock went back on 25 October 2026 and forward on 28 March 2027.
        ("2026-10-23", "2026-10-23T22:00:00+00:00"),
        ("2026-10-25", "2026-10-25T23:00:00+00:00"),
        ("2026-10-26", "2026-10-26T23:00:00+00:00"),
        ("2027-03-26", "2027-03-26T23:00:00+00:00"),
        ("2027-03-28", "2027-03-28T22:00:00+00:00"),
    ],
)
def test_last_instant(date: str, instant: str) -> None:
    """A day ends at midnight in Brussels, in summer an hour earlier than in winter."""
    expected = round(datetime.datetime.fromisoformat(instant).timestamp()) * NS_PER_S
    assert last_ns(day(date), BRUSSELS) == expected


@given(DAYS)
def test_days_have_23_to_25_hours(date: datetime.date) -> None:
    """Days follow each other without gap; a day has 24 hours but where the clock was moved."""
    hours = (last_ns(date + DAY, BRUSSELS) - last_ns(date, BRUSSELS)) / (3600 * NS_PER_S)
    assert hours in (23, 24, 25)


HEAD = """id = "own"
title = "own"
time_zone = "Europe/Brussels"
rule = "r"
rule_verification = "primary"
first_year = 2026
last_year = 2026
source = "s"
checked_on = 2026-01-01

"""
ROW = '[[holiday]]\ndate = 2026-05-01\nname = "Labour Day"\nverification = "primary"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD + ROW + ROW, "2026-05-01 stands there twice"),
        (HEAD + ROW.replace("2026", "2027"), "outside first_year to last_year"),
        (HEAD + ROW.replace("2026-05-01", '"May"'), "date must be a date"),
        (HEAD + ROW.replace("name", "nmae"), "unknown field nmae"),
        (HEAD.replace('rule = "r"\n', ""), "lacks the field rule"),
        (HEAD.replace("2026\n", '"x"\n', 1), "first_year must be a whole number"),
        ("id =", "not valid TOML"),
    ],
)
def test_bad_calendar(text: str, sentence: str) -> None:
    """A calendar with a mistake is refused, with its file and the field."""
    with pytest.raises(DataError, match=sentence) as caught:
        parse_calendar(text, name="mine.toml")
    assert "mine.toml" in str(caught.value)


def test_doubled_id() -> None:
    """Two calendars of one name would make a date depend on their order."""
    with pytest.raises(DataError, match="two calendars have the id own"):
        parse_calendars({"a": HEAD, "b": HEAD})


def test_files() -> None:
    """A calendar lies in a file of its name, and no holiday of it is a weekend."""
    calendars: dict[str, Calendar] = dict(builtin_calendars())
    assert {f"{name}.toml" for name in calendars} == set(builtin_calendar_texts())
    assert all(date.weekday() < 5 for date in EU.holidays)
