"""Counters since boot over a restart of the agent: the work of the gap, and of no other.

The real binding on a scripted driver; an agent ends, its journal stays, and the next one begins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent import state
from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock

SM_COUNT = 132
CLOCK_MHZ = 1_700
START_S = 1_000
GPU_IS_LOST = 15
WORKING = 250, 252, 249  # any tensor, HMMA, SM active


class Node:
    """A node whose driver runs on while agents come and go."""

    def __init__(self, folder: Path, unit: int) -> None:
        self.driver = FakeDriver(folder)
        self.clock = ManualClock(monotonic_s=START_S)
        self.folder = folder
        self.unit = unit
        self.reset_s = 0
        self.agents = 0
        self.driver.update({f"gpu0.gpm.{metric}": 40 for metric in (2, 5, 7)})
        self.driver.update({f"gpu0.gpm.{metric}": 0 for metric in (*range(248, 255), 257, 258)})
        self.driver.update({"gpu0.gpm.259": 0, "gpu0.gpm.260": 0, "gpu0.busy_percent": 100})
        self.go_on()

    def go_on(self) -> None:
        """Let the counters be what this instant makes them: 40 % tensor activity, 500 W."""
        ns = self.clock.monotonic_ns() - self.reset_s * NS_PER_S
        elapsed = ns * CLOCK_MHZ * self.unit // 1_000
        lines: dict[str, object] = {f"gpu0.gpm.{metric}": elapsed * 2 // 5 for metric in WORKING}
        self.driver.update(lines | {"gpu0.gpm.248": elapsed})
        self.burn()

    def burn(self) -> None:
        """Move the energy counter alone: 500 W."""
        ns = self.clock.monotonic_ns() - self.reset_s * NS_PER_S
        self.driver.set("gpu0.energy_mj", ns // 2_000)

    def start(self, *, allocation: str = "run:a") -> AgentLoop:
        """Begin an agent on the journal of the one before."""
        self.agents += 1
        self.sensor = NvmlSensor(
            "n1", self.clock, library_path=self.driver.library, pause=lambda _: None
        )
        self.journal = Journal(OsBlockFile(self.folder / "journal"))
        self.closed = open_closed(OsBlockFile(self.folder / "closed"))
        self.loop = AgentLoop(
            self.sensor,
            self.journal,
            self.clock,
            Identity(node="n1", allocation=allocation),
            closed=self.closed,
            incarnation=f"{self.agents:032x}",
            period_ns=NS_PER_S,
            rated_power_w=lambda record: 700,
        )
        self.loop.sample()
        return self.loop

    def stop(self) -> None:
        """End the agent as a kill does: nothing of it is left but the journal."""
        self.sensor.close()
        self.journal.close()
        self.closed.close()

    def seconds(self, count: int) -> None:
        """Sample once a second."""
        for _ in range(count):
            self.wait(1)
            self.loop.sample()

    def wait(self, seconds: int) -> None:
        """Let time go by; the device works on."""
        self.clock.advance(seconds)
        self.go_on()

    def total(self, component: Component, *, allocation: str = "run:a") -> int:
        """A component over all registers of one user, closed ones included."""
        return sum(
            register.units[component]
            for key, register in self.loop.held().items()
            if key.allocation == allocation and key.evidence is Evidence.CYCLES
        )

    @property
    def unobserved_ns(self) -> int:
        """Time of all registers that nobody measured."""
        held = self.loop.held().values()
        return sum(register.units[Component.UNOBSERVED_NS] for register in held)

    @property
    def time_ns(self) -> int:
        """Time of all registers."""
        held = self.loop.held().values()
        return sum(register.units[part] for register in held for part in TIME_COMPONENTS)


@pytest.fixture(params=[1, SM_COUNT, 4 * SM_COUNT])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node whose counters are means, sums over SMs, or sums over sub-cores."""
    made = Node(tmp_path, request.param)
    made.start()
    made.seconds(10)
    yield made
    made.stop()
    assert made.driver.references == 0
    made.driver.close()


def cycles_of(seconds: int) -> int:
    """Tensor megacycles of so many seconds."""
    return seconds * SM_COUNT * CLOCK_MHZ * 2 // 5


def test_the_gap_is_counted(node: Node) -> None:
    """An hour without an agent: no time is unobserved and every cycle of it is registered."""
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.stop()
    node.wait(3_600)
    node.start()
    assert node.unobserved_ns == 0
    gained = node.total(Component.TENSOR_MEGACYCLES) - before
    assert abs(gained - cycles_of(3_600)) <= 1
    node.seconds(5)
    gained = node.total(Component.TENSOR_MEGACYCLES) - before
    assert abs(gained - cycles_of(3_605)) <= 1
    assert node.unobserved_ns == 0
    assert node.time_ns == 3_615 * NS_PER_S
    assert node.sensor.remarks[uuid_of(0)] == ""


