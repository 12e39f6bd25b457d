"""The highest rung that works is chosen again at each hardware baseline.

Through the real binding on a scripted driver, as test_nvml; MIG switched on and off is in
test_nvml_mig.
"""

from __future__ import annotations

import pytest

from flopmeter_core.registers import Evidence
from support.fake_nvml import instance_of, uuid_of
from support.nvml_node import GPU_IS_LOST, SM_COUNT, Node, Start, start

__all__ = ["start"]

NO_PERMISSION = 4
UNINITIALIZED = 1
DRIVER_NOT_LOADED = 9
CLOCK_MHZ = 1_700

# What a driver with counters since boot answers, as the device is probed.
COUNTING = tuple((f"gpu0.gpm.{metric}", 0) for metric in (*range(248, 255), *range(257, 261)))


def lines(node: Node) -> dict[str, object]:
    """What a device that works without a pause says now, on a driver with counters since boot."""
    elapsed = node.clock.monotonic_ns() * CLOCK_MHZ * SM_COUNT // 1_000
    said: dict[str, object] = {f"gpu0.gpm.{n}": 0 for n in (251, 253, 254, 257, 258, 259, 260)}
    return said | {
        "gpu0.gpm.248": elapsed,
        **{f"gpu0.gpm.{n}": elapsed * 2 // 5 for n in (249, 250, 252)},
        **{f"gpu0.gpm.{n}": 40 for n in (2, 5, 7)},
        "gpu0.busy_percent": 100,
    }


def rung(node: Node, seconds: int, *, counted: bool = False) -> Evidence | None:
    """Read once a second, as the loop does; the rung of the last second, None without a reading."""
    found = None
    for _ in range(seconds):
        node.clock.advance(1)
        if counted:
            node.driver.update(lines(node))
        node.sensor.devices()
        try:
            readings = node.sensor.read().readings
        except Exception as error:
            assert "no NVIDIA device can be read" in str(error)
            readings = ()
        found = readings[0].evidence if readings else None
    return found


def test_permission_gained(start: Start) -> None:
    """GPM that was refused at the start is asked for again each minute, and then used."""
    node = start(
        ("gpu0.error.nvmlGpmSampleGet", NO_PERMISSION), ("gpu0.gpm.5", 40), ("gpu0.gpm.2", 40)
    )
    assert rung(node, 90) is Evidence.BUSY_SAMPLED
    assert "GPM" in node.sensor.without_activity[uuid_of(0)]
    opened = node.driver.calls("nvmlInitWithFlags")
    node.set("gpu0.error.nvmlGpmSampleGet", None)
    assert rung(node, 65) is Evidence.GPM
    assert node.sensor.without_activity[uuid_of(0)] == ""
    # Nobody else's readings were disturbed for it.
    assert node.driver.calls("nvmlInitWithFlags") == opened


def test_asking_again_costs_little(start: Start) -> None:
    """A device that has no GPM is asked once a minute, and samples are neither made nor kept."""
    node = start(("gpu0.gpm", 0), ("gpu0.busy_percent", 50))
    asked = node.driver.calls("nvmlGpmQueryDeviceSupport")
    handled = node.sensor._devices[uuid_of(0)]
    assert rung(node, 600) is Evidence.BUSY_SAMPLED
    assert node.sensor._devices[uuid_of(0)] is handled
    assert node.driver.calls("nvmlGpmQueryDeviceSupport") - asked <= 10
    assert node.driver.calls("nvmlGpmSampleAlloc") == 0


def test_permission_lost_and_gained(start: Start) -> None:
    """Without permission the next rung is read at once; with it the counters, from the start on."""
    node = start()
    assert rung(node, 5) is Evidence.GPM
    node.set("gpu0.error.nvmlGpmSampleGet", NO_PERMISSION)
    assert rung(node, 1) is Evidence.BUSY_SAMPLED
    assert "refuses it to this user" in node.sensor.remarks[uuid_of(0)]
    assert rung(node, 200) is Evidence.BUSY_SAMPLED
    node.set("gpu0.error.nvmlGpmSampleGet", None)
    assert rung(node, 2) is Evidence.GPM


@pytest.mark.parametrize("code", [UNINITIALIZED, DRIVER_NOT_LOADED])
def test_driver_restarted_with_counters(start: Start, code: int) -> None:
    """A newer driver that counts since boot is found out when it is there, and used."""
    node = start()
    assert rung(node, 5) is Evidence.GPM
    assert "R595" in node.sensor.remarks[uuid_of(0)]
    node.driver.update({"gpu0.error.*": code, "error.nvmlInitWithFlags": DRIVER_NOT_LOADED})
    assert rung(node, 30) is None
    node.driver.update(
        {"gpu0.error.*": None, "error.nvmlInitWithFlags": None, "driver": "595.45.04"}
    )
    assert rung(node, 60, counted=True) is Evidence.CYCLES
    assert node.sensor.devices()[0].driver_version == "595.45.04"


def test_driver_restarted_without_counters(start: Start) -> None:
    """An older driver, or one without GPM, is read on the best rung it has."""
    node = start(*COUNTING)
    assert rung(node, 6, counted=True) is Evidence.CYCLES
    node.driver.update({"gpu0.error.*": DRIVER_NOT_LOADED})
    node.driver.update({f"gpu0.gpm.{n}": None for n in range(248, 261)})
    assert rung(node, 2) is None
    node.set("gpu0.error.*", None)
    assert rung(node, 60) is Evidence.GPM
    node.driver.update({"gpu0.error.*": DRIVER_NOT_LOADED, "gpu0.gpm": 0})
    assert rung(node, 2) is None
    node.set("gpu0.error.*", None)
    assert rung(node, 1300) is Evidence.BUSY_SAMPLED


def test_fallen_off_and_returned(start: Start) -> None:
    """A GPU that comes back is on its highest rung with its first reading."""
    node = start(*COUNTING)
    assert rung(node, 6, counted=True) is Evidence.CYCLES
    node.set("gpu0.error.*", GPU_IS_LOST)
    assert rung(node, 30) is None
    node.set("gpu0.error.*", None)
    seen: set[Evidence | None] = set()
    for _ in range(60):
        seen.add(rung(node, 1, counted=True))
    assert seen == {None, Evidence.CYCLES}


def test_mig_switched(start: Start) -> None:
    """With MIG the instances are read, after it the counters since boot again."""
    node = start(*COUNTING)
    assert rung(node, 6, counted=True) is Evidence.CYCLES
    on: dict[str, object] = {"gpu0.mig": 1, "gpu0.mig.0": instance_of(1)}
    node.driver.update(on | {f"gpu0.gi1.gpm.{n}": 40 for n in (2, 5, 6, 7, 8, 9)})
    assert rung(node, 60, counted=True) is Evidence.GPM
    assert "1 of its instances" in node.sensor.remarks[uuid_of(0)]
    node.driver.update({"gpu0.mig": 0, "gpu0.mig.0": None})
    assert rung(node, 60, counted=True) is Evidence.CYCLES
