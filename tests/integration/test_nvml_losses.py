"""Devices that are lost, stuck or not there, and drivers that do not open.

Through the real binding on a scripted driver, as test_nvml.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.increments import increment
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock
from support.nvml_node import GPU_IS_LOST, Start, start

__all__ = ["start"]


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


@pytest.mark.parametrize(
    ("key", "garbage", "taken"),
    [
        ("uuid", b"\xff\xfe", False),
        ("address", b"zz:xx", False),
        ("name", b"\xff\xfe", True),
        ("cores", b"-5", True),
        ("max_clock_mhz", b"4294967294", True),
    ],
)
def test_device_that_says_nonsense(start: Start, key: str, garbage: bytes, taken: bool) -> None:
    """What one device says of itself costs no other one its time, and no figure is made of it."""
    node = start((f"gpu1.{key}", "GARBAGE"), devices=2)
    text = node.driver.script.read_bytes().replace(b"GARBAGE", garbage)
    node.driver.script.write_bytes(text)
    node.clock.advance(60)
    records = {record.device: record for record in node.sensor.devices()}
    found = node.second()
    assert uuid_of(0) in found
    assert (uuid_of(1) in records) == (uuid_of(1) in found) == taken
    if key == "cores":
        assert records[uuid_of(1)].sm_count == 0
    elif key == "max_clock_mhz":
        assert records[uuid_of(1)].max_sm_clock_mhz == 0


def test_refused_device_holds_nothing(start: Start) -> None:
    """A device that is refused in the middle of its probe gives back what it had of the driver."""
    node = start(devices=2)
    node.set("gpu1.error.nvmlDeviceGetTotalEnergyConsumption", GPU_IS_LOST)
    for _ in range(30):
        node.clock.advance(10)
        node.sensor.read()
        node.sensor.devices()
    held = node.driver.calls("nvmlGpmSampleAlloc") - node.driver.calls("nvmlGpmSampleFree")
    assert held == 2  # of the device that is read
