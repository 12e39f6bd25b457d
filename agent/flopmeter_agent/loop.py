"""The agent's heart: sample, journal, report, take acknowledgements.

Owns: the order of those steps, what is open and acknowledged, and when an incarnation ends.
May touch: the sensor, the journal and the clock it is given; no socket, no thread.
Called by app (from one sampling thread and one sender) and by lab.replay, one step at a time.
Explained in docs/adr/0005-delivery-and-durability.md and docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flopmeter_agent import state
from flopmeter_agent.accumulate import Accumulator
from flopmeter_agent.allocations.base import Users
from flopmeter_agent.closed import ClosedRegisters
from flopmeter_agent.counters import ClosedSummary, LoopCounters
from flopmeter_agent.delivery import Delivery
from flopmeter_agent.display import DisplayEstimate
from flopmeter_agent.hours import Hours
from flopmeter_agent.journal import Journal
from flopmeter_agent.listing import DeviceListing
from flopmeter_agent.past import Past
from flopmeter_agent.phases import PhaseBook, phase_of
from flopmeter_agent.sensors.base import Baseline, Failure, Readout, ResumingSensor, Sensor
from flopmeter_agent.state import AgentState, StateWriter, StoredRegister
from flopmeter_agent.witness import Witness
from flopmeter_core.allocations import NONE
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, NotPermittedError, SensorError, StorageError
from flopmeter_core.increments import LONGEST_SAMPLED_PERIODS
from flopmeter_core.registers import COMPONENT_COUNT, Key, Register
from flopmeter_core.reports import Answer, Durability, Hello, HourlyVector, Report
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

MAXIMUM_OPEN = 128
"""Registers of an incarnation, that its state stays small; eight a device where that is more."""

QUARANTINE_RENEWAL_NS = NS_PER_HOUR
"""Shortest life of an incarnation that quarantine or a second writer ends: neither may fill journal
and ledger with closed keys."""


class Identity(NamedTuple):
    """Who an agent is, as far as the loop needs it.

    Attributes:
        node: the node's name.
        cluster: the cluster's name.
        agent_version: version of the software.
        allocation: the user of every device whose sensor does not say it; ``none`` by default, and
            then whoever the allocation sources see.
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
        closed: ClosedRegisters,
        incarnation: str,
        period_ns: int,
        sensor_reason: str = "",
        rated_power_w: Callable[[DeviceRecord], int] = lambda record: 0,
        contradiction: Callable[[DeviceRecord], str] = lambda record: "",
        display: DisplayEstimate | None = None,
        hours: Hours | None = None,
        phases: PhaseBook | None = None,
        users: Users | None = None,
        new_incarnation: Callable[[], str] | None = None,
        witness: Witness | None = None,
    ) -> None:
        """Open a new incarnation; what earlier ones left in the journal becomes closed.

        Args:
            sensor: reads the devices.
            journal: the agent's memory of what is open.
            clock: the clock the sensor stamps its readings with.
            identity: who the agent is.
            sensor_reason: why this sensor was chosen, for display.
            contradiction: what a record says otherwise than the device table; "" where nothing.
            display: makes the estimate that rides along with reports; none rides without it.
            hours: keeps the vectors at the ends of hours; in memory only when None.
            phases: the phases that training processes name; all runs stay in phase 0 when None.
            users: who uses each device; the identity's allocation everywhere when None.
            closed: the final vectors of incarnations that ended.
            incarnation: 32 random hexadecimal digits, drawn anew at each start.
            new_incarnation: draws more of them; they come from the first one when None.
            period_ns: the sampling period on `clock`.
            witness: remembers outside of the state folder what may have left; None where nobody
                can put the folder back.
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
        self._users = users
        self._display = display
        self._hours = hours if hours is not None else Hours()
        self._phases = phases if phases is not None else PhaseBook()
        self._offered: tuple[HourlyVector, ...] = ()
        self._accumulator = Accumulator(incarnation, period_ns, rated_power_w, MAXIMUM_OPEN)
        self._writer = StateWriter()
        self._records: dict[str, DeviceRecord] = {}
        self._listing = DeviceListing(sensor, self.counters, contradiction)
        self._closed = closed
        # What an earlier process left open, until it is among the closed ones.
        self._left: AgentState | None = None
        self._past = Past(closed, clock, incarnation, new_incarnation, witness)
        self._delivery = Delivery(closed, self._past.draw_mark)
        self._renewal_ns = 0
        self._ended_totals: dict[str, list[int]] = {}
        self._synced_samples = 0
        self._lock = threading.Lock()
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
        with self._lock:
            self._delivery.begin_stream()
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
        with self._lock:
            if not self._begun():
                return
        self._list_devices(self._clock.monotonic_ns())
        started_ns, started_boot_ns = self._clock.monotonic_ns(), self._clock.boottime_ns()
        # From before the read: a phase heard of meanwhile did not hold at the reading yet.
        phases = self._phases.in_force()
        if self._users is not None:
            self._users.look()
        try:
            readout = self._sensor.read()
        except SensorError as error:
            readout = Readout((), (Failure(self._sensor.name, str(error)),))
        if self._users is not None:
            self._users.settle([reading.device for reading in readout.readings], readout.processes)
        for failure in readout.failures:
            self._listing.note_failure(failure.device, failure.reason)
        self.counters.reads += 1
        self.counters.read_duration_ns += self._clock.monotonic_ns() - started_ns
        suspicions = list(readout.suspicions)
        with self._lock:
            self._renew_when_due()
            self._ahead_of_journal = True
            self._hours.turn(self._clock.boottime_ns(), self._accumulator.registers)
            for reading in readout.readings:
                record = self._listing.current.get(reading.device)
                if record is None:
                    self._listing.again()  # a device nobody listed
                    continue
                self.counters.failures.pop(reading.device, None)
                self._note_gap(reading.device, reading.boottime_ns)
                allocation = reading.allocation or self._user(reading.device)
                suspicions += self._accumulator.observe(
                    record, reading, allocation=allocation, phase=phase_of(phases, allocation)
                )
            # Silence is judged from before the read: a wait for the lock is nobody's silence.
            self._account_for_silence(started_ns, started_boot_ns, phases)
            self._phases.hold({d.allocation for d in self._accumulator.devices.values()})
            self.counters.samples += 1
            self._note_instant()
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
            phase=phase_of(self._phases.in_force(), user),
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
                    phase=phase_of(self._phases.in_force(), allocation),
                )
            self._note_instant()
            self._write_journal()

    def sync(self) -> None:
        """Make the journal durable although nothing is reported: an outage may be long.

        Raises:
            StorageError: the journal could not be made durable.
        """
        with self._lock:
            self._sync()

    @property
    def unsynced_samples(self) -> int:
        """Samples since the newest sync."""
        return self.counters.samples - self._synced_samples

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
            self._part()
            registers = self._accumulator.registers
            vectors = self._delivery.unacknowledged(registers)
            self._offered = self._hours.unsent(self._clock.boottime_ns())
            if not vectors and not self._offered and not self._delivery.waits_for_root:
                return None
            self._note_sent({keyed.key for keyed in vectors})
            self._sync()
            self._past.show()
            self._delivery.leaves(vectors)
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
            self.counters.refused_vectors += sum(
                ack.durability in (Durability.REFUSED, Durability.QUARANTINED)
                for ack in answer.acknowledgements
            )
            registers = self._accumulator.registers
            reason = self._delivery.take(answer, registers, up_ns=self._past.up_ns())
            if reason:
                logger.warning("everything is sent again", extra=fields(reason=reason))
                self._hours.went_back(registers)
            self._accumulator.fold_users(self._delivery.fold_users)
            self._hours.acknowledge(self._offered, answer.hours, self._clock.boottime_ns())
            self._offered = ()
            self.counters.second_writers = self._delivery.second_writers

    def held(self) -> dict[Key, Register]:
        """A copy of every register held, open and closed; what is acknowledged may be gone."""
        with self._lock:
            left = self._left.registers if self._left is not None else []
            opened = {stored.key: stored.register for stored in left}
            opened |= self._accumulator.registers
            return self._closed.held() | {
                key: Register(list(each.units), list(each.carry), each.sequence, each.boot_ns)
                for key, each in opened.items()
            }

    def closed_summary(self) -> ClosedSummary:
        """What is kept of ended incarnations, for the agent's metrics."""
        with self._lock:
            return self._past.summary(self._accumulator.overflowed)

    def device_totals(self) -> dict[str, list[int]]:
        """Registers of this process summed by device, for display."""
        with self._lock:
            return self._totals()

    # --- inside -----------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Take over what the journal holds of earlier incarnations."""
        if self._journal.payload is None:
            self._past.begin(None)
            return
        old = state.decode(self._journal.payload)
        if old.simulated != self._sensor.simulated:
            kind = "simulated" if old.simulated else "real"
            raise NotPermittedError(
                f"the state folder holds {kind} readings and sensor {self._sensor.name} makes the "
                "other kind; use another state folder"
            )
        self._records.update(self._closed.records)
        self._records.update(old.records)
        self._delivery.resume(old)
        self._past.resume(old)
        self._past.begin(old)
        self._left = old
        self._begun()

    def _begun(self) -> bool:
        """Whether this incarnation may register: the one before has to be among the closed ones.

        Where there is no room for it, or the disk fails, nothing is registered and the journal
        keeps its baselines: what counters have counted meanwhile is found when there is room.
        """
        old = self._left
        if old is None:
            return True
        if not self._past.worth_trying:
            return False
        same_boot = self._past.is_of_this_boot(old)
        added_up = self._past.may_add_up(old)
        if not self._absorb(old.incarnation, old.registers, in_this_boot=added_up):
            return False
        self._left = None
        self._accumulator.carries = self._closed.carries()
        left = {stored.key: stored.register for stored in old.registers}
        self._hours.resume(old.incarnation, old.instant, left)
        if same_boot:
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
        return True

    def renew(self) -> bool:
        """End this incarnation and begin the next one, without a gap.

        Its keys are never written again. Only between two samples: the journal has to hold what
        the registers hold.

        Returns:
            Whether it was done; not where the closed ones have no room.
        """
        before = self._accumulator
        if not self._absorb(
            before.incarnation, self._delivery.stored(before.registers), in_this_boot=True
        ):
            return False
        self._hours.close(before.registers)
        self._ended_totals = self._totals()
        # Where users were given up, fractions of theirs are in the sum and not in a successor.
        before.renew(self._past.next_incarnation(), self._closed.carries())
        for device in list(before.devices.values()):
            before.resume_device(device)
        self._writer = StateWriter()
        self._delivery.renew()
        current = {record.record_id: record for record in self._listing.current.values()}
        self._records = {**self._closed.records, **current, **self._device_records()}
        return True

    def _part(self) -> None:
        """Leave an incarnation to another process that writes under it."""
        boot_ns = self._clock.boottime_ns()
        if not self._delivery.contested or boot_ns < self._renewal_ns:
            return
        if self._delivery.mark_contested(self._accumulator.registers, self.renew):
            self._renewal_ns = boot_ns + QUARANTINE_RENEWAL_NS
            self._write_journal()

    def _renew_when_due(self) -> None:
        """Begin the next incarnation where this one has grown, or its vectors are not believed."""
        accumulator = self._accumulator
        devices = len(accumulator.devices)
        limit = max(MAXIMUM_OPEN, 8 * devices)
        accumulator.maximum_registers = limit
        boot_ns = self._clock.boottime_ns()
        if self._ahead_of_journal:
            return
        if self._delivery.quarantined and boot_ns >= self._renewal_ns:
            # One bad vector must not hold up the work after it.
            self._renewal_ns = boot_ns + QUARANTINE_RENEWAL_NS
            self.renew()
        # A sample adds a register for what each device did, and one for its silence.
        if len(accumulator.registers) + 2 * devices <= limit:
            return
        if self._past.worth_trying:
            self.renew()

    def _absorb(
        self, incarnation: str, registers: list[StoredRegister], *, in_this_boot: bool
    ) -> bool:
        gone = self._past.absorb(
            incarnation,
            registers,
            self._records,
            running=self.incarnation,
            in_this_boot=in_this_boot,
        )
        if gone:
            self._hours.forget(gone)
        return gone is not None

    def _totals(self) -> dict[str, list[int]]:
        totals = {device: list(total) for device, total in self._ended_totals.items()}
        for key, register in self._accumulator.registers.items():
            total = totals.setdefault(key.device, [0] * COMPONENT_COUNT)
            for place, amount in enumerate(register.units):
                total[place] += amount
        return totals

    def _write_journal(self) -> None:
        state = self._state()
        # A write that fails may be there all the same.
        self._delivery.own.journaled(self._accumulator.grown)
        self._accumulator.grown.clear()
        self._journal.write(self._writer.encode(state))
        self._past.kept_up_ns = state.up_ns
        self._ahead_of_journal = False

    def _sync(self) -> None:
        # An open state builds on the closed ones: it may not outlive them.
        self._closed.sync()
        self._journal.sync()
        self._synced_samples = self.counters.samples
        if self.counters.disk_fails:
            self.counters.disk_fails = False
            logger.warning("the state is kept again")

    def _note_sent(self, keys: set[Key]) -> None:
        """Keep durably what a collector may come to know."""
        if self._delivery.mark_sent(keys & self._accumulator.registers.keys()):
            # Where this write fails nothing leaves before another one has kept the marks.
            self._past.shown += 1
            self._ahead_of_journal = True
            self._write_journal()
        self._closed.offer(keys - self._accumulator.registers.keys())

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
        records = self._listing.refreshed(now_ns)
        if records is not None:
            with self._lock:
                self._listing.current = {record.device: record for record in records}
                self._records.update({record.record_id: record for record in records})

    def _account_for_silence(self, now_ns: int, boot_ns: int, phases: Mapping[str, int]) -> None:
        """Register the time of devices that were not read for two periods, or not yet at all."""
        for record in self._listing.current.values():
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
                phase=phase_of(phases, user),
            )
            self._listing.again()

    def _user_in_silence(self, device: str) -> str:
        """The user of a device nobody reads: the one stated, else the one last seen."""
        stated = self._identity.allocation
        if stated == NONE and self._users is not None:
            stated = self._users.stated(device)
        return stated if stated != NONE else self._accumulator.devices[device].allocation

    def _user(self, device: str) -> str:
        """The user of a device that was read just now."""
        stated = self._identity.allocation
        return self._users.of(device) if stated == NONE and self._users is not None else stated

    def _display_flop(self) -> dict[str, int]:
        if self._display is None:
            return {}
        registers = self._accumulator.registers.items()
        return self._display.best_by_allocation(
            ((key, register.units) for key, register in registers), self._records
        )

    def _device_records(self) -> dict[str, DeviceRecord]:
        known = (device.record for device in self._accumulator.devices.values())
        return {record.record_id: record for record in known}

    def _state(self) -> AgentState:
        registers = self._delivery.stored(self._accumulator.registers)
        named = {key.record for key in self._accumulator.registers}
        records = self._device_records() | {name: self._records[name] for name in named}
        return AgentState(
            incarnation=self.incarnation,
            boot_id=self._clock.boot_id,
            simulated=self._sensor.simulated,
            records=records,
            registers=registers,
            devices=list(self._accumulator.devices.values()),
            position=self._delivery.position,
            instant=self._hours.instant,
            phases=self._phases.state(),
            up_ns=self._past.up_ns(),
            shown=self._past.shown,
        )
