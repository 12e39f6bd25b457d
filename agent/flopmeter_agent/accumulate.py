"""Grows registers from readings: which period belongs to which key.

Owns: the registers of the running incarnation, and the hardware baseline of each device.
May touch: nothing outside itself; no clock, no disk. The loop hands readings in and journals
what comes out.
Called by the loop. The arithmetic of one period is core's increments; the rules here are
whose period it is: the user seen at both ends, or a boundary when the two differ.
Explained in docs/adr/0002-registers-and-number-type.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from flopmeter_core import suspicion
from flopmeter_core.allocations import NONE, OVERFLOW, boundary, user_of, weaker
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.increments import (
    LONGEST_SAMPLED_PERIODS,
    Increment,
    increment,
    unobserved_time,
)
from flopmeter_core.readings import Reading
from flopmeter_core.registers import SUBUNITS, Component, Evidence, Key, Register, covered_ns
from flopmeter_core.suspicion import Stillness, Suspicion

# A mean below 5 % of the rated power over a gap is taken for a counter that began anew. An
# assumption: boards at rest draw more. Where it is wrong the gap stays unobserved.
_LEAST_POWER_PPM = 50_000

Owner = tuple[str, int]
"""An allocation, and the phase of its run: whose a period is."""


@dataclass(slots=True)
class DeviceState:
    """What the accumulator remembers of one device between readings.

    Attributes:
        record: the device as it was last read.
        baseline: the last reading; None until there is one.
        stillness: for how long the device has said the same.
        allocation: the user seen at `classified_monotonic_ns`.
        phase: the phase that user's run was in then.
        classified_monotonic_ns, classified_boottime_ns: up to when time is in a register.
        time_elsewhere: whether time after the baseline was registered by an earlier incarnation
            or as several owners', so that the work since then cannot stand beside its time.
        silence_of: whose the time after the baseline was registered as; None without any.
    """

    record: DeviceRecord
    allocation: str
    classified_monotonic_ns: int
    classified_boottime_ns: int
    baseline: Reading | None = None
    stillness: Stillness = field(default_factory=Stillness)
    time_elsewhere: bool = False
    phase: int = 0
    silence_of: Owner | None = None


# The part of a register below one unit, by what a key shares with its successor after a restart.
CarryOwner = tuple[str, str, int, Evidence, str]


@dataclass
class Accumulator:
    """The registers of one incarnation.

    Attributes:
        incarnation: 32 hexadecimal digits; owner of every key made here.
        period_ns: the sampling period.
        told_apart: the only users that get registers of their own; None: all do.
        registers: the registers by key.
        devices: the state of each device seen.
        carries: fractions a closed incarnation left, handed to the successor key's register.
        rated_power_w: rated power of a device in W, 0 where it is not known; only held against
            readings, never stored.
        maximum_registers: further users of a device share its allocation `overflow`; None sets
            no limit.
        overflowed: periods registered there for want of room, here or at the collector.
        grown: the registers that changed since somebody emptied this.
    """

    incarnation: str
    period_ns: int
    rated_power_w: Callable[[DeviceRecord], int] = lambda record: 0
    maximum_registers: int | None = None
    overflowed: int = 0
    told_apart: frozenset[str] | None = None
    registers: dict[Key, Register] = field(default_factory=dict)
    devices: dict[str, DeviceState] = field(default_factory=dict)
    carries: dict[CarryOwner, list[int]] = field(default_factory=dict)
    grown: dict[Key, Register] = field(default_factory=dict)
    _keys: dict[CarryOwner, Key] = field(default_factory=dict)

    def start_device(
        self,
        record: DeviceRecord,
        *,
        allocation: str,
        monotonic_ns: int,
        boottime_ns: int,
        phase: int = 0,
    ) -> None:
        """Begin to account for a device's time; until its first reading it is unobserved."""
        self.devices[record.device] = DeviceState(
            record, allocation, monotonic_ns, boottime_ns, phase=phase
        )

    def resume_device(self, state: DeviceState) -> None:
        """Go on where an earlier incarnation of the same boot had come to."""
        if state.baseline is not None:
            registered_until_ns = state.baseline.monotonic_ns
            state.time_elsewhere = state.classified_monotonic_ns > registered_until_ns
        self.devices[state.record.device] = state

    def fold_users(self, fold: bool) -> None:
        """Say whether users without a register share their device's overflow from now on.

        Who has a register when that begins is told apart for as long as it lasts.
        """
        if not fold:
            self.told_apart = None
        elif self.told_apart is None:
            self.told_apart = frozenset({NONE, *(key.allocation for key in self.registers)})

    def renew(self, incarnation: str, carries: dict[CarryOwner, list[int]]) -> None:
        """Begin another incarnation in the same process, from the same baselines.

        Args:
            incarnation: 32 random hexadecimal digits.
            carries: what the registers of all that ended hold below one unit.
        """
        self.incarnation, self.registers, self.carries = incarnation, {}, carries
        self.grown, self._keys = {}, {}

    def observe(
        self, record: DeviceRecord, reading: Reading, *, allocation: str, phase: int = 0
    ) -> tuple[Suspicion, ...]:
        """Take one reading.

        Args:
            record: the device as it is now; a changed one drops the baseline.
            reading: the newest reading; not before the one taken last.
            allocation: the user of the device at the reading.
            phase: the phase of that user's run at the reading.

        Returns:
            What is doubted of the reading; the doubtful time is registered as suspect.
        """
        suspicions: tuple[Suspicion, ...] = ()
        state = self.devices.get(record.device)
        if state is None:
            self.start_device(
                record,
                allocation=allocation,
                monotonic_ns=reading.monotonic_ns,
                boottime_ns=reading.boottime_ns,
                phase=phase,
            )
            state = self.devices[record.device]
        elif reading.monotonic_ns < state.classified_monotonic_ns:
            # The clock this reading was stamped with went back: the reading is the next baseline.
            state.classified_monotonic_ns = reading.monotonic_ns
            state.classified_boottime_ns = reading.boottime_ns
        else:
            if state.record is not record and state.record != record:
                state.baseline = None
            taken = self._bridged(state, record, reading)
            amount, suspicions = self._period(state, record, taken, allocation)
            owner = _owner(state, allocation, phase)
            if state.time_elsewhere or state.silence_of not in (None, owner):
                # Nobody saw that the same user came through silence and restart, or another was
                # seen in the silence.
                owner = boundary(state.allocation, allocation), 0
            self._add(record, taken.evidence, owner, amount, boot_ns=reading.boottime_ns)
        state.record = record
        state.time_elsewhere, state.silence_of = False, None
        state.baseline = suspicion.as_baseline(reading, record)
        state.allocation, state.phase = allocation, phase
        state.classified_monotonic_ns = reading.monotonic_ns
        state.classified_boottime_ns = reading.boottime_ns
        return suspicions

    def take_stretch(
        self, device: str, last: Reading, amount: Increment, stillness: Stillness
    ) -> None:
        """Take many readings at once, all of the user of the one taken last.

        Args:
            device: read before; the amount begins at that reading.
            last: the last of the readings, the next baseline.
            amount: the sum of the periods between them, what is doubted already widened.
            stillness: of the device once `last` was read.
        """
        state = self.devices[device]
        owner = (state.allocation, state.phase)
        self._add(state.record, last.evidence, owner, amount, boot_ns=last.boottime_ns)
        state.baseline = suspicion.as_baseline(last, state.record)
        state.stillness = stillness
        state.classified_monotonic_ns = last.monotonic_ns
        state.classified_boottime_ns = last.boottime_ns

    def unobserved_until(
        self,
        device: str,
        *,
        monotonic_ns: int,
        boottime_ns: int,
        allocation: str,
        phase: int = 0,
    ) -> None:
        """Register time in which a device could not be read, as far as none was registered yet.

        The baseline stays, and with it the user seen there: when the device comes back, a
        cumulative counter still gives the work of the gap, and whose it was is told by both ends.
        """
        state = self.devices[device]
        if monotonic_ns <= state.classified_monotonic_ns:
            return
        amount = _unclassified(state, monotonic_ns=monotonic_ns, boottime_ns=boottime_ns)
        evidence = state.baseline.evidence if state.baseline else Evidence.ALLOCATION
        owner = _owner(state, allocation, phase)
        self._add(state.record, evidence, owner, amount, boot_ns=boottime_ns)
        if state.baseline is None:
            state.allocation, state.phase = allocation, phase
        else:
            state.time_elsewhere |= state.silence_of not in (None, owner)
            state.silence_of = owner
        state.classified_monotonic_ns = monotonic_ns
        # What is registered, not what the clock says: the two clocks are read apart, and their
        # jitter must not add up.
        state.classified_boottime_ns += covered_ns(amount)

    def gone(self, listed: Container[str]) -> list[str]:
        """Devices that end when they are listed no more.

        A MIG instance that was ended, and a place on the bus whose device a driver names by now.
        Any other device goes on: where nobody lists it, its time is unobserved.

        Args:
            listed: the devices there are.
        """
        return [
            device
            for device, state in self.devices.items()
            if device not in listed and (state.record.is_place or not state.record.device_count)
        ]

    def forget(self, device: str) -> None:
        """Let go of a device that is gone; its registers stay."""
        del self.devices[device]

    def overdue(self, monotonic_ns: int) -> Iterable[str]:
        """Devices whose last reading is more than two sampling periods ago.

        A MIG instance is none: one that is gone has no time, and the time of one that cannot be
        read is its GPU's.
        """
        longest_ns = LONGEST_SAMPLED_PERIODS * self.period_ns
        return [
            device
            for device, state in self.devices.items()
            if state.record.device_count
            and monotonic_ns - state.classified_monotonic_ns > longest_ns
        ]

    def _bridged(self, state: DeviceState, record: DeviceRecord, reading: Reading) -> Reading:
        """The reading as its energy counter's, where that alone covers a gap in sampled readings.

        Not over time that was registered as unobserved already, because energy is judged against
        the time it was used in; and not by a counter that was reset and has passed its old value,
        which shows as less power than any device at rest draws.
        """
        before = state.baseline
        if before is None or reading.evidence.integrates:
            return reading
        gap_ns = reading.monotonic_ns - before.monotonic_ns
        registered = state.classified_monotonic_ns > before.monotonic_ns
        if registered or gap_ns <= LONGEST_SAMPLED_PERIODS * self.period_ns:
            return reading
        if before.energy_mj is None or reading.energy_mj is None:
            return reading
        rated_w = self.rated_power_w(record)
        least_mj = rated_w * _LEAST_POWER_PPM * gap_ns // 10**12
        if not rated_w or reading.energy_mj - before.energy_mj < least_mj:
            return reading
        return dataclasses.replace(reading, evidence=Evidence.ENERGY)

    def _period(
        self, state: DeviceState, record: DeviceRecord, reading: Reading, allocation: str
    ) -> tuple[Increment, tuple[Suspicion, ...]]:
        """The increment since the last classified instant, and what is doubted of it."""
        before = state.baseline
        if before is None:
            state.stillness = Stillness()
            return _unclassified(
                state, monotonic_ns=reading.monotonic_ns, boottime_ns=reading.boottime_ns
            ), ()
        amount = increment(
            before,
            reading,
            record,
            period_ns=self.period_ns,
            allocated=_one_user(allocation, state.allocation) and allocation != NONE,
        )
        state.stillness = state.stillness.after(before, reading)
        suspicions = suspicion.inspect(
            before,
            reading,
            record,
            stillness=state.stillness,
            rated_power_w=self.rated_power_w(record),
        ) or suspicion.impossible_counts(record.device, amount)
        amount = suspicion.widened(amount, suspicions)
        already_ns = state.classified_monotonic_ns - before.monotonic_ns
        if already_ns > 0:
            slept_ns = state.classified_boottime_ns - before.boottime_ns - already_ns
            amount = _without_time(amount, already_ns, slept_ns)
        return amount, suspicions

    def _has_room_for(self, user: str) -> bool:
        if self.told_apart is not None and user not in self.told_apart:
            return False
        return self.maximum_registers is None or len(self.registers) < self.maximum_registers

    def _add(
        self,
        record: DeviceRecord,
        evidence: Evidence,
        owner: Owner,
        amount: Increment,
        *,
        boot_ns: int,
    ) -> None:
        if not any(amount):
            return
        known = (record.device, *owner, evidence, record.record_id)
        key = self._keys.get(known)
        if key is None:
            key = Key(record.device, self.incarnation, *owner, evidence, record.record_id)
            self._keys[known] = key
        register = self.registers.get(key)
        if register is None and not self._has_room_for(key.allocation):
            self.overflowed += 1
            key = dataclasses.replace(key, allocation=OVERFLOW, phase=0)
            register = self.registers.get(key)
        if register is None:
            register = self.registers[key] = Register()
            carry = self.carries.pop(carry_owner(key), None)
            if carry is not None:
                register.carry = carry
        register.add(amount)
        register.boot_ns = max(register.boot_ns, boot_ns)
        self.grown[key] = register


