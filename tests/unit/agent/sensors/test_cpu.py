"""The CPU-simulated device: exact cycles from /proc/stat, marked simulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.sensors import cpu
from flopmeter_agent.sensors.cpu import CpuSensor
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import SensorError
from flopmeter_core.increments import increment
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.manual_clock import ManualClock


def write_stat(path: Path, *, busy: int, idle: int, iowait: int = 0, guest: int = 0) -> None:
    """The kernel's first line: user nice system idle iowait irq softirq steal guest guest_nice."""
    path.write_text(f"cpu  {busy} 0 0 {idle} {iowait} 0 0 0 {guest} 0\ncpu0 1 2 3 4\n")


def test_exact_cycles(tmp_path: Path) -> None:
    """Cycles are utilisation x SMs x clock x time, to the last whole cycle, and add up."""
    stat, clock = tmp_path / "stat", ManualClock()
    write_stat(stat, busy=100, idle=900)
    sensor = CpuSensor("n1", clock, stat_path=stat)
    readings = list(sensor.read().readings)
    busy, idle = 100, 900
    expected_active = 0
    for busy_ticks, idle_ticks in [(25, 75), (0, 100), (100, 0), (1, 2)]:
        clock.advance(1)
        busy, idle = busy + busy_ticks, idle + idle_ticks
        write_stat(stat, busy=busy, idle=idle, guest=busy)
        readings += sensor.read().readings
        share_ppm = busy_ticks * 1_000_000 // (busy_ticks + idle_ticks)
        expected_active += 132 * 1_830_000 * NS_PER_S * share_ppm
    last = readings[-1].cycles
    assert last[Component.SM_ELAPSED_MEGACYCLES] == 4 * 132 * 1_830_000_000
    assert last[Component.SM_ACTIVE_MEGACYCLES] == expected_active // 10**12
    assert last[Component.TENSOR_MEGACYCLES] == expected_active * 4 // 10 // 10**12
    assert {reading.evidence for reading in readings} == {Evidence.CYCLES}


def test_same_tick(tmp_path: Path) -> None:
    """Two readings within one tick of the kernel keep the last share; nothing is lost."""
    stat, clock = tmp_path / "stat", ManualClock()
    write_stat(stat, busy=0, idle=0)
    sensor = CpuSensor("n1", clock, stat_path=stat)
    sensor.read()
    write_stat(stat, busy=1, idle=1)
    clock.advance(0.005)
    sensor.read()
    clock.advance(0.005)
    (reading,) = sensor.read().readings
    assert reading.cycles[Component.SM_ACTIVE_MEGACYCLES] == 132 * 1_830_000 * 10 // 2


def test_idle_column_goes_back(tmp_path: Path) -> None:
    """A kernel that takes back idle time never makes more than a whole processor busy."""
    stat, clock = tmp_path / "stat", ManualClock()
    write_stat(stat, busy=0, idle=50, iowait=50)
    sensor = CpuSensor("n1", clock, stat_path=stat)
    (before,) = sensor.read().readings
    write_stat(stat, busy=30, idle=50, iowait=40)
    clock.advance(1)
    (after,) = sensor.read().readings
    amount = increment(before, after, sensor.devices()[0], period_ns=NS_PER_S, allocated=False)
    assert amount[Component.SM_ACTIVE_MEGACYCLES] == amount[Component.SM_ELAPSED_MEGACYCLES]
    assert amount[Component.BUSY_NS] == NS_PER_S


def test_record(tmp_path: Path) -> None:
    """The record is marked simulated, and its numbers are those of the part it names."""
    sensor = CpuSensor("n1", ManualClock(), stat_path=tmp_path / "stat")
    (record,) = sensor.devices()
    assert record.simulated
    assert record.device == "SIM-CPU-n1"
    part = parse_device_table(builtin_table("devices.toml")).by_id[cpu.PART]
    assert (record.sm_count, record.max_sm_clock_mhz) == (part.sm_count, part.max_sm_clock_mhz)
    assert part.dense_clock_mhz * 1_000 == cpu.CLOCK_KHZ


@pytest.mark.parametrize(
    "content", [None, "", "cpu 1 2\n", "cpu a b c d e\n", "intr 1 2 3 4 5 6\n"]
)
def test_bad_proc_stat(tmp_path: Path, content: str | None) -> None:
    """Anything that is not the processor's times is one clear error."""
    stat = tmp_path / "stat"
    if content is not None:
        stat.write_text(content)
    sensor = CpuSensor("n1", ManualClock(), stat_path=stat)
    with pytest.raises(SensorError, match=str(stat)):
        sensor.read()
