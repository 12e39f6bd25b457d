"""A driver's troubles seen from the registers: every second is in exactly one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.registers import TIME_COMPONENTS, Component
from flopmeter_core.suspicion import Check
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock

GPU_IS_LOST = 15
CYCLES_A_SECOND = 132 * 1_700_000_000


class Agent:
    """The agent's loop on a scripted driver with two devices."""

    def __init__(self, folder: Path) -> None:
        self.driver = FakeDriver(folder, devices=2)
        for place in range(2):
            self.driver.update({f"gpu{place}.gpm.{metric}": 50 for metric in (2, 5, 7)})
        self.clock = ManualClock()
        self.burn()
        self.sensor = NvmlSensor(
            "n1", self.clock, library_path=self.driver.library, pause=lambda _: None
        )
        self.loop = AgentLoop(
            self.sensor,
            Journal(OsBlockFile(folder / "journal")),
            self.clock,
            Identity(node="n1"),
            closed=open_closed(OsBlockFile(folder / "closed")),
            incarnation="0" * 31 + "1",
            period_ns=NS_PER_S,
        )
        self.loop.sample()

    def burn(self) -> None:
        """Move the energy counters to what 500 W have used since boot."""
        energy_mj = self.clock.monotonic_ns() * 500 // 10**6
        self.driver.update({f"gpu{place}.energy_mj": energy_mj for place in range(2)})

    def seconds(self, count: int) -> None:
        """Sample once a second; energy counters run on, as those of a driver that works do."""
        for _ in range(count):
            self.clock.advance(1)
            self.burn()
            self.loop.sample()

    def total(self, place: int, component: Component) -> int:
        """A component of one device over all its registers."""
        return self.loop.device_totals()[uuid_of(place)][component]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent that has sampled once."""
    made = Agent(tmp_path)
    yield made
    made.sensor.close()
    made.driver.close()


def test_steady(agent: Agent) -> None:
    """Each second adds activity x SMs x clock, and nothing is lost below a unit."""
    agent.seconds(20)
    for place in range(2):
        expected = 20 * CYCLES_A_SECOND // 2 // 10**6
        assert agent.total(place, Component.TENSOR_MEGACYCLES) == expected
        assert agent.total(place, Component.BUSY_NS) == 20 * NS_PER_S


def test_frozen_driver(agent: Agent) -> None:
    """A driver that says the same for ever, energy included, is doubted and adds no work."""
    agent.seconds(5)
    for _ in range(20):
        agent.clock.advance(1)
        agent.loop.sample()
    suspect_ns = agent.total(0, Component.SUSPECT_NS)
    assert suspect_ns == 18 * NS_PER_S  # from the third period in which nothing moved
    assert sum(agent.total(0, part) for part in TIME_COMPONENTS) == 25 * NS_PER_S
    expected = 7 * CYCLES_A_SECOND // 2 // 10**6
    assert agent.total(0, Component.TENSOR_MEGACYCLES) == expected
    assert agent.loop.counters.suspects.counts[Check.FROZEN] == 2 * 18


def test_lost_device(agent: Agent) -> None:
    """A device away for 40 s loses its time as unobserved, never as idle; no work is made up."""
    agent.seconds(10)
    agent.driver.set("gpu0.error.*", GPU_IS_LOST)
    agent.seconds(40)
    agent.driver.set("gpu0.error.*", None)
    agent.seconds(60)
    times = {part: agent.total(0, part) for part in TIME_COMPONENTS}
    assert sum(times.values()) == 110 * NS_PER_S
    assert 40 * NS_PER_S <= times[Component.UNOBSERVED_NS] <= 80 * NS_PER_S
    observed = times[Component.BUSY_NS] // NS_PER_S
    tensor = agent.total(0, Component.TENSOR_MEGACYCLES)
    assert 0 < tensor <= observed * CYCLES_A_SECOND // 2 // 10**6


def test_other_device_goes_on(agent: Agent) -> None:
    """What one device's loss costs the other one is at most a period a new start of the driver."""
    agent.driver.set("gpu0.error.*", GPU_IS_LOST)
    started = agent.driver.calls("nvmlInitWithFlags")
    agent.seconds(200)
    starts = agent.driver.calls("nvmlInitWithFlags") - started
    lost = 200 * CYCLES_A_SECOND // 2 // 10**6 - agent.total(1, Component.TENSOR_MEGACYCLES)
    assert 0 <= lost <= starts * CYCLES_A_SECOND // 2 // 10**6 + 1
    assert sum(agent.total(1, part) for part in TIME_COMPONENTS) == 200 * NS_PER_S