def carry_owner(key: Key) -> CarryOwner:
    """What a key shares with its successor in the next incarnation."""
    return (key.device, key.allocation, key.phase, key.evidence, key.record)


def _owner(before: DeviceState, allocation: str, phase: int) -> Owner:
    """Whose a period is, from the users and phases seen at its two ends.

    A user seen by stronger means at one end than at the other has it under the weaker. A period
    in which a run went into another phase was done in two formats, and nobody can tell how much in
    each: it is a boundary of the run with itself.
    """
    if _one_user(before.allocation, allocation) and before.phase == phase:
        return weaker(before.allocation, allocation), phase
    return boundary(before.allocation, allocation), 0


def _one_user(one: str, other: str) -> bool:
    return one == other or user_of(one) == user_of(other)


def _unclassified(state: DeviceState, *, monotonic_ns: int, boottime_ns: int) -> Increment:
    """The time since the last classified instant, unobserved but for what the node slept."""
    elapsed_ns = monotonic_ns - state.classified_monotonic_ns
    slept_ns = boottime_ns - state.classified_boottime_ns - elapsed_ns
    amount = list(unobserved_time(elapsed_ns))
    amount[Component.SUSPENDED_NS] = max(0, slept_ns)
    return tuple(amount)


def _without_time(amount: Increment, already_ns: int, slept_ns: int) -> Increment:
    """An increment less the time that was registered while the device was away.

    Args:
        amount: the increment of the whole period.
        already_ns: of it, registered as unobserved.
        slept_ns: of it, registered as suspended.
    """
    reduced = list(amount)
    reduced[Component.SUSPENDED_NS] -= min(max(0, slept_ns), reduced[Component.SUSPENDED_NS])
    for component in (
        Component.UNOBSERVED_NS,
        Component.SUSPECT_NS,
        Component.IDLE_NS,
        Component.BUSY_NS,
    ):
        taken = min(already_ns * SUBUNITS[component], reduced[component])
        reduced[component] -= taken
        already_ns -= taken
    return tuple(reduced)
