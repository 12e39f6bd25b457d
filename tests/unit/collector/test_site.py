"""The thresholds in force: one rule for the collector and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_collector import site
from flopmeter_collector.site import thresholds_in_force
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.threshold_files import parse_catalogue

BUILT_IN = parse_catalogue(builtin_thresholds())


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
