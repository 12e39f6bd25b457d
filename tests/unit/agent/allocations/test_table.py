"""The rule that makes one allocation of what sources say and whom the driver lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from flopmeter_agent.allocations.base import SourceCounters, Statement, Statements
from flopmeter_agent.allocations.cgroup import CgroupSource, telling
from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.allocations.slurm import SlurmSource, parse_line
from flopmeter_agent.allocations.table import LOOK_PERIOD_NS, SOURCES, AllocationTable
from flopmeter_agent.config import ALLOCATION_SOURCES
from flopmeter_agent.procfs import Processes, ProcessFacts
from flopmeter_agent.site_key import SiteKey
from flopmeter_core.allocations import NONE
from flopmeter_core.readings import DeviceProcess
from flopmeter_core.units import NS_PER_S
from support.manual_clock import ManualClock
from support.proc_tree import ProcTree, layout

GPU = "GPU-0"
KEY = SiteKey(b"k" * 32)


class Said(SlurmSource):
    """Slurm's source with statements put into its mouth."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"), "c1")
        self.said: dict[str, list[Statement]] = {}
        self.fails = False

    def look(self) -> None:
        """Fail where asked to."""
        if self.fails:
            raise RuntimeError("planted")

    def statements(self) -> Statements:
        """What the test says."""
        return self.said

    def say(self, device: str, *lines: str) -> None:
        """Let a prolog have written this."""
        self.said[device] = [parse_line(line, cluster="c1") for line in lines]


class Runs(ExplicitSource):
    """Run files put in place by the test: pid -> run, and (job, user) -> run."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"), lambda pid: None)
        self.by_pid: dict[int, str] = {}
        self.by_job: dict[tuple[str, int], str] = {}

    def of_process(self, process: ProcessFacts) -> str | None:
        """The nearest ancestor's."""
        found = (self.by_pid.get(pid) for pid in process.lineage)
        return next((f"run.exec:{run}" for run in found if run), None)

    def of_job(self, job: str, user: int | None, *, hidden: bool = False) -> tuple[str, ...]:
        """The test's."""
        run = self.by_job.get((job, user if user is not None else -1))
        return (f"run.exec:{run}",) if run and not (hidden and self.by_pid) else ()


class Node:
    """A table over made-up sources and processes."""

    def __init__(self, folder: Path) -> None:
        self.tree = ProcTree(folder / "proc")
        self.slurm, self.runs = Said(), Runs()
        self.table = AllocationTable(
            [self.runs, self.slurm, CgroupSource(KEY)],
            Processes(ManualClock(), self.tree.folder),
            self.runs,
        )

    def users(
        self, listed: Sequence[DeviceProcess | int] = (), devices: Sequence[str] = (GPU,)
    ) -> Mapping[str, str]:
        """The allocations at a reading with these processes on the GPU."""
        processes = tuple(p if isinstance(p, DeviceProcess) else DeviceProcess(p) for p in listed)
        self.table.look()
        self.table.settle(devices, {GPU: processes})
        return {device: self.table.of(device) for device in devices}

    def user(self, *listed: DeviceProcess | int) -> str:
        """The allocation of the only GPU."""
        return self.users(listed)[GPU]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node where nobody is."""
    made = Node(tmp_path)
    made.tree.start(10, layout("slurm-v2"))
    made.tree.start(11, layout("slurm-v2"))
    made.tree.start(20, layout("user-session"))
    return made


def test_order_is_the_settings() -> None:
    """What the settings may name is what there is, in the order it is believed."""
    assert tuple(SOURCES) == ALLOCATION_SOURCES


def test_nobody(node: Node) -> None:
    """A device without statement and process is nobody's."""
    assert node.user() == NONE
    assert node.table.of("GPU-unheard-of") == NONE


def test_statement_without_process(node: Node) -> None:
    """A job has its device before, between and after its processes."""
    node.slurm.say(GPU, "slurm job=4242 restart=1")
    assert node.user() == "slurm:c1/4242.1"


