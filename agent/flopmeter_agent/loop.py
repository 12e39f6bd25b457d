"""The agent's heart: sample, journal, report, take acknowledgements.

Owns: the order of those steps, the lock they share, and whose a device's time is when nobody says.
May touch: the sensor, the journal and the clock it is given; no socket, no thread.
Called by app (from one sampling thread and one sender) and by lab.replay, one step at a time.
Explained in docs/adr/0005-delivery-and-durability.md and docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flopmeter_agent.accumulate import Accumulator
from flopmeter_agent.allocations.base import Users
from flopmeter_agent.closed import ClosedRegisters
from flopmeter_agent.counters import ClosedSummary, LoopCounters
from flopmeter_agent.delivery import Delivery
from flopmeter_agent.display import DisplayEstimate
from flopmeter_agent.hours import Hours
from flopmeter_agent.journal import Journal
from flopmeter_agent.keeping import Keeping, Parts
from flopmeter_agent.listing import DeviceListing
from flopmeter_agent.past import Past
from flopmeter_agent.phases import PhaseBook, phase_of
from flopmeter_agent.sensors.base import Failure, Readout, Sensor
from flopmeter_agent.succession import MAXIMUM_OPEN, Succession
from flopmeter_agent.witness import Witness
from flopmeter_core.allocations import NONE
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError, StorageError
from flopmeter_core.increments import LONGEST_SAMPLED_PERIODS
from flopmeter_core.registers import Key, Register
from flopmeter_core.reports import Answer, Durability, Hello, HourlyVector, Report
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)


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
        self._listing = DeviceListing(sensor, self.counters, contradiction)
        self._closed = closed
        self._past = Past(closed, clock, incarnation, new_incarnation, witness)
        self._delivery = Delivery(closed, self._past.draw_mark)
        parts = Parts(
            accumulator=self._accumulator,
            hours=self._hours,
            phases=self._phases,
            closed=closed,
            past=self._past,
            delivery=self._delivery,
        )
        self._keeping = Keeping(
            journal, clock, parts, simulated=sensor.simulated, counters=self.counters
        )
        self._succession = Succession(sensor, clock, parts, self._listing, self._keeping)
        self._lock = threading.Lock()
        self._succession.resume(journal.payload)

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
            if not self._succession.begun():
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
            self._succession.renew_when_due()
            self._keeping.ahead = True
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
            self._keeping.write()
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
        self._keeping.records[record.record_id] = record
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
            self._keeping.ahead = True
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
            self._keeping.write()

    def sync(self) -> None:
        """Make the journal durable although nothing is reported: an outage may be long.

        Raises:
            StorageError: the journal could not be made durable.
        """
        with self._lock:
            self._keeping.sync()

    @property
    def unsynced_samples(self) -> int:
        """Samples since the newest sync."""
        return self._keeping.unsynced_samples

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
            if self._keeping.ahead:
                raise StorageError(
                    "the journal does not hold the newest readings, so nothing is sent; "
                    "free space on the disk of the state folder"
                )
            self._succession.part()
            registers = self._accumulator.registers
            vectors = self._delivery.unacknowledged(registers)
            self._offered = self._hours.unsent(self._clock.boottime_ns())
            if not vectors and not self._offered and not self._delivery.waits_for_root:
                return None
            self._keeping.note_sent({keyed.key for keyed in vectors})
            self._keeping.sync()
            self._past.show()
            self._delivery.leaves(vectors)
            self.counters.reports += 1
            return Report(
                records=self._keeping.records,
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
            opened = self._succession.left() | self._accumulator.registers
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
            return self._succession.totals()

    def renew(self) -> bool:
        """End this incarnation and begin the next one, between two samples.

        Returns:
            Whether it was done; not where the closed ones have no room.
        """
        with self._lock:
            return self._succession.renew()

    # --- inside -----------------------------------------------------------------------------------

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
                self._keeping.records.update({record.record_id: record for record in records})

    def _account_for_silence(self, now_ns: int, boot_ns: int, phases: Mapping[str, int]) -> None:
        """Register the time of devices that were not read for two periods, or not yet at all."""
        for record in self._listing.current.values():
            if record.device not in self._accumulator.devices:
                self.start_device(record, monotonic_ns=now_ns, boottime_ns=boot_ns)
        gone = self._accumulator.gone(self._listing.current) if self._listing.current else []
        for device in (*self._accumulator.overdue(now_ns), *gone):
            if not self._accumulator.devices[device].record.device_count:
                continue  # a MIG instance has no time
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
        for device in gone:
            self._accumulator.forget(device)
            self.counters.forget(device)

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
            ((key, register.units) for key, register in registers), self._keeping.records
        )
