"""What differs between two states of the law is said field by field, and nothing else is."""

from __future__ import annotations

import datetime

from flopmeter_collector.law_changes import Change, changes
from flopmeter_core.catalogue import Threshold
from flopmeter_core.lawbook import LawBook, LawFiles, builtin_files, parse_lawbook, updated

FILES = builtin_files()
BOOK = parse_lawbook(FILES)
DAY = datetime.date(2026, 11, 30)


def on_the_day(_row: Threshold) -> datetime.date:
    """One day for every row."""
    return DAY


def found(after: LawBook, before: LawBook = BOOK) -> list[Change]:
    """The differences on one day."""
    return changes(before, after, day_before=on_the_day, day_after=on_the_day)


def test_nothing_differs_from_itself() -> None:
    """One state of the law on one day is the same."""
    assert found(BOOK) == []


def test_two_days() -> None:
    """Between two days only statuses differ."""
    new_year = datetime.date(2027, 1, 1)
    told = changes(BOOK, BOOK, day_before=on_the_day, day_after=lambda _row: new_year)
    assert {(c.id, c.field, c.before, c.after) for c in told} == {
        (row, "status", "adopted", "in_force")
        for row in ("il-sb315", "il-sb315-large", "ny-raise-2026", "ny-raise-2026-large")
    }


def test_an_update() -> None:
    """A changed number, a changed date's status and a new row are each told."""
    row = FILES.thresholds["il-sb315.toml"]
    changed = row.replace('"10^26"', '"10^27"').replace("date = 2027-01-01", "date = 2026-11-01")
    own = FILES.thresholds["us-s2938.toml"].replace('id = "us-s2938"', 'id = "us-new"')
    newer = updated(BOOK, parse_lawbook(LawFiles(thresholds={"a": changed, "b": own})))
    told = {(c.id, c.field): (c.before, c.after) for c in found(newer)}
    assert told[("il-sb315", "status")] == ("adopted", "in_force")
    assert told[("il-sb315", "value")] == ("10^26", "10^27")
    assert told[("il-sb315", "in_force_from")] == ("2027-01-01", "2026-11-01")
    assert told[("us-new", "row")] == ("absent", "there")
    assert {name for name, _ in told} == {"il-sb315", "us-new"}


def test_profiles_and_calendars() -> None:
    """A verdict and a holiday that changed are told by what they are of."""
    profile = FILES.profiles["eu-cumulative.toml"].replace(
        'activities = ["evaluation"]\nverdict = "may_exclude"',
        'activities = ["evaluation"]\nverdict = "count"',
    )
    calendar = FILES.calendars["eu-institutions.toml"].replace(
        "date = 2026-07-21", "date = 2026-07-22"
    )
    newer = updated(BOOK, parse_lawbook(LawFiles({}, {"p": profile}, {"c": calendar})))
    told = {(c.what, c.id, c.field): (c.before[:11], c.after[:5]) for c in found(newer)}
    kept = ("profile", "eu-cumulative", "evaluation (kept, data unknown)")
    assert told[kept] == ("may_exclude", "count")
    assert len([key for key in told if key[0] == "profile"]) == 12
    assert told[("calendar", "eu-institutions", "2026-07-21")] == ("Belgian Nat", "absen")
    assert len(told) == 12 + 2
