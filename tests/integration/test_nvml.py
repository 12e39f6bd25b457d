"""Sensor nvml through the real binding, on a scripted driver.

Every test goes through nvidia-ml-py and a shared library (tests/support/fake_nvml); time is a
clock moved by hand.
"""

from __future__ import annotations

import pytest

from flopmeter_agent.sensors.nvml.clocks import EMPTY_ANSWERS
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import SensorError
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import uuid_of
from support.nvml_node import SM_COUNT, Start, start

__all__ = ["start"]


# --- identity ---------------------------------------------------------------------------------


def test_identity(start: Start) -> None:
    """The record holds what the driver says, in our units, and nothing from a table."""
    node = start()
    assert list(node.sensor.devices()) == [
        DeviceRecord(
            node="n1",
            device=uuid_of(0),
            vendor="nvidia",
            product_name="NVIDIA H100 80GB HBM3",
            pci_device_id=0x233010DE,
            sm_count=SM_COUNT,
            max_sm_clock_mhz=1980,
            memory_mib=81559,
            driver_version="580.105.08",
            energy_scope=EnergyScope.GPU,
            tensor_classes=True,
        )
    ]
    assert list(node.sensor.addresses) == ["0000:1b:00.0"]


@pytest.mark.parametrize(
    ("capability", "cores", "sm_count"),
    [
        ("7.0", 5120, 80),
        ("7.5", 2560, 40),
        ("8.0", 6912, 108),
        ("8.6", 9216, 72),
        ("8.9", 7424, 58),
        ("9.0", 16896, 132),
        ("10.0", 18944, 148),
        ("12.0", 21760, 170),
        ("99.0", 1000, 0),
    ],
)
def test_sm_count(start: Start, capability: str, cores: int, sm_count: int) -> None:
    """SMs are CUDA cores by those of an SM; of an unknown architecture there is no SM count."""
    node = start(("gpu0.cc", capability), ("gpu0.cores", cores))
    assert node.sensor.devices()[0].sm_count == sm_count


def test_unknown_sm_count_is_no_zero_work(start: Start) -> None:
    """Without an SM count activity would be 0 cycles: the device is read on the busy rung."""
    node = start(("gpu0.cc", "99.0"), ("gpu0.gpm.5", 50), ("gpu0.busy_percent", 100))
    node.one()
    assert node.one().evidence is Evidence.BUSY_SAMPLED
    assert "SM count" in node.sensor.remarks[uuid_of(0)]


# --- GPM intervals -----------------------------------------------------------------------------


def test_gpm_to_exact_cycles(start: Start) -> None:
    """Activity x SMs x clock x time, exactly, through the increments of the register."""
    node = start()
    first = node.one()
    for metric, percent in {
        2: 91,
        5: 40,
        7: 30,
        9: 5,
        6: 2.5,
        8: 2.5,
        11: 1,
        12: 5.4,
        13: 0.1,
    }.items():
        node.set(f"gpu0.gpm.{metric}", percent)
    node.set("gpu0.energy_mj", 1_650_000)
    second = node.one()
    assert second.evidence is Evidence.GPM
    amount = node.period(first, second)
    elapsed = SM_COUNT * 1_700_000 * NS_PER_S  # SMs x kHz x ns
    expected_ppm = {
        Component.SM_ELAPSED_MEGACYCLES: 1_000_000,
        Component.SM_ACTIVE_MEGACYCLES: 910_000,
        Component.TENSOR_MEGACYCLES: 400_000,
        Component.HMMA_MEGACYCLES: 300_000,
        Component.IMMA_MEGACYCLES: 50_000,
        Component.DFMA_MEGACYCLES: 25_000,
        Component.DMMA_MEGACYCLES: 25_000,
        Component.FP64_MEGACYCLES: 10_000,
        Component.FP32_MEGACYCLES: 54_000,
        Component.FP16_MEGACYCLES: 1_000,
        Component.INT_MEGACYCLES: 0,
    }
    for component, share_ppm in expected_ppm.items():
        assert amount[component] == share_ppm * elapsed
    assert amount[Component.BUSY_NS] == NS_PER_S
    assert amount[Component.ENERGY_MJ] == 650_000 * 2 * 10**9


