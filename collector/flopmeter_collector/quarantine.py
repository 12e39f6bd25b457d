"""Vectors that cannot be true by their own content: kept apart until a named person speaks.

Owns: the newest quarantined vector of each key, how many a node may have, and the name by which a
person calls one.
May touch: memory only; the ledger takes the changes from here.
Called by the register table (which also merges what is released) and the ledger's commands.
Explained in docs/adr/0013-operating-a-ledger.md and docs/adr/0047-found-untrue.md.

What is quarantined is in no floor, lower or best. Of one key the highest sequence stays, and of
two contents of one sequence the greater, so that the row does not depend on who came first. A
vector that a person found untrue stays as well, and waits for nobody.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Set

from flopmeter_collector.ledger.base import QuarantinedVector, StoredVector
from flopmeter_core.registers import Key, Vector
from flopmeter_core.reports import KeyedVector

MAXIMUM_HELD_PER_NODE = 64
"""Keys held of one node: eight devices with a handful of users each. The rest is counted."""

MAXIMUM_HELD = 100_000
"""Keys held of all nodes, 40 MB: a sender may call itself by many names."""

KEY_DIGITS = 12

VECTOR_DIGITS = 16
"""64 bits: nobody finds another vector of the name of one that a person looked at."""


def key_name(key: Key) -> str:
    """How a person names a key: 12 hexadecimal digits of its SHA-256."""
    return _digits(_told(key))[:KEY_DIGITS]


def quarantine_name(row: QuarantinedVector | StoredVector) -> str:
    """How a person names one vector of a key: who accepts it accepts no other."""
    return _digits([*_told(row.key), row.sequence, *row.vector])[:VECTOR_DIGITS]


def is_released(row: QuarantinedVector | StoredVector, released: Set[tuple[str, int]]) -> bool:
    """Whether declarations (`quarantine_acts.released_by`) accept a vector.

    By its own name; those of earlier versions named its key and its sequence.
    """
    sequence = row.sequence
    return not released.isdisjoint(
        ((quarantine_name(row), sequence), (key_name(row.key), sequence))
    )


def _told(key: Key) -> list[str | int]:
    return [key.device, key.incarnation, key.allocation, key.phase, int(key.evidence), key.record]


def _digits(told: list[str | int]) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


class _Found:
    """Keys by what people call their rows; no name is made where nobody asked for the sequence."""

    def __init__(self) -> None:
        """Start with none."""
        self._one: dict[int, Key] = {}
        # Of a sequence that several keys have, all of them.
        self._several: dict[int, set[Key]] = {}
        self._named: dict[int, dict[str, Key]] = {}

    def add(self, row: QuarantinedVector) -> None:
        """Note the newest row of a key."""
        sequence = row.sequence
        if sequence in self._named:
            self._named[sequence][quarantine_name(row)] = row.key
        elif sequence in self._several:
            self._several[sequence].add(row.key)
        elif self._one.setdefault(sequence, row.key) != row.key:
            self._several[sequence] = {self._one.pop(sequence), row.key}

    def drop(self, row: QuarantinedVector) -> None:
        """Forget a row in whose place another one comes."""
        sequence = row.sequence
        if sequence in self._named:
            del self._named[sequence][quarantine_name(row)]
        elif sequence in self._several:
            self._several[sequence].discard(row.key)
        else:
            del self._one[sequence]

    def key(self, name: str, sequence: int, rows: Mapping[Key, QuarantinedVector]) -> Key | None:
        """The key of the row of a name, which of earlier versions is its key's; None of none."""
        named = self._named.get(sequence)
        if named is None:
            keys = self._several.pop(sequence, set())
            if sequence in self._one:
                keys = {self._one.pop(sequence)}
            named = {quarantine_name(rows[key]): key for key in keys}
            self._named[sequence] = named
        if len(name) == KEY_DIGITS:
            return next((key for key in named.values() if key_name(key) == name), None)
        return named.get(name)


