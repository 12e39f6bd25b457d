"""Newest vectors as a ledger writes them: sequences and strings of bytes, in the order of keys.

Owns: how such vectors stand beside the branches of keys that have several.
May touch: nothing; memory only.
Called by the register table, whose rows are such strings already, and by ledger.sqlite, which
writes them. Whoever looks at one of them gets a `StoredVector`, made anew.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.registers import COMPONENT_COUNT, Key

_COMPONENTS = struct.Struct(f"<{COMPONENT_COUNT}q")


NO_ID = 0
"""Stands where a ledger did not say yet what it calls a key."""


class RowIds:
    """What a ledger calls the keys of rows: it asks by number, and looks for no key twice.

    One thread, the ledger's. Rows are never removed, so a number stands for its key.
    """

    def __init__(self) -> None:
        """Start with none told."""
        self._ledger: object = None
        self._ids = array("q")

    def known(self, ledger: object, numbers: Sequence[int]) -> list[int]:
        """What a ledger calls the keys of rows; `NO_ID` where it did not say."""
        if ledger is not self._ledger or max(numbers, default=-1) >= len(self._ids):
            return [NO_ID] * len(numbers)
        ids = self._ids
        return [ids[number] for number in numbers]

    def note(self, ledger: object, numbers: Sequence[int], ids: Sequence[int]) -> None:
        """Take what a ledger calls the keys of rows, once it committed them."""
        if self.known(ledger, numbers) == ids:
            return  # nearly always
        if ledger is not self._ledger:
            self._ledger, self._ids = ledger, array("q")
        missing = max(numbers, default=-1) + 1 - len(self._ids)
        self._ids += array("q", [NO_ID]) * max(0, missing)
        for number, each in zip(numbers, ids, strict=True):
            self._ids[number] = each


@dataclass(slots=True)
class PackedVectors(Sequence[StoredVector]):
    """Vectors of keys, every branch of each.

    Attributes:
        keys: those with one branch.
        numbers: of their rows.
        ids: what a ledger calls the keys of such rows.
        sequences: of the vector of each.
        components: of each, as 64-bit little endian integers.
        forked: the branches of the others.
    """

    keys: list[Key] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    ids: RowIds = field(default_factory=RowIds)
    sequences: list[int] = field(default_factory=list)
    components: list[bytes] = field(default_factory=list)
    forked: list[StoredVector] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys) + len(self.forked)

    @overload
    def __getitem__(self, at: int) -> StoredVector: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[StoredVector]: ...

    def __getitem__(self, at: int | slice) -> StoredVector | Sequence[StoredVector]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        if at >= len(self.keys):
            return self.forked[at - len(self.keys)]
        vector = _COMPONENTS.unpack(self.components[at])
        return StoredVector(self.keys[at], 0, self.sequences[at], vector)


def packed_vectors(vectors: Sequence[StoredVector]) -> PackedVectors:
    """Vectors as they are written, from whatever they come as."""
    return vectors if isinstance(vectors, PackedVectors) else PackedVectors(forked=list(vectors))
