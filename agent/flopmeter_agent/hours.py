"""The vectors at the ends of hours that no collector has acknowledged yet.

Owns: when an hour is closed, what is kept of it, and how older hours are thinned when the room
is full.
May touch: one journal of its own, beside the registers'; the log.
Called by the loop. The newest vectors hold every increment anyway; hours only tell when it came
about, so what is thinned or lost here costs resolution, never work.
Explained in docs/adr/0007-hourly-vectors-and-splits.md.

An hour of boot time is closed by the first sample after it, with each key's vector as of the last
sample in it. A row says which hours its increment may have been read in, so that rows can be
merged, dropped or refused without anything being said of the wrong hour.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flopmeter_agent import packing
from flopmeter_agent.faults import START_AGAIN
from flopmeter_agent.journal import BlockFile, Journal
from flopmeter_core.errors import DataError, StorageError
from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key, Register
from flopmeter_core.reports import Durability, HourlyAcknowledgement, HourlyVector
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

SLOT_BYTES = 512 * 1024

MAXIMUM_ROWS = 4_096
"""Rows kept: 19 days of 9 keys by the hour; a row is about 130 bytes in the journal. Where they are
longer the journal's room is what limits them."""

ROWS_PER_REPORT = 500
"""Rows in one report, oldest first; a backlog goes out over several reports."""

THINNING = ((24, 48), (24, 0), (24 * 7, 0), (24 * 28, 0))
"""Steps when the room is full: merge to so many hours what is older than so many hours."""

RETRY_NS = NS_PER_HOUR
"""How long hours wait after an answer that said nothing of them: an older collector."""

Instant = tuple[int, int, int]
"""Boot time and Unix time of one sample in ns, and how many hours were closed before it."""

FORMAT = 2
FIRST_FORMAT = 1


