"""What one node's readings add up to, worked out again from the readings alone.

Owns: a second, plain account of counters and time by device, kept beside the production code's.
May touch: nothing; integers.
Called by the oracle with everything a sensor handed out, once the journal holds it.

This is the truth of the simulation: it shares no code with the agent's accumulator, only the rules
of docs/estimation.md. It knows devices and components, and neither keys nor carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import add

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.readings import Reading
from flopmeter_core.registers import (
    COMPONENT_COUNT,
    SUBUNITS_PER_MEGACYCLE,
    SUBUNITS_PER_MJ,
    Component,
)
from flopmeter_core.values import value_class

SILENT_PERIODS = 2
CYCLE_SUBUNITS = SUBUNITS_PER_MEGACYCLE // 1_000_000


@value_class(frozen=True, slots=True)
class Seen:
    """How far a device's time is told, and its last reading."""

    record: str
    monotonic_ns: int
    boottime_ns: int
    reading: Reading | None


@dataclass(slots=True)
class Round:
    """What one sampling round saw.

    Attributes:
        monotonic_ns: when it began, without suspend.
        boottime_ns: the same, since boot.
        readings: what was read.
        listed: the devices by name when they were listed last.
    """

    monotonic_ns: int = 0
    boottime_ns: int = 0
    readings: list[Reading] = field(default_factory=list)
    listed: dict[str, DeviceRecord] = field(default_factory=dict)


@dataclass(slots=True)
class Truth:
    """The account of one node.

    Attributes:
        amounts: sub-units by device and component.
        devices: where each device stands.
    """

    amounts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    devices: dict[str, Seen] = field(default_factory=dict)

    def copy(self) -> Truth:
        """A copy; what it holds is immutable."""
        return Truth(dict(self.amounts), dict(self.devices))

    def take(self, seen: Round, period_ns: int) -> None:
        """Add one round."""
        for reading in seen.readings:
            record = seen.listed.get(reading.device)
            if record is not None:
                self._read(reading, record.record_id, record.sm_count, SILENT_PERIODS * period_ns)
        for name, record in seen.listed.items():
            if name not in self.devices:
                self.devices[name] = Seen(
                    record.record_id, seen.monotonic_ns, seen.boottime_ns, None
                )
        for name, device in self.devices.items():
            silent_ns = seen.monotonic_ns - device.monotonic_ns
            if silent_ns > SILENT_PERIODS * period_ns:
                self._add(name, _untold(device, seen.monotonic_ns, seen.boottime_ns))
                self.devices[name] = replace(
                    device, monotonic_ns=seen.monotonic_ns, boottime_ns=seen.boottime_ns
                )

    def _read(self, reading: Reading, record: str, sm_count: int, longest_ns: int) -> None:
        device = self.devices.get(reading.device)
        if device is not None and reading.monotonic_ns >= device.monotonic_ns:
            before = device.reading if device.record == record else None
            if before is None:
                untold = _untold(device, reading.monotonic_ns, reading.boottime_ns)
                self._add(reading.device, untold)
            else:
                told_ns = device.monotonic_ns - before.monotonic_ns
                slept_ns = device.boottime_ns - before.boottime_ns - told_ns
                amounts = (
                    _difference(before, reading, told_ns, slept_ns)
                    if reading.cycles
                    else _sampled(before, reading, told_ns, slept_ns, sm_count, longest_ns)
                )
                self._add(reading.device, amounts)
        self.devices[reading.device] = Seen(
            record, reading.monotonic_ns, reading.boottime_ns, reading
        )

    def _add(self, device: str, amounts: list[int]) -> None:
        held = self.amounts.get(device)
        self.amounts[device] = tuple(map(add, held, amounts) if held else amounts)


def _untold(device: Seen, monotonic_ns: int, boottime_ns: int) -> list[int]:
    """Time since a device was told of, in which it was not read."""
    awake_ns = monotonic_ns - device.monotonic_ns
    amounts = [0] * COMPONENT_COUNT
    amounts[Component.UNOBSERVED_NS] = awake_ns
    amounts[Component.SUSPENDED_NS] = boottime_ns - device.boottime_ns - awake_ns
    return amounts


def _difference(before: Reading, after: Reading, told_ns: int, slept_ns: int) -> list[int]:
    """What happened between two readings.

    Of the time between them `told_ns` ns were told as silence and `slept_ns` ns as sleep before.
    """
    boot_ns = after.boottime_ns - before.boottime_ns
    awake_ns = min(after.monotonic_ns - before.monotonic_ns, boot_ns)
    amounts = [0] * COMPONENT_COUNT
    amounts[Component.SUSPENDED_NS] = boot_ns - awake_ns - slept_ns
    cycles = after.cycles
    work = {component: cycles[component] - earlier for component, earlier in before.cycles.items()}
    energy_mj = (after.energy_mj or 0) - (before.energy_mj or 0)
    if min(energy_mj, *work.values()) < 0:
        amounts[Component.UNOBSERVED_NS] = max(0, awake_ns - told_ns)
        return amounts
    for component, done in work.items():
        amounts[component] = done * CYCLE_SUBUNITS
    active = any(amounts[Component.SM_ELAPSED_MEGACYCLES + 1 : Component.BUSY_MEGACYCLES])
    time = Component.BUSY_NS if active else Component.IDLE_NS
    amounts[time] = max(0, awake_ns - told_ns)
    amounts[Component.ENERGY_MJ] = energy_mj * SUBUNITS_PER_MJ
    return amounts


def _sampled(
    before: Reading,
    after: Reading,
    told_ns: int,
    slept_ns: int,
    sm_count: int,
    longest_ns: int,
) -> list[int]:
    """What happened between two readings that say how active a device was, and count nothing.

    Over a hole they say nothing: more than `longest_ns` ns are unobserved, and their work is lost.
    """
    boot_ns = after.boottime_ns - before.boottime_ns
    awake_ns = min(after.monotonic_ns - before.monotonic_ns, boot_ns)
    amounts = [0] * COMPONENT_COUNT
    amounts[Component.SUSPENDED_NS] = boot_ns - awake_ns - slept_ns
    if awake_ns > longest_ns:
        amounts[Component.UNOBSERVED_NS] = max(0, awake_ns - told_ns)
        return amounts
    clock_khz = after.clock_khz or 0
    shares = {Component.SM_ELAPSED_MEGACYCLES: 1_000_000, **after.activity_ppm}
    for component, share_ppm in shares.items():
        amounts[component] = share_ppm * clock_khz * sm_count * awake_ns
    amounts[Component.ENERGY_MJ] = ((before.power_mw or 0) + (after.power_mw or 0)) * awake_ns
    busy_ns = awake_ns if any(after.activity_ppm.values()) else 0
    mean_khz = ((before.clock_khz or 0) + clock_khz) // 2
    amounts[Component.BUSY_MEGACYCLES] = 1_000_000 * mean_khz * busy_ns
    amounts[Component.BUSY_NS] = busy_ns
    amounts[Component.IDLE_NS] = awake_ns - busy_ns
    return amounts


def total(truths: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The sum of amounts."""
    return tuple(map(sum, zip(*truths, strict=True))) if truths else (0,) * COMPONENT_COUNT