class QuarantineTable:
    """The quarantined vectors by key; owned by one thread."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: dict[Key, QuarantinedVector] = {}
        self._nodes: dict[Key, str] = {}
        self._held: Counter[str] = Counter()
        self._waiting: set[Key] = set()
        self._rejected: dict[int, set[str]] = {}
        self._found = _Found()
        self._uncommitted: dict[Key, QuarantinedVector] = {}
        self.change_count = 0
        """How often any row changed: who derives something from the rows need not look in vain."""
        self.overflow_count = 0
        """Vectors that were refused because too many keys were held already."""

    def restore(self, rows: Iterable[tuple[QuarantinedVector, str]]) -> None:
        """Take what a ledger holds: rows, each with its node's name."""
        for row, node in rows:
            self._put(row, node)

    def absorb(self, rows: Iterable[tuple[QuarantinedVector, str]]) -> None:
        """Take rows that other collectors committed, each with its node's name."""
        for row, node in rows:
            known = self._rows.get(row.key)
            if known is None or _age(row) > _age(known):
                self._put(row, node)

    def held(self) -> list[QuarantinedVector]:
        """The newest quarantined vectors that nobody released or rejected."""
        return [row for key, row in self._rows.items() if key in self._waiting]

    def all(self) -> tuple[QuarantinedVector, ...]:
        """The newest quarantined vector of each key, released and rejected ones too."""
        return tuple(self._rows.values())

    def held_count(self) -> int:
        """Keys whose newest quarantined vector nobody released or rejected."""
        return len(self._waiting)

    def was_released(self, keyed: KeyedVector) -> bool:
        """Whether a person accepted exactly this vector."""
        row = self._rows.get(keyed.key)
        if row is None or not row.released:
            return False
        return (keyed.sequence, keyed.vector) == (row.sequence, row.vector)

    def boot_ns_of(self, keyed: KeyedVector) -> int | None:
        """The boot time exactly this vector was held against; None where it is not held."""
        row = self._rows.get(keyed.key)
        if row is None or (keyed.sequence, keyed.vector) != (row.sequence, row.vector):
            return None
        return row.boot_ns

    def hold(
        self, keyed: KeyedVector, node: str, *, boot_ns: int | None, reason: str, at_ns: int
    ) -> bool:
        """Keep a vector that cannot be true, unless a newer one of its key is kept.

        Args:
            keyed: the vector.
            node: the node that reported it.
            boot_ns: the boot time it was held against, in ns; None where that was not known.
            reason: what it breaks, in one sentence.
            at_ns: Unix time in ns: a label.

        Returns:
            Whether the key's newest quarantined vector is kept; False when too many are.
        """
        row = self._rows.get(keyed.key)
        if row is not None:
            if (keyed.sequence, keyed.vector) <= (row.sequence, row.vector):
                return True
            at_ns = row.quarantined_at_ns
        # Rows of what was released or rejected stay as a record; they take no place.
        if keyed.key not in self._waiting and (
            self._held[node] >= MAXIMUM_HELD_PER_NODE or self.held_count() >= MAXIMUM_HELD
        ):
            self.overflow_count += 1
            return False
        newest = QuarantinedVector(keyed.key, keyed.sequence, keyed.vector, boot_ns, reason, at_ns)
        self._put(newest, node)
        self._uncommitted[keyed.key] = newest
        return True

    def release(self, name: str, sequence: int, declaration: int) -> QuarantinedVector | None:
        """Note that a person accepted a vector.

        Args:
            name: the row's name (`quarantine_name`).
            sequence: the vector's; a newer one of the key is not meant.
            declaration: sequence of the declaration.

        Returns:
            The vector to merge; None where no such vector is held.
        """
        row = self._row(name, sequence)
        if row is None or row.released:
            return None
        released = dataclasses.replace(row, released=declaration)
        self._put(released, self._nodes[row.key])
        self._uncommitted[row.key] = released
        return released

    def reject(self, name: str, sequence: int) -> bool:
        """Note that a person found a vector untrue: it stays, and waits for nobody.

        It holds for a vector that comes later as well (of a shared ledger, from another collector),
        and ends where that vector is released.

        Args:
            name: the vector's name (`quarantine_name`).
            sequence: the vector's; a newer one of the key is not meant.

        Returns:
            Whether such a vector is in quarantine and not released.
        """
        self._rejected.setdefault(sequence, set()).add(name)
        row = self._row(name, sequence)
        if row is None or row.released or quarantine_name(row) != name:
            return False
        self._put(row, self._nodes[row.key])
        return True

    def knows(self, declaration: int) -> bool:
        """Whether a row was released by this declaration."""
        return any(row.released == declaration for row in self._rows.values())

    @property
    def uncommitted(self) -> bool:
        """Whether anything changed that no commit was given yet."""
        return bool(self._uncommitted)

    def take_uncommitted(self) -> tuple[QuarantinedVector, ...]:
        """Take the rows no commit was given yet; the caller now owns them."""
        taken, self._uncommitted = tuple(self._uncommitted.values()), {}
        return taken

    def _put(self, row: QuarantinedVector, node: str) -> None:
        waits = not row.released and not self._is_rejected(row)
        self._held[node] += waits - (row.key in self._waiting)
        (self._waiting.add if waits else self._waiting.discard)(row.key)
        self.change_count += 1
        if row.key in self._rows:
            self._found.drop(self._rows[row.key])
        self._found.add(row)
        self._rows[row.key] = row
        self._nodes[row.key] = node

    def _row(self, name: str, sequence: int) -> QuarantinedVector | None:
        """The row of a name, without a look at all the others."""
        key = self._found.key(name, sequence, self._rows)
        return None if key is None else self._rows[key]

    def _is_rejected(self, row: QuarantinedVector) -> bool:
        # The name costs a hash: only of rows whose sequence somebody spoke of.
        names = self._rejected.get(row.sequence)
        return names is not None and quarantine_name(row) in names


def _age(row: QuarantinedVector) -> tuple[int, Vector, int]:
    """Of two rows of a key the one with the larger of these stays; a release comes last."""
    return row.sequence, row.vector, row.released
