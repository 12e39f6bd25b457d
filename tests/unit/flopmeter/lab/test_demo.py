"""The demo's folder and its two ways to show a moment."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from flopmeter.lab import demo
from flopmeter.lab.demo import Demo, DemoOptions, _folder, _LiveShow, _PlainShow
from flopmeter.lab.demo_plan import Plan, read_scenario
from flopmeter.lab.demo_view import Addresses, Crossings, Moment
from flopmeter.lab.supervisor import GIVE_UP_AFTER, Child
from flopmeter_agent.scenario import parse_scenario
from flopmeter_core.errors import StorageError, UnreachableError, UsageError
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


# --- the stage, with nobody on it -----------------------------------------------------------------

OURS = "ours"


class Troupe:
    """Takes the supervisor's place: notes who is started, and starts nobody."""

    def __init__(self, alive: Callable[[int], bool] = lambda start: True) -> None:
        """Let the child of each start live or not."""
        self._alive = alive
        self._living: dict[str, Child] = {}
        self.started: list[str] = []
        self.restarts = 0
        self.collectors: list[tuple[str, ...]] = []

    @property
    def children(self) -> tuple[Child, ...]:
        """Who was started and not stopped."""
        return tuple(self._living.values())

    def add(self, name: str, arguments: Sequence[str]) -> Child:
        """Note it; a collector that does not live has failed once more."""
        assert name not in self._living
        self.started.append(name)
        child = Child(name, tuple(arguments), Path("none.log"))
        if name == demo.COLLECTOR:
            self.collectors.append(child.arguments)
        if self._alive(len(self.started)):
            child.process = object()  # type: ignore[assignment]
        self._living[name] = child
        return child

    def step(self) -> None:
        """Who is dead fails once more."""
        for child in self._living.values():
            child.failures += not child.alive

    def stop(self, names: Iterable[str] | None = None) -> None:
        """Forget them."""
        for name in list(names if names is not None else self._living):
            del self._living[name]


class Stop(threading.Event):
    """Lets time go by where it is waited for, and is set when it has come to its hour."""

    def __init__(self, clock: ManualClock, after_s: float = 1e9) -> None:
        """Set `after_s` from now."""
        super().__init__()
        self._clock = clock
        self._at_ns = clock.monotonic_ns() + round(after_s * NS_PER_S)

    def wait(self, timeout: float | None = None) -> bool:
        """Let time go by at once."""
        self._clock.advance(timeout or 0)
        if self._clock.monotonic_ns() >= self._at_ns:
            self.set()
        return self.is_set()


class Stage:
    """A demo whose processes, ledger and collector are all told by the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **stop: float) -> None:
        """Set it up."""
        self.clock = ManualClock()
        self.screen = io.StringIO()
        self.troupe = Troupe()
        self.console = Console(file=self.screen, width=120)
        self.stop = Stop(self.clock, **stop)
        scenario = parse_scenario(read_scenario(None))
        self.plan = Plan(folder, scenario, Addresses(http="127.0.0.1:2", grpc="127.0.0.1:1"))
        self.asked: list[str] = []
        self.answer: Callable[[str], dict[str, Any]] = lambda url: answer_of(OURS)
        monkeypatch.setattr(demo, "fetch_totals", self._fetch)
        monkeypatch.setattr(demo, "ledger_identity", lambda url: OURS)
        monkeypatch.setattr(demo, "declare_run", lambda *_, **__: None)
        monkeypatch.setattr(demo, "plain_lines", lambda moment: [f"fresh {moment.fresh}"])
        monkeypatch.setattr(demo, "live_view", lambda moment, _: f"live, fresh {moment.fresh}")

    def _fetch(self, url: str, *, timeout_s: float) -> dict[str, Any]:
        self.asked.append(url)
        return self.answer(url)

    def play(self, limit_s: float | None = None) -> demo.Outcome:
        """Play it to its end."""
        limit_ns = None if limit_s is None else self.clock.monotonic_ns() + int(limit_s * NS_PER_S)
        stage = Demo(self.plan, self.troupe, self.clock, self.console, self.stop)  # type: ignore[arg-type]
        return stage.play(limit_ns=limit_ns, kept=None)


def answer_of(ledger: str) -> dict[str, Any]:
    """Totals of a ledger without anything in it."""
    return {"ledger": {"id": ledger}, "models": [], "runs": []}


def refused(url: str) -> dict[str, Any]:
    """Nobody is there."""
    raise UnreachableError("refused")


def test_a_port_that_was_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that does not start is started elsewhere, and its failures are not forgotten."""
    stage = Stage(tmp_path, monkeypatch)
    stage.troupe = Troupe(alive=lambda start: start > 2)
    stage.answer = lambda url: answer_of(OURS) if len(stage.troupe.started) > 2 else refused(url)
    stage.play(limit_s=30)
    first, second, third = stage.troupe.collectors
    assert len({first, second, third}) == 3, "each at other ports"
    assert stage.asked[0] == "http://127.0.0.1:2" and stage.asked[-1] != stage.asked[0]


