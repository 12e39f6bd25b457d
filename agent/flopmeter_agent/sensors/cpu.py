"""Sensor ``cpu``: this host's processor drives one simulated accelerator.

Owns: turning the host's CPU utilisation into cumulative cycles of a made-up device.
May touch: /proc/stat (reading) and the clock it was given.
Called by the loop; chosen by table only where no accelerator is or ever was, so that flopmeter can
be tried on any machine. Everything it says is marked simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flopmeter_agent.sensors.base import Readout
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import PPM
from flopmeter_proto.daemon.clock import Clock

PROC_STAT = Path("/proc/stat")

PART = "h100-sxm5-80gb"
"""What the device is made up as; SMs and clocks as in the device table's row of this name."""

SM_COUNT = 132
MAX_SM_CLOCK_MHZ = 1980
CLOCK_KHZ = 1_830_000

TENSOR_SHARE_PPM = 400_000
"""Share of the made-up device's active cycles in which its tensor cores are active: an assumption
(about what training of large language models reaches), never a measurement."""

# user, nice, system, idle, iowait, irq, softirq, steal: the guest columns after them are part of
# user and nice already (proc_stat(5)).
_COLUMNS = 8
_IDLE_COLUMNS = (3, 4)

# ppm x SMs x kHz x ns = 10^-6 x 10^3 x 10^-9 = 10^-12 cycles.
_SUBUNITS_PER_CYCLE = 10**12


class CpuSensor:
    """One simulated device that is as busy as this host's processor."""

    name = "cpu"
    simulated = True

    def __init__(self, node: str, clock: Clock, *, stat_path: Path = PROC_STAT) -> None:
        """Start at 0 cycles.

        Args:
            node: the node's name.
            clock: stamps the readings.
            stat_path: the kernel's CPU times.
        """
        self._clock = clock
        self._stat_path = stat_path
        self._before_ns = clock.monotonic_ns()
        self._before: tuple[int, int] | None = None
        self._busy_ppm = 0
        self._elapsed = 0
        self._active = 0
        self._closed = False
        self._record = DeviceRecord(
            node=node,
            device=f"SIM-CPU-{node}",
            vendor="nvidia",
            product_name="simulated accelerator driven by this host's processor",
            part=PART,
            sm_count=SM_COUNT,
            max_sm_clock_mhz=MAX_SM_CLOCK_MHZ,
            driver_version="simulated",
            simulated=True,
        )

    def devices(self) -> Sequence[DeviceRecord]:
        """The one device.

        Raises:
            SensorError: the sensor is closed.
        """
        self._check_open()
        return (self._record,)

    def read(self) -> Readout:
        """Add the cycles since the last reading: utilisation x SMs x clock x time.

        Raises:
            SensorError: the processor's times cannot be read, or the sensor is closed.
        """
        self._check_open()
        times = self._times()
        now_ns, boottime_ns = self._clock.monotonic_ns(), self._clock.boottime_ns()
        if self._before is not None:
            busy, total = (now - then for now, then in zip(times, self._before, strict=True))
            # Within one tick of the kernel's clock nothing new is known, and the iowait column
            # may go back: the share is kept, and held between 0 and 1.
            if total > 0:
                self._busy_ppm = min(PPM, max(0, busy * PPM // total))
        if self._before is None or times[1] > self._before[1]:
            self._before = times
        elapsed = SM_COUNT * CLOCK_KHZ * max(0, now_ns - self._before_ns)
        self._before_ns = now_ns
        self._elapsed += elapsed * PPM
        self._active += elapsed * self._busy_ppm
        tensor = self._active * TENSOR_SHARE_PPM // PPM // _SUBUNITS_PER_CYCLE
        reading = Reading(
            device=self._record.device,
            evidence=Evidence.CYCLES,
            monotonic_ns=now_ns,
            boottime_ns=boottime_ns,
            cycles={
                Component.SM_ELAPSED_MEGACYCLES: self._elapsed // _SUBUNITS_PER_CYCLE,
                Component.SM_ACTIVE_MEGACYCLES: self._active // _SUBUNITS_PER_CYCLE,
                Component.TENSOR_MEGACYCLES: tensor,
                Component.HMMA_MEGACYCLES: tensor,
                Component.IMMA_MEGACYCLES: 0,
            },
            clock_khz=CLOCK_KHZ,
        )
        return Readout((reading,))

    def close(self) -> None:
        """Nothing to release."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise SensorError("the sensor cpu is closed")

    def _times(self) -> tuple[int, int]:
        """Busy and total time of all processors since boot, in the kernel's ticks."""
        try:
            with self._stat_path.open() as stat:
                label, *columns = stat.readline().split()
            ticks = [int(column) for column in columns[:_COLUMNS]]
        except (OSError, ValueError) as error:
            raise SensorError(
                f"the processor's times cannot be read from {self._stat_path} ({error}); "
                "sensor cpu needs a Linux host with /proc"
            ) from error
        if label != "cpu" or len(ticks) <= max(_IDLE_COLUMNS):
            raise SensorError(f"{self._stat_path} does not start with the times of all processors")
        total = sum(ticks)
        return total - sum(ticks[column] for column in _IDLE_COLUMNS), total
