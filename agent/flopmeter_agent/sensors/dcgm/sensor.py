"""Sensor ``dcgm``: sampled profiling fields of NVIDIA devices, by an exporter that already runs.

Owns: which devices the exporter has shown, what of its answers is new, and the readings made of it.
May touch: the exporter's page (through endpoint) and the clock it was given.
Called by the loop; built by table. docs/estimation.md has the rung and its aliasing budget.

An exporter collects on its own beat (30 s unless told otherwise) and shows the same values in
between. So an answer that shows nothing new of a device makes no reading: a value counts once, for
the time since the value before it. New is what the device's lines say themselves: a later time
stamp where they have one, else any other value in any of its lines, which energy and temperature
give even at rest. Because fields change one after the other, an answer is taken once it has
settled, that is when the next one says the same, unless answers come too seldom to wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flopmeter_agent.sensors.base import Failure, Readout
from flopmeter_agent.sensors.dcgm.fields import BUSY, CLOCK, ENERGY, ENGINE, MAX_CLOCK, POWER
from flopmeter_agent.sensors.dcgm.parts import (
    CLASSES,
    Known,
    activity_of,
    by_parts,
    missing_of,
    records_of,
)
from flopmeter_agent.sensors.dcgm.scrape import Seen, devices_in
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import DataError, SensorError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.suspicion import Check, Suspicion
from flopmeter_proto.daemon.clock import Clock

_log = logging.getLogger(__name__)

LONGEST_SILENT_COLLECTIONS = 2
"""After so many collection periods without anything new the exporter is taken for frozen."""

_LONGEST_WAIT = 2
"""An answer that never settles is taken at the second change in a row."""

_DRIVER_LABEL = "DCGM_FI_DRIVER_VERSION"


@dataclass(slots=True)
class _Tracked:
    """One device over the answers.

    Attributes:
        record: as it was last shown.
        counted: what the last reading was made of; None before the first.
        counted_ns: when.
        latest: what the last answer showed.
        waited: how many answers in a row changed since the last reading.
        parts: its MIG instances by their number, as they were last shown.
        parts_taken: those that had a reading beside the last one.
        part_readings: of the last reading.
    """

    record: DeviceRecord
    counted: Seen | None = None
    counted_ns: int = 0
    latest: Seen | None = None
    waited: int = 0
    parts: dict[str, DeviceRecord] = field(default_factory=dict)
    parts_taken: Mapping[str, DeviceRecord] = field(default_factory=dict)
    part_readings: tuple[Reading, ...] = ()


def _nothing_on_bus() -> Mapping[str, DeviceRecord]:
    return {}


class DcgmSensor:
    """Reads what an exporter shows."""

    name = "dcgm"
    simulated = False

    def __init__(
        self,
        node: str,
        clock: Clock,
        fetch: Callable[[], str],
        *,
        collect_period_ns: int,
        part: str = "",
        on_bus: Callable[[], Mapping[str, DeviceRecord]] = _nothing_on_bus,
        profile_known: Known = lambda record: False,
    ) -> None:
        """Touch nothing yet.

        Args:
            node: the node's name, for the records.
            clock: stamps every reading.
            fetch: reads the exporter's page; raises SensorError.
            collect_period_ns: the exporter's own period.
            part: id of the device table's row that stands in where the PCI id is not known.
            on_bus: the accelerators on this host's PCI bus by address, where the exporter is of
                this host; an exporter shows an address and never an id.
            profile_known: whether the SM count of a MIG instance's profile is known.
        """
        self._profile_known = profile_known
        self._node = node
        self._clock = clock
        self._fetch = fetch
        self._collect_period_ns = collect_period_ns
        self._part = part
        self._on_bus = on_bus
        self._tracked: dict[str, _Tracked] = {}
        self._text: str | None = None
        self._seen: dict[str, Seen] = {}
        self._fetched_ns: int | None = None
        self._announced: dict[str, DeviceRecord] = {}
        self._closed = False

    def devices(self) -> Sequence[DeviceRecord]:
        """Every device the exporter has shown; one that it shows no more stays, unobserved.

        Raises:
            SensorError: the exporter has not shown any device yet.
        """
        self._check_open()
        if not self._tracked:
            self._look()
        if not self._tracked:
            raise SensorError("the exporter shows no GPU; check its list of fields and its rights")
        self._announced = {device: known.record for device, known in self._tracked.items()}
        for known in self._tracked.values():
            self._announced |= {record.device: record for record in known.parts.values()}
        return list(self._announced.values())

    @property
    def shortfalls(self) -> Mapping[str, str]:
        """By device shown last, why its answer gives no activity to count; "" where it does."""
        return {
            device: self._missing(seen, self._tracked[device].record)
            for device, seen in self._seen.items()
        }

    def read(self) -> Readout:
        """A reading of each device the exporter says something new of.

        Raises:
            SensorError: its page cannot be had or read.
        """
        self._check_open()
        spacing_ns = self._look()
        readings: list[Reading] = []
        failures: list[Failure] = []
        suspicions: list[Suspicion] = []
        for device, tracked in self._tracked.items():
            seen = self._seen.get(device)
            if seen is None:
                failures.append(Failure(device, "the exporter shows this device no more"))
                tracked.counted = tracked.latest = None
                continue
            if self._announced.get(device) != tracked.record:
                failures.append(
                    Failure(device, "it changed just now; it is read once it is listed")
                )
                continue
            if not self._is_new(tracked, seen, spacing_ns):
                self._still(tracked, seen, failures, suspicions)
                continue
            outcome = self._take(tracked, seen)
            if seen.blanks:
                detail = f"blank: {', '.join(seen.blanks)}"
                suspicions.append(Suspicion(device, Check.SENTINEL, detail))
            if isinstance(outcome, Reading):
                readings += [outcome, *tracked.part_readings]
                failures += [
                    Failure(each.device, "it was found just now; it is read once it is listed")
                    for each in tracked.parts.values()
                    if self._announced.get(each.device) != each
                ]
            else:
                failures.append(Failure(device, outcome))
        return Readout(tuple(readings), tuple(failures), tuple(suspicions))

    def close(self) -> None:
        """Nothing to release: each request has its own connection."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise SensorError("the sensor dcgm is closed")

    # --- answers ----------------------------------------------------------------------------------

    def _look(self) -> int:
        """Fetch once; returns the time since the last answer, 0 before the first.

        Raises:
            SensorError: as `fetch`, or the text is no whole exposition.
        """
        text = self._fetch()
        now_ns = self._clock.monotonic_ns()
        spacing_ns = 0 if self._fetched_ns is None else now_ns - self._fetched_ns
        if text != self._text:
            try:
                self._seen = devices_in(text)
            except DataError as error:
                raise SensorError(f"{error}; the time is unobserved") from error
            self._text = text
        self._fetched_ns = now_ns
        on_bus: Mapping[str, DeviceRecord] | None = None
        for device, seen in self._seen.items():
            tracked = self._tracked.get(device)
            if tracked is None:
                on_bus = self._on_bus() if on_bus is None else on_bus
                tracked = self._tracked[device] = _Tracked(self._identify(seen, on_bus))
            else:
                tracked.record = _updated(tracked.record, seen)
            parts = records_of(tracked.record, seen)
            # One profile that is not known, and none of them can ever be counted.
            known = all(map(self._profile_known, parts.values()))
            tracked.parts = parts if known else {}
        return spacing_ns

    def _identify(self, seen: Seen, on_bus: Mapping[str, DeviceRecord]) -> DeviceRecord:
        """The record of a device that is shown for the first time."""
        beside = on_bus.get(_bus_address(seen.labels.get("pci_bus_id", "")))
        pci_device_id = beside.pci_device_id if beside is not None else 0
        record = DeviceRecord(
            node=self._node,
            device=seen.device,
            vendor="nvidia",
            product_name=seen.labels.get("modelName", ""),
            pci_device_id=pci_device_id,
            part="" if pci_device_id else self._part,
        )
        return _updated(record, seen)

    def _is_new(self, tracked: _Tracked, seen: Seen, spacing_ns: int) -> bool:
        """Whether the exporter has collected again since the last reading, and settled."""
        latest, tracked.latest = tracked.latest, seen
        counted = tracked.counted
        if counted is None:
            return True
        if counted.stamp_ms is not None and seen.stamp_ms is not None:
            return seen.stamp_ms > counted.stamp_ms
        if seen.content == counted.content:
            tracked.waited = 0
            return False
        settled = latest is not None and latest.content == seen.content
        tracked.waited += not settled
        seldom = 2 * spacing_ns >= self._collect_period_ns
        return settled or seldom or tracked.waited >= _LONGEST_WAIT

    def _still(
        self,
        tracked: _Tracked,
        seen: Seen,
        failures: list[Failure],
        suspicions: list[Suspicion],
    ) -> None:
        """Say so when nothing new has come for too long."""
        still_ns = self._clock.monotonic_ns() - tracked.counted_ns
        if still_ns <= LONGEST_SILENT_COLLECTIONS * self._collect_period_ns:
            return
        reason = "the exporter has shown the same values for more than two of its periods"
        failures.append(Failure(seen.device, reason))
        # Without an energy counter a device at rest looks the same.
        if ENERGY in seen.offered:
            suspicions.append(Suspicion(seen.device, Check.FROZEN, reason))

    # --- readings ---------------------------------------------------------------------------------

    def _take(self, tracked: _Tracked, seen: Seen) -> Reading | str:
        """The reading of an answer, or why it is none."""
        first = tracked.counted is None
        tracked.counted, tracked.waited = seen, 0
        tracked.counted_ns = self._clock.monotonic_ns()
        said = seen.quantities
        activity = _activity(seen)
        missing = self._missing(seen, tracked.record)
        before, tracked.parts_taken, tracked.part_readings = tracked.parts_taken, {}, ()
        if tracked.parts and not missing:
            activity = activity_of(seen)
            if not first and before != tracked.parts:
                missing = "its MIG instances are not those of the reading before"
        if not missing:
            evidence = Evidence.DCGM_SAMPLED
        elif ENERGY in said:
            evidence = Evidence.ENERGY
        elif POWER in said:
            evidence = Evidence.POWER_SAMPLED
        else:
            return missing
        if first:
            # Part of what a first value covers may have been counted by an agent before this one.
            activity = {}
        counts = not (first or missing)
        tracked.part_readings = self._part_readings(tracked, seen, counts=counts)
        return Reading(
            device=seen.device,
            evidence=evidence,
            monotonic_ns=tracked.counted_ns,
            boottime_ns=self._clock.boottime_ns(),
            energy_mj=said.get(ENERGY),
            activity_ppm=activity if evidence is Evidence.DCGM_SAMPLED else {},
            clock_khz=said.get(CLOCK),
            power_mw=said.get(POWER),
            busy_ppm=said.get(BUSY),
            engine_ppm=said.get(ENGINE),
        )

    def _part_readings(self, tracked: _Tracked, seen: Seen, *, counts: bool) -> tuple[Reading, ...]:
        """One of each instance, once all are listed; without activity where the GPU is read."""
        if any(self._announced.get(each.device) != each for each in tracked.parts.values()):
            return ()
        tracked.parts_taken = tracked.parts
        return tuple(
            Reading(
                device=record.device,
                evidence=Evidence.DCGM_SAMPLED,
                monotonic_ns=tracked.counted_ns,
                boottime_ns=self._clock.boottime_ns(),
                activity_ppm=seen.parts[number].quantities if counts else {},
                clock_khz=seen.quantities.get(CLOCK),
            )
            for number, record in tracked.parts.items()
        )

    def _missing(self, seen: Seen, record: DeviceRecord) -> str:
        """Why an answer gives no activity to count; empty where it does."""
        if by_parts(seen):
            return missing_of(record, seen, self._profile_known)
        return _missing(seen, record, _activity(seen))


