"""How closed registers are spelled on the disk: what a process finds is read when it is asked for.

Owns: a final vector with what became of it, and the bytes of all of them.
May touch: nothing; pure translation.
Called by closed and closed_room. Rows are final, so the bytes of one are made once and kept; an
agent that starts a thousand times with nobody to report to never looks at the old ones.
Explained in docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from flopmeter_agent import packing
from flopmeter_agent.accumulate import CarryOwner, carry_owner
from flopmeter_agent.faults import START_AGAIN
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, invariant
from flopmeter_core.registers import COMPONENT_COUNT, Key
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.values import value_class

FORMAT = 2
"""Written: with each row the boot time its vector was read at; fractions stand apart."""

FIRST_FORMAT = 1
"""Each row with its fraction, and without a boot time; only read."""

NOT_AT_ROOT = -1

UNKNOWN = "?"
"""Ends the name of a boot of which nobody knows what left."""

NO_CARRY = (0,) * COMPONENT_COUNT


@value_class(frozen=True, slots=True)
class ClosedRegister:
    """A vector that never changes again.

    Attributes:
        key: whose it was.
        sequence: its last.
        units: the vector.
        boot_id: the boot it was written in; empty when not known.
        sent: whether it may have been handed to a collector.
        root_up_ns: up time of this host at which the root's ledger had it; negative before.
        boot_ns: time since its boot up to which it was read; 0 where nobody noted it.
    """

    key: Key
    sequence: int
    units: Sequence[int]
    boot_id: str = ""
    sent: bool = True
    root_up_ns: int = NOT_AT_ROOT
    boot_ns: int = 0

    @property
    def is_final(self) -> bool:
        """Whether its writer's end is known, so that nobody can have more of it."""
        return bool(self.boot_id) and not self.boot_id.endswith(UNKNOWN)

    @property
    def at_root(self) -> bool:
        """Whether nothing is lost when it goes."""
        return self.root_up_ns >= 0


Rows = dict[Key, ClosedRegister]

Carries = Mapping[CarryOwner, Sequence[int]]
"""What is below one unit, in sub-units, by who goes on with it: each fraction stands once."""


@value_class(frozen=True, slots=True)
class ClosedHead:
    """What is kept beside the rows.

    Attributes:
        records: device records the rows refer to, by id.
        absorbed: the last incarnations that were taken over.
        position: where the ledger stood that the newest acknowledgement came from.
        carries: the fractions.
        shown: how often it was noted here that something new may leave (witness).
    """

    records: Mapping[str, DeviceRecord] = field(default_factory=dict)
    absorbed: Sequence[str] = ()
    position: LedgerPosition | None = None
    carries: Carries = field(default_factory=dict)
    shown: int = 0


