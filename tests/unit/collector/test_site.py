"""The thresholds in force: one rule for the collector and the command line."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from flopmeter_collector import site
from flopmeter_collector.law_packages import install, pack, unpack
from flopmeter_collector.site import read_law, stale_rows, stale_sentence, thresholds_in_force
from flopmeter_core.data import builtin_profile_texts, builtin_thresholds
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.lawbook import LawFiles, builtin_files, check_references, parse_lawbook
from support.law_keys import key_pair

BUILT_IN = check_references(parse_lawbook(builtin_files())).rows


def test_own_rows_join_the_built_in_ones(tmp_path: Path) -> None:
    """A folder adds rows; what is no .toml file is left alone."""
    (tmp_path / "note.txt").write_text("no threshold")
    assert thresholds_in_force(tmp_path) == BUILT_IN
    own = builtin_thresholds()["demo-line.toml"].replace('"demo-line"', '"own-line"')
    (tmp_path / "own.toml").write_text(own)
    assert {row.id for row in thresholds_in_force(tmp_path)} == {
        *(row.id for row in BUILT_IN),
        "own-line",
    }


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    """The file of a row that cannot be read stands in the sentence."""
    (tmp_path / "own.toml").write_text("id = ")
    with pytest.raises(DataError, match=r"own\.toml"):
        thresholds_in_force(tmp_path)


def test_only_the_usual_folder_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder a person named and that is not there is a mistake."""
    with pytest.raises(UsageError, match="name another folder"):
        thresholds_in_force(tmp_path / "nowhere")
    monkeypatch.setattr(site, "THRESHOLDS_FOLDER", tmp_path / "nowhere")
    assert thresholds_in_force(tmp_path / "nowhere") == BUILT_IN


ROW = builtin_thresholds()["ca-sb53.toml"]
TODAY = datetime.date(2026, 11, 30)


def test_own_profiles_and_calendars(tmp_path: Path) -> None:
    """A site's profiles and calendars lie in folders of these names, and its rows may name them."""
    (tmp_path / "profiles").mkdir()
    profile = builtin_profile_texts()["everything.toml"].replace('"everything"', '"ours"', 1)
    (tmp_path / "profiles" / "ours.toml").write_text(profile)
    own = ROW.replace('id = "ca-sb53"', 'id = "own"').replace('"us-frontier-model"', '"ours"')
    (tmp_path / "own.toml").write_text(own)
    book = read_law(tmp_path)
    assert {row.id: row.counting_profile for row in book.rows}["own"] == "ours"
    (tmp_path / "profiles" / "ours.toml").unlink()
    with pytest.raises(DataError, match="counting_profile 'ours' is not there"):
        read_law(tmp_path)


def test_unknown_zone(tmp_path: Path) -> None:
    """A row in a time zone that does not exist is named."""
    own = ROW.replace('id = "ca-sb53"', 'id = "own"').replace("Los_Angeles", "Los_Angels")
    (tmp_path / "own.toml").write_text(own)
    with pytest.raises(DataError, match="threshold own: 'America/Los_Angels' is no time zone"):
        read_law(tmp_path)


def test_a_huge_file_is_no_row(tmp_path: Path) -> None:
    """A file that would fill the memory is refused by its size."""
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(2 * site.MAXIMUM_FILE_BYTES)
    with pytest.raises(DataError, match=r"huge\.toml has more than"):
        read_law(tmp_path)


def test_installed_update(tmp_path: Path) -> None:
    """An installed update stands in the place of what was checked before it."""
    private, public = key_pair(1)
    newer = ROW.replace('"10^26"', '"10^27"').replace("2026-11-21", "2026-12-01")
    files = LawFiles(thresholds={"ca-sb53.toml": newer})
    text = pack(files, issued_on=TODAY, note="", private_key=private)
    install(unpack(text, public, name="p"), public, tmp_path / site.UPDATE_FILE, before=None)
    assert {row.id: row.value_text for row in read_law(tmp_path).rows}["ca-sb53"] == "10^27"


def test_stale() -> None:
    """After 90 days a row is old, on the 91st; the demonstration's line never is."""
    checked = datetime.date(2026, 11, 21)
    assert stale_rows(BUILT_IN, checked + datetime.timedelta(days=90)) == ()
    assert stale_sentence(BUILT_IN, checked) == ""
    later = checked + datetime.timedelta(days=91)
    assert len(stale_rows(BUILT_IN, later)) == len(BUILT_IN) - 1
    assert "37 threshold rows were last checked more than 90 days ago" in stale_sentence(
        BUILT_IN, later
    )