def _activity(seen: Seen) -> dict[Component, int]:
    """The activities of an answer, in ppm."""
    return {part: share for part, share in seen.quantities.items() if isinstance(part, Component)}


def _missing(seen: Seen, record: DeviceRecord, activity: Mapping[Component, int]) -> str:
    """Why an answer gives no activity to count; empty where it does."""
    if Component.TENSOR_MEGACYCLES not in activity:
        if seen.contradictions:
            return f"its lines contradict each other: {', '.join(seen.contradictions)}"
        if Component.TENSOR_MEGACYCLES in seen.offered:
            return "its tensor activity is blank"
        return (
            "the exporter shows no tensor activity; add DCGM_FI_PROF_PIPE_TENSOR_ACTIVE to its "
            "fields"
        )
    if record.tensor_classes and not activity.keys() >= CLASSES:
        return "the activity of a tensor class is blank"
    if CLOCK not in seen.quantities:
        return "the exporter shows no SM clock; add DCGM_FI_DEV_SM_CLOCK to its fields"
    return ""


def _updated(record: DeviceRecord, seen: Seen) -> DeviceRecord:
    """A record with what this answer says of its device; a changed record starts new registers."""
    # What an answer does not say of a device it does not take back: an exporter that has just begun
    # shows some of its fields later than others.
    said = ENERGY in seen.offered or POWER in seen.offered
    measures_energy = said or record.energy_scope is EnergyScope.GPU
    highest_khz = seen.quantities.get(MAX_CLOCK, record.max_sm_clock_mhz * 1_000)
    return replace(
        record,
        driver_version=seen.labels.get(_DRIVER_LABEL, record.driver_version),
        max_sm_clock_mhz=highest_khz // 1_000 if 0 < highest_khz < 10**7 else 0,
        energy_scope=EnergyScope.GPU if measures_energy else EnergyScope.NONE,
        tensor_classes=seen.offered >= CLASSES,
    )


def _bus_address(shown: str) -> str:
    """An address of eight digits of domain as sysfs spells it, with four."""
    domain, _, rest = shown.lower().partition(":")
    return f"{domain[-4:]}:{rest}"