class Hours:
    """Hourly vectors of one agent, in constant space."""

    def __init__(self, journal: Journal | None = None, *, maximum_rows: int = MAXIMUM_ROWS) -> None:
        """Read what an earlier incarnation left.

        Args:
            journal: keeps the rows over a restart; None keeps them in memory only.
            maximum_rows: more are thinned.

        Raises:
            DataError: the journal's content cannot be read.
        """
        self._journal = journal
        self._maximum_rows = maximum_rows
        self._rows: dict[tuple[Key, int], HourlyVector] = {}
        self._recorded: dict[Key, int] = {}
        # The first hour that the next row of a key has to reach back to.
        self._owed: dict[Key, int] = {}
        # The first hour that work read in this one may have been done in, by device.
        self._reach: dict[str, int] = {}
        self._instant: Instant | None = None
        self._retry_boot_ns = 0
        self._closings = 0
        self._failed = False
        self.thinned = False
        self.incarnation = ""
        if journal is not None and journal.payload is not None:
            self._decode(journal.payload)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def instant(self) -> Instant | None:
        """Boot and wall time of the last sample."""
        return self._instant

    def resume(
        self, incarnation: str, instant: Instant | None, registers: Mapping[Key, Register]
    ) -> None:
        """Close the hour that an earlier incarnation left open.

        Args:
            incarnation: the earlier one.
            instant: its last sample; None when an agent without hours wrote the state.
            registers: those it left; only its own are closed now.
        """
        if instant is None:
            return
        own = {key: reg for key, reg in registers.items() if key.incarnation == incarnation}
        if self.incarnation != incarnation or self._closings < instant[2]:
            # Rows that there were are gone with their journal.
            self._owed.update(dict.fromkeys(own, 0))
        self._instant = instant
        self._close(own)
        self._instant = None

    def turn(self, boot_ns: int, registers: Mapping[Key, Register]) -> None:
        """Close the hour of the last sample when `boot_ns` lies in a later one.

        Args:
            boot_ns: boot time of the sample that is about to be taken.
            registers: as that last sample left them.
        """
        if self._instant is not None and self._instant[0] // NS_PER_HOUR != boot_ns // NS_PER_HOUR:
            self._close(registers)

    def reach_back(self, device: str, *, since_ns: int, until_ns: int, longest_ns: int) -> None:
        """Note that what is read of a device now came about over a gap.

        Args:
            device: its name.
            since_ns: boot time of the reading before the gap.
            until_ns: boot time now.
            longest_ns: a shorter distance is no gap; an hour is not told more exactly than that.
        """
        first = max(0, since_ns) // NS_PER_HOUR
        if until_ns - since_ns <= longest_ns or first >= until_ns // NS_PER_HOUR:
            return
        if first < self._reach.get(device, first + 1):
            self._reach[device] = first
            self._write()

    def sampled(self, incarnation: str, boot_ns: int, wall_ns: int) -> None:
        """Note when a sample was taken."""
        if incarnation != self.incarnation:
            # From now on a restart knows that the rows kept here are all there were.
            self.incarnation = incarnation
            self._closings = 0
            # What ended has no further rows that could be owed anything.
            self._owed = {of: first for of, first in self._owed.items() if self._is_open(of)}
            self._recorded = {of: last for of, last in self._recorded.items() if self._is_open(of)}
            self._write()
        self._instant = (boot_ns, wall_ns, self._closings)

    def close(self, registers: Mapping[Key, Register]) -> None:
        """Close the running hour as well: the incarnation ends."""
        if self._instant is not None:
            self._close(registers)

    def unsent(self, boot_ns: int) -> tuple[HourlyVector, ...]:
        """The oldest rows that are not acknowledged, at most ROWS_PER_REPORT."""
        if boot_ns < self._retry_boot_ns:
            return ()
        return tuple(itertools.islice(self._rows.values(), ROWS_PER_REPORT))

    def acknowledge(
        self,
        offered: Sequence[HourlyVector],
        answered: Iterable[HourlyAcknowledgement],
        boot_ns: int,
    ) -> None:
        """Let go of what is durable, at a relay too, and of what was refused.

        An hour that a relay lost with its disk costs resolution and no work: the next one then
        says how far it reaches back (`went_back`). A row that has to reach back further than it
        said when it was offered is offered again, whatever became of it: an hour before it was
        refused in the same message, or lost.

        Args:
            offered: the rows of the report that was answered.
            answered: what the collector said of them.
            boot_ns: boot time now.
        """
        acks = tuple(answered)
        if offered and not acks:
            self._retry_boot_ns = boot_ns + RETRY_NS
        said = {(row.key, row.hour): row.first_hour for row in offered}
        released = 0
        # What is refused first: the rows behind it then know what they have to stand for.
        for ack in sorted(acks, key=lambda ack: ack.durability is not Durability.REFUSED):
            row = self._rows.get((ack.key, ack.hour))
            if row is None or row.sequence != ack.sequence:
                continue
            if ack.durability is Durability.REFUSED:
                logger.warning(
                    "the collector refused an hourly vector; its hour is told less exactly",
                    extra=fields(device=ack.key.device, hour=ack.hour, reason=ack.reason),
                )
                self._drop(row)
            elif row.first_hour < said.get((ack.key, ack.hour), 0):
                continue
            else:
                del self._rows[ack.key, ack.hour]
            released += 1
        if released:
            self._write()

    def went_back(self, keys: Iterable[Key]) -> None:
        """Trust no hour that was acknowledged: the ledger may have lost it.

        Args:
            keys: the open ones; of a closed one only the rows that wait can be told again.
        """
        self._retry_boot_ns = 0
        told: set[Key] = set()
        for place, row in sorted(self._rows.items(), key=lambda item: item[0][1]):
            if row.key not in told:
                self._rows[place] = replace(row, first_hour=0)
                told.add(row.key)
        # In their order: what is written may depend on no set, or no simulation could be repeated.
        # Of a key that no hour was told of, none can be lost.
        self._owed.update((key, 0) for key in keys if key in self._recorded and key not in told)
        self._write()

    def forget(self, keys: Iterable[Key]) -> None:
        """Drop the rows of keys that were added up into others and that no ledger will know."""
        gone = set(keys)
        if gone:
            self._rows = {place: row for place, row in self._rows.items() if row.key not in gone}
            for key in gone:
                self._owed.pop(key, None)
                self._recorded.pop(key, None)
            self._write()

    # --- inside -----------------------------------------------------------------------------------

    def _close(self, registers: Mapping[Key, Register]) -> None:
        if self._instant is None:
            return
        boot_ns, wall_ns, _ = self._instant
        hour = boot_ns // NS_PER_HOUR
        closed = 0
        for key, register in registers.items():
            if register.sequence <= self._recorded.get(key, 0):
                continue
            self._recorded[key] = register.sequence
            earlier = self._rows.pop((key, hour), None)
            first = min(
                hour,
                self._owed.pop(key, hour),
                self._reach.get(key.device, hour),
                earlier.first_hour if earlier else hour,
            )
            self._rows[key, hour] = HourlyVector(
                key, register.sequence, register.vector, first, boot_ns, wall_ns
            )
            closed += 1
        self._closings += 1
        if closed or self._reach:
            self._reach.clear()
            self._thin(hour, self._maximum_rows)
            self._write()

    def _is_open(self, key: Key) -> bool:
        return key.incarnation == self.incarnation

    def _thin(self, now_hour: int, limit: int) -> None:
        """Make room: merge older hours, and where that is not enough drop the oldest."""
        before = len(self._rows)
        if before <= limit:
            return
        for span, younger in THINNING:
            self._merge(span, now_hour - younger)
            if len(self._rows) <= limit:
                break
        while len(self._rows) > limit:
            self._drop(min(self._rows.values(), key=lambda row: row.hour))
        if not self.thinned:
            logger.warning(
                "too many hours wait for a collector; older ones are thinned to days or more",
                extra=fields(before=before, now=len(self._rows), limit=limit),
            )
        self.thinned = True

    def _merge(self, span: int, before_hour: int) -> None:
        """Keep the newest row of a key in each `span` hours; it stands for the others too."""
        kept: dict[tuple[Key, int], HourlyVector] = {}
        held: dict[tuple[Key, int], HourlyVector] = {}
        for place, row in self._rows.items():
            if row.hour >= before_hour:
                kept[place] = row
                continue
            block = (row.key, row.hour // span)
            older = held.get(block)
            if older is None:
                held[block] = row
            else:
                first = min(older.first_hour, row.first_hour)
                newest = max(older, row, key=lambda each: each.hour)
                held[block] = replace(newest, first_hour=first)
        merged = {(row.key, row.hour): row for row in held.values()}
        self._rows = merged | kept

    def _drop(self, row: HourlyVector) -> None:
        """Forget a row; the key's next one reaches back over its hours."""
        del self._rows[row.key, row.hour]
        later = [r for r in self._rows.values() if r.key == row.key and r.hour > row.hour]
        if later:
            heir = min(later, key=lambda each: each.hour)
            first = min(heir.first_hour, row.first_hour)
            self._rows[heir.key, heir.hour] = replace(heir, first_hour=first)
        elif self._is_open(row.key):
            self._owed[row.key] = min(self._owed.get(row.key, row.first_hour), row.first_hour)

    def _write(self) -> None:
        """Keep the rows; not synced, because after a power cut a restart finds older ones."""
        if self._journal is None:
            return
        try:
            payload = self._encode()
            while self._rows and len(payload) > self._journal.room:
                newest = max(row.hour for row in self._rows.values())
                self._thin(newest, len(self._rows) * 3 // 4)
                payload = self._encode()
            self._journal.write(payload)
            self._failed = False
        except StorageError as error:
            # Resolution may be lost, work never: the registers have a journal of their own.
            if not self._failed:
                logger.warning("hours cannot be kept", extra=fields(reason=str(error)))
            self._failed = True

    def _encode(self) -> bytes:
        names = packing.Names()
        rows = [
            names.key(row.key)
            + packing.numbers_out(row.sequence, row.first_hour, row.boot_ns, row.wall_ns)
            + packing.vector_out(row.vector)
            for row in self._rows.values()
        ]
        # A row without a sequence is no hour: it says what the key's next one reaches back to.
        rows += [
            names.key(key) + packing.numbers_out(0, first, 0, 0) + packing.vector_out(())
            for key, first in self._owed.items()
        ]
        head = {
            "format": FORMAT,
            "incarnation": self.incarnation,
            "closings": self._closings,
            "reach": self._reach,
            "names": names.texts,
        }
        return packing.join(head, rows)

    def _decode(self, payload: bytes) -> None:
        try:
            if payload.startswith(b"{"):
                tree = json.loads(payload)
                rows = [_row_in(row) for row in tree["rows"]]
                self._owed = {_key_in(key): first for key, first in tree["owed"]}
            else:
                packed = packing.Packed(payload)
                tree = packed.head
                rows = []
                for key in packed.rows():
                    sequence, first, boot_ns, wall_ns = packed.numbers(4)
                    vector = tuple(packed.vector())
                    if sequence:
                        rows.append(HourlyVector(key, sequence, vector, first, boot_ns, wall_ns))
                    else:
                        self._owed[key] = first
            if tree["format"] not in (FIRST_FORMAT, FORMAT):
                raise DataError(
                    f"the journal of hours has format {tree['format']}, this agent reads up to "
                    f"{FORMAT}; upgrade the agent"
                )
            self._rows = {(row.key, row.hour): row for row in rows}
            self._reach = dict(tree["reach"])
            self.incarnation, self._closings = tree["incarnation"], tree["closings"]
        except packing.MALFORMED as error:
            raise DataError(
                f"the journal of hours cannot be read: {error}; {START_AGAIN}"
            ) from error
        for row in rows:
            self._recorded[row.key] = max(row.sequence, self._recorded.get(row.key, 0))


def open_hours(file: BlockFile) -> Hours:
    """The hours in a file of their own.

    Raises:
        StorageError, OSError: it cannot be read.
        DataError: its content cannot be read.
    """
    return Hours(Journal(file, slot_bytes=SLOT_BYTES))


def _row_in(row: Any) -> HourlyVector:
    key, sequence, vector, first, boot_ns, wall_ns = row
    return HourlyVector(_key_in(key), sequence, _vector_in(vector), first, boot_ns, wall_ns)


def _key_in(row: Any) -> Key:
    device, incarnation, allocation, phase, evidence, record = row
    return Key(device, incarnation, allocation, phase, Evidence(evidence), record)


def _vector_in(row: Any) -> tuple[int, ...]:
    return (*row, *([0] * (COMPONENT_COUNT - len(row))))