def test_no_allocation_a_poll(start: Start) -> None:
    """Two samples a device are allocated once; a poll takes one and compares it with the last."""
    node = start(devices=2)
    taken = node.driver.calls("nvmlGpmSampleGet")
    for _ in range(5):
        node.second()
    assert node.driver.calls("nvmlGpmSampleAlloc") == 4
    assert node.driver.calls("nvmlGpmSampleGet") == taken + 2 * 5
    # Samples of both devices are numbered together.
    assert node.driver.gpm_span == 2


def test_probe_order(start: Start) -> None:
    """A vGPU guest is never asked for GPM: it would say yes and fail when sampled."""
    node = start(("gpu0.virtualization", 2), ("gpu0.busy_percent", 10))
    assert node.one().evidence is Evidence.BUSY_SAMPLED
    assert node.driver.calls("nvmlGpmQueryDeviceSupport") == 0
    assert "vGPU" in node.sensor.remarks[uuid_of(0)]


@pytest.mark.parametrize(
    "line",
    [
        ("gpu0.gpm", 0),
        ("gpu0.error.nvmlGpmQueryDeviceSupport", 13),
        ("gpu0.error.nvmlGpmSampleGet", 4),
        ("gpu0.error.nvmlGpmMetricsGet", 3),
        ("gpu0.gpm_return.5", 3),
    ],
)
def test_without_gpm(start: Start, line: tuple[str, object]) -> None:
    """Whatever way GPM is refused, the device is read on the busy rung and says why."""
    node = start(line, ("gpu0.busy_percent", 37))
    first, second = node.one(), node.one()
    assert second.evidence is Evidence.BUSY_SAMPLED
    assert second.busy_ppm == 370_000
    assert second.clock_khz == 1_700_000
    assert "GPM" in node.sensor.remarks[uuid_of(0)]
    assert node.period(first, second)[Component.BUSY_NS] == 370_000_000


@pytest.mark.parametrize(
    "blank", ["nan", "inf", "-1", "140737488355328", "140737488355330", "9223372036854775807"]
)
def test_blank_tensor_activity(start: Start, blank: str) -> None:
    """A blank is absent, not 0: that period falls to the busy rung, the next is whole again."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.7", 40), ("gpu0.busy_percent", 100))
    node.one()
    node.set("gpu0.gpm.5", blank)
    blanked = node.one()
    assert blanked.evidence is Evidence.BUSY_SAMPLED
    assert blanked.activity_ppm == {}
    node.set("gpu0.gpm.5", 40)
    assert node.one().evidence is Evidence.GPM


def test_blank_vector_activity(start: Start) -> None:
    """A blank in a metric that no tensor figure needs leaves only that metric out."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.12", "nan"))
    node.one()
    reading = node.one()
    assert reading.evidence is Evidence.GPM
    assert Component.FP32_MEGACYCLES not in reading.activity_ppm
    assert reading.activity_ppm[Component.TENSOR_MEGACYCLES] == 400_000


@pytest.mark.parametrize("code", [999, 3, -1])
def test_metric_error_of_its_own(start: Start, code: int) -> None:
    """A metric that fails by itself, or is left out of an answer, is absent: no old value stays."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.12", 50))
    node.one()
    assert node.one().activity_ppm[Component.FP32_MEGACYCLES] == 500_000
    node.set("gpu0.gpm_return.12", code)
    assert Component.FP32_MEGACYCLES not in node.one().activity_ppm


def test_missing_class_untells_classes(start: Start) -> None:
    """Without IMMA the record says that tensor classes are not told apart."""
    node = start(("gpu0.gpm_return.9", 3), ("gpu0.gpm.5", 40))
    assert not node.sensor.devices()[0].tensor_classes
    node.one()
    assert node.one().evidence is Evidence.GPM


def test_activity_after_a_failed_poll(start: Start) -> None:
    """After a poll that failed, the mean over two periods is not taken for that of one."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.7", 40), ("gpu0.busy_percent", 100))
    node.one()
    node.set("gpu0.error.nvmlGpmSampleGet", 999)
    assert node.one().evidence is Evidence.BUSY_SAMPLED
    node.set("gpu0.error.nvmlGpmSampleGet", None)
    assert node.one().evidence is Evidence.BUSY_SAMPLED
    assert node.one().evidence is Evidence.GPM


