"""Sensor nvml on a scripted driver and a clock moved by hand.

Owns: the pytest fixture that starts one and checks that everything is given back at the end.
May touch: what support.fake_nvml touches.
Called by the tests of the sensor, which import the fixture by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.increments import Increment, increment
from flopmeter_core.readings import Reading
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver
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
