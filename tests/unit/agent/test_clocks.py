"""Clocks: what suspend, steps of the wall clock and jitter do to registers, through the loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.closed import open_closed
from flopmeter_agent.hours import open_hours
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.base import Failure, Readout
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence, covered_ns
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.manual_clock import StandingClock

WEEK_NS = 7 * 24 * NS_PER_HOUR
TEN_YEARS_NS = 10 * 365 * 24 * NS_PER_HOUR
CYCLES_PER_S = 1_000_000_007


class Counting:
    """A device whose counters run while the node is awake."""

    name = "counting"
    simulated = False

    def __init__(self, clock: StandingClock, evidence: Evidence = Evidence.CYCLES) -> None:
        self.clock = clock
        self.evidence = evidence
        self.driver = "1"
        self.away = False

    def devices(self) -> Sequence[DeviceRecord]:
        """The one device."""
        return [
            DeviceRecord(
                "n", "GPU-1", "nvidia", "part", sm_count=132, max_sm_clock_mhz=1980,
                driver_version=self.driver,
            )
        ]  # fmt: skip

    def read(self) -> Readout:
        """Its counters now."""
        if self.away:
            return Readout((), (Failure("GPU-1", "gone"),))
        cycles = self.clock.at_ns * CYCLES_PER_S // NS_PER_S
        return Readout(
            (
                Reading(
                    "GPU-1",
                    self.evidence,
                    self.clock.monotonic_ns(),
                    self.clock.boottime_ns(),
                    cycles={Component.HMMA_MEGACYCLES: cycles},
                    energy_mj=self.clock.at_ns // 2_000_000,
                    clock_khz=1_000_000,
                    power_mw=500_000,
                    busy_ppm=500_000,
                ),
            )
        )

    def close(self) -> None:
        """Nothing to release."""


class Node:
    """A node whose agent can be started again."""

    def __init__(self, folder: Path, evidence: Evidence = Evidence.CYCLES) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.clock = StandingClock()
        self.clock.at_ns = 1_000 * NS_PER_S
        self.clock.wall_step_ns = 1_790_000_000 * NS_PER_S
        self.sensor = Counting(self.clock, evidence)
        self.starts = 0
        self.start()

    def start(self) -> None:
        """A new agent process."""
        self.starts += 1
        self.loop = AgentLoop(
            self.sensor,
            Journal(OsBlockFile(self.folder / "journal")),
            self.clock,
            Identity("n", allocation="run:a"),
            closed=open_closed(OsBlockFile(self.folder / "closed")),
            hours=open_hours(OsBlockFile(self.folder / "hours")),
            incarnation=f"{self.starts:032x}",
            period_ns=NS_PER_S,
        )

    def seconds(self, count: int) -> None:
        """Sample once a second."""
        for _ in range(count):
            self.clock.at_ns += NS_PER_S
            self.loop.sample()

    def sums(self) -> list[int]:
        """All registers, closed ones too."""
        sums = [0] * COMPONENT_COUNT
        for register in self.loop.held().values():
            for place, amount in enumerate(register.units):
                sums[place] += amount
        return sums


@pytest.mark.parametrize("step_ns", [TEN_YEARS_NS, -TEN_YEARS_NS])
def test_a_step_of_the_wall_clock_changes_no_register(tmp_path: Path, step_ns: int) -> None:
    """Ten years forward or back: the same registers, hours and restarts; nothing ages."""
    plain, stepped = Node(tmp_path / "plain"), Node(tmp_path / "stepped")
    for node in (plain, stepped):
        node.seconds(5)
        if node is stepped:
            node.clock.wall_step_ns += step_ns
        node.seconds(5)
        node.start()
        node.seconds(5)
        node.clock.at_ns = 2 * NS_PER_HOUR
        node.seconds(2)
    assert plain.loop.held() == stepped.loop.held()
    first, second = plain.loop.report(), stepped.loop.report()
    assert first is not None
    assert second is not None
    assert [(r.key, r.hour, r.vector) for r in first.hours] == [
        (r.key, r.hour, r.vector) for r in second.hours
    ]


@pytest.mark.parametrize(
    "evidence", [Evidence.CYCLES, Evidence.ENERGY, Evidence.POWER_SAMPLED, Evidence.BUSY_SAMPLED]
)
def test_a_week_asleep_is_a_week_suspended(tmp_path: Path, evidence: Evidence) -> None:
    """A 7-day suspend adds 7 days to `suspended` and nothing to anything else."""
    plain, slept = Node(tmp_path / "plain", evidence), Node(tmp_path / "slept", evidence)
    for node in (plain, slept):
        node.seconds(5)
        if node is slept:
            node.clock.suspended_ns += WEEK_NS
        node.seconds(5)
    expected = plain.sums()
    expected[Component.SUSPENDED_NS] += WEEK_NS
    assert slept.sums() == expected


def test_a_suspend_before_the_first_reading(tmp_path: Path) -> None:
    """A device that nobody has read yet slept as well, and only that is said of the week."""
    node = Node(tmp_path)
    node.sensor.away = True
    node.seconds(3)
    node.clock.suspended_ns += WEEK_NS
    node.seconds(1)
    node.sensor.away = False
    node.seconds(2)
    sums = node.sums()
    assert sums[Component.SUSPENDED_NS] == WEEK_NS
    assert covered_ns(sums) == WEEK_NS + 5 * NS_PER_S


def test_a_suspend_over_which_the_driver_changed(tmp_path: Path) -> None:
    """A new driver has no baseline; the week is suspended all the same."""
    node = Node(tmp_path)
    node.seconds(3)
    node.clock.suspended_ns += WEEK_NS
    node.sensor.driver = "2"
    node.loop._listing.again()
    node.seconds(2)
    sums = node.sums()
    assert sums[Component.SUSPENDED_NS] == WEEK_NS
    assert covered_ns(sums) == WEEK_NS + 4 * NS_PER_S


def test_a_suspend_while_the_device_is_away(tmp_path: Path) -> None:
    """It is told as soon as the silence is, and once; the counter still gives the work."""
    node = Node(tmp_path)
    node.seconds(3)
    node.sensor.away = True
    node.seconds(5)
    node.clock.suspended_ns += WEEK_NS
    node.seconds(5)
    assert node.sums()[Component.SUSPENDED_NS] == WEEK_NS
    node.sensor.away = False
    node.seconds(3)
    sums = node.sums()
    assert sums[Component.SUSPENDED_NS] == WEEK_NS
    assert covered_ns(sums) == WEEK_NS + 15 * NS_PER_S
    assert abs(sums[Component.HMMA_MEGACYCLES] - 15 * CYCLES_PER_S // 10**6) <= 1


def test_a_suspend_with_a_restart_in_it(tmp_path: Path) -> None:
    """The next process of the same boot finds the week, as suspended."""
    node = Node(tmp_path)
    node.seconds(3)
    node.clock.suspended_ns += WEEK_NS
    node.start()
    node.seconds(3)
    sums = node.sums()
    assert sums[Component.SUSPENDED_NS] == WEEK_NS
    assert covered_ns(sums) == WEEK_NS + 5 * NS_PER_S


@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 10 * NS_PER_S),
            st.one_of(st.just(0), st.integers(0, WEEK_NS)),
            st.booleans(),
            st.integers(-TEN_YEARS_NS, TEN_YEARS_NS),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_every_instant_since_the_first_listing_is_classified_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool, int]]
) -> None:
    """Whatever sleeps, fails and steps: time is classified once, suspended exactly where slept."""
    node = Node(tmp_path_factory.mktemp("node"))
    node.sensor.away = True
    node.loop.sample()
    began_ns = node.clock.at_ns
    for elapsed_ns, slept_ns, away, wall_ns in steps:
        node.clock.at_ns += elapsed_ns
        node.clock.suspended_ns += slept_ns
        node.clock.wall_step_ns = wall_ns
        node.sensor.away = away
        node.loop.sample()
    node.sensor.away = False
    node.clock.at_ns += NS_PER_S
    node.loop.sample()
    sums = node.sums()
    assert sums[Component.SUSPENDED_NS] == node.clock.suspended_ns
    assert covered_ns(sums) == node.clock.at_ns - began_ns + node.clock.suspended_ns


def test_the_listing_may_fail(tmp_path: Path) -> None:
    """A sensor that cannot even list devices adds nothing that could be wrong."""
    node = Node(tmp_path)

    def broken() -> Sequence[DeviceRecord]:
        raise SensorError("no driver")

    node.sensor.devices = broken  # type: ignore[method-assign]
    node.seconds(3)
    assert node.sums() == [0] * COMPONENT_COUNT
