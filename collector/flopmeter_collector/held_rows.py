"""The registers in memory: one row of integers a key, side by side in one buffer.

Owns: the buffer, which key has which row, and the branches of the few keys that have several.
May touch: memory only.
Called by the register table, which owns the rule of the merge; known.py gives rows to the kernel.
Explained in docs/adr/0039-registers-in-rows.md.

A vector as Python objects is some 40 of them in as many places of memory; as a row it is three
lines of a cache, and a message of known keys is merged without making an object. Whoever asks for
the branches of a key gets them made anew, equal each time.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator

from flopmeter_collector.admit import greatest_rates
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.ledger.packed import PackedVectors, RowIds
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.kernels.known_rows import (
    CYCLE_RATE,
    FIRST,
    GREATEST_RATE,
    SEQUENCE,
    SEVERAL,
    STREAM,
    WIDTH,
)
from flopmeter_core.registers import COMPONENT_COUNT, Key
from flopmeter_core.writers import name_of

Branches = tuple[StoredVector, ...]
"""All branches of one key, numbered from 0; one unless the key was forked."""

UNTOLD = -1
"""Boot time of a row whose writer did not say it."""

NAMELESS = -1
"""Stands where no fingerprint can."""

_HEAD = struct.Struct("=2q")
_RATES = struct.Struct("=3q")
_VECTOR = struct.Struct(f"={COMPONENT_COUNT}q")
_BYTES = 8
_components = struct.Struct(f"{COMPONENT_COUNT * _BYTES}s").unpack_from
_EMPTY = array("q", [SEVERAL] + [0] * (WIDTH - 1))


class HeldRows:
    """Newest vectors by key. One thread."""

    def __init__(self) -> None:
        """Start empty."""
        self.block = array("q")
        """`known_rows.WIDTH` integers a key, in the order in which keys came."""
        self.keys: list[Key] = []
        """The key of each row."""
        self._places: dict[Key, int] = {}
        self._apart: dict[int, Branches] = {}
        self._ids = RowIds()
        self._streams = 0

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def place(self, key: Key) -> int:
        """The number of a key's row.

        Raises:
            KeyError: nothing is held of it.
        """
        return self._places[key]

    def branches(self, key: Key) -> Branches:
        """All branches of a key; empty for one that is not known."""
        place = self._places.get(key)
        return () if place is None else self.branches_at(place)

    def branches_at(self, place: int) -> Branches:
        """All branches of the key that has a row."""
        apart = self._apart.get(place)
        if apart is not None:
            return apart
        sequence, boot_ns = _HEAD.unpack_from(self.block, place * WIDTH * _BYTES)
        vector = _VECTOR.unpack_from(self.block, (place * WIDTH + FIRST) * _BYTES)
        told_ns = None if boot_ns == UNTOLD else boot_ns
        return (StoredVector(self.keys[place], 0, sequence, vector, told_ns),)

    def newest(self, key: Key) -> int:
        """The highest sequence of a key's branches.

        Raises:
            KeyError: nothing is held of it.
        """
        place = self._places[key]
        sequence = self.block[place * WIDTH + SEQUENCE]
        if sequence == SEVERAL:
            return max(stored.sequence for stored in self._apart[place])
        return sequence

    def fingerprint_at(self, place: int) -> int:
        """The name of the vector in a row (`writers.fingerprint`); `NAMELESS` of several."""
        at = place * WIDTH
        if self.block[at + SEQUENCE] == SEVERAL:
            return NAMELESS
        components = _portable(self.block[at + FIRST : at + WIDTH])
        return name_of(self.block[at + SEQUENCE], components)

    def put(self, key: Key, branches: Branches, record: DeviceRecord) -> int:
        """Put branches in the place of a key's; returns the number of its row.

        Args:
            key: whose.
            branches: all of them, at least one.
            record: the device record the key names.
        """
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.keys)
            self.keys.append(key)
            self.block += _EMPTY
            rates = greatest_rates(record)
            if max(rates) < GREATEST_RATE:
                _RATES.pack_into(self.block, (place * WIDTH + CYCLE_RATE) * _BYTES, *rates)
        if self._write(place, branches):
            self._apart.pop(place, None)
        else:
            self._apart[place] = branches
            self.block[place * WIDTH + SEQUENCE] = SEVERAL
        return place

    def new_stream(self) -> int:
        """A number for a relay's stream."""
        self._streams += 1
        return self._streams

    def came_on(self, key: Key, stream: int) -> None:
        """Note on which relay's stream a key's newest vector came."""
        self.block[self._places[key] * WIDTH + STREAM] = stream

    def stream_of(self, key: Key) -> int:
        """The number of the relay's stream a key's newest vector came on; 0 for none."""
        return self.block[self._places[key] * WIDTH + STREAM]

    def items(self) -> Iterator[tuple[Key, Branches]]:
        """Every key with its branches."""
        return ((key, self.branches_at(place)) for place, key in enumerate(self.keys))

    def packed(self, places: Iterable[int]) -> PackedVectors:
        """The branches of these rows' keys as they are now, for a ledger."""
        taken, keys, block, apart = PackedVectors(ids=self._ids), self.keys, self.block, self._apart
        single = list(places)
        if apart:
            for place in single:
                taken.forked += apart.get(place, ())
            single = [place for place in single if place not in apart]
        taken.numbers, taken.keys = single, [keys[place] for place in single]
        taken.sequences = [block[place * WIDTH + SEQUENCE] for place in single]
        firsts = [(place * WIDTH + FIRST) * _BYTES for place in single]
        taken.components = [_components(block, first)[0] for first in firsts]
        if sys.byteorder == "big":
            taken.components = [_portable(array("q", each)).tobytes() for each in taken.components]
        return taken

    def _write(self, place: int, branches: Branches) -> bool:
        """Write the only branch of a key; False where there are several, or it is no row."""
        newest = branches[0]
        if len(branches) > 1 or newest.branch or len(newest.vector) != COMPONENT_COUNT:
            return False
        boot_ns = UNTOLD if newest.boot_ns is None else newest.boot_ns
        at = place * WIDTH
        try:
            _VECTOR.pack_into(self.block, (at + FIRST) * _BYTES, *newest.vector)
            _HEAD.pack_into(self.block, at * _BYTES, newest.sequence, boot_ns)
        except struct.error:
            return False
        self.block[at + STREAM] = 0
        return newest.sequence >= 0


def _portable(components: array[int]) -> array[int]:
    """Integers of this machine as little endian ones, as ledgers and fingerprints have them."""
    if sys.byteorder == "big":
        components.byteswap()
    return components
