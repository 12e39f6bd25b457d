"""An agent as it is started: changes of users make it read at once, and what it shows of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flopmeter_agent import app as app_module
from flopmeter_agent.app import AgentApp
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.locks import HostLock
from flopmeter_core.errors import UsageError
from flopmeter_proto.daemon.clock import SystemClock
from support.fake_nvml import FakeDriver, uuid_of
from support.processes import free_port

LONG_PERIOD_S = 600.0
"""Whatever is read within the test is read because of a change."""


class Running:
    """An agent on a scripted driver, in a thread of this process."""

    def __init__(self, folder: Path, **named: object) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir()
        settings = {
            "sensor": "nvml",
            "state": folder / "state",
            "node": "n1",
            "cluster": "c1",
            "collector": "127.0.0.1:1",
            "allocations_folder": self.run,
            "claims_socket": str(folder / "agent.sock"),
            "sample_period_s": LONG_PERIOD_S,
            "report_period_s": LONG_PERIOD_S,
        }
        self.app = AgentApp(AgentConfig(**(settings | named)), SystemClock())  # type: ignore[arg-type]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.until(lambda: self.app.loop.counters.samples)

    def _serve(self) -> None:
        self._loop.run_until_complete(self.app.serve(self._stop))

    def until(self, true: Callable[[], object], seconds: float = 30) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)

    def another_sample(self, act: Callable[[], object]) -> None:
        """Do something that has to make the agent read."""
        before = self.app.loop.counters.samples
        act()
        self.until(lambda: self.app.loop.counters.samples > before)

    @property
    def users(self) -> dict[str, str]:
        """The allocation last seen of each device."""
        devices = self.app.loop.accumulator.devices
        return {device: state.allocation for device, state in devices.items()}

    def close(self) -> None:
        """Stop in order."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self.app.close()
        self._loop.close()


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """A driver with one GPU; the host's lock is this test's own."""
    monkeypatch.setattr(app_module, "HostLock", lambda: HostLock(f"\0{tmp_path}"))
    made = FakeDriver(tmp_path)
    yield made
    made.close()


def test_changes_are_read_at_once(driver: FakeDriver, tmp_path: Path) -> None:
    """A run's start and end and a prolog's file each make the agent read, and name the user."""
    agent = Running(tmp_path)
    try:
        assert agent.users == {uuid_of(0): "none"}
        assert (agent.run / "runs").stat().st_mode & 0o7777 == 0o1777
        environment = os.environ | {"FLOPMETER_RUNS": str(agent.run / "runs")}
        words = [
            str(Path(sys.executable).with_name("flopmeter")),
            "exec",
            "--run",
            "atlas",
            "--format",
            "bf16",
        ]
        started: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            process = subprocess.Popen(
                [*words, "--", "cat"], env=environment, stdin=subprocess.PIPE
            )
            started.append(process)
            driver.set("gpu0.processes", process.pid)

        agent.another_sample(start)
        agent.until(lambda: agent.users[uuid_of(0)] == "run.exec:atlas")

        def end() -> None:
            driver.set("gpu0.processes", None)
            started[0].communicate(b"")

        agent.another_sample(end)
        agent.until(lambda: agent.users[uuid_of(0)] == "none")

        def prolog() -> None:
            new = agent.run / "alloc/.new"
            new.write_text("slurm job=42\n")
            new.chmod(0o644)
            new.rename(agent.run / "alloc" / uuid_of(0))

        agent.another_sample(prolog)
        agent.until(lambda: agent.users[uuid_of(0)] == "slurm:c1/42")
        agent.another_sample((agent.run / "alloc" / uuid_of(0)).unlink)
        agent.until(lambda: agent.users[uuid_of(0)] == "none")
    finally:
        agent.close()


def test_metrics_name_nobody(driver: FakeDriver, tmp_path: Path) -> None:
    """The agent's page says how many devices are known how well, and no user's name."""
    listen = f"127.0.0.1:{free_port()}"
    agent = Running(tmp_path, metrics_listen=listen)
    try:
        (agent.run / "alloc" / uuid_of(0)).write_text("slurm job=4711 cluster=secret\n")
        agent.until(lambda: agent.users[uuid_of(0)] == "slurm:secret/4711")
        calls = driver.calls("nvmlDeviceGetComputeRunningProcesses_v3")
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=30) as answer:
            page = answer.read().decode()
        assert 'flopmeter_allocated_devices{confidence="stated"} 1\n' in page
        assert 'flopmeter_allocation_source_failures_total{source="slurm"} 0\n' in page
        assert "secret" not in page and "4711" not in page
        # A scrape asks the driver nothing.
        assert driver.calls("nvmlDeviceGetComputeRunningProcesses_v3") == calls
    finally:
        agent.close()


def test_setting_run_asks_nobody(driver: FakeDriver, tmp_path: Path) -> None:
    """With the setting `run` the driver is not asked for processes, and no folder is made."""
    driver.set("gpu0.processes", os.getpid())
    agent = Running(tmp_path, run="atlas")
    try:
        assert agent.users == {uuid_of(0): "run:atlas"}
        assert driver.calls("nvmlDeviceGetComputeRunningProcesses_v3") == 0
        assert list(agent.run.iterdir()) == []
    finally:
        agent.close()


def test_bad_settings(tmp_path: Path) -> None:
    """A source that does not exist, or is named twice, is refused in one sentence."""
    with pytest.raises(UsageError, match="take 'pbs' out"):
        AgentConfig(allocations=("exec", "pbs"))
    with pytest.raises(UsageError, match="once at most"):
        AgentConfig(allocations=("exec", "exec"))
    assert AgentConfig(allocations=()).allocations == ()
