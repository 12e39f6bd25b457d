"""Status from dated events: what held on a day, on the jurisdiction's own calendar."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.catalogue import Kind, Threshold
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import DataError
from flopmeter_core.legal_status import (
    ENDS,
    STATUS_AFTER,
    Event,
    EventKind,
    Status,
    check_order,
    dates_of,
    status_on,
)
from flopmeter_core.threshold_files import parse_catalogue
from flopmeter_core.verification import Verification

ROWS = {row.id: row for row in parse_catalogue(builtin_thresholds())}
DAY = datetime.timedelta(days=1)
DAYS = st.dates(datetime.date(2020, 1, 1), datetime.date(2035, 1, 1))


@pytest.mark.parametrize(
    ("row", "day", "status"),
    [
        ("eu-ai-act-51-2", "2023-12-01", None),
        ("eu-ai-act-51-2", "2024-06-12", None),
        ("eu-ai-act-51-2", "2024-06-13", "adopted"),
        ("eu-ai-act-51-2", "2024-08-01", "adopted"),
        ("eu-ai-act-51-2", "2025-01-15", "adopted"),
        ("eu-ai-act-51-2", "2025-08-01", "adopted"),
        ("eu-ai-act-51-2", "2025-08-02", "in_force"),
        ("eu-gpai-indicative", "2025-07-17", None),
        ("eu-gpai-indicative", "2025-07-18", "guidance"),
        ("eu-gpai-indicative", "2026-11-30", "guidance"),
        ("ny-raise-2025", "2026-03-26", "adopted"),
        ("ny-raise-2025", "2026-03-27", "superseded"),
        ("ny-raise-2025", "2027-01-02", "superseded"),
        ("ny-raise-2026", "2026-12-31", "adopted"),
        ("ny-raise-2026", "2027-01-01", "in_force"),
        ("ny-raise-2026", "2027-01-02", "in_force"),
        ("us-eo14110", "2025-01-19", "in_force"),
        ("us-eo14110", "2025-01-20", "repealed"),
        ("us-bis-702-7", "2024-09-10", None),
        ("us-bis-702-7", "2024-09-11", "proposed"),
        ("us-bis-702-7", "2026-11-30", "proposed"),
        ("us-eccn-4e091", "2025-05-12", "adopted"),
        ("us-eccn-4e091", "2025-05-13", "not_enforced"),
        ("ca-sb1047", "2024-09-29", "vetoed"),
        ("ca-sb53", "2025-12-31", "adopted"),
        ("ca-sb53", "2026-01-01", "in_force"),
    ],
)
def test_cases(row: str, day: str, status: str | None) -> None:
    """The turning points of the built-in rows, each on its day and on the day before."""
    assert ROWS[row].status_on(datetime.date.fromisoformat(day)) == status


@given(DAYS, st.sampled_from(sorted(ROWS)))
def test_never(day: datetime.date, name: str) -> None:
    """No guidance, bill or proposed rule is ever in force or adopted, on any day."""
    row: Threshold = ROWS[name]
    status = row.status_on(day)
    if row.kind in (Kind.GUIDANCE, Kind.BILL, Kind.PROPOSED_RULE):
        assert status not in (Status.IN_FORCE, Status.ADOPTED)
    if row.kind is not Kind.GUIDANCE:
        assert status is not Status.GUIDANCE


@given(DAYS, st.sampled_from(sorted(ROWS)))
def test_in_force_is_half_open(day: datetime.date, name: str) -> None:
    """A row is in force from its first day up to, not on, its last one."""
    row = ROWS[name]
    dates = row.dates
    start, end = dates.in_force_from, dates.in_force_until
    if isinstance(start, datetime.date) and not isinstance(end, str):
        assert (row.status_on(day) is Status.IN_FORCE) == (
            start <= day and (end is None or day < end)
        )


EVENTS = st.lists(st.sampled_from(EventKind), min_size=1, max_size=8).flatmap(
    lambda kinds: st.lists(DAYS, min_size=len(kinds), max_size=len(kinds)).map(
        lambda days: [
            Event(kind, day, "c", Verification.PRIMARY)
            for kind, day in zip(kinds, sorted(days), strict=True)
        ]
    )
)


@given(EVENTS, DAYS)
def test_latest_event_decides(events: list[Event], day: datetime.date) -> None:
    """The status is that of the latest event up to the day; only an event's day changes it."""
    expected = None
    for event in events:
        if event.date is not None and event.date <= day:
            expected = STATUS_AFTER.get(event.kind, expected)
    assert status_on(events, day) is expected
    if all(event.date != day for event in events):
        assert status_on(events, day) is status_on(events, day - DAY)