def test_silent_counters(start: Start) -> None:
    """No activity at all while kernels run is suspect: it is not taken for idle."""
    node = start(("gpu0.busy_percent", 99))
    node.one()
    assert node.one().evidence is Evidence.BUSY_SAMPLED
    assert "suspect" in node.sensor.remarks[uuid_of(0)]
    node.set("gpu0.busy_percent", 0)
    assert node.one().evidence is Evidence.GPM


# --- clocks, energy, power ---------------------------------------------------------------------


def test_clock_is_the_mean_of_buffered_samples(start: Start) -> None:
    """Samples since the last reading are averaged; older ones, zeros and blanks are not."""
    node = start(("gpu0.clock_samples", "100:1000 200:1200"), ("gpu0.gpm.5", 1))
    assert node.one().clock_khz == 1_700_000  # the whole buffer tells of earlier times
    node.set("gpu0.clock_samples", "100:1000 200:1200 300:1500 400:1600 450:0 460:4294967295")
    assert node.one().clock_khz == 1_550_000
    assert node.one().clock_khz == 1_700_000  # nothing newer: NVML says "not found"


def test_clock_samples_after_a_wall_clock_was_set_back(start: Start) -> None:
    """The driver stamps by the wall clock: samples that are stamped lower are found again."""
    node = start(("gpu0.clock_samples", "9100:1000 9200:1200"), ("gpu0.gpm.5", 1))
    node.one()
    node.set("gpu0.clock_samples", "100:1500 200:1600")
    clocks = [node.one().clock_khz for _ in range(EMPTY_ANSWERS + 1)]
    assert clocks == [1_700_000] * (EMPTY_ANSWERS + 1)  # at the instant of each reading
    node.set("gpu0.clock_samples", "100:1500 200:1600 300:1400 400:1300")
    assert node.one().clock_khz == 1_350_000


def test_energy_else_power(start: Start) -> None:
    """The energy counter where there is one, else power; a blank is neither."""
    node = start()
    assert (node.one().energy_mj, node.one().power_mw) == (1_000_000, None)
    node.set("gpu0.energy_mj", "9223372036854775792")
    reading = node.one()
    assert (reading.energy_mj, reading.power_mw) == (None, 700_000)
    node.set("gpu0.power_mw", "4294967295")
    reading = node.one()
    assert (reading.energy_mj, reading.power_mw) == (None, None)


@pytest.mark.parametrize(
    ("missing", "evidence"),
    [
        (["busy_percent"], Evidence.ENERGY),
        (["busy_percent", "energy_mj"], Evidence.POWER_SAMPLED),
        (["busy_percent", "energy_mj", "power_mw"], Evidence.ALLOCATION),
    ],
)
def test_lower_rungs(start: Start, missing: list[str], evidence: Evidence) -> None:
    """As in MIG mode, where the driver supports less and less, the rung sinks step by step."""
    lines = [(f"gpu0.{name}", None) for name in missing]
    node = start(("gpu0.gpm", 0), ("gpu0.mig", 1), *lines)
    assert node.one().evidence is evidence
    assert "MIG" in node.sensor.remarks[uuid_of(0)]


