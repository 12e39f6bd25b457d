"""The final vectors of closed incarnations, in constant space.

Owns: what is kept of registers nobody writes any more, for how long, and what makes room.
May touch: one journal of its own, synced at every change; the log.
Called by the loop, under its lock.
Explained in docs/adr/0012-agent-memory.md.

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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flopmeter_agent import packing
from flopmeter_agent.accumulate import CarryOwner, carry_owner
from flopmeter_agent.journal import BlockFile, Journal
from flopmeter_agent.state import StoredRegister
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, StorageError
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS, Key, Register
from flopmeter_core.reports import KeyedVector, LedgerPosition
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

FORMAT = 2
"""Written: with each row the boot time its vector was read at."""

TIMELESS_FORMAT = 1
"""Rows without that; only read."""

SLOTS = 2
SLOT_BYTES = 1024 * 1024
"""About 8,000 vectors of 125 bytes."""

KEPT_NS = 90 * 24 * NS_PER_HOUR
"""How long an acknowledged vector can be sent again."""

REMEMBERED_INCARNATIONS = 32
"""Taken-over incarnations remembered: more than states a journal can come back with."""

_NOT_AT_ROOT = -1


@dataclass(frozen=True, slots=True)
class ClosedRegister:
    """A vector that never changes again.

    Attributes:
        key: whose it was.
        sequence: its last.
        units: the vector.
        carry: what is below one unit, in sub-units, until a successor takes it over.
        boot_id: the boot it was written in; empty when not known.
        sent: whether it may have been handed to a collector.
        root_up_ns: up time of this host at which the root's ledger had it; negative before.
        boot_ns: time since its boot up to which it was read; 0 where nobody noted it.
    """

    key: Key
    sequence: int
    units: Sequence[int]
    carry: Sequence[int]
    boot_id: str = ""
    sent: bool = True
    root_up_ns: int = _NOT_AT_ROOT
    boot_ns: int = 0

    @property
    def at_root(self) -> bool:
        """Whether nothing is lost when it goes."""
        return self.root_up_ns >= 0


@dataclass(slots=True)
class ClosedCounters:
    """What was done for room since the start, in registers."""

    let_go_early: int = 0
    added_up: int = 0
    overflowed: int = 0


class ClosedRegisters:
    """Closed incarnations' final vectors of one agent."""

    def __init__(self, journal: Journal) -> None:
        """Read what is kept.

        Raises:
            DataError: the journal's content cannot be read.
        """
        self.counters = ClosedCounters()
        self.records: dict[str, DeviceRecord] = {}
        self.position: LedgerPosition | None = None
        self.answers = 0
        """Grows with each acknowledgement that may make room."""
        self._dirty = False
        self._journal = journal
        self._rows: dict[Key, ClosedRegister] = {}
        self._absorbed: list[str] = []
        self._drawn = 0
        if journal.payload is not None:
            self._decode(journal.payload)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def sequence(self, key: Key) -> int:
        """The last sequence of a key; 0 of one that is not kept."""
        row = self._rows.get(key)
        return row.sequence if row else 0

    def at_root(self, key: Key) -> int:
        """The sequence of a key that the root has acknowledged; 0 of none."""
        row = self._rows.get(key)
        return row.sequence if row and row.at_root else 0

    def held(self) -> dict[Key, Register]:
        """A copy of every vector kept."""
        return {
            key: Register(list(row.units), list(row.carry), row.sequence, row.boot_ns)
            for key, row in self._rows.items()
        }

    def holds(self, incarnation: str) -> bool:
        """Whether an incarnation was taken over: its registers elsewhere are older copies."""
        return incarnation in self._absorbed

    def carries(self) -> dict[CarryOwner, list[int]]:
        """What is below one unit, for the successors of the keys it belongs to."""
        return {
            carry_owner(row.key): list(row.carry) for row in self._rows.values() if any(row.carry)
        }

    def absorb(
        self,
        incarnation: str,
        registers: Iterable[StoredRegister],
        records: Mapping[str, DeviceRecord],
        *,
        boot_id: str,
        running: str,
        up_ns: int,
        refused: Collection[Key] = (),
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
            refused: keys a collector will not take; they go before anything is added up.

        Returns:
            The keys that were added up into others; None when there is no room.

        Raises:
            StorageError: the journal cannot be written; nothing was taken over.
        """
        if incarnation in self._absorbed:
            return ()
        self._journal.sync()
        rows = dict(self._rows)
        fresh = [
            _closed(stored, boot_id, up_ns) for stored in registers if stored.register.sequence
        ]
        taken_over = {carry_owner(row.key) for row in fresh}
        for key, row in self._rows.items():
            if any(row.carry) and carry_owner(key) in taken_over:
                rows[key] = replace(row, carry=_NOTHING)
        rows.update({row.key: row for row in fresh})
        known = {**self.records, **records}
        absorbed = [*self._absorbed, incarnation][-REMEMBERED_INCARNATIONS:]
        # One incarnation always finds room, so that nothing waits for ever where there are so many
        # devices that the file has to grow.
        alone = len(_payload(fresh, known, absorbed, self.position))
        room = _Room(max(self._journal.room, alone), known, absorbed, self.position)
        made = room.make(
            rows, boot_id=boot_id, draw=self._draw(running), up_ns=up_ns, refused=refused
        )
        if made is None:
            return None
        self._write(room.payload)
        gone = tuple(key for key, row in rows.items() if not row.sent and key not in made)
        self._rows, self._absorbed = made, absorbed
        self.records = {row.key.record: known[row.key.record] for row in made.values()}
        self._say(room.counters)
        return gone

    def unacknowledged(self) -> Iterator[KeyedVector]:
        """The vectors the root has not acknowledged."""
        for row in self._rows.values():
            if not row.at_root:
                boot_ns = row.boot_ns or None
                yield KeyedVector(row.key, row.sequence, tuple(row.units), boot_ns)

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
            self._write(_payload(marked.values(), self.records, self._absorbed, self.position))
            self._rows = marked
        self.sync()

    def acknowledge(self, key: Key, sequence: int, *, up_ns: int) -> None:
        """Note that the root has a vector; `save` writes it."""
        row = self._rows.get(key)
        if row is not None and row.sequence == sequence and not row.at_root:
            self._rows[key] = replace(row, sent=True, root_up_ns=max(0, up_ns))
            self.answers += 1
            self._dirty = True

    def went_back(self) -> None:
        """Trust no acknowledgement: the ledger may have lost what it held."""
        for key, row in self._rows.items():
            self._rows[key] = replace(row, root_up_ns=_NOT_AT_ROOT)
        self._dirty = True

    def save(self, position: LedgerPosition) -> None:
        """Keep what was acknowledged; where that fails it is sent again after a restart."""
        if not self._dirty:
            return
        self.position = position
        with contextlib.suppress(StorageError):
            self._journal.sync()
            self._write(self._encode())
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

    def _encode(self) -> bytes:
        return _payload(self._rows.values(), self.records, self._absorbed, self.position)

    def _decode(self, payload: bytes) -> None:
        try:
            packed = packing.Packed(payload)
            head = packed.head
            if head["format"] not in (FORMAT, TIMELESS_FORMAT):
                raise DataError(
                    f"the journal of closed registers has format {head['format']}, this agent "
                    f"reads up to {FORMAT}; upgrade the agent"
                )
            timed = head["format"] == FORMAT
            self.records = {n: DeviceRecord.from_json(f) for n, f in head["records"].items()}
            self._absorbed = list(head["absorbed"])
            self.position = LedgerPosition(*head["position"]) if head["position"] else None
            boots = head["boots"]
            for key in packed.rows():
                sequence, root_up_ns, mark = packed.numbers(3)
                (boot_ns,) = packed.numbers(1) if timed else (0,)
                units, carry = packed.vector(), packed.vector()
                self._rows[key] = ClosedRegister(
                    key,
                    sequence,
                    units,
                    carry,
                    boots[mark >> 1],
                    bool(mark & 1),
                    root_up_ns,
                    boot_ns,
                )
        except packing.MALFORMED as error:
            raise DataError(f"the journal of closed registers cannot be read: {error}") from error

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


class _Room:
    """Fits vectors into a fixed number of bytes."""

    def __init__(
        self,
        limit: int,
        records: Mapping[str, DeviceRecord],
        absorbed: Sequence[str],
        position: LedgerPosition | None,
    ) -> None:
        self._limit = limit
        self._records = records
        self._absorbed = absorbed
        self._position = position
        self.counters = ClosedCounters()
        self.payload = b""

    def make(
        self,
        rows: dict[Key, ClosedRegister],
        *,
        boot_id: str,
        draw: Callable[[], str],
        up_ns: int,
        refused: Collection[Key],
    ) -> dict[Key, ClosedRegister] | None:
        """What is kept of `rows`, after as few steps as it takes; None when nothing helps."""
        rows = {
            key: row
            for key, row in rows.items()
            if not (row.at_root and up_ns - row.root_up_ns > KEPT_NS)
        }
        if self._fits(rows):
            return rows
        self._let_go(rows, (row for row in rows.values() if row.at_root))
        if self._fits(rows):
            return rows
        self._let_go(rows, (rows[key] for key in refused if key in rows))
        if self._fits(rows):
            return rows
        if boot_id:
            before = len(rows)
            rows = _added_up(rows, boot_id, draw(), overflow=False)
            self.counters.added_up = before - len(rows)
            if self._fits(rows):
                return rows
            before = len(rows)
            rows = _added_up(rows, boot_id, draw(), overflow=True)
            self.counters.overflowed = before - len(rows)
            if self._fits(rows):
                return rows
        return None

    def _fits(self, rows: Mapping[Key, ClosedRegister]) -> bool:
        self.payload = _payload(rows.values(), self._records, self._absorbed, self._position)
        return len(self.payload) <= self._limit

    def _let_go(
        self, rows: dict[Key, ClosedRegister], candidates: Iterable[ClosedRegister]
    ) -> None:
        """Drop the oldest candidates until a quarter of the room is free."""
        surplus = len(self.payload) - self._limit * 3 // 4
        names = packing.Names()
        for row in sorted(candidates, key=lambda each: (each.root_up_ns, each.key)):
            if surplus <= 0:
                break
            surplus -= len(_row(names, row, {row.boot_id: 0}))
            del rows[row.key]
            self.counters.let_go_early += 1


_NOTHING = (0,) * COMPONENT_COUNT


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
        journal.write(_payload((), {}, (), None))
    return ClosedRegisters(journal)


def _closed(stored: StoredRegister, boot_id: str, up_ns: int) -> ClosedRegister:
    register = stored.register
    done = stored.acknowledged >= register.sequence
    return ClosedRegister(
        stored.key,
        register.sequence,
        tuple(register.units),
        tuple(register.carry),
        boot_id,
        stored.sent,
        max(0, up_ns) if done else _NOT_AT_ROOT,
        register.boot_ns,
    )


def _added_up(
    rows: Mapping[Key, ClosedRegister], boot_id: str, incarnation: str, *, overflow: bool
) -> dict[Key, ClosedRegister]:
    """Add up what was never sent and written in this boot, under keys of a new incarnation.

    Args:
        rows: all that is kept.
        boot_id: the present boot; a disk that was put back or copied starts under another one.
        incarnation: of the sums; random.
        overflow: whether users are given up as well.
    """
    kept: dict[Key, ClosedRegister] = {}
    groups: dict[Key, list[ClosedRegister]] = {}
    for key, row in rows.items():
        if row.sent or row.boot_id != boot_id:
            kept[key] = row
            continue
        of = replace(key, incarnation=incarnation)
        groups.setdefault(replace(of, allocation=OVERFLOW, phase=0) if overflow else of, []).append(
            row
        )
    for of, group in groups.items():
        if len(group) == 1:
            kept[group[0].key] = group[0]
            continue
        units, carry = [], []
        for place, subunits in enumerate(SUBUNITS):
            amount = sum(row.units[place] * subunits + row.carry[place] for row in group)
            units.append(amount // subunits)
            carry.append(amount % subunits)
        # Parts of one boot follow each other, so all fit into the time of the last one; where
        # that is not known of a part, it is not known of the sum.
        times = [row.boot_ns for row in group]
        boot_ns = max(times) if all(times) else 0
        kept[of] = ClosedRegister(of, 1, units, carry, boot_id, sent=False, boot_ns=boot_ns)
    return kept


def _payload(
    rows: Iterable[ClosedRegister],
    records: Mapping[str, DeviceRecord],
    absorbed: Sequence[str],
    position: LedgerPosition | None,
) -> bytes:
    names = packing.Names()
    boots: dict[str, int] = {}
    used: set[str] = set()
    packed = []
    for row in rows:
        used.add(row.key.record)
        packed.append(_row(names, row, boots))
    head: dict[str, Any] = {
        "format": FORMAT,
        "records": {name: records[name].to_json() for name in sorted(used)},
        "absorbed": list(absorbed),
        "position": position and [position.ledger_id, position.generation, position.commit_number],
        "boots": list(boots),
        "names": names.texts,
    }
    return packing.join(head, packed)


def _row(names: packing.Names, row: ClosedRegister, boots: dict[str, int]) -> bytes:
    boot = boots.setdefault(row.boot_id, len(boots))
    return b"".join(
        (
            names.key(row.key),
            packing.numbers_out(row.sequence, row.root_up_ns, boot << 1 | row.sent, row.boot_ns),
            packing.vector_out(row.units),
            packing.vector_out(row.carry),
        )
    )