def unknown(kind: EventKind, known_by: datetime.date | None = None) -> Event:
    """An event without a date."""
    return Event(kind, None, "c", Verification.SECONDARY, "nobody knows", known_by)


def known(kind: EventKind, day: str) -> Event:
    """An event with one."""
    return Event(kind, datetime.date.fromisoformat(day), "c", Verification.PRIMARY)


def test_unknown_dates() -> None:
    """An event without a date moves no status; one known to have happened by a day does, then."""
    bill = known(EventKind.PROPOSED, "2025-01-01")
    after = datetime.date(2030, 1, 1)
    assert status_on([bill, unknown(EventKind.LAPSED)], after) is Status.PROPOSED
    by = datetime.date(2026, 1, 1)
    events = [bill, unknown(EventKind.LAPSED, by)]
    assert status_on(events, by) is Status.LAPSED
    assert status_on(events, by - DAY) is Status.PROPOSED
    applied = [known(EventKind.APPLIES, "2025-01-01"), unknown(EventKind.REPEALED)]
    assert dates_of(applied).in_force_until == "unknown"
    assert dates_of([bill]).in_force_from is None


def test_impossible_histories() -> None:
    """No date at all, days out of order, and life after the end are refused."""
    with pytest.raises(DataError, match="no event with a date"):
        check_order([unknown(EventKind.PROPOSED)], where="row")
    late, early = known(EventKind.APPLIES, "2026-01-01"), known(EventKind.ADOPTED, "2025-01-01")
    with pytest.raises(DataError, match="not in the order of their dates"):
        check_order([late, early], where="row")
    ended = known(EventKind.REPEALED, "2026-02-01")
    with pytest.raises(DataError, match="applies comes after the rule ended"):
        check_order([ended, known(EventKind.APPLIES, "2026-03-01")], where="row")
    check_order([early, late, ended], where="row")


def test_every_status_can_come_about() -> None:
    """Each status has an event that leads to it, and each end is a status."""
    assert set(STATUS_AFTER.values()) == set(Status)
    assert all(kind in STATUS_AFTER for kind in ENDS)


@given(DAYS, st.sampled_from(sorted(ROWS)))
def test_a_row_has_a_status_from_its_first_event_on(day: datetime.date, name: str) -> None:
    """Whoever asks for a day on which a law was known of, finds it: passed, not yet signed."""
    known_days = [event.counts_from for event in ROWS[name].events if event.counts_from]
    if known_days:
        assert (ROWS[name].status_on(day) is None) == (day < known_days[0])


def test_passed_and_not_signed() -> None:
    """A law that a legislature passed is proposed until it is signed."""
    assert ROWS["il-sb315"].status_on(datetime.date(2026, 6, 1)) is Status.PROPOSED
    assert ROWS["il-sb315"].status_on(datetime.date(2026, 7, 6)) is Status.ADOPTED


def test_a_history_begins_with_a_status() -> None:
    """What happened first has to say how the rule stood."""
    with pytest.raises(DataError, match="cannot begin with published"):
        check_order([known(EventKind.PUBLISHED, "2026-01-01")], where="row")
