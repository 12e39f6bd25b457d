"""The supervisor keeps its children alive and leaves none behind; real processes, given time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flopmeter.lab.supervisor import (
    BACKOFF_FIRST_NS,
    BACKOFF_MAX_NS,
    GIVE_UP_AFTER,
    HEALTHY_NS,
    Child,
    ChildFailedError,
    Supervisor,
)

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
READY = (sys.executable, "-S", "-c", "import time; print('ready', flush=True); time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)",
)


class StandingClock:
    """A clock that moves when it is told to."""

    boot_id = "test"

    def __init__(self) -> None:
        """Start at 0."""
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        """The time it was told."""
        return self.now_ns

    boottime_ns = monotonic_ns
    wall_ns = monotonic_ns


@pytest.fixture
def clock() -> StandingClock:
    """A clock at 0."""
    return StandingClock()


@pytest.fixture
def supervisor(clock: StandingClock, tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor whose children end with the test."""
    supervisor = Supervisor(clock, tmp_path)
    yield supervisor
    supervisor.stop(patience_s=0)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for something a process does, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def ended(child: Child) -> bool:
    """Whether the child's process has ended, seen or not."""
    return child.process is None or child.process.poll() is not None


def living_pid(child: Child) -> int:
    """The pid of a child that lives."""
    assert child.pid is not None
    return child.pid


def test_restart_after_kill(supervisor: Supervisor, clock: StandingClock) -> None:
    """A child that was killed comes back after the first backoff, as another process."""
    child = supervisor.add("agent", SLEEP)
    first = living_pid(child)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: ended(child))
    clock.now_ns = HEALTHY_NS
    supervisor.step()
    assert (child.alive, child.restarts) == (False, 0)
    clock.now_ns += BACKOFF_FIRST_NS - 1
    supervisor.step()
    assert not child.alive
    clock.now_ns += 1
    supervisor.step()
    assert (child.alive, child.restarts, supervisor.restarts) == (True, 1, 1)
    assert living_pid(child) != first


def test_backoff_grows_then_gives_up(supervisor: Supervisor, clock: StandingClock) -> None:
    """Failures in a row wait longer each, and end in the child's own words."""
    words = "import sys; sys.exit('port 8425 is taken')"
    child = supervisor.add("collector", (sys.executable, "-S", "-c", words))
    waits = []
    with pytest.raises(ChildFailedError) as caught:
        while True:
            wait_for(lambda: ended(child))
            supervisor.step()
            waits.append(child.due_ns - clock.now_ns)
            clock.now_ns = child.due_ns
            supervisor.step()
    assert waits == [BACKOFF_FIRST_NS << n for n in range(GIVE_UP_AFTER - 1)]
    assert max(waits) <= BACKOFF_MAX_NS
    assert str(caught.value) == (
        "collector ended 5 times in a row, last with exit code 1: port 8425 is taken"
    )
    assert caught.value.exit_code == 69


def test_a_healthy_life_forgives(supervisor: Supervisor, clock: StandingClock) -> None:
    """A child that lived long enough starts its count anew."""
    child = supervisor.add("agent", SLEEP)
    for _ in range(GIVE_UP_AFTER + 1):
        os.kill(living_pid(child), signal.SIGKILL)
        wait_for(lambda: ended(child))
        clock.now_ns += HEALTHY_NS
        supervisor.step()
        assert child.failures == 1
        clock.now_ns = child.due_ns
        supervisor.step()
    assert child.restarts == GIVE_UP_AFTER + 1


def test_a_child_that_is_done_stays_done(supervisor: Supervisor, clock: StandingClock) -> None:
    """Exit code 0 is no failure."""
    child = supervisor.add("agent", (sys.executable, "-S", "-c", ""))
    wait_for(lambda: ended(child))
    supervisor.step()
    clock.now_ns += BACKOFF_MAX_NS
    supervisor.step()
    assert (child.finished, child.restarts, child.alive) == (True, 0, False)


def test_stop(tmp_path: Path) -> None:
    """Stopped children are gone when stop returns, those that ignore SIGTERM too."""

    class RealClock(StandingClock):
        def monotonic_ns(self) -> int:
            return time.monotonic_ns()

    supervisor = Supervisor(RealClock(), tmp_path)
    stubborn = supervisor.add("stubborn", STUBBORN)
    pids = [living_pid(supervisor.add("plain", SLEEP)), living_pid(stubborn)]
    wait_for(lambda: "ready" in stubborn.stderr_tail())
    supervisor.stop(patience_s=0.3)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert supervisor.children == ()


def test_stop_some(supervisor: Supervisor) -> None:
    """Only the named children are stopped, and not started again."""
    kept = supervisor.add("kept", SLEEP)
    gone = living_pid(supervisor.add("gone", SLEEP))
    supervisor.stop(["gone"], patience_s=5)
    supervisor.step()
    assert not psutil.pid_exists(gone)
    assert supervisor.children == (kept,)
    assert kept.alive


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """Kill -9 of the supervisor leaves no child: the kernel tells it."""
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from flopmeter.lab.supervisor import Supervisor
        from flopmeter_proto.daemon.clock import SystemClock
        child = Supervisor(SystemClock(), Path({str(tmp_path)!r})).add("agent", {READY!r})
        # Only what has replaced the prelude is the child itself.
        while "ready" not in child.stderr_tail():
            time.sleep(0.01)
        print(child.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    wait_for(lambda: not psutil.pid_exists(pid) or _is_zombie(pid))


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and only its entry is left, where nobody reaps orphans."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
