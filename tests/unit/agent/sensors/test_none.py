"""Sensor none lists devices, reads nothing, and steps aside for a driver that appears."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flopmeter_agent.sensors.base import Readout
from flopmeter_agent.sensors.none import NoneSensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Evidence

RECORD = DeviceRecord(node="n1", device="PCI-n1-0000:1b:00.0", vendor="nvidia", product_name="")
DRIVEN = DeviceRecord(node="n1", device="GPU-1", vendor="nvidia", product_name="")
READING = Reading("GPU-1", Evidence.ALLOCATION, 1, 1)


class Driver:
    """A successor whose driver a test lets appear and fail."""

    name = "nvml"
    simulated = False
    problem = "the driver is not loaded"
    closed = False

    def devices(self) -> Sequence[DeviceRecord]:
        """The device, unless there is a problem."""
        if self.problem:
            raise SensorError(self.problem)
        return (DRIVEN,)

    def read(self) -> Readout:
        """A reading, unless there is a problem."""
        if self.problem:
            raise SensorError(self.problem)
        return Readout((READING,))

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def test_every_device_is_a_failure() -> None:
    """Devices without a driver have no reading and a reason: their time stays unobserved."""
    sensor = NoneSensor((RECORD,), "it is of another maker")
    assert sensor.devices() == (RECORD,)
    readout = sensor.read()
    assert readout.readings == ()
    (failure,) = readout.failures
    assert failure.device == RECORD.device
    assert failure.reason == "no working driver: it is of another maker"


def test_steps_aside() -> None:
    """As soon as the driver lists devices it is the driver's sensor, for good."""
    driver = Driver()
    sensor = NoneSensor((RECORD,), "", successor=driver)
    assert sensor.devices() == (RECORD,)
    assert sensor.name == "none"
    assert "not loaded" in sensor.read().failures[0].reason
    driver.problem = ""
    assert sensor.devices() == (DRIVEN,)
    assert sensor.name == "nvml"
    assert sensor.read().readings == (READING,)
    driver.problem = "all devices are lost"
    with pytest.raises(SensorError, match="all devices are lost"):
        sensor.devices()
    with pytest.raises(SensorError, match="all devices are lost"):
        sensor.read()


def test_no_known_device() -> None:
    """Without a device to list it is an error that says what is missing."""
    sensor = NoneSensor((), "accelerators were once here")
    with pytest.raises(SensorError, match="once here"):
        sensor.devices()
    with pytest.raises(SensorError, match="once here"):
        sensor.read()


def test_close_closes_the_successor() -> None:
    """What it was given it gives back."""
    driver = Driver()
    sensor = NoneSensor((RECORD,), "", successor=driver)
    sensor.close()
    assert driver.closed
