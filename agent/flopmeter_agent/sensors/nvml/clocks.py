"""The SM clock of a period: the mean of what the driver buffered, else the clock of the instant.

Owns: the stamp of the newest buffered sample it has seen, in the driver's own time.
May touch: two driver calls for one device handle.
Called by device.
"""

from __future__ import annotations

from typing import Any

import pynvml

from flopmeter_agent.sensors.nvml.driver import Query, count_or_none

_SM = 1  # NVML_CLOCK_SM
_PROCESSOR_CLOCK_SAMPLES = 5  # NVML_PROCESSOR_CLK_SAMPLES

EMPTY_ANSWERS = 30
"""After so many with nothing newer than what was seen, all is asked for again. Samples are stamped
with a CPU time in microseconds, which is the wall clock's: one that was set back would have nothing
newer for as long as it was set back."""

# nvmlValueType_t: which member of the union a sample has.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

# No GPU runs an SM at 10 GHz: above is a blank, and 0 is a sample taken while powered down.
_CLOCK_MHZ_END = 10_000


class SmClock:
    """The SM clock of one device."""

    def __init__(self, handle: Any) -> None:
        """Remember the device."""
        self._now = Query(pynvml.nvmlDeviceGetClockInfo, handle, _SM)
        self._buffered = Query(pynvml.nvmlDeviceGetSamples, handle, _PROCESSOR_CLOCK_SAMPLES)
        self._newest_us = 0
        self._empty = 0

    def khz(self) -> int | None:
        """The mean clock since the last call, in kHz; None where the device gives none.

        Raises:
            DriverError: the device is gone.
        """
        mean_khz = self._mean_khz()
        if mean_khz is not None:
            return mean_khz
        clock_mhz = count_or_none(self._now())
        return clock_mhz * 1_000 if clock_mhz and clock_mhz < _CLOCK_MHZ_END else None

    def _mean_khz(self) -> int | None:
        since_us = self._newest_us
        # NOT_FOUND (nothing newer: the device idles) reads as None, like a driver without it.
        answer = self._buffered(since_us)
        if answer is None:
            self._empty += 1
            if self._empty >= EMPTY_ANSWERS:
                self._empty = self._newest_us = 0
            return None
        self._empty = 0
        kind, samples = answer
        self._newest_us = max([since_us, *(sample.timeStamp for sample in samples)])
        if since_us == 0 or not 0 <= kind < len(_MEMBERS):
            # The first answer is the whole buffer, most of it from before the period.
            return None
        clocks_mhz = [getattr(sample.sampleValue, _MEMBERS[kind]) for sample in samples]
        possible_mhz = [mhz for mhz in clocks_mhz if 0 < mhz < _CLOCK_MHZ_END]
        return int(sum(possible_mhz) * 1_000 // len(possible_mhz)) if possible_mhz else None
