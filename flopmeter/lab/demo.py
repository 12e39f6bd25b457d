"""The demo: a collector and agents as real processes, and a view of what they meter.

Owns: the order of the demo: start, scenario, end, and what is left on disk afterwards (nothing).
May touch: a temporary folder, child processes through the supervisor, the terminal it is given,
loopback sockets through its children.
Called by `flopmeter demo`; docs/demo.md.
Final totals are read from the ledger after everyone has stopped: they do not depend on when the
last page was asked for, nor on what was killed and restarted on the way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flopmeter.lab.collector_api import fetch_totals
from flopmeter.lab.declaring import declare_run
from flopmeter.lab.demo_plan import Plan, make_plan
from flopmeter.lab.demo_view import (
    Crossings,
    Moment,
    head_view,
    live_view,
    plain_lines,
)
from flopmeter.lab.ledger_totals import empty_totals, ledger_identity, ledger_totals
from flopmeter.lab.supervisor import GIVE_UP_AFTER, Supervisor
from flopmeter_agent.scenario import ScenarioClock
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import FlopmeterError, StorageError, UnreachableError, UsageError
from flopmeter_core.threshold_files import parse_catalogue
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.signals import stop_event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

STEP_S = 0.5
PLAIN_PERIOD_NS = 2 * NS_PER_S

COLLECTOR = "collector"
COLLECTOR_START_S = 60
"""How long the collector may take to answer for the first time."""

SHORTEST_LEAD_NS = 2 * NS_PER_S
"""The scenario begins at least this long after its agents are started."""

ENVIRONMENT_SECONDS = "DEMO_SECONDS"

STOPPED = "stopped on request"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a demo can be told.

    Attributes:
        state: folder to write to and keep; a temporary one when None.
        keep: whether a temporary folder is kept.
        seed: replaces the scenario's.
        scenario: another scenario file.
        seconds: real seconds after which the demo ends by itself; at the scenario's end when None.
    """

    state: Path | None = None
    keep: bool = False
    seed: int | None = None
    scenario: Path | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended.

    Attributes:
        document: the final totals, as `flopmeter totals --json` prints them.
        reason: why it ended.
        crossings: one sentence a line that was crossed.
        restarts: how often a process was started again.
        kept: the folder that was kept, or None.
    """

    document: Mapping[str, object]
    reason: str
    crossings: tuple[str, ...]
    restarts: int
    kept: Path | None


def read_seconds(environ: Mapping[str, str]) -> float | None:
    """The time limit of the environment in seconds.

    Raises:
        UsageError: DEMO_SECONDS is no number above 0.
    """
    text = environ.get(ENVIRONMENT_SECONDS)
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise UsageError(f"{ENVIRONMENT_SECONDS} must be a number of seconds above 0, not {text!r}")


def demo(options: DemoOptions, *, clock: Clock, console: Console) -> Outcome:
    """Run the demo to its end, or until SIGINT, SIGTERM or its time limit.

    Args:
        options: what was asked for.
        clock: gives every time.
        console: where the view is drawn.

    Raises:
        FlopmeterError: the folder, the scenario or a process that will not start.
    """
    begin_ns = clock.monotonic_ns()
    with stop_event() as stop, _folder(options) as folder:
        plan = make_plan(folder, scenario_file=options.scenario, seed=options.seed)
        supervisor = Supervisor(clock, plan.logs, environ=child_environment())
        try:
            stage = Demo(plan, supervisor, clock, console, stop)
            return stage.play(
                limit_ns=begin_ns + int(options.seconds * NS_PER_S) if options.seconds else None,
                kept=folder if options.keep or options.state else None,
            )
        finally:
            supervisor.stop()


def child_environment() -> dict[str, str]:
    """The environment without flopmeter's own settings: the demo says all of them itself."""
    return {key: text for key, text in os.environ.items() if not key.startswith("FLOPMETER_")}


