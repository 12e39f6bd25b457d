"""How incarnations follow each other: the end of one, the name of the next, the host's time up.

Owns: when an incarnation that ended is among the closed ones, and what is said where it cannot be.
May touch: the closed registers and the clock it is given; the log.
Called by the loop, under its lock.
Explained in docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from flopmeter_agent.closed import ClosedRegisters, incarnation_after
from flopmeter_agent.counters import ClosedSummary
from flopmeter_agent.state import AgentState, StoredRegister
from flopmeter_agent.witness import Shown, Witness, stands
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import StorageError
from flopmeter_core.registers import Key
from flopmeter_core.units import NS_PER_S
from flopmeter_core.writers import MARKS
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

RETRY_NS = 600 * NS_PER_S
"""How long an incarnation without room for its end goes on before that is tried again."""


class Past:
    """The incarnations before the running one."""

    def __init__(
        self,
        closed: ClosedRegisters,
        clock: Clock,
        incarnation: str,
        new_incarnation: Callable[[], str] | None,
        witness: Witness | None = None,
    ) -> None:
        """Begin on a host that was never seen up before.

        Args:
            closed: takes what ended.
            clock: tells the boot and the time since.
            incarnation: the first of this process.
            new_incarnation: draws further ones; they come from the first when None.
            witness: tells whether the state folder stands where it was left; believed when None.
        """
        self._closed = closed
        self._clock = clock
        self._first_incarnation = incarnation
        self._new_incarnation = new_incarnation
        self._drawn = 0
        self._marks = 0
        self._up_offset_ns = -clock.boottime_ns()
        self._refused_at: tuple[int, int] | None = None
        self._witness = witness
        self._stands = True
        self._told: Shown | None = None
        self.shown = 0
        """How often the state noted that something new may leave."""
        self.kept_up_ns = 0
        """Up time of the host in the newest state that was written."""
        self.waiting = ""
        """Why an incarnation that ended is not closed; empty where nothing waits."""

    def resume(self, old: AgentState) -> None:
        """Go on counting the time this host was up from what an earlier process had counted."""
        now_ns = self._clock.boottime_ns()
        last_ns = 0
        if self.is_of_this_boot(old) and old.instant is not None:
            last_ns = min(old.instant[0], now_ns)
        self._up_offset_ns = old.up_ns - last_ns

    def begin(self, old: AgentState | None) -> None:
        """See whether the state folder stands where the last agent of this boot left it.

        Args:
            old: what the journal holds; None in a new one.

        """
        self.shown = old.shown if old is not None else 0
        self.kept_up_ns = old.up_ns if old is not None else 0
        if self._witness is None:
            return
        new = old is None and not len(self._closed)
        kept = (self.shown, self._closed.shown, self.kept_up_ns)
        self._stands = stands(self._witness, kept, new=new)
        if not self._stands:
            if self._witness.shown() is not None:
                logger.warning("the state folder was put back to an earlier state in this boot")
            try:
                self._closed.distrust(self._clock.boot_id)
            except StorageError:
                return  # the next process has to come to the same end
        self.show()

    def show(self) -> None:
        """Have it known outside of the state folder what may leave now."""
        told = (self.shown, self._closed.shown, self.kept_up_ns)
        if self._witness is not None and told != self._told:
            self._witness.show(told)
            self._told = told

    def may_add_up(self, old: AgentState) -> bool:
        """Whether what an earlier process left may be added up: nothing of it left since."""
        return self._stands and self.is_of_this_boot(old)

    def up_ns(self) -> int:
        """Boot time of this host in ns, added up over the boots that agents saw."""
        return self._up_offset_ns + self._clock.boottime_ns()

    def is_of_this_boot(self, old: AgentState) -> bool:
        """Whether an earlier state's clocks and counters can be compared with the present ones."""
        return old.boot_id == self._clock.boot_id

    def next_incarnation(self) -> str:
        """An incarnation that nothing has used before."""
        if self._new_incarnation is not None:
            return self._new_incarnation()
        self._drawn += 1
        return incarnation_after(self._first_incarnation, f"renewed/{self._drawn}")

    def draw_mark(self) -> int:
        """A mark for sequences, from 1: no other process draws the same."""
        self._marks += 1
        drawn = incarnation_after(self.next_incarnation(), f"mark/{self._marks}")
        return int(drawn, 16) % MARKS + 1

    def summary(self, overflowed: int) -> ClosedSummary:
        """What is kept of ended incarnations, for the agent's metrics.

        Args:
            overflowed: periods of running incarnations that went to a device's overflow.
        """
        done = self._closed.counters
        room_made = {
            "let_go_early": done.let_go_early,
            "added_up": done.added_up,
            "overflow": done.overflowed + overflowed,
        }
        return ClosedSummary(len(self._closed), bool(self.waiting), room_made)

    @property
    def worth_trying(self) -> bool:
        """Whether there may be room since it was last missed."""
        if self._refused_at is None:
            return True
        answers, boot_ns = self._refused_at
        return answers != self._closed.answers or self._clock.boottime_ns() - boot_ns >= RETRY_NS

    def absorb(
        self,
        incarnation: str,
        registers: Iterable[StoredRegister],
        records: Mapping[str, DeviceRecord],
        *,
        running: str,
        in_this_boot: bool,
    ) -> tuple[Key, ...] | None:
        """Hand an incarnation that ended to the closed ones; arguments as theirs.

        Returns:
            The keys that were added up into others; None where it cannot be closed now.
        """
        try:
            gone = self._closed.absorb(
                incarnation,
                registers,
                records,
                boot_id=self._clock.boot_id if in_this_boot else "",
                running=running,
                up_ns=self.up_ns(),
            )
            reason = "closed registers that no collector has acknowledged fill their room"
        except StorageError as error:
            gone, reason = None, str(error)
        if gone is not None:
            self.waiting, self._refused_at = "", None
            return gone
        self._refused_at = (self._closed.answers, self._clock.boottime_ns())
        if self.waiting != reason:
            logger.error(
                "an incarnation cannot be closed; connect the agent to its collector",
                extra=fields(reason=reason, closed=len(self._closed)),
            )
        self.waiting = reason
        return None
