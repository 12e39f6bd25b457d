"""What the agent costs the node it meters.

Owns: import time and memory of the agent, and processor time of one sample of eight devices.
May touch: child processes, a temporary folder.
Called by run.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.result import Result, paired, processor_us, repeated
from flopmeter.sdk.execute import leave
from flopmeter_agent.allocations.base import Source
from flopmeter_agent.allocations.cgroup import CgroupSource
from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.allocations.kubernetes import KubernetesSource
from flopmeter_agent.allocations.slurm import SlurmSource
from flopmeter_agent.allocations.table import AllocationTable
from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.procfs import Processes
from flopmeter_agent.scenario import ScenarioClock, parse_scenario
from flopmeter_agent.sensors.simulated import SimulatedSensor
from flopmeter_agent.site_key import SiteKey
from flopmeter_core.readings import DeviceProcess
from flopmeter_core.registers import COMPONENT_COUNT
from flopmeter_core.run_file import RunFile
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock

AGENT = "flopmeter_agent.app, flopmeter_agent.sensors.nvml.sensor, flopmeter_agent.allocating"
"""What a started agent with NVIDIA's driver has loaded."""

LIBRARIES = "grpc.aio, google.protobuf.timestamp_pb2, pynvml"
"""What it needs of others; a timestamp is the least that loads the runtime of messages."""

PAGE, PAGE_LIBRARY = ", flopmeter_agent.exposition", ", http.server"
"""What an agent with metrics of its own loads besides, which is off by default."""

_SCRIPT = """
import time
started = time.process_time()
import {modules}
took = time.process_time() - started
status = open("/proc/self/status").read()
print(took * 1e3, int(status.split("VmRSS:")[1].split()[0]) / 1024)
"""

SCENARIO = """
seed = 1
acceleration = 1
duration_s = 100000
[node]
count = 1
devices = 8
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "a"
start_s = 1
stop_s = 100000
nodes = ["n0"]
tensor_activity = 0.4
clock_mhz = 1700
power_w = 650
"""


def imported(modules: str, bytecode: str) -> tuple[float, float]:
    """Processor time in ms and memory in MiB of an import in a fresh process.

    Args:
        modules: what is imported.
        bytecode: folder of compiled modules: pip compiles what it installs, but no checkout.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", _SCRIPT.format(modules=modules)]
    printed = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout.split()
    return float(printed[0]), float(printed[1])


def footprint(times: int = 7) -> list[Result]:
    """Import time and resident memory of the agent against its bare libraries."""
    return [
        *_footprint("agent", AGENT, LIBRARIES, times),
        *_footprint("agent with a metrics page", AGENT + PAGE, LIBRARIES + PAGE_LIBRARY, times),
    ]


def _footprint(who: str, agent: str, libraries: str, times: int) -> list[Result]:
    memory: dict[str, list[float]] = {agent: [], libraries: []}
    with tempfile.TemporaryDirectory() as bytecode:

        def taken(modules: str) -> float:
            took_ms, memory_mib = imported(modules, bytecode)
            memory[modules].append(memory_mib)
            return took_ms

        imported(agent, bytecode)
        imported(libraries, bytecode)
        pair = paired(lambda: taken(agent), lambda: taken(libraries), times)
    ours, bare = (statistics.median(memory[modules]) for modules in (agent, libraries))
    name = "its bare libraries"
    return [
        Result(f"{who}: import", pair.ours, "ms", pair.limit, name, 150, pair.spread),
        Result(f"{who}: memory after import", ours, "MiB", bare, name, 45),
    ]


class SteppingClock:
    """A clock that goes on by one second a sample."""

    boot_id = "bench"

    def __init__(self) -> None:
        """Begin at 0."""
        self.at_ns = 0

    def monotonic_ns(self) -> int:
        """Where it stands."""
        return self.at_ns

    boottime_ns = monotonic_ns
    wall_ns = monotonic_ns


def sampling() -> list[Result]:
    """Processor time of one sample of 8 devices, journal written, against writing 4 KiB."""
    with tempfile.TemporaryDirectory() as folder:
        base = SteppingClock()
        scenario = parse_scenario(SCENARIO)
        clock = ScenarioClock(base, scenario, epoch_wall_ns=0)
        loop = AgentLoop(
            SimulatedSensor("n0", clock, scenario),
            Journal(OsBlockFile(Path(folder) / "journal")),
            clock,
            Identity(node="n0"),
            closed=open_closed(OsBlockFile(Path(folder) / "closed")),
            incarnation="0" * 32,
            period_ns=NS_PER_S,
        )

        def sample() -> None:
            base.at_ns += NS_PER_S
            loop.sample()

        sample()
        pair = paired(lambda: processor_us(sample, 200), lambda: processor_us(plain_sums, 200), 5)
    # 0.1 % of a core at 1 Hz is 1 ms a sample; the driver's own calls come on top.
    name = "agent: one sample of 8 devices"
    peer = "pure Python: 8 x 18 sums"
    return [Result(name, pair.ours, "us", pair.limit, peer, 1_000, pair.spread)]


def plain_sums() -> list[list[int]]:
    """The least a sample does in pure Python: one product and one sum for each register."""
    return [[place * 1_980 + NS_PER_S for place in range(COMPONENT_COUNT)] for _ in range(8)]


def users() -> list[Result]:
    """Processor time of finding the users of 8 devices: a prolog's file and 1 process each."""
    gpus = [f"GPU-{number}" for number in range(8)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        alloc, runs = Path(folder) / "alloc", Path(folder) / "runs"
        alloc.mkdir()
        runs.mkdir()
        for number, gpu in enumerate(gpus):
            (alloc / gpu).write_text(f"slurm job={number + 1} uid=1001 cluster=c1\n")
        ranks = [stack.enter_context(subprocess.Popen(["sleep", "60"])) for _ in gpus]
        leave(RunFile("atlas"), str(runs))
        clock = SystemClock()
        processes = Processes(clock)
        explicit = ExplicitSource(runs, processes.user_of)
        key = SiteKey(b"k" * 32)
        kubernetes = KubernetesSource(key, clock, socket=None)
        sources: list[Source] = [explicit, SlurmSource(alloc, "c1"), kubernetes, CgroupSource(key)]
        table = AllocationTable(sources, processes, explicit)
        stack.callback(table.close)
        listed = {gpu: (DeviceProcess(rank.pid),) for gpu, rank in zip(gpus, ranks, strict=True)}

        def settle() -> None:
            table.look()
            table.settle(gpus, listed)

        settle()
        ours, spread = repeated(lambda: processor_us(settle, 500), 3)
        names = [alloc / gpu for gpu in gpus]
        limit, _ = repeated(lambda: processor_us(lambda: [each.stat() for each in names], 500), 3)
        for rank in ranks:
            rank.terminate()
    # A fifth of 0.1 % of a core, so that it leaves the readings theirs.
    return [Result("agent: users of 8 devices", ours, "us", limit, "stat of 8 files", 200, spread)]


def cases() -> list[Result]:
    """All lines about the agent."""
    return [*footprint(), *sampling(), *users()]
