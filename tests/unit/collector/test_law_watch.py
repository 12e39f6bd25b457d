"""The law read again: when files change, when somebody asks, and not when they are wrong."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from flopmeter_collector.law_watch import LOOK_PERIOD_S, LawWatch
from flopmeter_core.errors import DataError
from support.manual_clock import ManualClock
from support.own_law import ROW_ID, own_law


class Watch:
    """A folder that is watched by a clock of the test."""

    def __init__(self, folder: Path) -> None:
        """On a site's own law."""
        self.root = folder
        self.folder = own_law(folder, value="10^20")
        self.clock = ManualClock()
        self.law = LawWatch(self.folder, self.clock)
        self.law.begin()

    def look(self, *, after_s: float = LOOK_PERIOD_S) -> int | None:
        """The value of the site's row, where the law was read again."""
        self.clock.advance(after_s)
        rows = asyncio.run(self.law.look())
        return None if rows is None else next(r.value_flop for r in rows if r.id == ROW_ID)

    @property
    def value(self) -> int:
        """The value that is used."""
        return next(row.value_flop for row in self.law.rows if row.id == ROW_ID)


def test_changed_files_are_read_once(tmp_path: Path) -> None:
    """A look finds a change once; a look in between costs nothing and finds nothing."""
    watch = Watch(tmp_path)
    assert watch.look() is None
    own_law(tmp_path, value="2*10^20")
    assert watch.look(after_s=1) is None
    assert watch.look() == 2 * 10**20
    assert watch.look() is None
    for name in ("profiles/board.toml", "calendars/board-days.toml"):
        os.utime(watch.folder / name, ns=(1, 1))
        assert watch.look() == 2 * 10**20


def test_who_asks_is_served_at_once(tmp_path: Path) -> None:
    """SIGHUP reads whether or not a file changed, and does not wait for the next look."""
    watch = Watch(tmp_path)
    watch.law.ask()
    assert watch.look(after_s=0) == 10**20
    assert watch.look(after_s=0) is None


def test_a_wrong_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was read before holds, one sentence says why, and it ends when the file is right."""
    watch = Watch(tmp_path)
    (watch.folder / "board-line.toml").write_text("id = ")
    with caplog.at_level(logging.ERROR):
        assert watch.look() is None
    assert watch.value == 10**20
    assert "board-line.toml" in watch.law.failure and "\n" not in watch.law.failure
    assert len(caplog.records) == 1
    assert watch.look() is None and len(caplog.records) == 1
    own_law(tmp_path, value="3*10^20")
    assert watch.look() == 3 * 10**20
    assert watch.law.failure == ""


def test_a_folder_that_goes_changes_nothing(tmp_path: Path) -> None:
    """A named folder that is not there any more is a mistake, not a law without rows."""
    watch = Watch(tmp_path)
    watch.folder.rename(tmp_path / "elsewhere")
    assert watch.look() is None
    assert "cannot be read" in watch.law.failure and watch.value == 10**20


def test_a_collector_does_not_start_on_a_wrong_file(tmp_path: Path) -> None:
    """At the start there is nothing to go on with."""
    folder = own_law(tmp_path, value="many")
    with pytest.raises(DataError, match=r"board-line\.toml"):
        LawWatch(folder, ManualClock()).begin()
