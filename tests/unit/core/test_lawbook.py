"""The law as one: what fits together, what an update replaces, what a site may replace."""

from __future__ import annotations

import pytest

from flopmeter_core.errors import DataError
from flopmeter_core.lawbook import (
    LawBook,
    LawFiles,
    builtin_files,
    check_references,
    joined,
    parse_lawbook,
    updated,
)

BUILT_IN = parse_lawbook(builtin_files())
ROW = builtin_files().thresholds["ca-sb53.toml"]
PROFILE = builtin_files().profiles["everything.toml"]
CALENDAR = builtin_files().calendars["eu-institutions.toml"]


def book(row: str = "", profile: str = "", calendar: str = "") -> LawBook:
    """A book of at most one file of each kind."""
    return parse_lawbook(
        LawFiles(*({"own.toml": text} if text else {} for text in (row, profile, calendar)))
    )


def value(of: LawBook) -> str:
    """The number of California's row."""
    return next(row.value_text for row in of.rows if row.id == "ca-sb53")


def test_built_in_rows_fit_together() -> None:
    """Every profile, calendar and row that a built-in row names is there."""
    bound = check_references(BUILT_IN)
    assert [row.id for row in bound.rows] == [row.id for row in BUILT_IN.rows]
    for row in bound.rows:
        assert row.rules is BUILT_IN.profiles[row.counting_profile]
        assert row.days is (row.notice and BUILT_IN.calendars[row.notice.calendar])
    assert all(BUILT_IN.profile_of(row).id == row.counting_profile for row in BUILT_IN.rows)


def test_the_later_check_holds() -> None:
    """An update replaces what was checked before it, and nothing that was checked since."""
    changed = ROW.replace('"10^26"', '"10^27"')
    same_day = book(changed)
    later = book(changed.replace("checked_on = 2026-11-21", "checked_on = 2026-12-21"))
    earlier = book(changed.replace("checked_on = 2026-11-21", "checked_on = 2026-10-21"))
    assert value(updated(BUILT_IN, same_day)) == "10^27"
    assert value(updated(BUILT_IN, later)) == "10^27"
    assert value(updated(BUILT_IN, earlier)) == "10^26"
    assert value(updated(updated(BUILT_IN, later), BUILT_IN)) == "10^27"
    assert [row.id for row in updated(BUILT_IN, later).rows][-1] == BUILT_IN.rows[-1].id


def test_update_of_profiles_and_calendars() -> None:
    """Profiles and calendars are updated like rows."""
    profile = PROFILE.replace("version = 1", "version = 2").replace("2026-11-21", "2026-12-21")
    calendar = CALENDAR.replace("checked_on = 2026-11-30", "checked_on = 2027-01-01")
    newer = updated(BUILT_IN, book(profile=profile, calendar=calendar))
    assert newer.profiles["everything"].version == 2
    assert newer.calendars["eu-institutions"].checked_on.year == 2027
    older = PROFILE.replace("version = 1", "version = 2").replace("2026-11-21", "2026-01-21")
    assert updated(BUILT_IN, book(profile=older)).profiles["everything"].version == 1


def test_a_site_replaces_on_purpose_only() -> None:
    """A site can change every number, and has to say that it does."""
    changed = ROW.replace('"10^26"', '"10^27"')
    with pytest.raises(DataError, match="a row with the id ca-sb53 is built in"):
        joined(BUILT_IN, book(changed))
    meant = changed.replace("planned_counts = true", "replaces_builtin = true")
    assert value(joined(BUILT_IN, book(meant))) == "10^27"
    with pytest.raises(DataError, match="no built-in row has the id own"):
        joined(BUILT_IN, book(meant.replace('id = "ca-sb53"', 'id = "own"')))
    with pytest.raises(DataError, match="a counting profile with the id everything is built in"):
        joined(BUILT_IN, book(profile=PROFILE))
    with pytest.raises(DataError, match="a calendar with the id eu-institutions is built in"):
        joined(BUILT_IN, book(calendar=CALENDAR))


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ('"us-frontier-model"', '"us"', "counting_profile 'us' is not there"),
        ("planned_counts = true", 'supersedes = ["x"]', "supersedes 'x', which is no row"),
        (
            "checked_on = 2026-11-21",
            "checked_on = 2026-11-21\n"
            'notice = { weeks = 2, begins = "b", calendar = "mars", to = "t", citation = "c" }',
            "calendar 'mars' is not there",
        ),
    ],
)
def test_missing_references(good: str, bad: str, sentence: str) -> None:
    """A name that leads nowhere is refused with its row."""
    own = book(ROW.replace('id = "ca-sb53"', 'id = "own"').replace(good, bad, 1))
    with pytest.raises(DataError, match=f"threshold own: {sentence}"):
        check_references(joined(BUILT_IN, own))