def test_sources_rest_where_news_are_told(node: Node) -> None:
    """They are asked at news, after a while without, when processes change, and when one failed."""
    clock = ManualClock()
    node.table.quiet_clock = clock
    assert node.user() == NONE

    def seen_at_once(job: int) -> bool:
        node.slurm.say(GPU, f"slurm job={job}")
        return node.user() == f"slurm:c1/{job}"

    assert not seen_at_once(1)
    node.table.news.set()
    assert seen_at_once(2)
    assert not seen_at_once(3)
    clock.advance(LOOK_PERIOD_NS / NS_PER_S)
    assert seen_at_once(4)
    node.user(20)  # somebody came
    assert seen_at_once(5)
    node.table.settle([GPU], {GPU: ()})
    assert seen_at_once(6)
    assert not seen_at_once(7)
    node.slurm.fails = True
    node.table.news.set()
    assert node.user() == NONE
    node.slurm.fails = False
    assert seen_at_once(8)


def test_process_of_the_stated_job(node: Node) -> None:
    """A process of the job that has the device changes nothing of its name."""
    node.slurm.say(GPU, "slurm job=4242 restart=1")
    assert node.user(10, 11) == "slurm:c1/4242.1"
    node.tree.start(12, layout("slurm-26.05-sluid"))
    node.slurm.say(GPU, "slurm job=9 sluid=s5K1KKYAYG5D00")
    assert node.user(12) == "slurm:c1/9"


def test_process_without_statement(node: Node) -> None:
    """Without a prolog a job is seen by its processes."""
    assert node.user(10) == "slurm.pids:c1/4242"


def test_process_goes_before_statement(node: Node) -> None:
    """Whoever works on a device is its user, whoever was given it."""
    node.slurm.say(GPU, "slurm job=7")
    assert node.user(20).startswith("cgroup:")
    assert "user-1001" not in node.user(20)


def test_container_that_a_job_had_started(node: Node) -> None:
    """A process outside all jobs is its user's job's, where that user alone has the device."""
    node.slurm.say(GPU, "slurm job=7 uid=1001")
    assert node.user(20) == "slurm:c1/7"
    node.slurm.say(GPU, "slurm job=7 uid=1002")
    assert node.user(20).startswith("cgroup:")
    node.slurm.say(GPU, "slurm job=7 uid=1001", "slurm job=8 uid=1001")
    assert node.user(20).startswith("cgroup:")
    node.slurm.say(GPU, "slurm job=7 uid=1001", "slurm job=8 uid=1002")
    assert node.user(20) == "slurm:c1/7"
    # In a job's own cgroup it is that job's, whoever's the device is.
    assert node.user(10) == "slurm.pids:c1/4242"


def test_two_users(node: Node) -> None:
    """Several users at once are one shared allocation that names them."""
    name = node.user(10, 20)
    assert name.startswith("shared:cgroup:") and name.endswith("+slurm.pids:c1/4242")
    node.slurm.say(GPU, "slurm job=4242", "slurm job=7")
    assert node.user() == "shared:slurm:c1/4242+slurm:c1/7"
    assert node.user(10) == "slurm:c1/4242"


def test_only_one_of_two_worked(node: Node) -> None:
    """Of several users the one whose kernels ran since the reading before has the period."""
    idle, busy = DeviceProcess(20, busy_percent=0), DeviceProcess(10, busy_percent=97)
    assert node.user(idle, busy) == "slurm.pids:c1/4242"
    also = DeviceProcess(20, busy_percent=1)
    assert node.user(also, busy).startswith("shared:")
    unknown = DeviceProcess(20)
    assert node.user(unknown, busy).startswith("shared:")
    both_idle = DeviceProcess(10, busy_percent=0)
    assert node.user(idle, both_idle).startswith("shared:")


def test_run_of_a_process(node: Node) -> None:
    """A run that its own process named goes before the job it is in."""
    node.slurm.say(GPU, "slurm job=4242 uid=1001")
    node.runs.by_pid[10] = "atlas"
    assert node.user(10) == "run.exec:atlas"
    assert node.user(10, 11) == "shared:run.exec:atlas+slurm:c1/4242"


