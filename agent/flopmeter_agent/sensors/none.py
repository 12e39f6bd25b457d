"""Sensor ``none``: accelerators that no driver works for.

Owns: saying that these devices exist and that nothing is known of their time.
May touch: the sensor it waits for, and nothing else.
Called by the loop; chosen by table where an accelerator is, or was, on the PCI bus and no driver
works. Their time stays unobserved, which is not zero. As soon as the driver's own sensor can list
devices this one steps aside for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopmeter_agent.sensors.base import Failure, Readout, Sensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError


class NoneSensor:
    """Devices without readings, until a driver appears."""

    def __init__(
        self, records: Sequence[DeviceRecord], reason: str, *, successor: Sensor | None = None
    ) -> None:
        """Wait.

        Args:
            records: the devices that are known to exist; may be empty.
            reason: why nothing can be read of them, as the end of a sentence.
            successor: the sensor to step aside for; owned and closed by this one. It decides
                by itself how often the driver is tried.
        """
        self._records = tuple(records)
        self._reason = reason
        self._successor = successor
        self._stepped_aside = False
        self._closed = False

    @property
    def name(self) -> str:
        """``none``, or the successor's name once it reads."""
        return self._successor.name if self._stepped_aside and self._successor else "none"

    @property
    def simulated(self) -> bool:
        """Nothing here is made up."""
        return False

    def devices(self) -> Sequence[DeviceRecord]:
        """The devices without a driver, or what the driver says as soon as there is one.

        Raises:
            SensorError: no device is known, or the sensor is closed.
        """
        if self._closed:
            raise SensorError("the sensor none is closed")
        if self._successor is not None:
            try:
                records = self._successor.devices()
            except SensorError as error:
                if self._stepped_aside:
                    raise
                self._reason = str(error)
            else:
                self._stepped_aside = True
                return records
        if not self._records:
            raise SensorError(f"no working driver: {self._reason}")
        return self._records

    def read(self) -> Readout:
        """No reading: each device is a failure with the reason.

        Raises:
            SensorError: no device is known, or the sensor is closed.
        """
        if self._closed:
            raise SensorError("the sensor none is closed")
        if self._stepped_aside and self._successor is not None:
            return self._successor.read()
        if not self._records:
            raise SensorError(f"no working driver: {self._reason}")
        reason = f"no working driver: {self._reason}"
        return Readout((), tuple(Failure(record.device, reason) for record in self._records))

    def close(self) -> None:
        """Close the successor too."""
        self._closed = True
        if self._successor is not None:
            self._successor.close()
