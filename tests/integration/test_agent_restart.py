"""A real agent process is killed and started again while its GPU works on.

The real binding in the agent's own process, a scripted driver whose counters a thread of this
test moves; truth is what the counters were moved by.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from flopmeter_agent import state
from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import DataError
from flopmeter_core.registers import Component, Evidence, Key, Register
from support.fake_nvml import FakeDriver
from support.processes import free_port

SM_COUNT = 132
CLOCK_HZ = 1_700_000_000
LIMIT_S = 60.0
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


@pytest.fixture
def agents(gpu: Gpu, tmp_path: Path) -> Iterator[Agents]:
    """Agents of which none outlives the test."""
    made = Agents(gpu, tmp_path)
    yield made
    made.kill()


@functools.cache
def alone() -> tuple[str, ...]:
    """Words that run a program in a network of its own, where that is allowed.

    The host-wide lock of hardware sensors holds within one network: a suite that runs beside this
    one takes it too.
    """
    words = ("unshare", "--net")
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    return words if allowed else ()


@dataclass(frozen=True)
class Kept:
    """What the state folder of a killed or running agent holds.

    Attributes:
        incarnation: the last one.
        registers: open and closed ones.
    """

    incarnation: str
    registers: Mapping[Key, Register]

    @property
    def tensor(self) -> int:
        """Tensor megacycles of all registers."""
        return sum(r.units[Component.TENSOR_MEGACYCLES] for r in self.registers.values())

    @property
    def unobserved_ns(self) -> int:
        """Time of all registers that nobody measured."""
        return sum(r.units[Component.UNOBSERVED_NS] for r in self.registers.values())

    @property
    def counting(self) -> bool:
        """Whether the newest agent is on the rung of counters since boot."""
        return any(
            key.evidence is Evidence.CYCLES and key.incarnation == self.incarnation
            for key in self.registers
        )


class Agents:
    """Metering agents without a collector, one after the other; what they learn is in a folder."""

    def __init__(self, gpu: Gpu, folder: Path) -> None:
        self._gpu = gpu
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the next one."""
        command = [
            *alone(),
            sys.executable,
            "-m",
            "flopmeter",
            "agent",
            "--sensor=nvml",
            "--run=alpha",
        ]
        command += [f"--state={self._folder / 'state'}", "--claims-socket=", "--log-level=error"]
        command += ["--sample-period-s=0.2", "--report-period-s=0.4"]
        command += [f"--collector=127.0.0.1:{free_port()}"]
        self._process = subprocess.Popen(command, env=self._gpu.driver.environment())

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def until(self, seen: Callable[[Kept], bool]) -> Kept:
        """Wait until the folder shows something, and kill the agent."""
        deadline = time.monotonic() + LIMIT_S
        kept = None
        while time.monotonic() < deadline:
            kept = self._kept()
            if kept is not None and seen(kept):
                self.kill()
                last = self._kept()
                assert last is not None
                return last
            assert self._process is not None and self._process.poll() is None
            time.sleep(0.05)
        raise AssertionError(f"not seen within {LIMIT_S} s: {kept}")

    def _kept(self) -> Kept | None:
        """Read a copy: the files are the running agent's. None while they change under it."""
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in ("journal", "closed"):
            if not (self._folder / "state" / name).exists():
                return None
            shutil.copyfile(self._folder / "state" / name, copy / name)
        journal = Journal(OsBlockFile(copy / "journal"))
        closed = open_closed(OsBlockFile(copy / "closed"))
        try:
            if journal.payload is None:
                return None
            stored = state.decode(journal.payload)
            held = closed.held() | {each.key: each.register for each in stored.registers}
            return Kept(stored.incarnation, held)
        except DataError:
            return None
        finally:
            journal.close()
            closed.close()


def test_killed_and_started_again(gpu: Gpu, agents: Agents) -> None:
    """What the GPU did with the agent, without one, and with the next one is all counted, once."""
    agents.start()
    first = agents.until(lambda kept: kept.counting)
    gpu.working = True
    time.sleep(1.5)
    agents.start()
    agents.until(lambda kept: kept.counting and kept.tensor > first.tensor)
    time.sleep(0.5)
    gpu.working = False
    time.sleep(0.1)
    truth = gpu.worked // 10**6
    agents.start()
    last = agents.until(lambda kept: kept.counting and kept.tensor >= first.tensor + truth - 3)
    assert truth - 3 <= last.tensor - first.tensor <= truth
    assert last.unobserved_ns == first.unobserved_ns