def test_run_of_a_job(node: Node) -> None:
    """A job whose owner named its run is that run, where no process says otherwise."""
    node.slurm.say(GPU, "slurm job=4242 uid=1001")
    node.runs.by_job["4242", 1001] = "atlas"
    assert node.user() == "run.exec:atlas"
    assert node.user(99) == "run.exec:atlas"  # a process that cannot be seen
    assert node.user(10) == "run.exec:atlas"  # in the job, and no run's process is in sight
    node.runs.by_pid[50] = "atlas"
    assert node.user(10) == "slurm:c1/4242"  # in the job, and not below the run's process


def test_process_that_cannot_be_seen(node: Node) -> None:
    """A process nobody can tell is the one user's who was given the device, else nobody's."""
    assert node.user(99) == NONE
    node.slurm.say(GPU, "slurm job=1")
    assert node.user(99) == "slurm:c1/1"
    node.slurm.say(GPU, "slurm job=1", "slurm job=2")
    assert node.user(99) == "shared:slurm:c1/1+slurm:c1/2"


def test_mps(node: Node) -> None:
    """Under MPS the clients are the users, not the server that holds the context."""
    node.tree.start(30, layout("user-service"), name="nvidia-cuda-mps-server")
    clients = [DeviceProcess(10, mps=True), DeviceProcess(11, mps=True)]
    assert node.user(DeviceProcess(30), *clients) == "slurm.pids:c1/4242"
    assert node.user(DeviceProcess(98), *clients) == "slurm.pids:c1/4242"
    # Another owner of a context beside the server is a user of its own.
    assert node.user(DeviceProcess(20), *clients).startswith("shared:")


def test_instances(node: Node) -> None:
    """Instances of one user are its own; those of several share the GPU and its time."""
    first, second = f"{GPU}/gi1@MIG-a", f"{GPU}/gi2@MIG-b"
    units = [GPU, first, second]
    mine = [DeviceProcess(10, instance=1), DeviceProcess(11, instance=2)]
    assert set(node.users(mine, units).values()) == {"slurm.pids:c1/4242"}
    mixed = [DeviceProcess(10, instance=1), DeviceProcess(20, instance=2)]
    (shared,) = set(node.users(mixed, units).values())
    assert shared.startswith("shared:")
    # An instance nobody is on takes no part, whoever has the other.
    assert set(node.users(mine[:1], units).values()) == {"slurm.pids:c1/4242"}
    node.slurm.say("MIG-a", "slurm job=1")
    node.slurm.say("MIG-b", "slurm job=2")
    assert set(node.users((), units).values()) == {"shared:slurm:c1/1+slurm:c1/2"}


def test_source_that_fails(node: Node) -> None:
    """A source that fails is counted, said once, and the others are asked."""
    node.slurm.fails = True
    node.slurm.say(GPU, "slurm job=1")
    assert node.user(20).startswith("cgroup:")
    assert node.table.counters["slurm"].failures == 1
    assert node.table.counters["slurm"].problem == "planted"


def test_device_that_cannot_be_read(node: Node) -> None:
    """What was stated holds while a device is silent; who was seen on it does not."""
    node.slurm.say(GPU, "slurm job=1")
    node.users((20,))
    assert node.table.stated(GPU) == "slurm:c1/1"
    node.slurm.said.clear()
    node.users((20,))
    assert node.table.stated(GPU) == NONE


def test_changed_processes_are_told(node: Node) -> None:
    """A source hears of processes that come and go, once a change."""
    told: list[int] = []
    node.slurm.processes_changed = lambda: told.append(1)  # type: ignore[method-assign]
    node.user(10)
    node.user(10)
    node.user(10, 11)
    node.user()
    assert len(told) == 3


def test_most_telling_cgroup() -> None:
    """Of several hierarchies the unified one stands for a process, else the deepest."""
    assert telling(("/a/b", "/u")) == "/u"
    assert telling(("/a/b", "/c", "/")) == "/a/b"
    assert telling(("/",)) == "/"
    facts = ProcessFacts(1, ("/a",), (1,))
    assert CgroupSource(KEY).of_process(facts) != CgroupSource(SiteKey(b"x" * 32)).of_process(facts)
    assert CgroupSource(KEY).of_process(ProcessFacts(1)) is None
    assert isinstance(CgroupSource(KEY).counters, SourceCounters)
