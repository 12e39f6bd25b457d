"""The demo's folder and its two ways to show a moment."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from flopmeter.lab import demo
from flopmeter.lab.demo import DemoOptions, _folder, _LiveShow, _PlainShow
from flopmeter.lab.demo_view import Crossings, Moment
from flopmeter_core.errors import StorageError, UsageError
from flopmeter_core.units import NS_PER_S
from support.manual_clock import ManualClock

MOMENT = Moment(5 * NS_PER_S, 10 * NS_PER_S, None, fresh=False, children=())


@pytest.mark.parametrize("keep", [True, False])
def test_a_temporary_folder(keep: bool) -> None:
    """It is gone afterwards, unless it is to be kept."""
    with _folder(DemoOptions(keep=keep)) as folder:
        (folder / "x").write_text("x")
    assert folder.exists() is keep
    if keep:
        (folder / "x").unlink()
        folder.rmdir()


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    """It is made, stays, and has to be empty; what cannot be made is said."""
    with _folder(DemoOptions(state=tmp_path / "own")) as folder:
        (folder / "ledger.db").write_text("x")
    assert (tmp_path / "own/ledger.db").exists()
    with (
        pytest.raises(UsageError, match="is not empty; give an empty folder with --state"),
        _folder(DemoOptions(state=tmp_path / "own")),
    ):
        pytest.fail("it is in use")
    with (
        pytest.raises(StorageError, match="give another with --state"),
        _folder(DemoOptions(state=tmp_path / "own/ledger.db/x")),
    ):
        pytest.fail("it cannot be")


def test_a_pipe_gets_lines_now_and_then() -> None:
    """Every two seconds, however often it is looked."""
    screen, clock = io.StringIO(), ManualClock()
    show = _PlainShow(Console(file=screen, width=120), clock)
    for _ in range(9):
        show(MOMENT)
        clock.advance(0.5)
    assert screen.getvalue().count("waiting for the first figure") == 3


def test_a_terminal_gets_one_table() -> None:
    """It is drawn anew in its place."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        _LiveShow(live, Crossings())(MOMENT)
        assert "waiting for the first report" in screen.getvalue()


def test_what_children_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of flopmeter's own settings: the demo says all of them itself."""
    monkeypatch.setenv("FLOPMETER_RUN", "atlas")
    monkeypatch.setenv("OTHER", "x")
    told = demo.child_environment()
    assert "FLOPMETER_RUN" not in told and told["OTHER"] == "x"
