"""One NVIDIA device: who it is, which rung it can be read on, and one reading of it.

Owns: the device's record, its live probe, and the choice of evidence for each reading.
May touch: the driver's calls for one handle, and the clock it was given.
Called by sensor, always from one thread at a time.

The rung is chosen for each reading, from what that reading has: cumulative cycles, GPM intervals,
utilisation, energy, power. So a counter that fails for one period costs that period its precision
and nothing else. docs/estimation.md has the ladder.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pynvml

from flopmeter_agent.sensors.base import Baseline
from flopmeter_agent.sensors.nvml.clocks import SmClock
from flopmeter_agent.sensors.nvml.driver import DriverError, Query, ask, count_or_none
from flopmeter_agent.sensors.nvml.gpm import (
    CLASSES,
    CUMULATIVE,
    INTERVAL,
    GpmSampler,
    activity_ppm,
    raw_cycles,
)
from flopmeter_agent.sensors.nvml.normalise import Normaliser
from flopmeter_agent.sensors.nvml.processes import ProcessList
from flopmeter_agent.sensors.nvml.slices import Slices
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.readings import DeviceProcess, Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import PPM
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

_log = logging.getLogger(__name__)

_SM_CLOCK = 1  # NVML_CLOCK_SM
# From here on it is no count and no clock of a GPU: the largest have 200 SMs, none runs at 10 GHz.
_SM_COUNT_END = 1_024
_CLOCK_MHZ_END = 10_000
_VGPU_GUEST = 2  # NVML_GPU_VIRTUALIZATION_MODE_VGPU
_BYTES_PER_MIB = 1 << 20
_PPM_PER_PERCENT = PPM // 100

# CUDA cores an SM: 64 on compute capability 6.0, 7.x and 8.0, else 128 since Maxwell (5.x); source:
# CUDA C++ Programming Guide, "Compute Capabilities". A capability that is not here has no SM count.
_CORES_PER_SM: Mapping[int, int] = MappingProxyType(
    {5: 128, 6: 128, 7: 64, 8: 128, 9: 128, 10: 128, 11: 128, 12: 128}
)
_CORES_PER_SM_BY_MINOR: Mapping[tuple[int, int], int] = MappingProxyType({(6, 0): 64, (8, 0): 64})

# A counter that shows no activity while this share of the window had kernels is not believed.
_BUSY_AGAINST_SILENCE_PERCENT = 50

_BEFORE_R595 = "the driver gives no cumulative counters (branch R595 and newer do)"


@dataclass(slots=True)
class _Sampled:
    """What one poll got, before the evidence is chosen."""

    monotonic_ns: int
    boottime_ns: int
    activity: dict[Component, int] = field(default_factory=dict)
    raw: dict[Component, int] = field(default_factory=dict)
    remark: str = ""


class NvmlDevice:
    """One device, from its handle on; not used again after the driver was closed.

    Attributes:
        more_metrics: GPM ids that are asked for beside those the readings need.
        ask_processes: whether each reading asks who is on the device.
        processes: who was on the device at the last reading; None where the driver does not tell.
    """

    more_metrics: tuple[int, ...] = ()
    ask_processes = False

    def __init__(self, handle: Any, node: str, driver_version: str, clock: Clock) -> None:
        """Read who the device is.

        Raises:
            DriverError: it cannot be identified (its UUID is its identity).
        """
        self._clock = clock
        self.address = ""
        self.record = self._identify(handle, node, driver_version)
        self._handle = handle
        self._sm_clock = SmClock(handle)
        self._energy = Query(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        self._power = Query(pynvml.nvmlDeviceGetPowerUsage, handle)
        self._busy = Query(pynvml.nvmlDeviceGetUtilizationRates, handle)
        self._gpm: GpmSampler | None = None
        self._required: frozenset[Component] = frozenset()
        self._cumulative: frozenset[Component] = frozenset()
        self._unit = Normaliser(self.record.sm_count, self.record.max_sm_clock_mhz)
        self._counted: Mapping[Component, int] = {}
        self._resumed_ns: int | None = None
        self._older_ns: int | None = None
        self._read_ns: int | None = None
        self._dropped = False
        self._before: Baseline | None = None
        self.closed = False
        self._evidence: Evidence | None = None
        self._no_gpm = ""
        # Other than _no_gpm of one that was refused for the device as a whole.
        self._no_slices = ""
        self.slices = Slices(handle)
        self.remark = ""
        self.processes: tuple[DeviceProcess, ...] | None = None
        self._listed = ProcessList(handle)

    def start(self) -> None:
        """Begin the live probe: virtualisation mode, GPM support, first sample.

        Raises:
            DriverError: the device is gone.
        """
        mode = Query(pynvml.nvmlDeviceGetVirtualizationMode, self._handle)()
        try:
            if mode == _VGPU_GUEST:
                self._no_gpm = "a vGPU guest has no GPM counters"
            elif not self.record.sm_count:
                self._no_gpm = "the SM count is not known, so activity cannot be made cycles"
            elif not ask(pynvml.nvmlGpmQueryDeviceSupport, self._handle).isSupportedDevice:
                self._no_gpm = "the device has no GPM counters"
            self._no_slices = self._no_gpm
            if not self._no_gpm:
                self._gpm = GpmSampler(self._handle, more=self.more_metrics)
        except DriverError as error:
            if error.fatal:
                raise
            self._no_gpm = f"no GPM counters: {error}"

    def probe(self) -> None:
        """End the live probe, a moment after `start`: second sample, working metrics.

        Raises:
            DriverError: the device is gone.
        """
        working: frozenset[int] = frozenset()
        if self._gpm is not None:
            try:
                working = self._gpm.probe()
            except DriverError as error:
                self._drop_gpm()
                if error.fatal:
                    raise
                self._no_gpm = f"no GPM counters: {error}"
        interval = {INTERVAL[metric_id] for metric_id in working if metric_id in INTERVAL}
        self._cumulative = frozenset(
            CUMULATIVE[metric_id] for metric_id in working if metric_id in CUMULATIVE
        )
        tensor_classes = interval.issuperset(CLASSES)
        self._required = frozenset(
            {Component.TENSOR_MEGACYCLES, *(CLASSES if tensor_classes else ())}
        )
        if not self._cumulative >= self._required | {Component.SM_ELAPSED_MEGACYCLES}:
            self._cumulative = frozenset()
        if self._gpm is not None and Component.TENSOR_MEGACYCLES not in interval:
            self._drop_gpm()
            self._no_gpm = "no GPM counters: the driver gives no tensor activity"
        measures_energy = (
            count_or_none(self._energy()) is not None or count_or_none(self._power()) is not None
        )
        self.record = replace(
            self.record,
            energy_scope=EnergyScope.GPU if measures_energy else EnergyScope.NONE,
            tensor_classes=tensor_classes,
        )
        self.slices.sample(self.record, self._no_slices)

    def read(self) -> Reading:
        """Read the device once.

        Raises:
            DriverError: the device is gone, or answered nothing at all.
        """
        if self._dropped:
            self._dropped, self._read_ns = False, None
            self.resume(self._before)
        self.slices.sample(self.record, self._no_slices)
        sampled = self._sample()
        clock_khz = self._sm_clock.khz()
        energy_mj = count_or_none(self._energy())
        power_mw = count_or_none(self._power()) if energy_mj is None else None
        cycles = self._cycles(sampled, clock_khz)
        self._check_resumed(cycles, sampled.monotonic_ns)
        busy_ppm = None
        by_slices = self.slices.measure(
            self.record,
            since_ns=self._read_ns,
            monotonic_ns=sampled.monotonic_ns,
            boottime_ns=sampled.boottime_ns,
            clock_khz=clock_khz,
        )
        if by_slices is not None:
            # The work is in the instances' registers; time, energy and ceiling are in this one's.
            cycles, evidence = {}, Evidence.GPM
            sampled.activity, sampled.remark = by_slices, ""
        elif self._sees_work(sampled, cycles) and clock_khz is not None:
            same_counters = self._same_counters(cycles)
            evidence = Evidence.CYCLES if same_counters else Evidence.GPM
            if not same_counters:
                sampled.remark = self._unit.reason if self._cumulative else _BEFORE_R595
        else:
            sampled.remark = sampled.remark or self._no_gpm
            busy_ppm = self._busy_ppm()
            evidence = self._fallback(busy_ppm, clock_khz, energy_mj, power_mw)
        self._counted = cycles
        self._read_ns = sampled.monotonic_ns
        self._remember(evidence, sampled.remark)
        self.processes = self._listed.read(mig=self.slices.on) if self.ask_processes else None
        return Reading(
            device=self.record.device,
            evidence=evidence,
            monotonic_ns=sampled.monotonic_ns,
            boottime_ns=sampled.boottime_ns,
            cycles=cycles,
            counter_unit=self._unit.unit if cycles else None,
            energy_mj=energy_mj,
            activity_ppm=sampled.activity if evidence is Evidence.GPM else {},
            clock_khz=clock_khz,
            power_mw=power_mw,
            busy_ppm=busy_ppm,
        )

    @property
    def without_activity(self) -> str:
        """Why the probe found no activity counters (rungs cycles and gpm); "" where it did."""
        return self._no_gpm

    def resume(self, before: Baseline | None) -> None:
        """Go on from a reading that another process, or another handle of the device, took.

        The counters since boot outlive both, so that their difference is the work between. Not
        called while a reading is under way.
        """
        self._counted, self._resumed_ns = {}, None
        if before is None or before.record != self.record or not before.reading.counter_unit:
            return
        self._unit.resume(before.reading.counter_unit)
        self._counted, self._resumed_ns = before.reading.cycles, before.reading.monotonic_ns

    def drop(self, before: Baseline | None) -> None:
        """Take note that the reading under way is not used: the next one goes on from `before`."""
        self._before, self._dropped = before, True

    def close(self) -> None:
        """Free what the driver holds for this device."""
        self.closed = True
        self.slices.close()
        self._drop_gpm()

    def _identify(self, handle: Any, node: str, driver_version: str) -> DeviceRecord:
        pci = ask(pynvml.nvmlDeviceGetPciInfo, handle)
        self.address = bus_address(pci.busId)
        memory = Query(pynvml.nvmlDeviceGetMemoryInfo, handle)()
        return DeviceRecord(
            node=node,
            device=str(ask(pynvml.nvmlDeviceGetUUID, handle)),
            vendor="nvidia",
            product_name=str(Query(pynvml.nvmlDeviceGetName, handle)() or ""),
            pci_device_id=int(pci.pciDeviceId),
            sm_count=_sm_count(handle),
            max_sm_clock_mhz=_within(
                Query(pynvml.nvmlDeviceGetMaxClockInfo, handle, _SM_CLOCK)(), _CLOCK_MHZ_END
            ),
            memory_mib=memory.total // _BYTES_PER_MIB if memory is not None else 0,
            driver_version=driver_version,
        )

    def _sample(self) -> _Sampled:
        """Take GPM's counters where there are any, stamped as they are taken."""
        if self._gpm is None:
            return _Sampled(self._clock.monotonic_ns(), self._clock.boottime_ns())
        try:
            self._gpm.sample()
            sampled = _Sampled(self._clock.monotonic_ns(), self._clock.boottime_ns())
            metrics = self._gpm.metrics()
        except DriverError as error:
            if error.fatal:
                raise
            return _Sampled(
                self._clock.monotonic_ns(), self._clock.boottime_ns(), remark=str(error)
            )
        older_ns, self._older_ns = self._older_ns, sampled.monotonic_ns
        raw = raw_cycles(metrics) if self._cumulative else {}
        # A counter that is blank once would make the difference of the whole vector impossible.
        if raw.keys() >= self._cumulative:
            sampled.raw = raw
        activity = activity_ppm(metrics)
        if older_ns is None or older_ns != self._read_ns:
            # The mean of another stretch of time than the one since the reading before.
            sampled.remark = "GPM has no sample of the start of this period"
        elif activity.keys() >= self._required:
            sampled.activity = activity
        else:
            sampled.remark = "GPM gave no tensor activity this time"
        return sampled

    def _cycles(self, sampled: _Sampled, clock_khz: int | None) -> dict[Component, int]:
        """The cumulative counters in SM cycles, as soon as their unit is known."""
        if not sampled.raw:
            return {}
        self._unit.offer(
            monotonic_ns=sampled.monotonic_ns,
            raw=sampled.raw,
            clock_khz=clock_khz,
            tensor_ppm=sampled.activity.get(Component.TENSOR_MEGACYCLES),
        )
        return self._unit.sm_cycles(sampled.raw) if self._unit.known else {}

    def _same_counters(self, cycles: Mapping[Component, int]) -> bool:
        return bool(cycles) and cycles.keys() == self._counted.keys()

    def _check_resumed(self, cycles: Mapping[Component, int], monotonic_ns: int) -> None:
        """Let go of an earlier reading whose counters these cannot be."""
        since_ns, self._resumed_ns = self._resumed_ns, None
        if since_ns is None or not self._same_counters(cycles):
            return
        elapsed = Component.SM_ELAPSED_MEGACYCLES
        if not self._unit.continues(
            cycles[elapsed] - self._counted[elapsed], monotonic_ns - since_ns
        ):
            self._counted = {}

    def _sees_work(self, sampled: _Sampled, cycles: Mapping[Component, int]) -> bool:
        """Whether the counters of this poll can be believed.

        Counters have been seen to stay at 0 for weeks while kernels ran (dcgm-exporter issue
        662): no active SM at all and a busy device contradict each other, and zero loses.
        """
        active = Component.SM_ACTIVE_MEGACYCLES
        if sampled.activity:
            silent = not any(sampled.activity.values())
        elif self._same_counters(cycles):
            silent = cycles.get(active, 0) == self._counted.get(active, 0)
        else:
            return False
        if not silent:
            return True
        busy_ppm = self._busy_ppm()
        if busy_ppm is None or busy_ppm < _BUSY_AGAINST_SILENCE_PERCENT * _PPM_PER_PERCENT:
            return True
        sampled.remark = "counters suspect: no activity although kernels run"
        return False

    def _busy_ppm(self) -> int | None:
        shares = self._busy()
        percent = count_or_none(shares.gpu) if shares is not None else None
        if percent is None or not 0 <= percent <= 100:
            return None
        return percent * _PPM_PER_PERCENT

    def _fallback(
        self,
        busy_ppm: int | None,
        clock_khz: int | None,
        energy_mj: int | None,
        power_mw: int | None,
    ) -> Evidence:
        """The best rung below the counters that this poll has values for."""
        if busy_ppm is not None and clock_khz is not None:
            return Evidence.BUSY_SAMPLED
        if energy_mj is not None:
            return Evidence.ENERGY
        if power_mw is not None:
            return Evidence.POWER_SAMPLED
        queries = (self._busy, self._energy, self._power)
        if all(query.absent for query in queries):
            return Evidence.ALLOCATION
        # Not "does not exist" but "failed": nobody knows what the device does.
        reasons = [query.reason for query in queries if not query.absent and query.reason]
        raise DriverError("the device", -1, reasons[0] if reasons else "no value at all")

    def _remember(self, evidence: Evidence, remark: str) -> None:
        self.remark = "; ".join(part for part in (self.slices.note, remark) if part)
        if evidence is not self._evidence:
            _log.info(
                "evidence of a device changed",
                extra=fields(
                    device=self.record.device, evidence=evidence.level, reason=self.remark
                ),
            )
        self._evidence = evidence

    def _drop_gpm(self) -> None:
        if self._gpm is not None:
            self._gpm.close()
            self._gpm = None


def bus_address(raw: bytes | str) -> str:
    """An NVML bus id (eight digits of domain) as sysfs spells it (four): ``0000:1b:00.0``."""
    spelled = (raw.decode() if isinstance(raw, bytes) else raw).lower()
    domain, _, rest = spelled.partition(":")
    return f"{int(domain or '0', 16):04x}:{rest}"


def _sm_count(handle: Any) -> int:
    """SMs enabled on the device: CUDA cores by what its compute capability has in an SM."""
    cores = Query(pynvml.nvmlDeviceGetNumGpuCores, handle)()
    capability = Query(pynvml.nvmlDeviceGetCudaComputeCapability, handle)()
    if not cores or capability is None:
        return 0
    major, minor = capability
    per_sm = _CORES_PER_SM_BY_MINOR.get((major, minor), _CORES_PER_SM.get(major, 0))
    return _within(int(cores) // per_sm, _SM_COUNT_END) if per_sm else 0


def _within(stated: int | None, end: int) -> int:
    """A number below `end`; 0, which is "not said", of any other."""
    return stated if stated is not None and 0 < stated < end else 0
