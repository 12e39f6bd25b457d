"""Sensor nvml through the real binding, on a scripted driver.

Every test goes through nvidia-ml-py and a shared library (tests/support/fake_nvml); time is a
clock moved by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import SensorError
from flopmeter_core.increments import Increment, increment
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock

SM_COUNT = 132
GPU_IS_LOST = 15

Start = Callable[..., "Node"]


class Node:
    """A scripted driver, a clock and the sensor between them."""

    def __init__(self, driver: FakeDriver, sensor: NvmlSensor, clock: ManualClock) -> None:
        self.driver = driver
        self.sensor = sensor
        self.clock = clock

    def set(self, key: str, value: object) -> None:
        """Change one line of the driver's script."""
        self.driver.set(key, value)

    def second(self) -> dict[str, Reading]:
        """Let a second go by and read."""
        self.clock.advance(1)
        return {reading.device: reading for reading in self.sensor.read().readings}

    def one(self) -> Reading:
        """Let a second go by and read the only device."""
        (reading,) = self.second().values()
        return reading

    def period(self, before: Reading, after: Reading) -> Increment:
        """The increment of the only device's period."""
        (record,) = self.sensor.devices()
        return increment(before, after, record, period_ns=NS_PER_S, allocated=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Begin a test: script a driver, then open the sensor on it."""
    opened: list[Node] = []

    def start(
        *lines: tuple[str, object],
        devices: int = 1,
        on_bus: Callable[[], dict[str, DeviceRecord]] = dict,
        patience_s: float = 5.0,
    ) -> Node:
        driver = FakeDriver(tmp_path, devices=devices)
        driver.update(dict(lines))
        clock = ManualClock()
        sensor = NvmlSensor(
            "n1",
            clock,
            library_path=driver.library,
            on_bus=on_bus,
            patience_s=patience_s,
            pause=clock.advance,
        )
        opened.append(Node(driver, sensor, clock))
        sensor.devices()
        return opened[-1]

    yield start
    for node in opened:
        node.sensor.close()
        assert node.driver.references == 0
        allocated = node.driver.calls("nvmlGpmSampleAlloc")
        assert node.driver.calls("nvmlGpmSampleFree") == allocated
        node.driver.close()


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


# --- losses ------------------------------------------------------------------------------------


def test_lost_and_returning_elsewhere(start: Start) -> None:
    """A lost device fails with the reason, the others are read; back, it is the same UUID."""
    node = start(devices=3)
    node.second()
    before = [record.device for record in node.sensor.devices()]
    node.set("gpu0.error.*", GPU_IS_LOST)
    node.clock.advance(1)
    readout = node.sensor.read()
    assert [failure.device for failure in readout.failures] == [uuid_of(0)]
    assert "XID 79" in readout.failures[0].reason
    assert {reading.device for reading in readout.readings} == {uuid_of(1), uuid_of(2)}
    assert [record.device for record in node.sensor.devices()] == before
    # It comes back behind the others: their places shift, their names do not.
    node.driver.update({"gpu0.error.*": None, "order": "2 1 0"})
    node.clock.advance(600)
    node.sensor.devices()
    node.driver.update({f"gpu{place}.energy_mj": 10**6 * (place + 1) for place in range(3)})
    readings = node.second()
    assert {device: reading.energy_mj for device, reading in readings.items()} == {
        uuid_of(place): 10**6 * (place + 1) for place in range(3)
    }
    assert [record.device for record in node.sensor.devices()] == before
    # All is well again: the driver is left open.
    opened = node.driver.calls("nvmlInitWithFlags")
    for _ in range(700):
        assert len(node.second()) == 3
    assert node.driver.calls("nvmlInitWithFlags") == opened


def test_reading_after_a_return(start: Start) -> None:
    """The first activity after a return covers less than the time away: it is not used."""
    node = start(("gpu0.gpm.5", 40), ("gpu0.gpm.7", 40), devices=2)
    node.second()
    before = node.second()[uuid_of(0)]
    node.set("gpu0.error.*", GPU_IS_LOST)
    node.second()
    node.set("gpu0.error.*", None)
    node.clock.advance(60)
    node.sensor.devices()
    after = node.second()[uuid_of(0)]
    amount = increment(before, after, node.sensor.devices()[0], period_ns=NS_PER_S, allocated=True)
    assert amount[Component.TENSOR_MEGACYCLES] == 0
    assert amount[Component.UNOBSERVED_NS] == after.monotonic_ns - before.monotonic_ns


def test_reopening_backs_off(start: Start) -> None:
    """A device that stays away costs the others a new start less and less often."""
    node = start(devices=2)
    node.second()
    node.driver.update({"gpu1.error.*": GPU_IS_LOST})
    opened = node.driver.calls("nvmlInitWithFlags")
    for _ in range(1_800):
        node.sensor.devices()
        assert set(node.second()) <= {uuid_of(0)}
    assert 3 <= node.driver.calls("nvmlInitWithFlags") - opened <= 9


def test_all_lost(start: Start) -> None:
    """With every device gone there is no readout, but the devices are still listed."""
    node = start(devices=2)
    node.second()
    node.driver.update({"gpu0.error.*": GPU_IS_LOST, "gpu1.error.*": GPU_IS_LOST})
    node.clock.advance(1)
    with pytest.raises(SensorError, match="no NVIDIA device can be read: the GPU is lost"):
        node.sensor.read()
    assert len(node.sensor.devices()) == 2


def test_found_later(start: Start) -> None:
    """A new device is a failure until it is listed, so that no first reading is thrown away."""
    node = start(("order", "0"), devices=2)
    assert len(node.sensor.devices()) == 1
    node.driver.update({"order": "0 1", "gpu0.error.*": GPU_IS_LOST})
    node.clock.advance(1)
    with pytest.raises(SensorError):
        node.sensor.read()
    node.set("gpu0.error.*", None)
    node.clock.advance(30)
    readout = node.sensor.read()
    assert [reading.device for reading in readout.readings] == [uuid_of(0)]
    assert [failure.device for failure in readout.failures] == [uuid_of(1)]
    assert len(node.sensor.devices()) == 2
    assert len(node.second()) == 2


def test_on_bus_but_not_listed(start: Start) -> None:
    """A device on the bus that the driver does not list is a device, and a failure."""
    unlisted = DeviceRecord(node="n1", device="PCI-n1-x", vendor="amd", product_name="")
    bus = {"0000:1b:00.0": unlisted, "0000:99:00.0": unlisted}
    node = start(on_bus=lambda: bus)
    assert [record.device for record in node.sensor.devices()] == [uuid_of(0), "PCI-n1-x"]
    node.clock.advance(1)
    (failure,) = node.sensor.read().failures
    assert failure.device == "PCI-n1-x"
    assert "does not list" in failure.reason


def test_stuck_call(start: Start) -> None:
    """A call that does not return blocks its own device only, in this round and the next ones."""
    node = start(devices=3, patience_s=0.05)
    node.second()
    taken = node.driver.calls("nvmlGpmSampleGet")
    node.set("gpu1.sleep_ms.nvmlGpmSampleGet", 400)
    for _ in range(3):
        node.clock.advance(1)
        readout = node.sensor.read()
        assert {reading.device for reading in readout.readings} == {uuid_of(0), uuid_of(2)}
        (failure,) = readout.failures
        assert failure.device == uuid_of(1)
        assert "does not return" in failure.reason
    # The stuck device was asked once, the others each time.
    assert node.driver.calls("nvmlGpmSampleGet") - taken == 1 + 3 * 2
    node.set("gpu1.sleep_ms.nvmlGpmSampleGet", None)
    while uuid_of(1) not in (readings := node.second()):
        pass
    # What the late call measured was never handed out: its end is no start of a period.
    assert readings[uuid_of(1)].evidence is not Evidence.GPM
    assert node.second()[uuid_of(1)].evidence is Evidence.GPM


def test_lost_during_a_stuck_listing(start: Start) -> None:
    """A listing that began before a device was lost does not bring its freed samples back."""
    node = start(devices=2, patience_s=0.05)
    node.second()
    node.set("sleep_ms.nvmlDeviceGetCount_v2", 300)
    node.clock.advance(60)
    node.sensor.devices()  # the listing hangs from here on
    node.set("gpu0.error.*", GPU_IS_LOST)
    assert list(node.second()) == [uuid_of(1)]
    node.driver.update({"gpu0.error.*": None, "sleep_ms.nvmlDeviceGetCount_v2": None})
    listings = node.driver.calls("nvmlDeviceGetUUID")
    while node.driver.calls("nvmlDeviceGetUUID") < listings + 2:
        threading.Event().wait(0.01)
    threading.Event().wait(0.05)
    # Only a new look brings the device back, with new samples.
    node.second()
    assert node.second()[uuid_of(0)].evidence is Evidence.GPM


# --- opening -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (9, "kernel driver is not loaded"),
        (4, "grant access to /dev/nvidia"),
        (18, "library and kernel module differ"),
        (999, "Unknown Error"),
    ],
)
def test_cannot_open(start: Start, code: int, sentence: str) -> None:
    """A driver that does not open is one clear sentence."""
    with pytest.raises(SensorError, match=sentence) as error:
        start(("error.nvmlInitWithFlags", code))
    assert "\n" not in str(error.value)


def test_opens_later(tmp_path: Path) -> None:
    """A driver that appears later is found by asking again."""
    driver, clock = FakeDriver(tmp_path), ManualClock()
    driver.set("error.nvmlInitWithFlags", 9)
    sensor = NvmlSensor("n1", clock, library_path=driver.library, pause=clock.advance)
    for _ in range(100):
        clock.advance(1)
        with pytest.raises(SensorError, match="not loaded"):
            sensor.devices()
    assert driver.calls("nvmlInitWithFlags") <= 11
    driver.set("error.nvmlInitWithFlags", None)
    clock.advance(10)
    assert len(sensor.devices()) == 1
    sensor.close()
    driver.close()


def test_no_devices(start: Start) -> None:
    """A driver without devices is no sensor."""
    with pytest.raises(SensorError, match="lists no device"):
        start(devices=0)


def test_library_that_is_none(tmp_path: Path) -> None:
    """A path that is no library is named."""
    path = tmp_path / "libnvidia-ml.so.1"
    path.write_text("not a library")
    sensor = NvmlSensor("n1", ManualClock(), library_path=path)
    with pytest.raises(SensorError, match=str(path)):
        sensor.devices()
    sensor.close()


def test_device_without_identity(start: Start) -> None:
    """A device that cannot even be identified does not hide the others."""
    node = start(("gpu0.error.*", GPU_IS_LOST), devices=2)
    assert [record.device for record in node.sensor.devices()] == [uuid_of(1)]
