"""The agent's heart: sample, journal, report, take acknowledgements.

Owns: the order of those steps, and what is open, closed and acknowledged.
May touch: the sensor, the journal and the clock it is given; no socket, no thread.
Called by app (from one sampling thread and one sender) and by lab.replay, one step at a time.
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flopmeter_agent import state
from flopmeter_agent.accumulate import Accumulator, carry_owner
from flopmeter_agent.display import DisplayEstimate
from flopmeter_agent.hours import Hours
from flopmeter_agent.journal import Journal
from flopmeter_agent.phases import PhaseBook
from flopmeter_agent.sensors.base import Baseline, Failure, Readout, ResumingSensor, Sensor
from flopmeter_agent.state import AgentState, StoredRegister
from flopmeter_agent.suspects import Suspects
from flopmeter_core.allocations import NONE, named_run
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, NotPermittedError, SensorError, StorageError
from flopmeter_core.increments import LONGEST_SAMPLED_PERIODS
from flopmeter_core.registers import COMPONENT_COUNT, Key, Register
from flopmeter_core.reports import (
    MAXIMUM_VECTORS_PER_REPORT,
    Acknowledgement,
    Answer,
    Durability,
    Hello,
    HourlyVector,
    KeyedVector,
    LedgerPosition,
    Report,
)
from flopmeter_core.suspicion import Check
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

DEVICES_REFRESH_NS = 60 * NS_PER_S
"""How often devices are listed again; a failed reading lists them at once."""

RENEWAL_NS = NS_PER_HOUR
"""Shortest life of an incarnation that quarantine ends: a device whose every vector cannot be true
must not fill journal and ledger with closed keys."""


@dataclass(slots=True)
class LoopCounters:
    """What the loop counts of its own work, for the agent's metrics."""

    reads: int = 0
    read_failures: int = 0
    read_duration_ns: int = 0
    samples: int = 0
    reports: int = 0
    refused_vectors: int = 0
    suspects: Suspects = dataclasses.field(default_factory=Suspects)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is, as far as the loop needs it.

    Attributes:
        node: the node's name.
        cluster: the cluster's name.
        agent_version: version of the software.
        allocation: the user of every device whose sensor does not say it; ``none`` by default.
    """

    node: str
    cluster: str = ""
    agent_version: str = ""
    allocation: str = NONE


class AgentLoop:
    """One agent's registers, from the sensor to what is ready to be sent.

    `sample` and `report`/`acknowledge` may be called from two threads.
    """

    def __init__(
        self,
        sensor: Sensor,
        journal: Journal,
        clock: Clock,
        identity: Identity,
        *,
        incarnation: str,
        period_ns: int,
        sensor_reason: str = "",
        rated_power_w: Callable[[DeviceRecord], int] = lambda record: 0,
        contradiction: Callable[[DeviceRecord], str] = lambda record: "",
        display: DisplayEstimate | None = None,
        hours: Hours | None = None,
        phases: PhaseBook | None = None,
        new_incarnation: Callable[[], str] | None = None,
    ) -> None:
        """Open a new incarnation; what earlier ones left in the journal becomes closed.

        Args:
            sensor: reads the devices.
            journal: the agent's memory.
            clock: the clock the sensor stamps its readings with.
            identity: who the agent is.
            sensor_reason: why this sensor was chosen, for display.
            contradiction: what a record says otherwise than the device table; "" where nothing.
            display: makes the estimate that rides along with reports; none rides without it.
            hours: keeps the vectors at the ends of hours; in memory only when None.
            phases: the phases that training processes name; all runs stay in phase 0 when None.
            incarnation: 32 random hexadecimal digits, drawn anew at each start.
            new_incarnation: draws more of them, for when the collector quarantines a vector;
                without it the agent goes on in the same incarnation.
            period_ns: the sampling period on `clock`.
            rated_power_w: rated power of a device in W, 0 where it is not known; makes silent
                counters suspect.

        Raises:
            NotPermittedError: the journal holds readings of the other kind (real, simulated).
            DataError: the journal's state cannot be read.
        """
        self.counters = LoopCounters()
        self._sensor = sensor
        self._journal = journal
        self._clock = clock
        self._identity = identity
        self._sensor_reason = sensor_reason
        self._contradiction = contradiction
        self._looked_up: set[str] = set()
        self._display = display
        self._hours = hours if hours is not None else Hours()
        self._phases = phases if phases is not None else PhaseBook()
        self._offered: tuple[HourlyVector, ...] = ()
        self._accumulator = Accumulator(incarnation, period_ns, rated_power_w)
        self._records: dict[str, DeviceRecord] = {}
        self._current: dict[str, DeviceRecord] = {}
        self._closed: dict[Key, StoredRegister] = {}
        # Durable at the root, so that nobody needs this node's copy any more.
        self._acknowledged: dict[Key, int] = {}
        # Durable at a relay that forwards them: not sent again, and not let go of either.
        self._at_relay: dict[Key, int] = {}
        self._position: LedgerPosition | None = None
        self._devices_listed_ns: int | None = None
        self._lock = threading.Lock()
        # Refused by the collector that is asked now: sent again only by the next agent process.
        self._refused: dict[Key, int] = {}
        self._new_incarnation = new_incarnation
        self._quarantined = False
        self._renewed_boot_ns: int | None = None
        # Registers hold more than the journal: nothing of it may leave, or the next incarnation
        # would count the same period again from the journal's older baseline.
        self._ahead_of_journal = False
        self._resume()

    @property
    def incarnation(self) -> str:
        """The running incarnation."""
        return self._accumulator.incarnation

    @property
    def accumulator(self) -> Accumulator:
        """The registers, for the agent's own metrics and for replay's head and tail."""
        return self._accumulator

    def hello(self, method_version: str) -> Hello:
        """The first message of a stream."""
        return Hello(
            node=self._identity.node,
            incarnation=self.incarnation,
            simulated=self._sensor.simulated,
            cluster=self._identity.cluster,
            agent_version=self._identity.agent_version,
            method_version=method_version,
            boot_id=self._clock.boot_id,
            sensor=self._sensor.name,
            sensor_reason=self._sensor_reason,
        )

    def sample(self) -> None:
        """Read every device once, grow the registers, and write the journal.

        Raises:
            StorageError: the journal could not be written; the registers in memory are intact.
        """
        now_ns = self._clock.monotonic_ns()
        self._list_devices(now_ns)
        started_ns, started_boot_ns = self._clock.monotonic_ns(), self._clock.boottime_ns()
        # From before the read: a phase heard of meanwhile did not hold at the reading yet.
        phases = self._phases.in_force()
        try:
            readout = self._sensor.read()
        except SensorError as error:
            readout = Readout((), (Failure(self._sensor.name, str(error)),))
        for failure in readout.failures:
            self._note_failure(failure.device, failure.reason)
        self.counters.reads += 1
        self.counters.read_duration_ns += self._clock.monotonic_ns() - started_ns
        suspicions = list(readout.suspicions)
        with self._lock:
            self._ahead_of_journal = True
            self._hours.turn(self._clock.boottime_ns(), self._accumulator.registers)
            for reading in readout.readings:
                record = self._current.get(reading.device)
                if record is None:
                    self._devices_listed_ns = None  # a device nobody listed: list again
                    continue
                self.counters.failures.pop(reading.device, None)
                self._note_gap(reading.device, reading.boottime_ns)
                allocation = reading.allocation or self._identity.allocation
                suspicions += self._accumulator.observe(
                    record, reading, allocation=allocation, phase=_phase(phases, allocation)
                )
            # Silence is judged from before the read: a wait for the lock is nobody's silence.
            self._account_for_silence(started_ns, started_boot_ns, phases)
            self._phases.hold({d.allocation for d in self._accumulator.devices.values()})
            self.counters.samples += 1
            self._note_instant()
            self._renew_when_quarantined()
            self._write_journal()
        self.counters.suspects.note({r.device for r in readout.readings}, suspicions)

    def start_device(
        self,
        record: DeviceRecord,
        *,
        monotonic_ns: int,
        boottime_ns: int,
        allocation: str | None = None,
    ) -> None:
        """Begin to account for a device's time before its first reading."""
        self._records[record.record_id] = record
        user = allocation or self._identity.allocation
        self._accumulator.start_device(
            record,
            allocation=user,
            monotonic_ns=monotonic_ns,
            boottime_ns=boottime_ns,
            phase=_phase(self._phases.in_force(), user),
        )

    def end_devices(self, allocation: str) -> None:
        """Account for every device's time up to now, observed or not, and write the journal."""
        with self._lock:
            self._ahead_of_journal = True
            self._hours.turn(self._clock.boottime_ns(), self._accumulator.registers)
            for device in list(self._accumulator.devices):
                self._accumulator.unobserved_until(
                    device,
                    monotonic_ns=self._clock.monotonic_ns(),
                    boottime_ns=self._clock.boottime_ns(),
                    allocation=allocation,
                    phase=_phase(self._phases.in_force(), allocation),
                )
            self._note_instant()
            self._write_journal()

    def sync(self) -> None:
        """Make the journal durable although nothing is reported: an outage may be long.

        Raises:
            StorageError: the journal could not be made durable.
        """
        with self._lock:
            self._journal.sync()

    def close_hour(self) -> None:
        """Close the running hour too, so that its vectors can be reported: the agent stops."""
        with self._lock:
            self._hours.close(self._accumulator.registers)

    def report(self) -> Report | None:
        """Make the journal durable and collect what the collector has not acknowledged.

        Returns:
            The newest vectors; none of them where a relay has all and only its answer is wanted,
            which says what reached the root; None when everything is acknowledged.

        Raises:
            StorageError: the journal could not be written or made durable; nothing may be sent.
        """
        with self._lock:
            if self._ahead_of_journal:
                raise StorageError(
                    "the journal does not hold the newest readings, so nothing is sent; "
                    "free space on the disk of the state folder"
                )
            vectors = self._unacknowledged()
            self._offered = self._hours.unsent(self._clock.boottime_ns())
            if not vectors and not self._offered and not self._at_relay:
                return None
            self._journal.sync()
            self.counters.reports += 1
            return Report(
                records=self._records,
                vectors=tuple(vectors),
                boot_ns=self._clock.boottime_ns(),
                wall_ns=self._clock.wall_ns(),
                display_flop=self._display_flop(),
                hours=self._offered,
            )

    def acknowledge(self, answer: Answer) -> None:
        """Note what is durable, here or at the root; what no figure holds is logged and kept.

        A ledger that is another one, or stands before what it acknowledged earlier, was
        restored or lost: everything is sent again.
        """
        with self._lock:
            if self._position is not None and _went_back(self._position, answer.position):
                logger.warning("the collector's ledger went back; everything is sent again")
                self._acknowledged.clear()
                self._refused.clear()
                self._at_relay.clear()
                self._hours.went_back([*self._closed, *self._accumulator.registers])
            self._position = answer.position
            for ack in answer.acknowledgements:
                if ack.durability is Durability.REFUSED:
                    self.counters.refused_vectors += 1
                    self._refused[ack.key] = ack.sequence
                    logger.error(
                        "the collector refused a register",
                        extra=fields(device=ack.key.device, reason=ack.reason),
                    )
                    continue
                if ack.durability is Durability.QUARANTINED:
                    self._note_quarantine(ack)
                self._note_durable(ack)
            self._hours.acknowledge(self._offered, answer.hours, self._clock.boottime_ns())
            self._offered = ()

    def held(self) -> dict[Key, Register]:
        """A copy of every register held, open and closed; what is acknowledged may be gone."""
        with self._lock:
            held = {key: stored.register for key, stored in self._closed.items()}
            held |= self._accumulator.registers
            return {
                key: Register(list(each.units), list(each.carry), each.sequence)
                for key, each in held.items()
            }

    def device_totals(self) -> dict[str, list[int]]:
        """Registers of this incarnation summed by device, for display."""
        totals: dict[str, list[int]] = {}
        with self._lock:
            for key, register in self._accumulator.registers.items():
                total = totals.setdefault(key.device, [0] * COMPONENT_COUNT)
                for place, amount in enumerate(register.units):
                    total[place] += amount
        return totals

    # --- inside -----------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Take over what the journal holds of earlier incarnations."""
        if self._journal.payload is None:
            return
        old = state.decode(self._journal.payload)
        if old.simulated != self._sensor.simulated:
            kind = "simulated" if old.simulated else "real"
            raise NotPermittedError(
                f"the state folder holds {kind} readings and sensor {self._sensor.name} makes the "
                "other kind; use another state folder"
            )
        self._records.update(old.records)
        self._position = old.position
        for stored in old.registers:
            self._closed[stored.key] = stored
            self._acknowledged[stored.key] = stored.acknowledged
            if any(stored.register.carry):
                # The fraction below one unit goes on in the successor's register.
                carry = list(stored.register.carry)
                self._accumulator.carries[carry_owner(stored.key)] = carry
        left = {stored.key: stored.register for stored in old.registers}
        self._hours.resume(old.incarnation, old.instant, left)
        if old.boot_id == self._clock.boot_id:
            for device in old.devices:
                self._accumulator.resume_device(device)
            if isinstance(self._sensor, ResumingSensor):
                self._sensor.resume(
                    {
                        device.record.device: Baseline(device.record, device.baseline)
                        for device in old.devices
                        if device.baseline is not None
                    }
                )
            try:
                self._phases.resume(old.phases)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(f"the journal's phases cannot be read: {error!r}") from error

    def _note_durable(self, ack: Acknowledgement) -> None:
        root = self._acknowledged.get(ack.key, 0)
        if ack.durability is not Durability.HERE:
            root = self._acknowledged[ack.key] = max(ack.sequence, root)
        elif ack.sequence > max(root, self._at_relay.get(ack.key, 0)):
            self._at_relay[ack.key] = ack.sequence
        if self._at_relay.get(ack.key, root + 1) <= root:
            del self._at_relay[ack.key]

    def _note_quarantine(self, ack: Acknowledgement) -> None:
        """The collector keeps this vector apart: it has it, and counts it in no figure."""
        self.counters.refused_vectors += 1
        if ack.key.incarnation == self.incarnation:
            self._quarantined = True
        logger.error(
            "the collector quarantined a register",
            extra=fields(device=ack.key.device, reason=ack.reason),
        )

    def _renew_when_quarantined(self) -> None:
        """Go on in a new incarnation, so that one bad vector does not hold up the work after it.

        The old registers become closed keys, as after a restart; baselines go on, so that no
        period is lost or read twice.
        """
        boot_ns = self._clock.boottime_ns()
        renewed_ns = self._renewed_boot_ns
        if not self._quarantined or self._new_incarnation is None:
            return
        if renewed_ns is not None and boot_ns - renewed_ns < RENEWAL_NS:
            return
        self._quarantined = False
        self._renewed_boot_ns = boot_ns
        self._hours.close(self._accumulator.registers)
        for key, register in self._accumulator.renew(self._new_incarnation()).items():
            self._closed[key] = StoredRegister(key, register, self._acknowledged.get(key, 0))
        self._note_instant()

    def _write_journal(self) -> None:
        self._journal.write(state.encode(self._state()))
        self._ahead_of_journal = False

    def _note_gap(self, device: str, boot_ns: int) -> None:
        """Tell the hours since when the work and the time registered next may have been."""
        known = self._accumulator.devices.get(device)
        if known is None:
            return
        since_ns = known.classified_boottime_ns
        if known.baseline is not None:
            since_ns = min(since_ns, known.baseline.boottime_ns)
        longest_ns = LONGEST_SAMPLED_PERIODS * self._accumulator.period_ns
        self._hours.reach_back(device, since_ns=since_ns, until_ns=boot_ns, longest_ns=longest_ns)

    def _note_instant(self) -> None:
        boot_ns, wall_ns = self._clock.boottime_ns(), self._clock.wall_ns()
        self._hours.sampled(self.incarnation, boot_ns, wall_ns)

    def _list_devices(self, now_ns: int) -> None:
        listed_ns = self._devices_listed_ns
        if listed_ns is not None and 0 <= now_ns - listed_ns < DEVICES_REFRESH_NS:
            return
        try:
            records = self._sensor.devices()
        except SensorError as error:
            self._note_failure(self._sensor.name, str(error))
            return
        self._devices_listed_ns = now_ns
        for record in records:
            self._look_up(record)
        with self._lock:
            self._current = {record.device: record for record in records}
            self._records.update({record.record_id: record for record in records})

    def _look_up(self, record: DeviceRecord) -> None:
        """Say once of a record what the device table says otherwise."""
        if record.record_id in self._looked_up:
            return
        self._looked_up.add(record.record_id)
        reason = self._contradiction(record)
        if reason:
            self.counters.suspects.counts[Check.TABLE] += 1
            logger.warning(
                "a device contradicts the device table",
                extra=fields(device=record.device, reason=reason),
            )

    def _account_for_silence(self, now_ns: int, boot_ns: int, phases: Mapping[str, int]) -> None:
        """Register the time of devices that were not read for two periods, or not yet at all."""
        for record in self._current.values():
            if record.device not in self._accumulator.devices:
                self.start_device(record, monotonic_ns=now_ns, boottime_ns=boot_ns)
        for device in self._accumulator.overdue(now_ns):
            self._note_gap(device, boot_ns)
            user = self._user_in_silence(device)
            self._accumulator.unobserved_until(
                device,
                monotonic_ns=now_ns,
                boottime_ns=boot_ns,
                allocation=user,
                phase=_phase(phases, user),
            )
            self._devices_listed_ns = None

    def _user_in_silence(self, device: str) -> str:
        """The user of a device nobody reads: the one stated, else the one last seen."""
        if self._identity.allocation != NONE:
            return self._identity.allocation
        return self._accumulator.devices[device].allocation

    def _display_flop(self) -> dict[str, int]:
        if self._display is None:
            return {}
        registers = self._accumulator.registers.items()
        return self._display.best_by_allocation(
            ((key, register.vector) for key, register in registers), self._records
        )

    def _unacknowledged(self) -> list[KeyedVector]:
        registers = itertools.chain(
            ((key, stored.register) for key, stored in self._closed.items()),
            self._accumulator.registers.items(),
        )
        unacknowledged = (
            KeyedVector(key, register.sequence, register.vector)
            for key, register in registers
            if register.sequence
            > max(
                self._acknowledged.get(key, 0),
                self._at_relay.get(key, 0),
                self._refused.get(key, 0),
            )
        )
        return list(itertools.islice(unacknowledged, MAXIMUM_VECTORS_PER_REPORT))

    def _state(self) -> AgentState:
        stored = [
            StoredRegister(key, register, self._acknowledged.get(key, 0))
            for key, register in self._accumulator.registers.items()
        ]
        for key, closed in self._closed.items():
            closed.acknowledged = self._acknowledged.get(key, 0)
            if carry_owner(key) not in self._accumulator.carries:
                closed.register.carry = [0] * COMPONENT_COUNT  # the successor has taken it over
            stored.append(closed)
        records = {entry.key.record for entry in stored}
        devices = list(self._accumulator.devices.values())
        records |= {known.record.record_id for known in devices}
        return AgentState(
            incarnation=self.incarnation,
            boot_id=self._clock.boot_id,
            simulated=self._sensor.simulated,
            records={name: self._records[name] for name in records if name in self._records},
            registers=stored,
            devices=devices,
            position=self._position,
            instant=self._hours.instant,
            phases=self._phases.state(),
        )

    def _note_failure(self, device: str, reason: str) -> None:
        self.counters.read_failures += 1
        self._devices_listed_ns = None
        if self.counters.failures.get(device) != reason:
            self.counters.failures[device] = reason
            logger.warning(
                "a device cannot be read; its time is unobserved",
                extra=fields(device=device, reason=reason),
            )


def _phase(phases: Mapping[str, int], allocation: str) -> int:
    """The phase of an allocation's run; 0 where nobody named one, and for no run."""
    return phases.get(named_run(allocation) or "", 0)


def _went_back(before: LedgerPosition, now: LedgerPosition) -> bool:
    """Whether a ledger is another one or stands before an earlier acknowledgement."""
    return (
        now.ledger_id != before.ledger_id
        or now.generation != before.generation
        or now.commit_number < before.commit_number
    )
