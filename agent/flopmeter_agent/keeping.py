"""The running incarnation on disk: written, made durable, and whether it is behind the registers.

Owns: what the state is made of, and the device records of all that may still be sent.
May touch: the journal it is given, and the closed registers' (to make them durable first); the log.
Called by the loop and by the succession of incarnations, under the loop's lock.
Explained in docs/adr/0005-delivery-and-durability.md and docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import logging

from flopmeter_agent.accumulate import Accumulator
from flopmeter_agent.closed import ClosedRegisters
from flopmeter_agent.counters import LoopCounters
from flopmeter_agent.delivery import Delivery
from flopmeter_agent.hours import Hours
from flopmeter_agent.journal import Journal
from flopmeter_agent.past import Past
from flopmeter_agent.phases import PhaseBook
from flopmeter_agent.state import AgentState, StateWriter
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key
from flopmeter_core.values import value_class
from flopmeter_proto.daemon.clock import Clock

logger = logging.getLogger(__name__)


@value_class(frozen=True, slots=True)
class Parts:
    """What the incarnations of one agent are made of.

    Attributes:
        accumulator: the registers of the running one.
        hours: their vectors at the ends of hours, and the last sample.
        phases: the phases of runs.
        closed: the final vectors of those that ended.
        past: knows how they follow each other, and how long the host was up.
        delivery: what became of the registers outside.
    """

    accumulator: Accumulator
    hours: Hours
    phases: PhaseBook
    closed: ClosedRegisters
    past: Past
    delivery: Delivery


class Keeping:
    """What is open, in the agent's journal.

    Attributes:
        records: device records by id, of all that may still be sent.
        ahead: the registers hold more than the journal: nothing of it may leave, or the next
            incarnation would count the same period again from the journal's older baseline.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        parts: Parts,
        *,
        simulated: bool,
        counters: LoopCounters,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            journal: the agent's memory of what is open.
            clock: tells the boot.
            parts: what the state is made of.
            simulated: whether the readings are made up.
            counters: count samples, and say whether the disk fails.
        """
        self._journal = journal
        self._clock = clock
        self._simulated = simulated
        self._counters = counters
        self._accumulator = parts.accumulator
        self._hours = parts.hours
        self._phases = parts.phases
        self._closed = parts.closed
        self._past = parts.past
        self._delivery = parts.delivery
        self._writer = StateWriter()
        self._synced_samples = 0
        self.records: dict[str, DeviceRecord] = {}
        self.ahead = False

    @property
    def unsynced_samples(self) -> int:
        """Samples since the newest sync."""
        return self._counters.samples - self._synced_samples

    def renew(self, records: dict[str, DeviceRecord]) -> None:
        """Begin with the next incarnation's state.

        Args:
            records: those of what is closed, and of the devices listed now.
        """
        self._writer = StateWriter()
        self.records = {**records, **self._device_records()}

    def write(self) -> None:
        """Write what is open.

        Raises:
            StorageError: the journal could not be written; it may hold the state all the same.
        """
        state = self._state()
        # A write that fails may be there all the same.
        self._delivery.own.journaled(self._accumulator.grown)
        self._accumulator.grown.clear()
        self._journal.write(self._writer.encode(state))
        self._past.kept_up_ns = state.up_ns
        self.ahead = False

    def sync(self) -> None:
        """Make what is written durable.

        Raises:
            StorageError: it could not be.
        """
        # An open state builds on the closed ones: it may not outlive them.
        self._closed.sync()
        self._journal.sync()
        self._synced_samples = self._counters.samples
        if self._counters.disk_fails:
            self._counters.disk_fails = False
            logger.warning("the state is kept again")

    def note_sent(self, keys: set[Key]) -> None:
        """Keep what a collector may come to know.

        Args:
            keys: those of vectors that are about to leave.

        Raises:
            StorageError: it could not be written; nothing may leave before it is.
        """
        if self._delivery.mark_sent(keys & self._accumulator.registers.keys()):
            # Where this write fails nothing leaves before another one has kept the marks.
            self._past.shown += 1
            self.ahead = True
            self.write()
        self._closed.offer(keys - self._accumulator.registers.keys())

    def _device_records(self) -> dict[str, DeviceRecord]:
        known = (device.record for device in self._accumulator.devices.values())
        return {record.record_id: record for record in known}

    def _state(self) -> AgentState:
        registers = self._delivery.stored(self._accumulator.registers)
        named = {key.record for key in self._accumulator.registers}
        records = self._device_records() | {name: self.records[name] for name in named}
        return AgentState(
            incarnation=self._accumulator.incarnation,
            boot_id=self._clock.boot_id,
            simulated=self._simulated,
            records=records,
            registers=registers,
            devices=list(self._accumulator.devices.values()),
            position=self._delivery.position,
            instant=self._hours.instant,
            phases=self._phases.state(),
            up_ns=self._past.up_ns(),
            shown=self._past.shown,
        )
