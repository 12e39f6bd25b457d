"""What every sensor offers the agent's loop.

Owns: the Sensor protocol and the shape of one round of readings.
May touch: nothing; definitions only.
Called by the loop; implemented by one module a sensor, listed in sensors.table.
A sensor converts to our units at once and reports what it could not read; success, failure and
duration are counted by the loop, never by a sensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import NamedTuple, Protocol, runtime_checkable

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.readings import DeviceProcess, Reading
from flopmeter_core.suspicion import Suspicion
from flopmeter_core.values import value_class


class Failure(NamedTuple):
    """One device that could not be read this time; its time stays unobserved."""

    device: str
    reason: str


@value_class(frozen=True, slots=True)
class Readout:
    """One round over all devices. A device in neither of the first two had nothing to say.

    `suspicions` is what the sensor itself left out as unbelievable; it is counted and logged by
    the loop, like the doubts the loop finds in the readings. `processes` are those the driver
    lists on a GPU at its reading; a GPU that is not in it could not be asked, which is not "none".
    """

    readings: tuple[Reading, ...]
    failures: tuple[Failure, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    processes: Mapping[str, tuple[DeviceProcess, ...]] = field(default_factory=dict)


class Baseline(NamedTuple):
    """The last reading of a device, and who the device was: what a difference is taken from."""

    record: DeviceRecord
    reading: Reading


class Sensor(Protocol):
    """Reads the devices of one node."""

    @property
    def name(self) -> str:
        """The name used with ``--sensor``."""

    @property
    def simulated(self) -> bool:
        """Whether readings are made up."""

    def devices(self) -> Sequence[DeviceRecord]:
        """The devices as they are now; may change after a hot-plug, reset or new driver.

        Raises:
            SensorError: no device can be listed at all.
        """

    def read(self) -> Readout:
        """One round of readings, stamped with the clock the sensor was given.

        Raises:
            SensorError: nothing can be read at all; the loop retries at the next period.
        """

    def close(self) -> None:
        """Release the driver; the sensor is not used again."""


@runtime_checkable
class ResumingSensor(Protocol):
    """A sensor whose devices have counters that outlive the agent."""

    def resume(self, baselines: Mapping[str, Baseline]) -> None:
        """Take the last readings of an earlier agent of the same boot, by device.

        Called before anything else, so that the first reading can continue the counters.
        """
