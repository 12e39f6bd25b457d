"""The NVIDIA sensor that keeps what the driver said beside each reading, for recordings.

Owns: which further metrics and calls are recorded, and their names.
May touch: the driver's calls for the devices of the sensor, and the clock it was given.
Called by lab.recorder. The reading itself is made by the production code, unchanged; what is
kept beside it are GPM's own answers of that very reading, and single calls made after it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from flopmeter_agent.sensors.nvml.device import NvmlDevice
from flopmeter_agent.sensors.nvml.sensor import NvmlSensor
from flopmeter_core.readings import Reading
from flopmeter_proto.daemon.clock import Clock

# Beside the ids of gpm.py (nvml.h of R615): graphics engine 1, occupancy 3, DRAM bandwidth 10,
# PCIe 20 and 21, NVLink totals 60 and 61, PCIe since boot 255 and 256.
_MORE_METRICS = (1, 3, 10, 20, 21, 60, 61, 255, 256)

_SM_CLOCK, _MEMORY_CLOCK = 1, 2  # NVML_CLOCK_SM, NVML_CLOCK_MEM
_GPU_SENSOR = 0  # NVML_TEMPERATURE_GPU
_POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT

Call = Callable[[Any], int]


def _instant_power_mw(handle: Any) -> int:
    (field,) = pynvml.nvmlDeviceGetFieldValues(handle, [_POWER_INSTANT])
    if field.nvmlReturn != 0:
        raise pynvml.NVMLError(field.nvmlReturn)
    return int(field.value.uiVal)


CALLS: Mapping[str, Call] = {
    "energy_mj": lambda handle: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
    "power_mw": lambda handle: int(pynvml.nvmlDeviceGetPowerUsage(handle)),
    "power_instant_mw": _instant_power_mw,
    "busy_percent": lambda handle: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
    "sm_clock_mhz": lambda handle: int(pynvml.nvmlDeviceGetClockInfo(handle, _SM_CLOCK)),
    "memory_clock_mhz": lambda handle: int(pynvml.nvmlDeviceGetClockInfo(handle, _MEMORY_CLOCK)),
    "temperature_c": lambda handle: int(pynvml.nvmlDeviceGetTemperature(handle, _GPU_SENSOR)),
    "clock_event_reasons": lambda handle: int(
        pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    ),
}
"""Name -> one call of the driver; a call that fails leaves its error code."""


class RawDevice(NvmlDevice):
    """A device that keeps what it was told."""

    more_metrics = _MORE_METRICS

    def __init__(self, handle: Any, node: str, driver_version: str, clock: Clock) -> None:
        """Read who the device is.

        Raises:
            DriverError: it cannot be identified.
        """
        super().__init__(handle, node, driver_version, clock)
        self.told: Mapping[str, int] = {}

    def read(self) -> Reading:
        """Read the device once, then ask it the rest.

        Raises:
            DriverError: as for any reading.
        """
        self.told = {}
        started_ns = self._clock.monotonic_ns()
        reading = super().read()
        told = {"read_ns": self._clock.monotonic_ns() - started_ns, **self._gpm_answers()}
        for name, call in CALLS.items():
            told |= self._asked(name, call)
        self.told = told
        return reading

    def _gpm_answers(self) -> dict[str, int]:
        answers = self._gpm.answers() if self._gpm is not None else {}
        told = {}
        for metric_id, (code, double) in answers.items():
            told[f"gpm_return.{metric_id}"] = code
            if code == 0:
                (told[f"gpm.{metric_id}"],) = struct.unpack("<q", struct.pack("<d", double))
        return told

    def _asked(self, name: str, call: Call) -> dict[str, int]:
        started_ns = self._clock.monotonic_ns()
        told: dict[str, int] = {}
        try:
            told[f"nvml.{name}"] = call(self._handle)
        except pynvml.NVMLError as error:
            told[f"nvml_error.{name}"] = error.value
        told[f"nvml_ns.{name}"] = self._clock.monotonic_ns() - started_ns
        return told


class RawNvmlSensor(NvmlSensor):
    """The sensor `nvml` with what its devices were told beside each reading."""

    device_type = RawDevice

    def told(self) -> Mapping[str, Mapping[str, int]]:
        """Device -> column -> what the driver said at the last reading."""
        return {
            device: handled.told
            for device, handled in self._devices.items()
            if isinstance(handled, RawDevice)
        }

    @property
    def driver_version(self) -> str:
        """Of the open driver; empty before it was opened."""
        return self._driver_version
