"""One flipped bit in an agent's register: it enters no total, and holds no later work up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.scenario import ScenarioClock, parse_scenario
from flopmeter_agent.sensors.simulated import SimulatedSensor
from flopmeter_collector.app import CollectorApp
from flopmeter_core.registers import Component
from flopmeter_core.units import NS_PER_S
from support.collector import running
from support.ingest import Sender, stream

SCENARIO = """
seed = 7
acceleration = 10
duration_s = 4000
[node]
count = 1
devices = 1
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "a"
start_s = 0
stop_s = 4000
nodes = ["n0"]
tensor_activity = 0.4
clock_mhz = 1700
power_w = 650
"""


class Agent:
    """A real loop on a simulated node, without a thread."""

    boot_id = "boot"

    def __init__(self, folder: Path) -> None:
        """Start at scenario time 0."""
        self.at_ns = 0
        scenario = parse_scenario(SCENARIO)
        clock = ScenarioClock(self, scenario, epoch_wall_ns=0)
        self.loop = AgentLoop(
            SimulatedSensor("n0", clock, scenario),
            Journal(OsBlockFile(folder / "journal")),
            clock,
            Identity(node="n0"),
            closed=open_closed(OsBlockFile(folder / "closed")),
            incarnation="1" * 32,
            period_ns=10 * NS_PER_S,
            new_incarnation=lambda: "2" * 32,
        )

    def monotonic_ns(self) -> int:
        """Where the test put it."""
        return self.at_ns

    boottime_ns = wall_ns = monotonic_ns

    def work(self, seconds: int) -> None:
        """Sample for so many seconds of the scenario."""
        for _ in range(0, seconds, 10):
            self.loop.sample()
            self.at_ns += NS_PER_S

    async def report(self, sender: Sender) -> None:
        """Report what is not acknowledged, and take the answer."""
        report = self.loop.report()
        assert report is not None
        answer = await sender.exchange(sender.writer.report(report))
        self.loop.acknowledge(sender.writer.answer(answer))

    def flip(self) -> None:
        """Flip bit 50 of the tensor cycles of the open register of the run."""
        for key, register in self.loop.accumulator.registers.items():
            if key.allocation == "run:a":
                register.units[Component.TENSOR_MEGACYCLES] ^= 1 << 50


def busy_ns(app: CollectorApp) -> int:
    """Busy time of all registers the collector counts."""
    stored = (branches[0] for _, branches in app.table.items())
    return sum(row.vector[Component.BUSY_NS] for row in stored)


def test_one_flipped_bit(tmp_path: Path) -> None:
    """What came before and after the flip counts to the unit; the register is in quarantine."""

    async def scenario() -> None:
        agent = Agent(tmp_path)
        async with running(tmp_path, simulated=True) as app, stream(app.grpc_address) as sender:
            answer = await sender.exchange(sender.writer.hello(agent.loop.hello("1")))
            agent.loop.acknowledge(sender.writer.answer(answer))
            agent.work(300)
            await agent.report(sender)
            before = busy_ns(app)
            assert before > 0 and app.table.quarantine.held_count() == 0
            agent.flip()
            agent.work(100)
            await agent.report(sender)
            assert app.table.quarantine.held_count() == 1
            assert busy_ns(app) == before
            agent.work(300)
            await agent.report(sender)
            assert {key.incarnation for key, _ in app.table.items()} == {"1" * 32, "2" * 32}
            after = busy_ns(app)
            agent.work(300)
            await agent.report(sender)
            # 300 s more work is 300 s more in the totals: nothing waits for a person.
            assert busy_ns(app) - after == 300 * NS_PER_S
            assert app.table.quarantine.held_count() == 1
            (row,) = app.table.quarantine.held()
            assert "tensor_megacycles" in row.reason

    asyncio.run(scenario())