class Demo:
    """One demo on its stage."""

    def __init__(
        self,
        plan: Plan,
        supervisor: Supervisor,
        clock: Clock,
        console: Console,
        stop: threading.Event,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            plan: what to start.
            supervisor: starts it.
            clock: gives every time.
            console: where the view is drawn.
            stop: set when a person has seen enough.
        """
        self._plan = plan
        self._supervisor = supervisor
        self._clock = clock
        self._console = console
        self._stop = stop
        self._crossings = Crossings()
        self._document: dict[str, Any] | None = None
        self._fresh = False
        self._ledger_identity = ""
        self._scene: ScenarioClock | None = None

    def play(self, *, limit_ns: int | None, kept: Path | None) -> Outcome:
        """Start everybody, watch, end everybody, and read the final totals.

        Args:
            limit_ns: monotonic time in ns at which the demo ends by itself.
            kept: the folder that will be kept, to be named at the end.
        """
        began_ns = self._clock.monotonic_ns()
        if not self._start_collector():
            return self._end(STOPPED, kept)
        self._console.print(head_view(self._plan.addresses))
        self._declare()
        agent_count = len(self._plan.scenario.nodes) + 1
        # An agent takes about as long to start as the collector did; this host's processors
        # share the work. All have to be there when the scenario begins.
        start_ns = self._clock.monotonic_ns() - began_ns
        lead_ns = max(SHORTEST_LEAD_NS, start_ns * agent_count // (os.cpu_count() or 1))
        epoch_ns = self._clock.wall_ns() + lead_ns
        self._scene = ScenarioClock(self._clock, self._plan.scenario, epoch_wall_ns=epoch_ns)
        for name, arguments in self._plan.agents(epoch_ns):
            self._supervisor.add(name, arguments)
        return self._end(self._watch(self._scene, limit_ns), kept)

    def _start_collector(self) -> bool:
        """Start the collector and wait for its first answer; False when stopped before.

        Raises:
            ChildFailedError, UnreachableError: it did not start, or did not answer in time.
        """
        deadline_ns = self._clock.monotonic_ns() + COLLECTOR_START_S * NS_PER_S
        collector = self._supervisor.add(COLLECTOR, self._plan.collector_arguments())
        while not self._stop.is_set():
            self._supervisor.step()
            self._fetch()
            if self._fresh:
                return True
            if not collector.alive and collector.failures < GIVE_UP_AFTER - 1:
                # Most likely another program took the port since it was seen free.
                failures = collector.failures
                self._supervisor.stop([COLLECTOR])
                self._plan = self._plan.elsewhere()
                collector = self._supervisor.add(COLLECTOR, self._plan.collector_arguments())
                collector.failures = failures
            if self._clock.monotonic_ns() > deadline_ns:
                raise UnreachableError(
                    f"the demo's collector did not answer within {COLLECTOR_START_S} s; "
                    f"this host may be too busy, so try again"
                )
            self._stop.wait(STEP_S / 5)
        return False

    def _declare(self) -> None:
        """Say in the ledger what the scenario's runs are."""
        for run in self._plan.scenario.runs:
            said = {"model": run.model, "format": run.format, "workload": run.workload}
            body = {field: text for field, text in said.items() if text}
            if body:
                declare_run(
                    str(self._plan.ledger),
                    run.name,
                    body,
                    author="demo",
                    source="scenario",
                    clock=self._clock,
                )

    def _watch(self, scene: ScenarioClock, limit_ns: int | None) -> str:
        """Show what happens until the end; returns why it ended."""
        show = self._show_live if self._console.is_terminal else self._show_plain
        with show() as shown:
            while True:
                self._supervisor.step()
                self._fetch()
                shown(self._moment(scene))
                if self._stop.is_set():
                    return STOPPED
                if limit_ns is not None and self._clock.monotonic_ns() >= limit_ns:
                    return f"stopped by {ENVIRONMENT_SECONDS}"
                # At the end the collector has to be there to take the last reports.
                if scene.ended and self._fresh:
                    return "the scenario has come to its end"
                self._stop.wait(STEP_S)

    def _end(self, reason: str, kept: Path | None) -> Outcome:
        """Let the agents hand over their last readings, then the collector, then read the truth."""
        restarts = self._supervisor.restarts
        self._supervisor.stop([c.name for c in self._supervisor.children if c.name != COLLECTOR])
        self._supervisor.stop()
        thresholds = parse_catalogue(builtin_thresholds())
        if self._plan.ledger.exists():
            document = ledger_totals(str(self._plan.ledger), thresholds, self._clock)
        else:
            document = empty_totals(thresholds, self._clock)
        if self._scene is not None:
            self._crossings.note(document, self._scene.monotonic_ns())
        return Outcome(document, reason, tuple(self._crossings.lines()), restarts, kept)

    def _fetch(self) -> None:
        """Ask the collector once; while it is down the last totals stay."""
        self._fresh = False
        with contextlib.suppress(FlopmeterError):
            document = fetch_totals(f"http://{self._plan.addresses.http}", timeout_s=2)
            if not self._ledger_identity:
                self._ledger_identity = ledger_identity(str(self._plan.ledger))
            # On a shared host another demo's collector may have taken the port.
            ledger = document.get("ledger")
            if isinstance(ledger, dict) and ledger.get("id") == self._ledger_identity:
                self._document = document
                self._fresh = True

    def _moment(self, scene: ScenarioClock) -> Moment:
        scenario_ns = scene.monotonic_ns()
        if self._document is not None and self._fresh:
            self._crossings.note(self._document, scenario_ns)
        return Moment(
            scenario_ns=scenario_ns,
            duration_ns=self._plan.scenario.duration_s * NS_PER_S,
            document=self._document,
            fresh=self._fresh,
            children=self._supervisor.children,
        )

    @contextlib.contextmanager
    def _show_live(self) -> Iterator[_Show]:
        from rich.live import Live

        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield _LiveShow(live, self._crossings)

    @contextlib.contextmanager
    def _show_plain(self) -> Iterator[_Show]:
        yield _PlainShow(self._console, self._clock)


_Show = Callable[[Moment], None]
"""Shows one moment."""


class _LiveShow:
    """Replaces the table on a terminal."""

    def __init__(self, live: Live, crossings: Crossings) -> None:
        self._live = live
        self._crossings = crossings

    def __call__(self, moment: Moment) -> None:
        """Draw the table anew."""
        self._live.update(live_view(moment, self._crossings), refresh=True)


class _PlainShow:
    """Writes lines now and then, for a pipe."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._due_ns = 0

    def __call__(self, moment: Moment) -> None:
        """Write a line a run, every two seconds."""
        if self._clock.monotonic_ns() < self._due_ns:
            return
        self._due_ns = self._clock.monotonic_ns() + PLAIN_PERIOD_NS
        for line in plain_lines(moment):
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)


@contextlib.contextmanager
def _folder(options: DemoOptions) -> Iterator[Path]:
    """The demo's folder, gone afterwards unless it is to be kept.

    Raises:
        UsageError: the folder named with --state holds something already.
        StorageError: it cannot be made.
    """
    try:
        if options.state is not None:
            options.state.mkdir(parents=True, exist_ok=True)
            if any(options.state.iterdir()):
                raise UsageError(f"{options.state} is not empty; give an empty folder with --state")
            yield options.state.resolve()
            return
        folder = Path(tempfile.mkdtemp(prefix="flopmeter-demo-"))
    except OSError as error:
        raise StorageError(
            f"the demo's folder cannot be made: {error.strerror}; give another with --state"
        ) from error
    try:
        yield folder
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
