"""What every sensor has to keep, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flopmeter_agent.scenario import parse_scenario
from flopmeter_agent.sensors.base import Sensor
from flopmeter_agent.sensors.cpu import CpuSensor
from flopmeter_agent.sensors.dcgm import DcgmSensor, Endpoint
from flopmeter_agent.sensors.none import NoneSensor
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_agent.sensors.simulated import SimulatedSensor
from flopmeter_agent.sensors.table import SENSORS
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.increments import increment
from flopmeter_core.units import NS_PER_S
from support.fake_exporter import FakeExporter, page
from support.fake_nvml import FakeDriver
from support.manual_clock import ManualClock

SCENARIO = """
seed = 1
acceleration = 1
duration_s = 10000
[node]
count = 1
devices = 2
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "a"
start_s = 1002
stop_s = 9000
nodes = ["n0"]
tensor_activity = 0.5
clock_mhz = 1500
power_w = 600
"""

NOT_SENSORS = {"auto", "replay"}
"""Names that choose, or that read a recording outside the loop."""


@dataclass
class Subject:
    """A sensor with the clock it was given, and a way to break what it reads."""

    sensor: Sensor
    clock: ManualClock
    disturb: Callable[[], object]
    is_simulated: bool
    has_readings: bool = True


def _nvml(folder: Path, clock: ManualClock, request: pytest.FixtureRequest) -> Subject:
    driver = FakeDriver(folder, devices=3)
    request.addfinalizer(driver.close)
    driver.update({"gpu0.gpm.5": 40, "gpu1.gpm": 0, "gpu2.gpm": 0, "gpu2.busy_percent": None})
    sensor = NvmlSensor("n0", clock, library_path=driver.library, pause=clock.advance)

    def disturb() -> None:
        driver.update({f"gpu{place}.error.*": code for place, code in enumerate((15, 4, 999))})

    return Subject(sensor, clock, disturb, is_simulated=False)


def _cpu(folder: Path, clock: ManualClock, request: pytest.FixtureRequest) -> Subject:
    stat = folder / "stat"
    stat.write_text("cpu 1 2 3 4 5 6 7 8 9 10\n")
    return Subject(CpuSensor("n0", clock, stat_path=stat), clock, stat.unlink, is_simulated=True)


def _dcgm(folder: Path, clock: ManualClock, request: pytest.FixtureRequest) -> Subject:
    exporter = FakeExporter()
    request.addfinalizer(exporter.close)

    def fetch() -> str:
        # The exporter collects as often as it is asked: energy says how late it is.
        joules = clock.monotonic_ns() / 10**7
        working: dict[str, object] = {"tensor": 0.4, "clock_mhz": 1_700, "energy_j": joules}
        exporter.text = page([working, {"energy_j": joules}, {"clock_mhz": 1_410}])
        return Endpoint(exporter.url, clock).fetch()

    sensor = DcgmSensor("n0", clock, fetch, collect_period_ns=NS_PER_S)

    def disturb() -> None:
        exporter.behave = lambda request: request.send_error(503)

    return Subject(sensor, clock, disturb, is_simulated=False)


def _none(folder: Path, clock: ManualClock, request: pytest.FixtureRequest) -> Subject:
    record = DeviceRecord(node="n0", device="PCI-n0-x", vendor="amd", product_name="")
    sensor = NoneSensor((record,), "there is no driver")
    return Subject(sensor, clock, lambda: None, is_simulated=False, has_readings=False)


def _simulated(folder: Path, clock: ManualClock, request: pytest.FixtureRequest) -> Subject:
    sensor = SimulatedSensor("n0", clock, parse_scenario(SCENARIO))
    return Subject(sensor, clock, lambda: None, is_simulated=True)


MAKERS = {"nvml": _nvml, "dcgm": _dcgm, "cpu": _cpu, "none": _none, "simulated": _simulated}


@pytest.fixture(params=sorted(MAKERS))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each sensor in turn, on a clock that stands at 1000 s after boot, 5 s of it suspended."""
    made = MAKERS[request.param](tmp_path, ManualClock(suspended_s=5), request)
    assert made.sensor.name == request.param
    yield made
    made.sensor.close()


def test_every_sensor_is_here() -> None:
    """A sensor in the table is held to this contract."""
    assert set(MAKERS) == set(SENSORS) - NOT_SENSORS


def test_identity_is_stable(subject: Subject) -> None:
    """Listing again, before and after reading, gives the same records with their own names."""
    first = list(subject.sensor.devices())
    for _ in range(3):
        subject.clock.advance(1)
        subject.sensor.read()
        assert list(subject.sensor.devices()) == first
    names = [record.device for record in first]
    assert first
    assert len(set(names)) == len(names)
    assert {record.node for record in first} == {"n0"}


def test_mark(subject: Subject) -> None:
    """Sensor and records agree on whether the readings are made up."""
    assert subject.sensor.simulated is subject.is_simulated
    assert {record.simulated for record in subject.sensor.devices()} == {subject.is_simulated}


def test_each_device_reads_or_fails(subject: Subject) -> None:
    """Each device listed has a reading or a failure with a reason, never both, nobody else has."""
    names = {record.device for record in subject.sensor.devices()}
    subject.clock.advance(1)
    readout = subject.sensor.read()
    read = {reading.device for reading in readout.readings}
    failed = {failure.device for failure in readout.failures}
    assert read | failed == names
    assert not read & failed
    assert bool(read) is subject.has_readings
    assert all(failure.reason for failure in readout.failures)


def test_stamps_come_from_the_clock(subject: Subject) -> None:
    """The newest reading of a device carries the injected clocks; older ones come before it."""
    subject.sensor.devices()
    before: dict[str, int] = {}
    for _ in range(4):
        subject.clock.advance(1)
        newest: dict[str, int] = {}
        for reading in subject.sensor.read().readings:
            last_ns = newest.get(reading.device, before.get(reading.device, 0))
            assert last_ns <= reading.monotonic_ns <= subject.clock.monotonic_ns()
            newest[reading.device] = reading.monotonic_ns
        assert set(newest.values()) <= {subject.clock.monotonic_ns()}
        before = newest


def test_increments_are_possible(subject: Subject) -> None:
    """Any two readings in a row make an increment that classifies exactly their time."""
    records = {record.device: record for record in subject.sensor.devices()}
    before = {reading.device: reading for reading in subject.sensor.read().readings}
    for _ in range(3):
        subject.clock.advance(1)
        for reading in subject.sensor.read().readings:
            amount = increment(
                before[reading.device],
                reading,
                records[reading.device],
                period_ns=NS_PER_S,
                allocated=True,
            )
            assert all(part >= 0 for part in amount)
            before[reading.device] = reading


def test_only_sensor_errors(subject: Subject) -> None:
    """Whatever is the matter with what it reads, the loop sees failures or a SensorError."""
    subject.sensor.devices()
    subject.sensor.read()
    subject.disturb()
    for _ in range(3):
        subject.clock.advance(1)
        for step in (subject.sensor.read, subject.sensor.devices):
            try:
                step()
            except SensorError as error:
                assert "\n" not in str(error)


def test_close_is_final(subject: Subject) -> None:
    """Closing twice is closing once; a closed sensor of hardware reads nothing any more."""
    subject.sensor.devices()
    subject.sensor.close()
    subject.sensor.close()
    if subject.sensor.name == "simulated":
        return  # it holds nothing that could be given back
    with pytest.raises(SensorError, match="closed"):
        subject.sensor.read()
    with pytest.raises(SensorError, match="closed"):
        subject.sensor.devices()
