"""The demo as a user runs it: real processes, ended, interrupted and killed.

The last test is the promise the whole product stands on: whatever is killed on the way, the final
totals are those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

BOUNDS = ("floor", "lower", "best", "upper", "ceiling")

SCENARIO = """
seed = 7
acceleration = 600
duration_s = 9_000

[node]
count = 2
devices = 4
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980

[[run]]
name = "short"
model = "small"
format = "bf16"
start_s = 1_200
stop_s = 8_400
nodes = ["n0", "n1"]
tensor_activity = 0.4
clock_mhz = 1755
power_w = 600
"""
"""15 s long; the run itself lasts 12 of them."""

RUN_DEVICE_SECONDS = 2 * 4 * (8_400 - 1_200)


class RunningDemo:
    """A demo process, its children, and what it printed."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        """Start a demo whose standard error and output go to files of `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flopmeter", "demo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "120", **environ},
            )

    @property
    def pid(self) -> int:
        """The demo's own pid."""
        return self._process.pid

    def children(self) -> dict[int, list[str]]:
        """The demo's children: pid -> command line."""
        found = {}
        for child in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found[child.pid] = child.cmdline()
        return found

    def pid_of(self, daemon: str, *words: str) -> int | None:
        """The pid of the child that was started as `daemon` with all `words`."""
        for pid, line in self.children().items():
            if line[1:4] == ["-m", "flopmeter", daemon] and set(words) <= set(line):
                return pid
        return None

    def wait(self, timeout_s: float) -> int:
        """The exit code."""
        return self._process.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the demo, not to its children."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Kill what is left; a demo that ended well left nothing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demos of one test write."""
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., RunningDemo]]:
    """Starts demos that end with the test."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(*arguments: str, **environ: str) -> RunningDemo:
            nonlocal count
            count += 1
            demo = RunningDemo(folder / f"demo{count}", *arguments, **environ)
            stack.callback(demo.close)
            return demo

        yield start


def wait_for(condition: Callable[[], Any], timeout_s: float = 40) -> Any:
    """Wait until `condition` gives something true."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def leftovers(demo_folder: Path) -> list[str]:
    """What a demo left in the folder of temporary files."""
    return [path.name for path in demo_folder.iterdir() if path.name not in ("out", "err")]


@pytest.mark.slow
def test_time_limit(start: Callable[..., RunningDemo], folder: Path) -> None:
    """DEMO_SECONDS ends the demo by itself: exit 0, totals so far, nothing left."""
    demo = start(DEMO_SECONDS="14", PYTHONUNBUFFERED="1")
    wait_for(lambda: "FLOP (" in demo.out.read_text())
    pids = list(demo.children())
    assert len(pids) == 6
    assert demo.wait(60) == 0, demo.err.read_text()
    text = demo.out.read_text()
    assert "http://127.0.0.1:" in text
    assert "stopped by DEMO_SECONDS; final totals:" in text
    assert " SIMULATED " in text
    final = text.rpartition("final totals:")[2]
    for word in ("atlas-pretrain", "unattributed", "undeclared", "eu-ai-act-51-2", "demo-line"):
        assert word in final
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert leftovers(folder / "demo1") == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(
    start: Callable[..., RunningDemo], folder: Path, number: signal.Signals
) -> None:
    """Ctrl-C ends every child, removes the folder, and still says what was metered."""
    demo = start("--json")
    wait_for(lambda: demo.pid_of("agent", "--node=n3"))
    pids = list(demo.children())
    demo.send(number)
    assert demo.wait(30) == 0, demo.err.read_text()
    document = json.loads(demo.out.read_text())
    assert document["demo"]["ended"] == "stopped on request"
    assert document["simulated"] is True
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert leftovers(folder / "demo1") == []


@pytest.mark.slow
def test_interrupted_at_once(start: Callable[..., RunningDemo], folder: Path) -> None:
    """Ctrl-C before anything serves leaves nothing either."""
    demo = start("--json")
    pid = wait_for(lambda: next(iter(demo.children()), None))
    demo.send(signal.SIGINT)
    assert demo.wait(30) == 0, demo.err.read_text()
    assert not psutil.pid_exists(pid)
    assert leftovers(folder / "demo1") == []


def totals_of_run(demo: RunningDemo) -> tuple[dict[str, int], dict[str, Any]]:
    """The bounds of the scenario's run, and the whole final document."""
    document = json.loads(demo.out.read_text())
    (run,) = (run for run in document["runs"] if run["run"] == "short")
    assert run["busy_device_seconds"] == RUN_DEVICE_SECONDS
    assert run["unobserved_device_seconds"] == 0
    return {bound: run["compute_flop"][bound] for bound in BOUNDS}, document


@pytest.mark.slow
def test_killed_processes_change_no_total(start: Callable[..., RunningDemo], folder: Path) -> None:
    """Kill -9 of collector and agent in the middle: the totals are those of an undisturbed run."""
    scenario = folder / "short.toml"
    scenario.write_text(SCENARIO)
    arguments = ("--json", "--scenario", str(scenario), "--seed", "11")
    calm, disturbed = start(*arguments), start(*arguments)
    # The run is under way when a figure of it is printed.
    wait_for(lambda: "short" in disturbed.err.read_text())
    killed = []
    for daemon, words in (("agent", ("--node=n1",)), ("collector", ())):
        pid = disturbed.pid_of(daemon, *words)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        time.sleep(1)
    again = wait_for(lambda: disturbed.pid_of("collector"))
    assert again not in killed
    wait_for(lambda: disturbed.pid_of("agent", "--node=n1"))
    assert calm.wait(60) == 0, calm.err.read_text()
    assert disturbed.wait(60) == 0, disturbed.err.read_text()
    expected, calm_document = totals_of_run(calm)
    found, document = totals_of_run(disturbed)
    assert found == expected
    assert expected["floor"] > 10**18
    assert calm_document["demo"]["restarts"] == 0
    assert document["demo"]["restarts"] == 2
    assert document["demo"]["ended"] == "the scenario has come to its end"