def test_failing_is_not_unsupported(start: Start) -> None:
    """A device that answers nothing but errors is a failure, not a quiet device."""
    node = start(("gpu0.gpm", 0))
    node.one()
    for call in ("UtilizationRates", "TotalEnergyConsumption", "PowerUsage"):
        node.set(f"gpu0.error.nvmlDeviceGet{call}", 999)
    with pytest.raises(SensorError, match="Unknown Error"):
        node.one()


# --- cumulative counters -----------------------------------------------------------------------

CUMULATIVE = (248, 249, 250, 251, 252, 253, 254, 257, 258, 259, 260)


def counters(
    seconds: int, *, unit: int, mhz: int = 1700, tensor_percent: int = 40
) -> dict[str, object]:
    """All counters after some seconds at a clock, in steps of `unit` a cycle."""
    elapsed = 10**14 + seconds * mhz * 1_000_000 * unit
    tensor = 10**13 + (elapsed - 10**14) * tensor_percent // 100
    shares = dict.fromkeys(CUMULATIVE, 0) | {248: elapsed, 249: elapsed, 250: tensor, 252: tensor}
    return {f"gpu0.gpm.{metric}": count for metric, count in shares.items()}


@pytest.mark.parametrize("unit", [1, SM_COUNT, 4 * SM_COUNT])
def test_cumulative_cycles(start: Start, unit: int) -> None:
    """Whatever unit the driver counts in, the register gets SM cycles summed over the SMs."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.7", 40), *counters(0, unit=unit).items())
    readings = []
    for second in range(1, 7):
        node.driver.update(counters(second, unit=unit))
        readings.append(node.one())
    levels = [reading.evidence for reading in readings]
    # Two periods find the unit, one more has counters at both of its ends; none is lost.
    assert levels[1:] == [Evidence.GPM, Evidence.GPM, *[Evidence.CYCLES] * 3]
    amount = node.period(readings[-2], readings[-1])
    assert amount[Component.SM_ELAPSED_MEGACYCLES] == SM_COUNT * 1_700_000_000 * 10**12
    assert amount[Component.TENSOR_MEGACYCLES] == SM_COUNT * 680_000_000 * 10**12
    assert node.sensor.remarks == {uuid_of(0): ""}


def test_cumulative_unit_not_found(start: Start) -> None:
    """Counters that fit no unit are not used, and the reason says so."""
    node = start(("gpu0.gpm.5", 40), *counters(0, unit=7).items())
    for second in range(1, 6):
        node.driver.update(counters(second, unit=7))
        reading = node.one()
    assert reading.evidence is Evidence.GPM
    assert "no unit" in node.sensor.remarks[uuid_of(0)]


def test_cumulative_goes_back(start: Start) -> None:
    """A counter that goes backwards leaves unobserved time: never negative, never absolute."""
    node = start(("gpu0.gpm.5", 40), *counters(0, unit=1).items())
    for second in range(1, 6):
        node.driver.update(counters(second, unit=1))
        before = node.one()
    node.driver.update(counters(-10, unit=1))
    after = node.one()
    assert after.evidence is Evidence.CYCLES
    amount = node.period(before, after)
    assert amount[Component.UNOBSERVED_NS] == NS_PER_S
    assert sum(amount) == NS_PER_S
    node.driver.update(counters(-9, unit=1))
    again = node.one()
    assert node.period(after, again)[Component.TENSOR_MEGACYCLES] == SM_COUNT * 680_000_000 * 10**12


def test_cumulative_blank(start: Start) -> None:
    """A blank counter costs its periods the top rung, not their time."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.7", 40), *counters(0, unit=1).items())
    for second in range(1, 6):
        node.driver.update(counters(second, unit=1))
        node.one()
    levels = []
    for second in (6, 7):
        node.driver.update(counters(second, unit=1) | {"gpu0.gpm.250": "nan"})
        levels.append(node.one().evidence)
    for second in (8, 9):
        node.driver.update(counters(second, unit=1))
        levels.append(node.one().evidence)
    assert levels == [Evidence.GPM, Evidence.GPM, Evidence.GPM, Evidence.CYCLES]
