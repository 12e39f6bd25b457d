"""A real agent process is killed and started again while its GPU works on.

The real binding in the agent's own process, a scripted driver whose counters a thread of this
test moves; truth is what the counters were moved by.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent import state
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.state import AgentState
from flopmeter_core.registers import Component, Evidence
from support.fake_nvml import FakeDriver
from support.processes import free_port

SM_COUNT = 132
CLOCK_HZ = 1_700_000_000
LIMIT_S = 40.0
COUNTERS = (*range(248, 255), *range(257, 261))


class Gpu:
    """Counters that run with time while `working`; elapsed cycles always do."""

    def __init__(self, driver: FakeDriver) -> None:
        self.driver = driver
        self.working = False
        self.worked = 0
        self._ended = threading.Event()
        self._began = self._moved = time.monotonic()
        self.move()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def move(self) -> None:
        """Bring the counters to now."""
        now = time.monotonic()
        cycles = round((now - self._moved) * CLOCK_HZ) * SM_COUNT
        self._moved = now
        if self.working:
            self.worked += cycles // 2
        lines: dict[str, object] = dict.fromkeys((f"gpu0.gpm.{n}" for n in COUNTERS), 0)
        lines |= {f"gpu0.gpm.{n}": self.worked for n in (249, 250, 252)}
        lines |= {f"gpu0.gpm.{n}": 50 if self.working else 0 for n in (2, 5, 7)}
        lines["gpu0.gpm.248"] = round((now - self._began) * CLOCK_HZ) * SM_COUNT
        lines["gpu0.energy_mj"] = round((now - self._began) * 100_000)
        lines["gpu0.power_mw"] = 100_000
        self.driver.update(lines)

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self.move()

    def end(self) -> None:
        """Stop moving."""
        self._ended.set()
        self._thread.join()


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[Gpu]:
    """A GPU at rest."""
    driver = FakeDriver(tmp_path)
    # A machine under load moves the counters in jumps, which no period may call impossible.
    driver.set("gpu0.max_clock_mhz", 9_900)
    made = Gpu(driver)
    yield made
    made.end()
    driver.close()


def agent(gpu: Gpu, folder: Path) -> subprocess.Popen[bytes]:
    """A metering agent without a collector; all it learns is in its journal."""
    command = [sys.executable, "-m", "flopmeter", "agent", "--sensor=nvml", "--run=alpha"]
    command += [f"--state={folder / 'state'}", "--sample-period-s=0.2", "--report-period-s=0.4"]
    command += [f"--collector=127.0.0.1:{free_port()}", "--claims-socket=", "--log-level=error"]
    return subprocess.Popen(command, env=gpu.driver.environment())


def journal(folder: Path) -> AgentState | None:
    """What the journal of the agent holds now."""
    path = folder / "state" / "journal"
    if not path.exists():
        return None
    opened = Journal(OsBlockFile(path))
    try:
        return state.decode(opened.payload) if opened.payload else None
    finally:
        opened.close()


def tensor(kept: AgentState | None) -> int:
    """Tensor megacycles of all registers."""
    return sum(
        r.register.units[Component.TENSOR_MEGACYCLES] for r in (kept.registers if kept else ())
    )


def until(folder: Path, process: subprocess.Popen[bytes], seen: object) -> AgentState:
    """Wait until the journal shows something, and end the agent as a crash would."""
    assert callable(seen)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        kept = journal(folder)
        if kept is not None and seen(kept):
            process.kill()
            process.wait()
            kept = journal(folder)
            assert kept is not None
            return kept
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError(f"not seen within {LIMIT_S} s: {journal(folder)}")


def counting(kept: AgentState) -> bool:
    """Whether the agent is on the rung of counters since boot, with nothing below it to come."""
    return any(
        r.key.evidence is Evidence.CYCLES and r.key.incarnation == kept.incarnation
        for r in kept.registers
    )


def test_killed_and_started_again(gpu: Gpu, tmp_path: Path) -> None:
    """What the GPU did with the agent, without one, and with the next one is all counted, once."""
    first = until(tmp_path, agent(gpu, tmp_path), counting)
    started_at = tensor(first)
    unobserved_ns = sum(r.register.units[Component.UNOBSERVED_NS] for r in first.registers)
    gpu.working = True
    time.sleep(1.5)
    second = agent(gpu, tmp_path)
    until(tmp_path, second, lambda kept: counting(kept) and tensor(kept) > started_at)
    time.sleep(0.5)
    gpu.working = False
    time.sleep(0.1)
    truth = gpu.worked // 10**6
    third = agent(gpu, tmp_path)
    last = until(tmp_path, third, lambda kept: counting(kept) and tensor(kept) >= truth - 2)
    assert truth - 2 <= tensor(last) - started_at <= truth
    lost = sum(r.register.units[Component.UNOBSERVED_NS] for r in last.registers) - unobserved_ns
    assert lost == 0