class ClosedText:
    """The rows of a journal of closed registers, and their bytes."""

    def __init__(self, payload: bytes | None = None) -> None:
        """Take what a journal holds; its rows are read later.

        Raises:
            DataError: it is no journal of closed registers, or a later version's.
        """
        self.head = ClosedHead()
        self.oldest_root_up_ns = NOT_AT_ROOT
        """When the root had the first of what it has; negative where it has nothing."""
        self._names = packing.Names()
        self._boots: dict[str, int] = {}
        self._spelled: dict[Key, tuple[ClosedRegister, bytes]] = {}
        self._rows: Rows = {}
        self._unread: packing.Packed | None = None
        self._unread_count = 0
        if payload is not None:
            with _readable():
                self._take(packing.Packed(payload))

    def __len__(self) -> int:
        return self._unread_count + len(self._rows)

    @property
    def rows(self) -> Rows:
        """Every row.

        Raises:
            DataError: what the journal holds cannot be read.
        """
        if self._unread is not None:
            with _readable():
                self._read(self._unread)
        return self._rows

    def with_rows(self, fresh: Collection[ClosedRegister], head: ClosedHead) -> bytes:
        """The bytes of what there is and these rows beside it, without reading what is unread."""
        unread = b"" if self._unread is None else self._unread.rest
        spelled = [self._row(row) for row in (*self._rows.values(), *fresh)]
        return self._joined(unread, spelled, head, _oldest(fresh, self.oldest_root_up_ns))

    def of_rows(self, rows: Collection[ClosedRegister], head: ClosedHead) -> bytes:
        """The bytes of these rows: those there are, marked otherwise."""
        invariant(self._unread is None, "bytes of all rows are made of rows that were read")
        return self._joined(b"", [self._row(row) for row in rows], head, _oldest(rows))

    def add(self, fresh: Collection[ClosedRegister], head: ClosedHead) -> None:
        """Have these rows beside what there is."""
        self._rows.update({row.key: row for row in fresh})
        self.oldest_root_up_ns = _oldest(fresh, self.oldest_root_up_ns)
        self.head = head

    def replace(self, rows: Rows, head: ClosedHead) -> None:
        """Have these rows instead of what there is."""
        self._rows, self.head = rows, head
        self.oldest_root_up_ns = _oldest(rows.values())

    def distrust(self, boot_id: str) -> bool:
        """Have the rows of a boot be of one that nobody knows; whether there were any."""
        if boot_id not in self._boots:
            return False
        unknown = boot_id
        while unknown in self._boots:
            unknown += UNKNOWN
        # In place: rows name their boot by its number.
        self._boots = {
            unknown if boot == boot_id else boot: number for boot, number in self._boots.items()
        }
        if self._unread is not None:
            self._unread.head["boots"] = list(self._boots)
        for key, row in self._rows.items():
            if row.boot_id == boot_id:
                self._rows[key] = replace(row, boot_id=unknown)
        return True

    # --- inside -----------------------------------------------------------------------------------

    def spell_anew(self) -> None:
        """Forget all bytes: names of rows that did not stay would be in the head for ever."""
        invariant(self._unread is None, "what is unread is told by the names it was spelled with")
        self._names, self._boots, self._spelled = packing.Names(), {}, {}

    def _row(self, row: ClosedRegister) -> bytes:
        known = self._spelled.get(row.key)
        if known is not None and known[0] is row:
            return known[1]
        boot = self._boots.setdefault(row.boot_id, len(self._boots))
        spelled = b"".join(
            (
                self._names.key(row.key),
                packing.numbers_out(
                    row.sequence, row.root_up_ns, boot << 1 | row.sent, row.boot_ns
                ),
                packing.vector_out(row.units),
            )
        )
        self._spelled[row.key] = (row, spelled)
        return spelled

    def _joined(
        self, unread: bytes, rows: Sequence[bytes], head: ClosedHead, oldest_root_up_ns: int
    ) -> bytes:
        carries = [
            self._names.key(owner_key(owner)) + packing.vector_out(carry)
            for owner, carry in head.carries.items()
        ]
        position = head.position
        told: dict[str, Any] = {
            "format": FORMAT,
            "records": {name: record.to_json() for name, record in sorted(head.records.items())},
            "absorbed": list(head.absorbed),
            "position": position
            and [position.ledger_id, position.generation, position.commit_number],
            "boots": list(self._boots),
            "carries": len(carries),
            "shown": head.shown,
            "oldest_root_up_ns": oldest_root_up_ns,
            "names": self._names.texts,
        }
        count = len(carries) + self._unread_count + len(rows)
        return packing.join(told, [*carries, unread, *rows], count=count)

    def _take(self, packed: packing.Packed) -> None:
        told = packed.head
        if told["format"] not in (FIRST_FORMAT, FORMAT):
            raise DataError(
                f"the journal of closed registers has format {told['format']}, this agent "
                f"reads up to {FORMAT}; upgrade the agent"
            )
        carries = {}
        self._unread, self._unread_count = packed, packed.count
        if told["format"] == FORMAT:
            for key in packed.rows(told["carries"]):
                carries[carry_owner(key)] = packed.vector()
            self._names = packing.Names(told["names"])
            self._boots = {boot: number for number, boot in enumerate(told["boots"])}
            self.oldest_root_up_ns = int(told["oldest_root_up_ns"])
            self._unread_count -= told["carries"]
        self.head = ClosedHead(
            {name: DeviceRecord.from_json(record) for name, record in told["records"].items()},
            list(told["absorbed"]),
            LedgerPosition(*told["position"]) if told["position"] else None,
            carries,
            int(told.get("shown", 0)),
        )
        if told["format"] == FIRST_FORMAT:
            self._read_first(packed)

    def _read(self, packed: packing.Packed) -> None:
        boots = packed.head["boots"]
        found, spelled = {}, {}
        began = packed.at
        for key in packed.rows(self._unread_count):
            sequence, root_up_ns, mark, boot_ns = packed.numbers(4)
            row = found[key] = ClosedRegister(
                key,
                sequence,
                packed.vector(),
                boots[mark >> 1],
                bool(mark & 1),
                root_up_ns,
                boot_ns,
            )
            spelled[key] = (row, packed.since(began))
            began = packed.at
        self._rows = found | self._rows
        self._spelled = spelled | self._spelled
        self._unread, self._unread_count = None, 0

    def _read_first(self, packed: packing.Packed) -> None:
        """Rows of the first format; of several fractions of one owner the last holds."""
        boots, carries = packed.head["boots"], dict(self.head.carries)
        for key in packed.rows():
            sequence, root_up_ns, mark = packed.numbers(3)
            units, carry = packed.vector(), packed.vector()
            self._rows[key] = ClosedRegister(
                key, sequence, units, boots[mark >> 1], bool(mark & 1), root_up_ns
            )
            self._boots.setdefault(boots[mark >> 1], len(self._boots))
            if any(carry):
                carries[carry_owner(key)] = carry
        self._unread, self._unread_count = None, 0
        self.head = replace(self.head, carries=carries)
        self.oldest_root_up_ns = _oldest(self._rows.values())


def _oldest(rows: Collection[ClosedRegister], before: int = NOT_AT_ROOT) -> int:
    """When the root had the first of these and of what was there before; negative: of none."""
    times = [row.root_up_ns for row in rows if row.root_up_ns >= 0]
    if before >= 0:
        times.append(before)
    return min(times, default=NOT_AT_ROOT)


def owner_key(owner: CarryOwner) -> Key:
    """A fraction's owner as the key of a row; no incarnation holds it."""
    device, allocation, phase, evidence, record = owner
    return Key(device, "", allocation, phase, evidence, record)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except packing.MALFORMED as error:
        raise DataError(
            f"the journal of closed registers cannot be read: {error}; {START_AGAIN}"
        ) from error