def test_a_collector_that_never_starts_is_not_moved_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its supervisor gives it up it stays where it is, so that its last words are told."""
    stage = Stage(tmp_path, monkeypatch)
    stage.troupe, stage.answer = Troupe(alive=lambda start: False), refused
    with pytest.raises(UnreachableError):
        stage.play()
    assert len(stage.troupe.collectors) == GIVE_UP_AFTER - 1


def test_a_collector_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute the demo says so, and no agent was started for nothing."""
    stage = Stage(tmp_path, monkeypatch)
    stage.answer = refused
    began_ns = stage.clock.monotonic_ns()
    with pytest.raises(UnreachableError, match="did not answer within 60 s; this host may be too"):
        stage.play()
    assert 60 <= (stage.clock.monotonic_ns() - began_ns) / NS_PER_S < 61
    assert stage.troupe.started == [demo.COLLECTOR]


def test_another_collector_at_our_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals of another ledger are none of ours, however good they look."""
    stage = Stage(tmp_path, monkeypatch)
    stage.answer = lambda url: answer_of("theirs")
    with pytest.raises(UnreachableError, match="did not answer"):
        stage.play()


def test_a_person_who_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there is a ledger the final totals are those of none, and nobody is left behind."""
    stage = Stage(tmp_path, monkeypatch, after_s=0.05)
    stage.answer = refused
    outcome = stage.play()
    assert outcome.reason == demo.STOPPED
    assert outcome.document["runs"] == [] and outcome.document["simulated"] is True
    assert stage.troupe.children == ()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_ends(terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit, a person, and the scenario itself; shown as a table or as lines."""
    duration_s = Stage(tmp_path, monkeypatch).plan.scenario.duration_s
    for limit_s, after_s, reason in (
        (5.0, 1e9, "stopped by DEMO_SECONDS"),
        (None, 5.0, demo.STOPPED),
        (None, 1e9, "the scenario has come to its end"),
    ):
        stage = Stage(tmp_path, monkeypatch, after_s=after_s)
        stage.console = Console(
            file=stage.screen, width=120, force_terminal=terminal, highlight=False
        )
        began_ns = stage.clock.monotonic_ns()
        assert stage.play(limit_s).reason == reason
        took_s = (stage.clock.monotonic_ns() - began_ns) / NS_PER_S
        if reason.startswith("the scenario"):
            assert took_s >= duration_s / stage.plan.scenario.acceleration
        else:
            assert 5 <= took_s < 6
        assert ("live, fresh True" in stage.screen.getvalue()) is terminal
        assert stage.troupe.children == ()


def test_the_end_waits_for_the_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is down at the scenario's end nothing ends: the last reports are still to come."""
    stage = Stage(tmp_path, monkeypatch)
    scenario = stage.plan.scenario
    back_ns = stage.clock.monotonic_ns() + 2 * NS_PER_S * int(
        scenario.duration_s / scenario.acceleration
    )

    def answer(url: str) -> dict[str, Any]:
        away = len(stage.troupe.started) > 1 and stage.clock.monotonic_ns() < back_ns
        return refused(url) if away else answer_of(OURS)

    stage.answer = answer
    assert stage.play().reason == "the scenario has come to its end"
    assert stage.clock.monotonic_ns() >= back_ns
    assert "fresh False" in stage.screen.getvalue()
