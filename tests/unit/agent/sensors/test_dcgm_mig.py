"""Sensor dcgm on a GPU in MIG mode: work by instance, with the SM count of its profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.dcgm import DcgmSensor
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.totals import Totals
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.fake_exporter import page, uuid_of
from support.manual_clock import ManualClock
from support.totals import AS_OF_NS, POSITION, table

PERIOD_S = 30
CLOCK_MHZ = 1_410
TENSOR = Component.TENSOR_MEGACYCLES
RATE = 2_048  # BF16 of an A100, FLOP per SM and cycle


class Node:
    """An agent beside an exporter that shows one A100 by its instances."""

    def __init__(self, folder: Path, *, part: str = "a100-sxm4-80gb") -> None:
        self.clock = ManualClock()
        self.instances: dict[int, tuple[str, float]] = {}
        self.energy_j = 100.0
        self.more: dict[str, object] = {}
        self.sensor = DcgmSensor(
            "n0",
            self.clock,
            self._fetch,
            collect_period_ns=PERIOD_S * NS_PER_S,
            part=part,
            profile_known=table().has_profile,
        )
        self.loop = AgentLoop(
            self.sensor,
            Journal(OsBlockFile(folder / "journal")),
            self.clock,
            Identity(node="n0", allocation="run:a"),
            incarnation="1" * 32,
            period_ns=PERIOD_S * NS_PER_S,
            closed=open_closed(OsBlockFile(folder / "closed")),
        )

    def _fetch(self) -> str:
        shared = {"energy_j": self.energy_j, "clock_mhz": CLOCK_MHZ, "uuid": uuid_of(0)}
        lines: list[dict[str, object]] = [
            {
                **shared,
                "tensor": share,
                "engine": share,
                "labels": f',GPU_I_PROFILE="{profile}",GPU_I_ID="{number}"',
                **self.more,
            }
            for number, (profile, share) in self.instances.items()
        ]
        return page(lines or [shared])

    def collections(self, count: int) -> None:
        """Let the exporter collect, and sample."""
        for _ in range(count):
            self.clock.advance(PERIOD_S)
            self.energy_j += 300.0 * PERIOD_S
            self.loop.sample()

    def total(self, device: str, component: Component) -> int:
        """A component of a device or instance over all its registers."""
        return self.loop.device_totals().get(device, [0] * 64)[component]

    def best_flop(self) -> int:
        """What a collector makes of all registers, with BF16 declared, on rung dcgm."""
        report = self.loop.report()
        assert report is not None
        totals = Totals(table())
        totals.declare(parse_run_declaration("a", {"format": "bf16=1"}))
        for each in report.vectors:
            stored = StoredVector(each.key, 0, each.sequence, each.vector)
            totals.update(each.key, report.records[each.key.record], [stored])
        (run,) = [r for r in totals.snapshot(AS_OF_NS, POSITION).runs if r.run == "a"]
        assert run.account.device_count == 1
        return dict(run.account.best_flop_by_level)["dcgm"]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Two instances that were listed and read, from the next collection on."""
    made = Node(tmp_path)
    made.instances = {7: ("1g.10gb", 0.5), 1: ("3g.40gb", 0.25)}
    made.collections(3)
    return made


def instance(number: int, profile: str) -> str:
    """The name of an instance."""
    return f"{uuid_of(0)}/gi{number}@{profile}"


def test_work_by_instance(node: Node) -> None:
    """Each instance has cycles of one SM; its profile's count makes the FLOP, the GPU adds none."""
    before = node.best_flop()
    started = node.total(instance(7, "1g.10gb"), TENSOR)
    node.collections(10)
    seconds = 10 * PERIOD_S
    assert node.total(instance(7, "1g.10gb"), TENSOR) - started == seconds * CLOCK_MHZ // 2
    assert node.total(uuid_of(0), TENSOR) == 0
    flop = (14 * 0.5 + 42 * 0.25) * seconds * CLOCK_MHZ * 10**6 * RATE
    assert node.best_flop() - before == pytest.approx(flop, rel=1e-6)


def test_time_is_the_gpus(node: Node) -> None:
    """Two instances make one device: its time and energy are in its own registers, once."""
    node.collections(5)
    spent = sum(node.total(uuid_of(0), part) for part in TIME_COMPONENTS)
    assert spent == (node.clock.monotonic_ns() - (1_000 + PERIOD_S) * NS_PER_S)
    assert node.total(instance(1, "3g.40gb"), Component.ENERGY_MJ) == 0


def test_an_instance_that_is_new(node: Node) -> None:
    """Until all instances are listed and have a start, the GPU is read as a whole, by energy."""
    node.collections(2)
    work = node.total(instance(7, "1g.10gb"), TENSOR)
    node.instances[8] = ("1g.10gb", 1.0)
    node.collections(1)
    assert node.total(instance(7, "1g.10gb"), TENSOR) == work
    registers = node.loop.accumulator.registers
    assert {key.evidence for key in registers} == {Evidence.DCGM_SAMPLED, Evidence.ENERGY}
    node.collections(3)
    assert node.total(instance(8, "1g.10gb"), TENSOR) > 0
    assert node.total(instance(7, "1g.10gb"), TENSOR) > work


@pytest.mark.parametrize(
    ("instances", "part", "reason"),
    [
        ({7: ("1g.99gb", 0.5)}, "a100-sxm4-80gb", "no SM count of the profile 1g.99gb"),
        ({7: ("", 0.5)}, "a100-sxm4-80gb", "that the exporter does not name"),
        ({7: ("1g.10gb", 0.5)}, "l4", "no SM count of the profile 1g.10gb"),
        ({7: ("1g.10gb", 0.5)}, "", "no SM count of the profile 1g.10gb"),
    ],
)
def test_a_profile_nobody_knows(
    tmp_path: Path, instances: dict[int, tuple[str, float]], part: str, reason: str
) -> None:
    """A count that is not known is not guessed: the GPU is read by energy, and it is said why."""
    made = Node(tmp_path, part=part)
    made.instances = instances
    made.collections(4)
    (said,) = made.sensor.shortfalls.values()
    assert reason in said
    assert {key.evidence for key in made.loop.accumulator.registers} == {Evidence.ENERGY}


def test_a_blank_instance(node: Node) -> None:
    """One instance without activity costs the period of all: none is counted as zero."""
    node.collections(2)
    work = node.total(instance(7, "1g.10gb"), TENSOR)
    node.more = {"tensor": "9223372036854775794"}
    node.collections(1)
    assert node.total(instance(7, "1g.10gb"), TENSOR) == work
    assert "is blank" in next(iter(node.sensor.shortfalls.values()))
