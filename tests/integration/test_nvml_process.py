"""Sensor nvml in a process of its own, where the dynamic linker finds the driver or does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.fake_nvml import FakeDriver, uuid_of

PROGRAM = """
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.errors import SensorError
from flopmeter_proto.daemon.clock import SystemClock
sensor = NvmlSensor("n1", SystemClock())
try:
    sensor.devices()
    sensor.read()
    for reading in sensor.read().readings:
        print(reading.device, reading.evidence.level, sensor.remarks[reading.device])
except SensorError as error:
    print(error)
sensor.close()
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    """A scripted driver with two devices."""
    made = FakeDriver(tmp_path, devices=2)
    yield made
    made.close()


def output(environment: Mapping[str, str]) -> str:
    """What the program prints; it must end by itself and say nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_found_by_the_linker(driver: FakeDriver) -> None:
    """Without a path the driver is found as any library is."""
    assert output(driver.environment()).startswith(f"{uuid_of(0)} gpm ")


def test_driver_without_gpm_functions(driver: FakeDriver) -> None:
    """A library from before GPM lacks its functions: the device is read on the busy rung."""
    line = output(driver.environment(without_gpm=True))
    assert line.startswith(f"{uuid_of(0)} busy no GPM counters: ")
    assert "Function Not Found" in line


def test_no_library(tmp_path: Path) -> None:
    """Without a library there is one sentence that says what to install."""
    # An empty file ends the linker's search, also on a machine that has the driver.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    line = output(os.environ | {"LD_LIBRARY_PATH": str(tmp_path)})
    assert "libnvidia-ml.so.1 was not found: install the NVIDIA driver" in line
    assert "\n" not in line


def test_stuck_call_does_not_keep_the_process(driver: FakeDriver) -> None:
    """A process whose driver call never returns can still end."""
    driver.set("gpu1.sleep_ms.nvmlDeviceGetClockInfo", 3_600_000)
    assert output(driver.environment()).startswith(f"{uuid_of(0)} gpm ")
