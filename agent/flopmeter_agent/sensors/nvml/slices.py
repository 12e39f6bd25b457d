"""The MIG instances of one device: which there are, and what each did in a period.

Owns: the instances' samplers and records, and whether a period was measured by instances.
May touch: the driver's calls for one device handle; takes no time itself.
Called by device, always from one thread at a time. docs/adr/0009-mig-instances.md has the rule.

A period is measured by its instances or by the physical GPU, never by both: all instances that
can run work gave their activity for the whole of it, or none is counted. Only interval activity
is read: it compares two samples, so an instance made anew under an old id starts from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pynvml

from flopmeter_agent.sensors.nvml.driver import DriverError, Query, ask
from flopmeter_agent.sensors.nvml.gpm import CLASSES, GpmSampler, activity_ppm
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.readings import Reading
from flopmeter_core.registers import INSTANCE_MARK, Component, Evidence

_MIG_ON = 1  # NVML_DEVICE_MIG_ENABLE
_NOT_FOUND = 6  # NVML_ERROR_NOT_FOUND: no MIG device has this place, or no compute instance

_REQUIRED = frozenset({Component.TENSOR_MEGACYCLES, *CLASSES})

Activity = Mapping[Component, int]


@dataclass(slots=True)
class _Found:
    """One GPU instance, as its compute instances tell of it."""

    number: int
    creation: str
    sm_count: int
    memory_mib: int
    slices: int
    computing_slices: int
    product_name: str


class _Slice:
    """One GPU instance that is sampled."""

    def __init__(self, handle: Any, record: DeviceRecord, number: int) -> None:
        self.record = record
        self._sampler = GpmSampler(handle, instance=number)
        self._found_now = True
        self._probed = False
        self._older = False
        self._sampled = False
        self._pending = False
        self.baseline_ns: int | None = None

    def sample(self) -> None:
        """Take the newer sample; the first one was taken when the instance was found.

        Raises:
            DriverError: it cannot be taken.
        """
        self._older, self._sampled = self._sampled, False
        if self._found_now:
            self._found_now = False
            return
        if self._probed:
            self._sampler.sample()
            self._pending = True
        else:
            self._sampler.probe()
            self._probed = True
        self._sampled = True

    def activity(self) -> dict[Component, int]:
        """Activity since the poll before; empty where that poll has no sample.

        Raises:
            DriverError: the samples cannot be compared, or say nothing of tensor work.
        """
        if not self._pending:
            return {}
        self._pending = False
        try:
            activity = activity_ppm(self._sampler.metrics())
        except DriverError:
            self._sampled = False  # the next comparison would reach back further than this poll
            raise
        if not activity.keys() >= _REQUIRED:
            number = self.record.device.partition(INSTANCE_MARK)[2].partition("@")[0]
            raise DriverError(f"GPU instance {number}", -1, "no tensor activity this time")
        return activity if self._older else {}

    def close(self) -> None:
        """Free the samples."""
        self._sampler.close()


class Slices:
    """The instances of one device.

    Attributes:
        announced: the records the agent has listed, by device; work counts from then on.
        unlisted: instances of the last poll that were not announced yet, by device.
        readings: one reading an announced instance of the last poll; without activity where the
            period was measured by the physical GPU.
        note: what there is to say of the last poll; "" where MIG is off.
    """

    def __init__(self, handle: Any) -> None:
        """Remember the device."""
        self._handle = handle
        self._mode = Query(pynvml.nvmlDeviceGetMigMode, handle)
        self._places = Query(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle)
        self._slices: dict[str, _Slice] = {}
        self._on: bool | None = None
        self._problem = ""
        self._idle = ""
        self.announced: Mapping[str, DeviceRecord] = {}
        self.readings: tuple[Reading, ...] = ()
        self.unlisted: tuple[str, ...] = ()
        self.note = ""

    @property
    def on(self) -> bool:
        """Whether the device was in MIG mode when it was looked at last."""
        return bool(self._on)

    @property
    def records(self) -> tuple[DeviceRecord, ...]:
        """The instances there are now."""
        return tuple(each.record for each in self._slices.copy().values())

    def sample(self, parent: DeviceRecord, no_gpm: str) -> None:
        """Look which instances there are, and sample each.

        Args:
            parent: the physical GPU.
            no_gpm: why it has no GPM counters; empty where it has.

        Raises:
            DriverError: the device is gone, or has to be probed anew.
        """
        self.readings, self.unlisted = (), ()
        self.note = self._problem = self._idle = ""
        mode = self._mode()
        before = self._on
        if mode is not None or self._mode.absent or before is None:
            self._on = mode is not None and mode[0] == _MIG_ON
        else:
            self._problem = self._mode.reason  # asked in vain this once: nothing is known to change
        if before is not None and before != self._on:
            # What the device can be asked is another matter from here on.
            raise DriverError(
                "MIG", -1, "its mode was switched; the GPU is probed anew", fatal=True
            )
        if not self._on:
            return
        self.note = "MIG is on: the physical GPU is read as a whole, not its instances"
        if no_gpm:
            self.close()
            return
        try:
            self._follow(parent, self._instances())
        except DriverError as error:
            self._doubt(error)
        for each in self._slices.values():
            try:
                each.sample()
            except DriverError as error:
                self._doubt(error)

    def measure(
        self,
        parent: DeviceRecord,
        *,
        since_ns: int | None,
        monotonic_ns: int,
        boottime_ns: int,
        clock_khz: int | None,
    ) -> dict[Component, int] | None:
        """Say what the instances did since the reading before.

        Args:
            parent: the physical GPU.
            since_ns: when it was read before; None where that reading does not count.
            monotonic_ns: when the samples were taken.
            boottime_ns: the same instant on the other clock.
            clock_khz: the SM clock of the period, which the instances share.

        Returns:
            The active share of the physical GPU's SMs, or None: it was not measured by instances.

        Raises:
            DriverError: the device is gone.
        """
        found: dict[str, Activity] = {}
        for device, each in self._slices.items():
            found[device] = self._activity(each, since_ns)
            # Work counts from a reading on that the agent took as its baseline.
            listed = self.announced.get(device) == each.record
            each.baseline_ns = monotonic_ns if listed else None
        if clock_khz is None:
            self._problem = self._problem or "the clock is not known"
        whole = bool(found) and not self._problem
        self.readings = tuple(
            Reading(
                device=device,
                evidence=Evidence.GPM,
                monotonic_ns=monotonic_ns,
                boottime_ns=boottime_ns,
                activity_ppm=activity if whole else {},
                clock_khz=clock_khz,
            )
            for device, activity in found.items()
            if self._slices[device].baseline_ns is not None
        )
        self.unlisted = tuple(
            device for device, each in self._slices.items() if each.baseline_ns is None
        )
        if not whole:
            reasons = filter(None, (self._problem, self._idle))
            self.note = ": ".join(filter(None, (self.note, "; ".join(reasons))))
            return None
        self.note = f"MIG is on: {len(found)} of its instances are read"
        self.note = "; ".join(filter(None, (self.note, self._idle)))
        active = sum(
            self._slices[device].record.sm_count * max(activity.values())
            for device, activity in found.items()
        )
        # Rounded up: an instance that was hardly active makes the time busy all the same.
        return {Component.SM_ACTIVE_MEGACYCLES: -(-active // parent.sm_count)}

    def close(self) -> None:
        """Free the samples of all instances."""
        while self._slices:
            self._slices.popitem()[1].close()

    def _activity(self, each: _Slice, since_ns: int | None) -> Activity:
        try:
            activity = each.activity()
        except DriverError as error:
            self._doubt(error)
            return {}
        if not activity or since_ns is None or each.baseline_ns != since_ns:
            self._problem = self._problem or "an instance has no sample of the period's start"
        return activity

    def _doubt(self, error: DriverError) -> None:
        if error.fatal:
            raise error
        self._problem = self._problem or str(error)

    def _follow(self, parent: DeviceRecord, instances: list[_Found]) -> None:
        """Begin instances that are new, and end those that are gone."""
        records = {
            record.device: (record, found.number)
            for found in instances
            for record in [_record(parent, found)]
        }
        for device, each in list(self._slices.items()):
            if device not in records or records[device][0] != each.record:
                # It may have worked in this period until it was ended.
                self._problem = "an instance was ended or changed in this period"
                self._slices.pop(device).close()
        if sum(record.sm_count for record, _ in records.values()) > parent.sm_count:
            self._problem = "the instances have more SMs than the GPU"
            self.close()
            return
        for device, (record, number) in records.items():
            if device not in self._slices:
                self._slices[device] = _Slice(self._handle, record, number)

    def _instances(self) -> list[_Found]:
        """The GPU instances with a compute instance.

        Raises:
            DriverError: they cannot be told.
        """
        found: dict[int, _Found] = {}
        for place in range(self._places() or 0):
            try:
                mig = ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, self._handle, place)
            except DriverError as error:
                if error.code != _NOT_FOUND:
                    raise
                continue
            number = int(ask(pynvml.nvmlDeviceGetGpuInstanceId, mig))
            try:
                ask(pynvml.nvmlDeviceGetComputeInstanceId, mig)
            except DriverError as error:
                if error.code != _NOT_FOUND:
                    raise
                self._idle = f"GPU instance {number} has no compute instance and is not sampled"
                continue
            sizes = ask(pynvml.nvmlDeviceGetAttributes, mig)
            each = found.setdefault(
                number,
                _Found(
                    number,
                    "",
                    0,
                    sizes.memorySizeMB,
                    sizes.gpuInstanceSliceCount,
                    0,
                    # With its profile, where the driver tells it: for the device table.
                    str(Query(pynvml.nvmlDeviceGetName, mig)() or ""),
                ),
            )
            each.creation = each.creation or str(ask(pynvml.nvmlDeviceGetUUID, mig))
            each.sm_count += sizes.multiprocessorCount
            each.computing_slices += sizes.computeInstanceSliceCount
        if not found:
            self._idle = self._idle or "no GPU instance has a compute instance"
        for each in found.values():
            if not each.sm_count or each.computing_slices != each.slices:
                # Activity is a share of the instance's SMs, and only those in use are told.
                reason = f"the SM count of GPU instance {each.number} is not told"
                raise DriverError("MIG", -1, reason)
        return list(found.values())


def _record(parent: DeviceRecord, found: _Found) -> DeviceRecord:
    """An instance's record; 0 accelerators, because its GPU is the one that counts."""
    return replace(
        parent,
        device=f"{parent.device}{INSTANCE_MARK}{found.number}@{found.creation}",
        product_name=found.product_name or parent.product_name,
        sm_count=found.sm_count,
        memory_mib=found.memory_mib,
        device_count=0,
        energy_scope=EnergyScope.NONE,
        tensor_classes=True,
    )
