"""The final vectors of closed incarnations, in constant space.

Owns: what is kept of registers nobody writes any more, and for how long.
May touch: one journal of its own, synced at every change; the log.
Called by the loop, under its lock.
Explained in docs/adr/0012-agent-memory.md and docs/adr/0026-a-full-room.md.

A vector goes when the ledger nothing lies behind has held it for 90 days of this host's boot time,
so that a ledger put back from a backup as old can be told again. Where the room is full, what the
ledger holds goes earlier, and what no collector was ever shown is added up under an incarnation of
its own: its keys are new and its vectors final, so nothing is counted twice and the sum is exact.
What may have been shown and is not acknowledged is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from flopmeter_agent.accumulate import CarryOwner, carry_owner
from flopmeter_agent.closed_room import KEPT_NS, ClosedCounters, Room, with_rows
from flopmeter_agent.closed_rows import (
    NO_CARRY,
    NOT_AT_ROOT,
    Carries,
    ClosedHead,
    ClosedRegister,
    ClosedText,
    Rows,
)
from flopmeter_agent.journal import BlockFile, Journal
from flopmeter_agent.state import StoredRegister
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import StorageError
from flopmeter_core.registers import Key, Register
from flopmeter_core.reports import KeyedVector, LedgerPosition
from flopmeter_core.writers import marked
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

SLOTS = 2
SLOT_BYTES = 1024 * 1024
"""About 8,000 vectors of 125 bytes."""

RESERVED_BYTES = 200
"""Of the room: for what acknowledgements add to the head later (the ledger's position)."""

REMEMBERED_INCARNATIONS = 32
"""Taken-over incarnations remembered: more than states a journal can come back with."""


class ClosedRegisters:
    """Closed incarnations' final vectors of one agent."""

    def __init__(self, journal: Journal) -> None:
        """Read what is kept.

        Raises:
            DataError: the journal's content cannot be read.
        """
        self.counters = ClosedCounters()
        self.answers = 0
        """Grows with each acknowledgement that may make room."""
        self._dirty = False
        self._journal = journal
        self._drawn = 0
        self._text = ClosedText(journal.payload)
        self.position = self._text.head.position

    def __len__(self) -> int:
        return len(self._text)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    @property
    def records(self) -> Mapping[str, DeviceRecord]:
        """The device records that keys refer to, by id."""
        return self._text.head.records

    def sequence(self, key: Key) -> int:
        """The last sequence of a key; 0 of one that is not kept."""
        row = self._rows.get(key)
        return row.sequence if row else 0

    def at_root(self, key: Key) -> int:
        """The sequence of a key that the root has acknowledged; 0 of none."""
        row = self._rows.get(key)
        return row.sequence if row and row.at_root else 0

    def final_sequence(self, key: Key) -> int:
        """The last sequence that anybody can have of a key; 0 where that is not known.

        Of a boot that an agent of it saw to its end, nobody wrote more than is kept. What a copied
        disk holds may have gone on elsewhere.
        """
        row = self._rows.get(key)
        return row.sequence if row and row.is_final else 0

    def mark(self, key: Key, mark: int) -> None:
        """Let a vector stand beside another writer's; `save` writes it."""
        row = self._rows[key]
        beside = replace(
            row, sequence=marked(row.sequence, mark), sent=True, root_up_ns=NOT_AT_ROOT
        )
        self._text.add([beside], self._text.head)
        self._dirty = True

    def held(self) -> dict[Key, Register]:
        """A copy of every vector kept; a fraction is with the last of its owner's."""
        last = {carry_owner(key): key for key in self._rows}
        carries = {last[owner]: c for owner, c in self._text.head.carries.items() if owner in last}
        return {
            key: Register(
                list(row.units), list(carries.get(key, NO_CARRY)), row.sequence, row.boot_ns
            )
            for key, row in self._rows.items()
        }

    def holds(self, incarnation: str) -> bool:
        """Whether an incarnation was taken over: its registers elsewhere are older copies."""
        return incarnation in self._text.head.absorbed

    @property
    def shown(self) -> int:
        """How often it was noted here that something new may leave."""
        return self._text.head.shown

    def distrust(self, boot_id: str) -> None:
        """Add nothing up that was written in this boot until now: nobody knows what left since.

        Raises:
            StorageError: it cannot be kept, and the next process would add it up.
        """
        if self._text.distrust(boot_id):
            self._write(self._text.with_rows((), self._text.head))

    def carries(self) -> dict[CarryOwner, list[int]]:
        """What is below one unit, for the successors of the keys it belongs to."""
        return {owner: list(carry) for owner, carry in self._text.head.carries.items()}

    def absorb(
        self,
        incarnation: str,
        registers: Iterable[StoredRegister],
        records: Mapping[str, DeviceRecord],
        *,
        boot_id: str,
        running: str,
        up_ns: int,
    ) -> tuple[Key, ...] | None:
        """Take over an incarnation that ended, all of it or nothing.

        Args:
            incarnation: the one that ended.
            registers: its registers as they were left.
            records: the device records they refer to.
            boot_id: the boot they were written in, which is also the present one; empty
                otherwise, and then they are never added up with others: what an image of this
                disk has done since is not known here.
            running: the incarnation of this process; those of added-up vectors come from it.
            up_ns: up time of this host.

        Returns:
            The keys that were added up into others; None when there is no room.

        Raises:
            StorageError: the journal cannot be written; nothing was taken over.
        """
        if self.holds(incarnation):
            return ()
        self._journal.sync()
        grown = [stored for stored in registers if stored.register.sequence]
        fresh = {stored.key: _closed(stored, boot_id, up_ns) for stored in grown}
        carries = {**self._text.head.carries}
        for stored in grown:
            # Its register took the fraction over and has gone on with it.
            carries.pop(carry_owner(stored.key), None)
            if any(stored.register.carry):
                carries[carry_owner(stored.key)] = list(stored.register.carry)
        head = ClosedHead(
            {**self.records, **{row.key.record: records[row.key.record] for row in fresh.values()}},
            [*self._text.head.absorbed, incarnation][-REMEMBERED_INCARNATIONS:],
            self.position,
            carries,
            self.shown,
        )
        oldest_ns = self._text.oldest_root_up_ns
        if oldest_ns < 0 or up_ns - oldest_ns <= KEPT_NS:
            # The usual case: what there is stays as it is, and nobody has to read it.
            payload = self._text.with_rows(fresh.values(), head)
            if len(payload) <= self._journal.room - RESERVED_BYTES:
                self._write(payload)
                self._text.add(fresh.values(), head)
                return ()
        return self._make_room(fresh, head, boot_id=boot_id, running=running, up_ns=up_ns)

    def _make_room(
        self, fresh: Rows, head: ClosedHead, *, boot_id: str, running: str, up_ns: int
    ) -> tuple[Key, ...] | None:
        rows = self._rows | fresh

        def headed(of: Mapping[Key, ClosedRegister], carries: Carries) -> ClosedHead:
            used = {key.record for key in of} | {owner[-1] for owner in carries}
            known = {record: head.records[record] for record in sorted(used)}
            return replace(head, records=known, carries=carries)

        tried: ClosedText

        def spelled(of: Rows, carries: Carries) -> bytes:
            # With names of its own: each step leaves other rows.
            nonlocal tried
            tried = ClosedText()
            return tried.of_rows(of.values(), headed(of, carries))

        # One incarnation always finds room, so that nothing waits for ever where there are so many
        # devices that the file has to grow.
        own = with_rows(head.carries, fresh)
        alone = len(ClosedText().of_rows(fresh.values(), headed(fresh, own)))
        room = Room(max(self._journal.room - RESERVED_BYTES, alone), spelled)
        made = room.make(rows, head.carries, boot_id=boot_id, draw=self._draw(running), up_ns=up_ns)
        self._text.spell_anew()
        if made is None:
            return None
        self._write(room.payload)
        kept, carries = made
        gone = tuple(key for key, row in rows.items() if not row.sent and key not in kept)
        self._text = tried
        self._text.replace(kept, headed(kept, carries))
        self._say(room.counters)
        return gone

    def unacknowledged(self) -> Iterator[KeyedVector]:
        """The vectors the root has not acknowledged."""
        for row in self._rows.values():
            if row.root_up_ns < 0:  # as `at_root` says it: every row is asked at each report
                yield KeyedVector(row.key, row.sequence, tuple(row.units), row.boot_ns or None)

    def offer(self, keys: Iterable[Key]) -> None:
        """Note durably that these may leave; only then they may.

        Raises:
            StorageError: it cannot be noted.
        """
        unmarked = [key for key in keys if key in self._rows and not self._rows[key].sent]
        if unmarked:
            self._journal.sync()
            marked = self._rows | {key: replace(self._rows[key], sent=True) for key in unmarked}
            # A mark that is not kept counts for nothing: the next attempt has to write it.
            head = replace(self._text.head, shown=self.shown + 1)
            self._write(self._text.of_rows(marked.values(), head))
            self._text.replace(marked, head)
        self.sync()

    def acknowledge(self, key: Key, sequence: int, *, up_ns: int) -> None:
        """Note that the root has a vector; `save` writes it."""
        row = self._rows.get(key)
        if row is not None and row.sequence == sequence and not row.at_root:
            self._text.add([replace(row, sent=True, root_up_ns=max(0, up_ns))], self._text.head)
            self.answers += 1
            self._dirty = True

    def went_back(self) -> None:
        """Trust no acknowledgement: the ledger may have lost what it held."""
        rows = {key: replace(row, root_up_ns=NOT_AT_ROOT) for key, row in self._rows.items()}
        self._text.replace(rows, self._text.head)
        self._dirty = True

    def save(self, position: LedgerPosition) -> None:
        """Keep what was acknowledged; where that fails it is sent again after a restart."""
        if not self._dirty:
            return
        self.position = position
        head = replace(self._text.head, position=position)
        with contextlib.suppress(StorageError):
            self._journal.sync()
            self._write(self._text.of_rows(self._rows.values(), head))
            self._text.head = head
            self._dirty = False

    def sync(self) -> None:
        """Make everything durable, where an earlier attempt failed.

        Raises:
            StorageError: it failed again; nothing that builds on it may be made durable.
        """
        self._journal.sync()

    def close(self) -> None:
        """Release the journal."""
        self._journal.close()

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _rows(self) -> Rows:
        return self._text.rows

    def _draw(self, running: str) -> Callable[[], str]:
        def draw() -> str:
            self._drawn += 1
            return incarnation_after(running, f"added-up/{self._drawn}")

        return draw

    def _write(self, payload: bytes) -> None:
        """Write, and sync as far as that is possible now."""
        try:
            self._journal.write(payload)
        except StorageError:
            if self._journal.payload != payload:
                raise
        with contextlib.suppress(StorageError):  # `sync` comes again before anything is sent
            self._journal.sync()

    def _say(self, done: ClosedCounters) -> None:
        counters = self.counters
        counters.let_go_early += done.let_go_early
        counters.added_up += done.added_up
        counters.overflowed += done.overflowed
        if done.let_go_early:
            logger.warning(
                "no room for closed registers; some the ledger holds go before their 90 days",
                extra=fields(registers=done.let_go_early),
            )
        if done.added_up:
            logger.warning(
                "no room for closed registers; unsent ones are added up by their user",
                extra=fields(registers=done.added_up),
            )
        if done.overflowed:
            logger.error(
                "no room for more users; unsent registers are added up as allocation overflow",
                extra=fields(registers=done.overflowed),
            )


def incarnation_after(incarnation: str, purpose: str) -> str:
    """An incarnation drawn from a random one: as unguessable, and the same in a simulator's replay.

    Args:
        incarnation: 32 random hexadecimal digits.
        purpose: what for; never the same with this incarnation before.
    """
    return hashlib.sha256(f"{incarnation}/{purpose}".encode()).hexdigest()[: len(incarnation)]


def open_closed(file: BlockFile) -> ClosedRegisters:
    """The closed registers in a file of their own, which is reserved when it is new.

    Raises:
        StorageError, OSError: it cannot be read or made.
        DataError: its content cannot be read.
    """
    journal = Journal(file, slots=SLOTS, slot_bytes=SLOT_BYTES)
    if journal.payload is None:
        journal.write(ClosedText().of_rows((), ClosedHead()))
    return ClosedRegisters(journal)


def _closed(stored: StoredRegister, boot_id: str, up_ns: int) -> ClosedRegister:
    register = stored.register
    done = stored.acknowledged >= register.sequence
    return ClosedRegister(
        stored.key,
        register.sequence,
        tuple(register.units),
        boot_id,
        stored.sent,
        max(0, up_ns) if done else NOT_AT_ROOT,
        register.boot_ns,
    )
