"""One incarnation after the other: what the last process left, and when the running one ends.

Owns: when that is and in what order it is done, so that no work is lost, counted twice or left
under a key that another writer uses.
May touch: the parts of an agent it is given; the log, through them.
Called by the loop, under its lock, between two samples.
Explained in docs/adr/0012-agent-memory.md and docs/adr/0030-two-writers-of-one-incarnation.md.
"""

from __future__ import annotations

from flopmeter_agent import state
from flopmeter_agent.keeping import Keeping, Parts
from flopmeter_agent.listing import DeviceListing
from flopmeter_agent.sensors.base import Baseline, ResumingSensor, Sensor
from flopmeter_agent.state import AgentState, StoredRegister
from flopmeter_core.errors import DataError, NotPermittedError
from flopmeter_core.registers import COMPONENT_COUNT, Key, Register
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.daemon.clock import Clock

MAXIMUM_OPEN = 128
"""Registers of an incarnation, that its state stays small; eight a device where that is more."""

QUARANTINE_RENEWAL_NS = NS_PER_HOUR
"""Shortest life of an incarnation that quarantine or a second writer ends: neither may fill journal
and ledger with closed keys."""


class Succession:
    """The running incarnation, the one before it, and the next one."""

    def __init__(
        self,
        sensor: Sensor,
        clock: Clock,
        parts: Parts,
        listing: DeviceListing,
        keeping: Keeping,
    ) -> None:
        """Prepare; `resume` takes over what there was.

        Args:
            sensor: goes on from the baselines that were left.
            clock: tells how long an incarnation has run.
            parts: what they are made of.
            listing: the devices there are now.
            keeping: the running one on disk.
        """
        self._sensor = sensor
        self._clock = clock
        self._accumulator = parts.accumulator
        self._hours = parts.hours
        self._phases = parts.phases
        self._listing = listing
        self._closed = parts.closed
        self._past = parts.past
        self._delivery = parts.delivery
        self._keeping = keeping
        # What an earlier process left open, until it is among the closed ones.
        self._left: AgentState | None = None
        self._renewal_ns = 0
        self._ended_totals: dict[str, list[int]] = {}

    def resume(self, payload: bytes | None) -> None:
        """Take over what the journal holds of earlier incarnations.

        Args:
            payload: the newest state in it; None where there is none.

        Raises:
            NotPermittedError: it holds readings of the other kind (real, simulated).
            DataError: it cannot be read.
        """
        if payload is None:
            self._past.begin(None)
            return
        old = state.decode(payload)
        if old.simulated != self._sensor.simulated:
            kind = "simulated" if old.simulated else "real"
            raise NotPermittedError(
                f"the state folder holds {kind} readings and sensor {self._sensor.name} makes the "
                "other kind; use another state folder"
            )
        self._keeping.records.update(self._closed.records)
        self._keeping.records.update(old.records)
        self._delivery.resume(old)
        self._past.resume(old)
        self._past.begin(old)
        self._left = old
        self.begun()

    def begun(self) -> bool:
        """Whether this incarnation may register: the one before has to be among the closed ones.

        Where there is no room for it, or the disk fails, nothing is registered and the journal
        keeps its baselines: what counters have counted meanwhile is found when there is room.

        Raises:
            DataError: the phases that were left cannot be read.
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
            self._go_on_from(old)
        return True

    def _go_on_from(self, old: AgentState) -> None:
        """Take over the baselines and phases that were left in this boot."""
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

    def left(self) -> dict[Key, Register]:
        """What an earlier process left open and is not among the closed ones yet."""
        old = self._left
        return {stored.key: stored.register for stored in old.registers} if old is not None else {}

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
        self._ended_totals = self.totals()
        # Where users were given up, fractions of theirs are in the sum and not in a successor.
        before.renew(self._past.next_incarnation(), self._closed.carries())
        for device in list(before.devices.values()):
            before.resume_device(device)
        self._delivery.renew()
        current = {record.record_id: record for record in self._listing.current.values()}
        self._keeping.renew({**self._closed.records, **current})
        return True

    def renew_when_due(self) -> None:
        """Begin the next incarnation where this one has grown, or its vectors are not believed."""
        accumulator = self._accumulator
        devices = len(accumulator.devices)
        limit = max(MAXIMUM_OPEN, 8 * devices)
        accumulator.maximum_registers = limit
        boot_ns = self._clock.boottime_ns()
        if self._keeping.ahead:
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

    def part(self) -> None:
        """Leave an incarnation to another process that writes under it.

        Raises:
            StorageError: the journal could not be written.
        """
        boot_ns = self._clock.boottime_ns()
        if not self._delivery.contested or boot_ns < self._renewal_ns:
            return
        if self._delivery.mark_contested(self._accumulator.registers, self.renew):
            self._renewal_ns = boot_ns + QUARANTINE_RENEWAL_NS
            self._keeping.write()

    def totals(self) -> dict[str, list[int]]:
        """Registers of this process summed by device, those of ended incarnations too."""
        totals = {device: list(total) for device, total in self._ended_totals.items()}
        for key, register in self._accumulator.registers.items():
            total = totals.setdefault(key.device, [0] * COMPONENT_COUNT)
            for place, amount in enumerate(register.units):
                total[place] += amount
        return totals

    def _absorb(
        self, incarnation: str, registers: list[StoredRegister], *, in_this_boot: bool
    ) -> bool:
        gone = self._past.absorb(
            incarnation,
            registers,
            self._keeping.records,
            running=self._accumulator.incarnation,
            in_this_boot=in_this_boot,
        )
        if gone:
            self._hours.forget(gone)
        return gone is not None
