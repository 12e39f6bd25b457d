"""Doubts on their way through the agent: suspect time, one warning a change, a count a check."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flopmeter_agent.accumulate import Accumulator
from flopmeter_agent.closed import open_closed
from flopmeter_agent.exposition import AgentMetrics
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.base import Readout
from flopmeter_agent.suspects import Suspects
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.suspicion import Check, Suspicion
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.link import LinkState
from support.manual_clock import ManualClock

RECORD = DeviceRecord(
    node="n0",
    device="GPU-1",
    vendor="nvidia",
    product_name="test part",
    sm_count=132,
    max_sm_clock_mhz=1980,
    energy_scope=EnergyScope.GPU,
)
TENSOR, SM = Component.TENSOR_MEGACYCLES, Component.SM_ACTIVE_MEGACYCLES


def gpm(clock: ManualClock, tensor_ppm: int, active_ppm: int, power_w: int) -> Reading:
    """A reading of interval metrics; the counter has run at this power since boot."""
    return Reading(
        device="GPU-1",
        evidence=Evidence.GPM,
        monotonic_ns=clock.monotonic_ns(),
        boottime_ns=clock.boottime_ns(),
        activity_ppm={TENSOR: tensor_ppm, SM: active_ppm},
        clock_khz=1_700_000,
        energy_mj=clock.monotonic_ns() * power_w // 10**6,
    )


class ScriptedSensor:
    """A sensor that says what a test hands it."""

    name = "nvml"
    simulated = False

    def __init__(self) -> None:
        self.readout = Readout(())

    def devices(self) -> tuple[DeviceRecord, ...]:
        """The one device."""
        return (RECORD,)

    def read(self) -> Readout:
        """What the test wrote."""
        return self.readout

    def close(self) -> None:
        """Nothing to release."""


class Node:
    """A loop whose readings a test writes; the device is rated at 700 W."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.sensor = ScriptedSensor()
        self.loop = AgentLoop(
            self.sensor,
            Journal(OsBlockFile(folder / "journal")),
            self.clock,
            Identity(node="n0"),
            closed=open_closed(OsBlockFile(folder / "closed")),
            incarnation="0" * 32,
            period_ns=NS_PER_S,
            rated_power_w=lambda record: 700,
        )

    def second(self, tensor_ppm: int, active_ppm: int, power_w: int = 600) -> None:
        """One second with this activity."""
        self.clock.advance(1)
        self.sensor.readout = Readout((gpm(self.clock, tensor_ppm, active_ppm, power_w),))
        self.loop.sample()

    def seconds_of(self, component: Component) -> int:
        """Whole seconds in a time component."""
        return self.loop.device_totals()["GPU-1"][component] // NS_PER_S

    def count(self, check: Check) -> int:
        """How often a check failed."""
        return self.loop.counters.suspects.counts[check]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node that was read once."""
    made = Node(tmp_path)
    made.second(400_000, 900_000)
    return made


def test_silence_at_full_power(node: Node) -> None:
    """Counters that go to zero while the board draws 600 W make suspect time, not idle time."""
    for _ in range(5):
        node.second(0, 0)
    assert node.seconds_of(Component.SUSPECT_NS) == 5
    assert node.seconds_of(Component.IDLE_NS) == 0
    assert node.count(Check.SILENT) == 5
    assert node.loop.device_totals()["GPU-1"][Component.ENERGY_MJ] == 5 * 600_000


def test_work_without_tensor_cores(node: Node) -> None:
    """A recommender at full power has no tensor activity and is believed."""
    for _ in range(5):
        node.second(0, 950_000)
    assert node.seconds_of(Component.BUSY_NS) == 5
    assert node.seconds_of(Component.SUSPECT_NS) == 0
    assert set(node.loop.counters.suspects.counts.values()) == {0}


def test_rest(node: Node) -> None:
    """A board at rest is idle."""
    energy_mj = node.clock.monotonic_ns() * 600 // 10**6
    for second in range(1, 6):
        node.clock.advance(1)
        reading = gpm(node.clock, 0, 0, 0)
        node.sensor.readout = Readout(
            (
                Reading(
                    device="GPU-1",
                    evidence=Evidence.GPM,
                    monotonic_ns=reading.monotonic_ns,
                    boottime_ns=reading.boottime_ns,
                    activity_ppm=reading.activity_ppm,
                    clock_khz=345_000,
                    energy_mj=energy_mj + second * 70_000,
                ),
            )
        )
        node.loop.sample()
    assert node.seconds_of(Component.IDLE_NS) == 5
    assert node.seconds_of(Component.SUSPECT_NS) == 0


def test_more_than_the_device_can(node: Node) -> None:
    """What the increment itself refuses is counted under its check too."""
    node.sensor.readout = Readout(())
    node.clock.advance(1)
    reading = gpm(node.clock, 400_000, 900_000, 600)
    too_fast = Reading(
        device="GPU-1",
        evidence=Evidence.GPM,
        monotonic_ns=reading.monotonic_ns,
        boottime_ns=reading.boottime_ns,
        activity_ppm=reading.activity_ppm,
        clock_khz=5_000_000,
        energy_mj=reading.energy_mj,
    )
    node.sensor.readout = Readout((too_fast,))
    node.loop.sample()
    assert (node.count(Check.IMPOSSIBLE), node.seconds_of(Component.SUSPECT_NS)) == (1, 1)


def test_a_sensors_own_doubt_is_counted(node: Node) -> None:
    """What a sensor left out is counted like what the loop found."""
    node.sensor.readout = Readout((), (), (Suspicion("GPU-1", Check.SENTINEL, "blank: energy"),))
    node.clock.advance(1)
    node.loop.sample()
    assert node.count(Check.SENTINEL) == 1


def test_one_warning_a_change(caplog: pytest.LogCaptureFixture) -> None:
    """A doubt is told when it appears, not each second, and again when it comes back."""
    suspects = Suspects()
    doubt = Suspicion("GPU-1", Check.SILENT, "no activity at 600 W")
    with caplog.at_level(logging.INFO):
        for doubted in (False, True, True, True, False, False, True):
            suspects.note(["GPU-1", "GPU-2"], [doubt] if doubted else [])
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.INFO, logging.WARNING]
    told = vars(caplog.records[0])
    assert "no activity at 600 W" in str(told)
    assert "GPU-2" not in str(told)
    assert suspects.counts[Check.SILENT] == 4


def test_each_check_has_a_series(node: Node) -> None:
    """Every check is exported from the start, at 0, so that its first failure is an increase."""
    node.second(0, 0)
    text = AgentMetrics(node.loop, LinkState()).text()
    for check in Check:
        count = 1 if check is Check.SILENT else 0
        assert f'flopmeter_suspect_readings_total{{check="{check}"}} {count}\n' in text
    assert 'flopmeter_device_seconds_total{device="GPU-1",state="suspect"} 1\n' in text


def test_a_gap_is_not_doubted_twice() -> None:
    """Time that was registered as unobserved before a doubtful reading stays so, once."""
    clock = ManualClock()
    accumulator = Accumulator("0" * 32, 30 * NS_PER_S, lambda record: 700)
    accumulator.observe(RECORD, gpm(clock, 0, 0, 600), allocation="run:a")
    clock.advance(20)
    accumulator.unobserved_until(
        "GPU-1",
        monotonic_ns=clock.monotonic_ns(),
        boottime_ns=clock.boottime_ns(),
        allocation="run:a",
    )
    clock.advance(10)
    found = accumulator.observe(RECORD, gpm(clock, 0, 0, 600), allocation="run:a")
    assert {suspicion.check for suspicion in found} == {Check.SILENT}
    (register,) = accumulator.registers.values()
    assert register.vector[Component.UNOBSERVED_NS] == 20 * NS_PER_S
    assert register.vector[Component.SUSPECT_NS] == 10 * NS_PER_S
