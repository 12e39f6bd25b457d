"""An agent's loop on a scripted driver that tells users of devices apart.

Owns: the loop with its sources, on a made-up /proc and a clock moved by hand.
May touch: what support.fake_nvml touches, and folders of the test.
Called by integration tests of allocations.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from flopmeter_agent.allocations.cgroup import CgroupSource
from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.allocations.kubernetes import KubernetesSource
from flopmeter_agent.allocations.slurm import SlurmSource
from flopmeter_agent.allocations.table import AllocationTable
from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.procfs import Processes
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_agent.site_key import SiteKey
from flopmeter_core.registers import COMPONENT_COUNT, INSTANCE_MARK, Component
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock
from support.proc_tree import ProcTree
from support.requirements import ROOT

SLURM = ROOT / "deploy/slurm"


class MeteredNode:
    """A node with GPUs, on which jobs come and go.

    Attributes:
        table: who uses each device.
        loop: the meter.
    """

    def __init__(self, folder: Path, *, devices: int = 1) -> None:
        """Start the agent; nobody uses a device."""
        self.run = folder / "run"
        (self.run / "flopmeter/alloc").mkdir(parents=True)
        (self.run / "flopmeter/runs").mkdir()
        self._gpus = folder / "gpus"
        for place in range(devices):
            information = self._gpus / f"0000:{place + 0x1B:02x}:00.0/information"
            information.parent.mkdir(parents=True)
            information.write_text(
                "Model: \t\t NVIDIA H100 80GB HBM3\n"
                f"GPU UUID: \t {uuid_of(place)}\nDevice Minor: \t {place}\n"
            )
        self.driver = FakeDriver(folder, devices=devices)
        self.clock = ManualClock()
        self.proc = ProcTree(folder / "proc")
        self._place = folder
        self.sensor = NvmlSensor(
            "n1",
            self.clock,
            library_path=self.driver.library,
            pause=lambda seconds: None,
            ask_processes=True,
        )
        self.processes = Processes(self.clock, self.proc.folder)
        key = SiteKey(b"k" * 32)
        explicit = ExplicitSource(
            self.run / "flopmeter/runs", self.processes.user_of, proc=self.proc.folder
        )
        self.table = AllocationTable(
            [
                explicit,
                SlurmSource(self.run / "flopmeter/alloc", "c1"),
                KubernetesSource(key, self.clock, socket=None),
                CgroupSource(key),
            ],
            self.processes,
            explicit,
        )
        self.loop = self._loop("1")
        self._burn()
        self.loop.sample()

    def _loop(self, incarnation: str) -> AgentLoop:
        return AgentLoop(
            self.sensor,
            Journal(OsBlockFile(self._place / "journal")),
            self.clock,
            Identity(node="n1"),
            closed=open_closed(OsBlockFile(self._place / "closed")),
            incarnation=incarnation.rjust(32, "0"),
            period_ns=NS_PER_S,
            users=self.table,
        )

    def slurm(self, script: str, job: int, **variables: str) -> None:
        """Run the prolog or the epilog of a job as slurmd does."""
        environment = {
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_UID": "1001",
            "FLOPMETER_RUN": str(self.run),
            "FLOPMETER_DRIVER": str(self._gpus),
        } | variables
        done = subprocess.run(
            [SLURM / f"flopmeter-{script}.sh"], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def work(self, place: int, percent: int) -> None:
        """Let a GPU work from now on."""
        self.driver.update({f"gpu{place}.gpm.{metric}": percent for metric in (2, 5, 7)})

    def seconds(self, count: float = 1) -> None:
        """Sample once a second; energy runs on."""
        for _ in range(int(count)):
            self.second()

    def second(self, length_s: float = 1) -> None:
        """Let some time go by and sample."""
        self.clock.advance(length_s)
        self._burn()
        self.loop.sample()

    def _burn(self) -> None:
        energy_mj = self.clock.monotonic_ns() * 500 // 10**6
        places = range(len(list(self._gpus.iterdir())))
        self.driver.update({f"gpu{place}.energy_mj": energy_mj for place in places})

    def by_allocation(self, place: int = 0, *, instances: bool = True) -> Mapping[str, list[int]]:
        """The registers of a GPU, and of its instances, summed by allocation."""
        found: dict[str, list[int]] = {}
        for key, register in self.loop.held().items():
            gpu, mark, _ = key.device.partition(INSTANCE_MARK)
            if gpu == uuid_of(place) and (instances or not mark):
                total = found.setdefault(key.allocation, [0] * COMPONENT_COUNT)
                for component, amount in enumerate(register.units):
                    total[component] += amount
        return found

    def share(self, allocation: str, component: Component, place: int = 0) -> int:
        """One component of one allocation."""
        return self.by_allocation(place).get(allocation, [0] * COMPONENT_COUNT)[component]

    def total(self, component: Component, place: int = 0) -> int:
        """One component of a GPU, whoever had it."""
        return sum(vector[component] for vector in self.by_allocation(place).values())

    def close(self) -> None:
        """Stop."""
        self.table.close()
        self.sensor.close()
        self.driver.close()