def test_agents_that_never_live_long(node: Node) -> None:
    """Ten agents of one sample each: the first reading is enough to go on from."""
    before = node.total(Component.TENSOR_MEGACYCLES)
    for _ in range(10):
        node.stop()
        node.wait(60)
        node.start()
    assert node.unobserved_ns == 0
    assert abs(node.total(Component.TENSOR_MEGACYCLES) - before - cycles_of(600)) <= 1


def test_another_user_at_the_end(node: Node) -> None:
    """A gap whose ends have two users is neither's: it is registered under their boundary."""
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.stop()
    node.wait(100)
    node.start(allocation="run:b")
    assert node.total(Component.TENSOR_MEGACYCLES) == before
    assert node.total(Component.TENSOR_MEGACYCLES, allocation="run:b") == 0
    shared = node.total(Component.TENSOR_MEGACYCLES, allocation="boundary(run:a,run:b)")
    assert abs(shared - cycles_of(100)) <= 1
    assert node.unobserved_ns == 0


@pytest.mark.parametrize(("waited_s", "since_reset_s"), [(500, 20), (60_000, 1_600)])
def test_counters_that_were_reset(node: Node, waited_s: int, since_reset_s: int) -> None:
    """A GPU that was reset meanwhile, passed its old count or not, gives nothing of the gap."""
    node.stop()
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.clock.advance(waited_s)
    node.reset_s = node.clock.monotonic_ns() // NS_PER_S - since_reset_s
    node.go_on()
    node.start()
    assert node.total(Component.TENSOR_MEGACYCLES) == before
    assert node.unobserved_ns == waited_s * NS_PER_S
    node.seconds(5)
    assert abs(node.total(Component.TENSOR_MEGACYCLES) - before - cycles_of(5)) <= 1


def test_another_boot(node: Node) -> None:
    """After a boot the old counters say nothing."""
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.stop()
    node.clock.boot_id = "another"
    node.wait(100)
    node.start()
    node.seconds(1)
    assert node.total(Component.TENSOR_MEGACYCLES) == before


def test_another_driver(node: Node) -> None:
    """A new driver may count from 0 and in another unit: the gap is unobserved."""
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.stop()
    node.driver.set("driver", "600.1.2")
    node.unit = {1: SM_COUNT, SM_COUNT: 4 * SM_COUNT, 4 * SM_COUNT: 1}[node.unit]
    node.wait(100)
    node.start()
    assert node.total(Component.TENSOR_MEGACYCLES) == before
    assert node.unobserved_ns == 100 * NS_PER_S
    node.seconds(10)
    counted = node.total(Component.TENSOR_MEGACYCLES) - before
    assert counted % cycles_of(1) <= 1
    assert cycles_of(5) <= counted <= cycles_of(10)


def test_an_older_journal(node: Node) -> None:
    """A journal without the counters' unit is read: nothing is made up for the gap."""
    node.stop()
    old = state.decode(node.journal.payload or b"")
    for device in old.devices:
        assert device.baseline is not None
        device.baseline = dataclasses.replace(device.baseline, counter_unit=None)
    journal = Journal(OsBlockFile(node.folder / "journal"))
    journal.write(state.StateWriter().encode(old))
    journal.close()
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.wait(100)
    node.start()
    assert node.total(Component.TENSOR_MEGACYCLES) == before
    node.seconds(5)
    assert node.total(Component.TENSOR_MEGACYCLES) > before


@pytest.mark.parametrize("node", [1], indirect=True)
def test_without_counters_the_energy_tells(node: Node) -> None:
    """On the GPM rung a restart's gap is read by the energy counter, as what it is: energy."""
    for metric in range(248, 261):
        node.driver.set(f"gpu0.gpm.{metric}", None)
    node.driver.set("driver", "580.1")
    node.go_on = node.burn  # type: ignore[method-assign]
    node.stop()
    node.wait(1)
    node.start()
    node.seconds(3)
    lost_ns = node.unobserved_ns
    node.stop()
    node.wait(3_600)
    node.start()
    assert node.unobserved_ns == lost_ns
    held = node.loop.held().items()
    ((key, bridge),) = [entry for entry in held if entry[0].evidence is Evidence.ENERGY]
    assert bridge.units[Component.ENERGY_MJ] == 3_600 * 500_000
    assert bridge.units[Component.BUSY_NS] == 3_600 * NS_PER_S
    assert key.allocation == "run:a"
    assert node.time_ns == 3_614 * NS_PER_S


def test_a_device_that_was_away(node: Node) -> None:
    """Lost and back under the same driver: its counters tell what it did while nobody could ask."""
    before = node.total(Component.TENSOR_MEGACYCLES)
    node.driver.set("gpu0.error.*", GPU_IS_LOST)
    node.seconds(40)
    node.driver.set("gpu0.error.*", None)
    node.seconds(60)
    assert abs(node.total(Component.TENSOR_MEGACYCLES) - before - cycles_of(100)) <= 1
    assert 30 * NS_PER_S <= node.unobserved_ns <= 80 * NS_PER_S
    assert node.time_ns == 110 * NS_PER_S
