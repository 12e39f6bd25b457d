"""Who is on a device, as the driver tells it: contexts, MPS clients, MIG devices, utilisation."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.sensors.nvml import NvmlSensor, processes
from flopmeter_agent.sensors.nvml.clocks import EMPTY_ANSWERS
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import DeviceProcess
from support.fake_nvml import FakeDriver, instance_of, uuid_of
from support.manual_clock import ManualClock

NOT_SUPPORTED, NO_PERMISSION, GPU_IS_LOST = 3, 4, 15
COMPUTE, MPS = (
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
)


class Node:
    """A scripted device and the sensor on it."""

    def __init__(self, folder: Path, *, ask: bool = True) -> None:
        self.driver = FakeDriver(folder)
        self.clock = ManualClock()
        self.sensor = NvmlSensor(
            "n1",
            self.clock,
            library_path=self.driver.library,
            pause=lambda _: None,
            ask_processes=ask,
        )
        self.sensor.devices()

    def listed(self) -> tuple[DeviceProcess, ...] | None:
        """The processes at a reading; None where the driver does not tell."""
        self.clock.advance(1)
        return self.sensor.read().processes.get(uuid_of(0))

    def close(self) -> None:
        """Stop."""
        self.sensor.close()
        self.driver.close()


@pytest.fixture
def node(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A device nobody is on."""
    made = Node(tmp_path)
    yield made
    made.close()


def test_contexts(node: Node) -> None:
    """Processes with a context are listed; nobody is not the same as not told."""
    assert node.listed() == ()
    node.driver.set("gpu0.processes", "11 12")
    assert node.listed() == (DeviceProcess(11), DeviceProcess(12))


def test_mps(node: Node) -> None:
    """Clients are marked, and one in both lists is one client."""
    node.listed()
    assert node.driver.calls(MPS) == 0  # without a context there is no server
    node.driver.update({"gpu0.processes": "10 11", "gpu0.mps": "11 12"})
    assert node.listed() == (
        DeviceProcess(10),
        DeviceProcess(11, mps=True),
        DeviceProcess(12, mps=True),
    )


def test_utilisation(node: Node) -> None:
    """Where two are on a device it is told who worked since the reading before, at the most."""
    node.driver.update({"gpu0.processes": "11 12", "gpu0.process_busy": "5:11:30 6:11:70 6:99:50"})
    assert node.listed() == (DeviceProcess(11, busy_percent=70), DeviceProcess(12, busy_percent=0))
    # Nothing newer: nobody knows, which is not "nobody worked".
    assert node.listed() == (DeviceProcess(11), DeviceProcess(12))
    node.driver.set("gpu0.process_busy", "6:11:70 7:12:101 8:12:1")
    assert node.listed() == (DeviceProcess(11, busy_percent=0), DeviceProcess(12, busy_percent=1))


def test_utilisation_that_cannot_be(node: Node) -> None:
    """Samples above 100 % alone tell of nobody that it did not work."""
    node.driver.update({"gpu0.processes": "11 12", "gpu0.process_busy": "5:11:101 6:12:4294967295"})
    assert node.listed() == (DeviceProcess(11), DeviceProcess(12))


def test_more_than_are_told_apart(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of both lists are kept, and no more: a crowd costs a bounded share of memory."""
    monkeypatch.setattr(processes, "MAXIMUM_LISTED", 3)
    node.driver.update({"gpu0.processes": "11 12", "gpu0.mps": "13 14 15"})
    assert node.listed() == (
        DeviceProcess(11),
        DeviceProcess(12),
        DeviceProcess(13, mps=True),
    )


def test_alone_is_not_asked_for_utilisation(node: Node) -> None:
    """One process has all the work; the driver is spared."""
    node.driver.set("gpu0.processes", "11")
    node.listed()
    assert node.driver.calls("nvmlDeviceGetProcessUtilization") == 0


def divide(node: Node, *numbers: int) -> None:
    """Switch the device to MIG mode, with these GPU instances."""
    for place, number in enumerate(numbers):
        node.driver.set(f"gpu0.mig.{place}", instance_of(number))
    node.driver.set("gpu0.mig", "1")
    with pytest.raises(SensorError):
        node.listed()  # its mode was switched: it is probed anew
    node.clock.advance(60)
    node.sensor.devices()


def test_mig(node: Node) -> None:
    """In MIG mode each MIG device tells its own, and the GPU as a whole is not needed."""
    node.driver.update({"gpu0.gi3.processes": "11", "gpu0.gi5.mps": "12"})
    divide(node, 3, 5)
    assert node.listed() == (
        DeviceProcess(11, instance=3),
        DeviceProcess(12, instance=5, mps=True),
    )


def test_driver_that_does_not_tell(node: Node) -> None:
    """A refusal costs the list and not the reading, and may end."""
    node.driver.update({f"gpu0.error.{call}": NO_PERMISSION for call in (COMPUTE, MPS)})
    assert node.listed() is None
    node.driver.update({f"gpu0.error.{MPS}": None, "gpu0.mps": "12"})
    assert node.listed() == (DeviceProcess(12, mps=True),)


def test_old_driver(node: Node) -> None:
    """A call that does not exist is not made again."""
    node.driver.update({f"gpu0.error.{COMPUTE}": NOT_SUPPORTED, f"gpu0.error.{MPS}": NOT_SUPPORTED})
    node.listed()
    calls = node.driver.calls(COMPUTE)
    node.listed()
    assert node.driver.calls(COMPUTE) == calls


def test_lost_device(node: Node) -> None:
    """A device that is lost while it is asked is lost."""
    node.driver.set(f"gpu0.error.{COMPUTE}", GPU_IS_LOST)
    with pytest.raises(SensorError, match="lost"):
        node.listed()


def test_lost_device_in_mig_mode(node: Node) -> None:
    """A loss that a MIG device's list tells first is one of the whole device, not an empty list."""
    divide(node, 3, 5)
    node.driver.set(f"gpu0.error.{COMPUTE}", GPU_IS_LOST)
    with pytest.raises(SensorError, match="lost"):
        node.listed()
    node.driver.set(f"gpu0.error.{COMPUTE}", NO_PERMISSION)
    node.clock.advance(60)
    node.sensor.devices()
    assert node.listed() is None


def test_not_asked(tmp_path: Path) -> None:
    """A sensor that need not know asks nobody."""
    node = Node(tmp_path, ask=False)
    node.driver.set("gpu0.processes", "11")
    assert node.listed() is None
    assert node.driver.calls(COMPUTE) == 0
    node.close()


def test_utilisation_after_a_wall_clock_was_set_back(node: Node) -> None:
    """Nobody is told apart until samples that are stamped lower are found again."""
    node.driver.update({"gpu0.processes": "11 12", "gpu0.process_busy": "9005:11:30"})
    node.listed()
    node.driver.set("gpu0.process_busy", "5:12:70")
    unknown = (DeviceProcess(11), DeviceProcess(12))
    for _ in range(EMPTY_ANSWERS + 1):
        assert node.listed() == unknown
    node.driver.set("gpu0.process_busy", "5:12:70 6:11:50")
    assert node.listed() == (
        DeviceProcess(11, busy_percent=50),
        DeviceProcess(12, busy_percent=0),
    )
