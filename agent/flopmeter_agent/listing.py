"""Which devices there are now, as the sensor lists them.

Owns: when they are listed again, and what is said once of a record or a failure.
May touch: the sensor it is given; no clock, no lock.
Called by the loop, which keeps what is listed under its own lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from flopmeter_agent.counters import LoopCounters
from flopmeter_agent.sensors.base import Sensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.suspicion import Check
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

DEVICES_REFRESH_NS = 60 * NS_PER_S
"""How often devices are listed again; a failed reading lists them at once."""


MAXIMUM_LOOKED_UP = 1_024
"""Records remembered as looked up; of more, only those of devices there are."""


class DeviceListing:
    """The devices of a node.

    Attributes:
        current: the record of each device, as it was listed last.
    """

    def __init__(
        self,
        sensor: Sensor,
        counters: LoopCounters,
        contradiction: Callable[[DeviceRecord], str],
    ) -> None:
        """List nothing yet.

        Args:
            sensor: lists the devices.
            counters: counts failures and contradictions.
            contradiction: what a record says otherwise than the device table; "" where nothing.
        """
        self.current: Mapping[str, DeviceRecord] = {}
        self._sensor = sensor
        self._counters = counters
        self._contradiction = contradiction
        self._looked_up: set[str] = set()
        self._listed_ns: int | None = None

    def again(self) -> None:
        """List at the next occasion."""
        self._listed_ns = None

    def refreshed(self, now_ns: int) -> Sequence[DeviceRecord] | None:
        """The devices, where it is time to list them and they can be."""
        listed_ns = self._listed_ns
        if listed_ns is not None and 0 <= now_ns - listed_ns < DEVICES_REFRESH_NS:
            return None
        try:
            records = self._sensor.devices()
        except SensorError as error:
            self.note_failure(self._sensor.name, str(error))
            return None
        self._listed_ns = now_ns
        for record in records:
            self._look_up(record)
        if len(self._looked_up) > MAXIMUM_LOOKED_UP:
            self._looked_up.intersection_update(record.record_id for record in records)
        return records

    def note_failure(self, device: str, reason: str) -> None:
        """Count a device that cannot be read, say it where it is news, and list again."""
        self._counters.read_failures += 1
        self._listed_ns = None
        if self._counters.failures.get(device) != reason:
            self._counters.failures[device] = reason
            logger.warning(
                "a device cannot be read; its time is unobserved",
                extra=fields(device=device, reason=reason),
            )

    def _look_up(self, record: DeviceRecord) -> None:
        """Say once of a record what the device table says otherwise."""
        if record.record_id in self._looked_up:
            return
        self._looked_up.add(record.record_id)
        reason = self._contradiction(record)
        if reason:
            self._counters.suspects.counts[Check.TABLE] += 1
            logger.warning(
                "a device contradicts the device table",
                extra=fields(device=record.device, reason=reason),
            )
