"""The day of an instant where a law is in force, and the rows of that day."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.held import QUARTER_NS, RowsOfTheDay, held_at, local_date
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import DataError
from flopmeter_core.threshold_files import parse_catalogue
from flopmeter_core.units import NS_PER_S

ROWS = parse_catalogue(builtin_thresholds())


def ns(text: str) -> int:
    """Unix time in ns of a time in UTC."""
    return round(datetime.datetime.fromisoformat(text).timestamp()) * NS_PER_S


@pytest.mark.parametrize(
    ("instant", "zone", "day"),
    [
        ("2025-08-01T21:59:59+00:00", "Europe/Brussels", "2025-08-01"),
        ("2025-08-01T22:00:00+00:00", "Europe/Brussels", "2025-08-02"),
        ("2026-01-01T22:59:59+00:00", "Europe/Brussels", "2026-01-01"),
        ("2026-01-01T23:00:00+00:00", "Europe/Brussels", "2026-01-02"),
        ("2027-01-01T04:59:59+00:00", "America/New_York", "2026-12-31"),
        ("2027-01-01T05:00:00+00:00", "America/New_York", "2027-01-01"),
        ("2026-01-21T15:00:00+00:00", "Asia/Seoul", "2026-01-22"),
    ],
)
def test_local_date(instant: str, zone: str, day: str) -> None:
    """A day begins at its own midnight, in summer and in winter."""
    assert local_date(ns(instant), zone) == datetime.date.fromisoformat(day)


@given(st.integers(0, 4_000_000_000))
def test_days_follow_each_other(second: int) -> None:
    """A day later it is the next day or, where a clock was put back, one hour short of it."""
    first = local_date(second * NS_PER_S, "Europe/Brussels")
    later = local_date((second + 86_400) * NS_PER_S, "Europe/Brussels")
    assert later - first in (datetime.timedelta(0), datetime.timedelta(1), datetime.timedelta(2))


def test_each_row_by_its_own_calendar() -> None:
    """At one instant it is 2027 in Brussels and not in Albany: New York's law applies later."""
    instant = ns("2026-12-31T23:30:00+00:00")
    rows = {row.id: row for row in held_at(ROWS, instant)}
    statuses = {
        name: rows[name].status_on(local_date(instant, rows[name].time_zone))
        for name in ("eu-ai-act-51-2", "ny-raise-2026")
    }
    assert statuses == {"eu-ai-act-51-2": "in_force", "ny-raise-2026": "adopted"}
    assert "us-eo14110" not in rows and "us-eo14110" in {
        row.id for row in held_at(ROWS, ns("2025-01-20T04:59:59+00:00"))
    }


def test_unknown_zone() -> None:
    """A zone the host does not know is named."""
    with pytest.raises(DataError, match="'Europe/Brusels' is no time zone"):
        local_date(0, "Europe/Brusels")


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=6),
    st.sampled_from(
        ["2026-12-31T23:00:00+00:00", "2027-01-01T05:00:00+00:00", "2025-01-20T05:00:00+00:00"]
    ),
    st.integers(0, QUARTER_NS - 1),
)
def test_what_is_kept_of_a_day_is_what_would_be_found(
    quarters: list[int], midnight: str, within_ns: int
) -> None:
    """Around midnights, in any order and by either catalogue, the rows are those of `held_at`."""
    kept = RowsOfTheDay()
    for number, quarter in enumerate(quarters):
        instant = ns(midnight) + quarter * QUARTER_NS + within_ns
        rows = ROWS if number % 3 else ROWS[1:]
        assert kept.at(rows, instant) == held_at(rows, instant)


def test_a_day_begins_at_a_quarter_of_an_hour() -> None:
    """In every zone there is: between two quarters of an hour no day begins."""
    instant = ns("2026-07-01T00:00:00+00:00")
    for zone in sorted(zoneinfo.available_timezones()):
        offset = datetime.datetime.fromtimestamp(
            instant // NS_PER_S, tz=zoneinfo.ZoneInfo(zone)
        ).utcoffset()
        assert offset is not None and offset % datetime.timedelta(minutes=15) == datetime.timedelta(
            0
        ), zone
