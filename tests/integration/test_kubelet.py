"""Pods by the kubelet's socket: a server that speaks the published API, and what becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flopmeter_agent.allocations import kubernetes
from flopmeter_agent.allocations.kubernetes import BELIEVED_NS, KubernetesSource
from flopmeter_agent.allocations.table import AllocationTable
from flopmeter_agent.procfs import Processes
from flopmeter_agent.site_key import SiteKey
from flopmeter_core.readings import DeviceProcess
from flopmeter_core.units import NS_PER_S
from support.kubelet import FakeKubelet, kubelet
from support.manual_clock import ManualClock
from support.proc_tree import ProcTree
from support.requirements import ROOT, missing

KEY = SiteKey(b"k" * 32)
PLACE = ("team-a", "trainer-0", "pytorch")


def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Site:
    """A kubelet and the source that asks it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kubernetes, "SHORTEST_LIST_PERIOD_S", 0.05)
        monkeypatch.setattr(kubernetes, "ANSWER_DEADLINE_S", 0.5)
        self.path = folder / "kubelet.sock"
        self.clock = ManualClock()
        self.changes: list[int] = []
        self.kubelet = FakeKubelet(self.path)
        self.source = KubernetesSource(
            KEY,
            self.clock,
            socket=self.path,
            changed=lambda: self.changes.append(1),
            period_s=0.1,
        )

    def devices(self) -> set[str]:
        """The devices that are somebody's now."""
        self.source.look()
        return set(self.source.statements())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A kubelet that was asked at least once."""
    made = Site(tmp_path, monkeypatch)
    until(lambda: made.kubelet.calls)
    yield made
    made.source.close()
    made.kubelet.close()


def test_pods(site: Site) -> None:
    """Devices are the containers' that the kubelet gave them to, and a change is told at once."""
    site.kubelet.pods[PLACE] = ["GPU-a", "GPU-b"]
    site.kubelet.dynamic["team-b", "other", "x"] = ["k8s.gpu.nvidia.com/gpu=GPU-c"]
    until(lambda: site.devices() == {"GPU-a", "GPU-b", "GPU-c"})
    (statement,) = site.source.statements()["GPU-a"]
    assert statement.allocation.endswith("/pytorch")
    assert "team" not in statement.allocation and "trainer" not in statement.allocation
    assert site.changes == [1] or len(site.changes) <= 2
    told = len(site.changes)
    calls = site.kubelet.calls
    until(lambda: site.kubelet.calls > calls + 2)
    assert len(site.changes) == told  # the same answer is no change
    del site.kubelet.pods[PLACE]
    until(lambda: site.devices() == {"GPU-c"})


def test_process_asks_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that comes or goes makes the source ask before its period is over."""
    monkeypatch.setattr(kubernetes, "SHORTEST_LIST_PERIOD_S", 0.01)
    with kubelet(tmp_path / "k.sock") as server:
        source = KubernetesSource(KEY, ManualClock(), socket=tmp_path / "k.sock", period_s=3600)
        until(lambda: server.calls == 1)
        source.processes_changed()
        until(lambda: server.calls == 2)
        source.close()


@pytest.mark.parametrize("how", ["fails", "slow", "gone"])
def test_kubelet_that_does_not_answer(site: Site, how: str) -> None:
    """The last answer holds for a while and no longer; nothing waits, and it comes back."""
    site.kubelet.pods[PLACE] = ["GPU-a"]
    until(lambda: site.devices() == {"GPU-a"})
    if how == "fails":
        site.kubelet.fails = True
    elif how == "slow":
        site.kubelet.delay_s = 5
    else:
        site.kubelet.close()
    until(lambda: site.source.counters.problem)
    assert "does not answer" in site.source.counters.problem
    before = time.perf_counter()
    assert site.devices() == {"GPU-a"}
    assert time.perf_counter() - before < 0.1
    site.clock.advance(BELIEVED_NS / NS_PER_S + 60)
    assert site.devices() == set()
    site.kubelet.fails, site.kubelet.delay_s = False, 0
    if how == "gone":
        site.path.unlink(missing_ok=True)
        site.kubelet = FakeKubelet(site.path)
        site.kubelet.pods[PLACE] = ["GPU-a"]
    until(lambda: site.devices() == {"GPU-a"}, 60)


def test_device_given_away_again(site: Site, tmp_path: Path) -> None:
    """A pod that has a device now is not taken for the one before, however late the kubelet is."""
    tree = ProcTree(tmp_path / "proc")
    table = AllocationTable([site.source], Processes(site.clock, tree.folder), None)

    def user(pid: int) -> str:
        site.clock.advance(1)
        table.look()
        table.settle(["GPU-a"], {"GPU-a": (DeviceProcess(pid),)})
        return table.of("GPU-a")

    first, second = "0c5f0c36-93bb-4b6e-9a9c-8f3f1a2b4c5d", "11111111-2222-3333-4444-555555555555"
    site.kubelet.pods[PLACE] = ["GPU-a"]
    until(lambda: site.devices() == {"GPU-a"})
    tree.start(500, f"0::/kubepods/pod{first}/{'a1' * 32}\n")
    until(lambda: user(500).startswith("pod:"))
    stated = user(500)
    site.kubelet.fails = True
    until(lambda: site.source.counters.problem)
    assert user(500) == stated  # its container was there when the kubelet spoke last
    tree.start(600, f"0::/kubepods/pod{second}/{'b2' * 32}\n")
    assert user(600) == user(600) == f"pod.pids:{second}/{'b2' * 6}"
    site.kubelet.pods.clear()
    site.kubelet.pods["team-b", "other", "x"] = ["GPU-a"]
    site.kubelet.fails = False
    until(lambda: user(600).endswith("/x"))
    assert user(600) != stated


def test_root_without_capabilities(tmp_path: Path) -> None:
    """User 0 with every capability dropped may ask; another user may not."""
    if os.geteuid() != 0:
        missing("only root can own the kubelet's socket; run the tests as root")
    folder = tmp_path / "pod-resources"
    folder.mkdir(mode=0o750)
    os.chmod(tmp_path, 0o711)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from flopmeter_agent.allocations.kubernetes import KubernetesSource\n"
        "from flopmeter_agent.site_key import SiteKey\n"
        "from flopmeter_proto.daemon.clock import SystemClock\n"
        "s = KubernetesSource(SiteKey(b'k' * 32), SystemClock(), socket=Path(sys.argv[1]))\n"
        "end = time.monotonic() + 30\n"
        "while not s.statements() and not s.counters.problem and time.monotonic() < end:\n"
        "    time.sleep(0.02)\n"
        "print(*s.statements(), s.counters.problem)\n"
        "print(open('/proc/self/status').read().split('CapEff:')[1].split()[0])\n"
        "s.close()\n"
    )
    with kubelet(folder / "kubelet.sock") as server:
        os.chmod(folder / "kubelet.sock", 0o660)
        server.pods[PLACE] = ["GPU-a"]
        command = [sys.executable, "-c", program, str(folder / "kubelet.sock")]
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        done = subprocess.run(
            [*drop, *command], capture_output=True, text=True, timeout=90, cwd=ROOT
        )
        devices, capabilities = done.stdout.splitlines()
        assert (devices.strip(), int(capabilities, 16)) == ("GPU-a", 0), done.stderr
