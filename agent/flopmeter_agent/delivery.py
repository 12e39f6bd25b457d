"""What a collector was shown, what it has acknowledged and what it refused.

Owns: the acknowledgements of open registers, the ledger's position, and what is offered next.
May touch: memory only; the loop keeps it in its journal, closed registers keep their own part.
Called by the loop, under its lock.
Explained in docs/adr/0005-delivery-and-durability.md, docs/adr/0012-agent-memory.md and
docs/adr/0030-two-writers-of-one-incarnation.md.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from flopmeter_agent.closed import ClosedRegisters
from flopmeter_agent.own import OwnStates
from flopmeter_agent.state import AgentState, StoredRegister
from flopmeter_core.registers import Key, Register
from flopmeter_core.reports import (
    MAXIMUM_VECTORS_PER_REPORT,
    Acknowledgement,
    Answer,
    Doubt,
    Durability,
    Held,
    KeyedVector,
    LedgerPosition,
)
from flopmeter_core.writers import key_digest, mark_of, marked, unmarked
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

Registers = Mapping[Key, Register]


class Delivery:
    """How far the registers of one agent have come."""

    def __init__(self, closed: ClosedRegisters, draw_mark: Callable[[], int]) -> None:
        """Begin with nothing shown.

        Args:
            closed: keeps for itself what became of its vectors.
            draw_mark: draws a mark for sequences of vectors that are not another writer's.
        """
        self._closed = closed
        self._draw_mark = draw_mark
        self.own = OwnStates()
        """What this process wrote."""
        self.contested: set[Key] = set()
        """Open registers of which a ledger holds what another process wrote: of a copy of this
        machine. They are not sent before they have a mark."""
        self.second_writers = 0
        """Registers, open or closed, of which that was found."""
        self.position: LedgerPosition | None = None
        # Of open registers, durable at the root: nobody needs this node's copy of that any more.
        self._at_root: dict[Key, int] = {}
        # Of all, durable at a relay that forwards it: not sent again, and not let go of either.
        self._at_relay: dict[Key, int] = {}
        self._sent: set[Key] = set()
        # Refused by the collector that is asked now: sent again only by the next agent process.
        self.refused: dict[Key, int] = {}
        self.quarantined = False
        """Whether a collector keeps a vector of the running incarnation apart."""
        self.fold_users = False
        """Whether the collector has little room for further users of this node."""
        self._distrusted: tuple[str, int] | None = None
        # The names of keys in doubts, since the first one came.
        self._digests: dict[Key, bytes] = {}

    @property
    def waits_for_root(self) -> bool:
        """Whether a relay has what is not known to be at the root yet."""
        return bool(self._at_relay)

    def resume(self, old: AgentState) -> None:
        """Take the ledger's position at the newest answer, of the two the journals tell."""
        kept = self._closed.position
        if kept is None or old.position is None:
            self.position = kept or old.position
        elif not kept.went_back(old.position):
            self.position = kept
        else:
            self.position = old.position
            if old.position.went_back(kept):
                # Two ledgers, and nothing says which was the later one: trust neither.
                self._closed.went_back()
                for stored in old.registers:
                    stored.acknowledged = 0

    def begin_stream(self) -> None:
        """A relay answers for what it heard on the same stream: offer again what it has not."""
        self._at_relay.clear()

    def renew(self) -> None:
        """Forget the open registers: they are closed now."""
        self.quarantined = False
        self._at_root.clear()
        self._sent.clear()
        self.contested.clear()
        self.own.renew()

    def stored(self, registers: Registers) -> list[StoredRegister]:
        """Open registers with what became of them."""
        return [
            StoredRegister(key, register, self._at_root.get(key, 0), key in self._sent)
            for key, register in registers.items()
        ]

    def unacknowledged(self, registers: Registers) -> list[KeyedVector]:
        """The newest vectors nobody has acknowledged, closed ones first, at most one reportful."""
        waiting = itertools.chain(self._ended(), self._open(registers))
        return list(itertools.islice(waiting, MAXIMUM_VECTORS_PER_REPORT))

    def mark_contested(self, registers: Registers, renew: Callable[[], bool]) -> bool:
        """End an incarnation under which another process writes.

        What this one wrote gets a mark, so that no ledger takes it for the other's past or future,
        and is final.

        Args:
            registers: the open ones.
            renew: closes them; says whether it was done.
        """
        mark = self._draw_mark()
        contested = [registers[key] for key in self.contested]
        for register in contested:
            register.sequence = marked(register.sequence, mark)
        done = renew()
        if not done:
            for register in contested:
                register.sequence = unmarked(register.sequence)
        return done

    def leaves(self, vectors: Iterable[KeyedVector]) -> None:
        """Note what is handed to a collector now."""
        for keyed in vectors:
            if keyed.follows:
                self.own.shown(keyed)

    def mark_sent(self, keys: set[Key]) -> bool:
        """Note which open registers are shown; whether any was not before."""
        fresh = keys - self._sent
        self._sent |= fresh
        return bool(fresh)

    def take(self, answer: Answer, registers: Registers, *, up_ns: int) -> str:
        """Note what is durable.

        Returns:
            Why everything has to be sent again; empty where that is not so.
        """
        before, self.position = self.position, answer.position
        ledger = (answer.position.ledger_id, answer.position.generation)
        reason = ""
        if before is not None and answer.position.went_back(before):
            reason = "the collector's ledger went back"
        elif ledger != self._distrusted and not all(
            self._may_have_sent(ack, registers) for ack in answer.acknowledgements
        ):
            # Once a ledger: one that goes on like that must not make the agent send for ever.
            self._distrusted = ledger
            reason = "the collector names what was never sent"
        if reason:
            self._at_root.clear()
            self._at_relay.clear()
            self.refused.clear()
            self._closed.went_back()
        for ack in answer.acknowledgements:
            if self._may_have_sent(ack, registers):
                self._note(ack, registers, up_ns)
            if ack.held is not None:
                own = self._judge(ack.key, ack.held, registers)
                if own and ack.durability is Durability.CONTESTED:
                    self.own.proven(ack.key, ack.held)
        if answer.doubts:
            self._look_at(answer.doubts, registers)
        if answer.fold_users and not self.fold_users:
            logger.error(
                "the collector is near its limit of users or registers; further users of a device "
                "share its overflow until that limit is raised"
            )
        self.fold_users = answer.fold_users
        self._closed.save(answer.position)
        return reason

    # --- inside -----------------------------------------------------------------------------------

    def _ended(self) -> Iterator[KeyedVector]:
        for keyed in self._closed.unacknowledged():
            if self._is_wanted(keyed.key, keyed.sequence):
                follows = self._follows(keyed.key, keyed.sequence)
                yield replace(keyed, follows=follows) if follows else keyed

    def _open(self, registers: Registers) -> Iterator[KeyedVector]:
        for key, register in registers.items():
            sequence = register.sequence
            if sequence > self._at_root.get(key, 0) and self._is_wanted(key, sequence):
                follows = self._follows(key, sequence)
                boot_ns = register.boot_ns or None
                yield KeyedVector(key, sequence, register.vector, boot_ns, follows)

    def _is_wanted(self, key: Key, sequence: int) -> bool:
        """Whether the collector that is asked now neither has nor refuses it."""
        return key not in self.contested and sequence > max(
            self.refused.get(key, 0), self._at_relay.get(key, 0)
        )

    def _follows(self, key: Key, sequence: int) -> tuple[int, ...]:
        """What a vector names; nothing where a mark sets it apart already."""
        return () if mark_of(sequence) else self.own.follows(key)

    def _look_at(self, doubts: Iterable[Doubt], registers: Registers) -> None:
        """Judge what others sent; nothing is acknowledged by that, and nothing sent again.

        Whoever claims to be this node can have it asked at each report: a key is named once (4 us)
        and looked up later (0.2 us each, about 8,000 at most).
        """
        known = self._digests
        self._digests = {
            key: known.get(key) or key_digest(key) for key in (*registers, *self._closed)
        }
        named = {digest: key for key, digest in self._digests.items()}
        for doubt in doubts:
            key = named.get(doubt.key_digest)
            if key is not None:
                self._judge(key, doubt.held, registers)

    def _judge(self, key: Key, held: Held, registers: Registers) -> bool:
        """Look whether what a ledger holds or was sent of a register is another process'.

        Returns:
            Whether it is this process' own; False too where that need not be asked.
        """
        register = registers.get(key)
        sequence = register.sequence if register else self._closed.final_sequence(key)
        if not sequence or mark_of(sequence) or key in self.contested:
            return False
        if self.own.is_own(key, sequence, held):
            return True
        self.second_writers += 1
        logger.error(
            "another process writes under this agent's incarnation",
            extra=fields(device=key.device),
        )
        if register:
            self.contested.add(key)
        else:
            self._closed.mark(key, self._draw_mark())
        return False

    def _may_have_sent(self, ack: Acknowledgement, registers: Registers) -> bool:
        register = registers.get(ack.key)
        newest = register.sequence if register else self._closed.sequence(ack.key)
        return ack.sequence <= newest

    def _note(self, ack: Acknowledgement, registers: Registers, up_ns: int) -> None:
        key, sequence = ack.key, ack.sequence
        if ack.durability is Durability.CONTESTED:
            return
        if ack.durability is Durability.REFUSED:
            self.refused[key] = sequence
            _warn("the collector refused a register", ack)
            return
        self.own.acknowledged(key, sequence)
        if ack.durability is Durability.HERE:
            self._at_relay[key] = max(sequence, self._at_relay.get(key, 0))
        elif key in registers:
            self._at_root[key] = max(sequence, self._at_root.get(key, 0))
        else:
            self._closed.acknowledge(key, sequence, up_ns=up_ns)
        if ack.durability is Durability.QUARANTINED:
            # It has the vector, and counts it in no figure.
            self.quarantined |= key in registers
            _warn("the collector quarantined a register", ack)
        if self._at_relay.get(key, 0) <= max(self._at_root.get(key, 0), self._closed.at_root(key)):
            self._at_relay.pop(key, None)


def _warn(event: str, ack: Acknowledgement) -> None:
    logger.error(event, extra=fields(device=ack.key.device, reason=ack.reason))
