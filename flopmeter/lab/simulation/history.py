"""Every vector that any agent ever journaled, by its writer, its key and its sequence.

Owns: who wrote what, and which keys two processes wrote: those of a clone that lives on.
May touch: nothing.
Called by the oracle, which asks whether a vector is one that somebody wrote.
"""

from __future__ import annotations

from collections.abc import Iterator

from flopmeter_core.registers import ZERO_VECTOR, Key, Vector
from flopmeter_core.values import value_class
from flopmeter_core.writers import unmarked


@value_class(frozen=True, slots=True)
class Written:
    """One journaled vector, and the write of its node's journal that holds it."""

    vector: Vector
    write: int


class History:
    """What was written."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.shared: dict[Key, list[str]] = {}
        """Keys that more than one node wrote, with those nodes."""
        self.ended: set[tuple[str, str]] = set()
        """Nodes with the incarnations of theirs of which no process knows what it wrote."""
        self.cut: set[tuple[str, str]] = set()
        """Nodes with what they had on a disk that lost its power or was put back."""
        self._first: dict[Key, tuple[str, dict[int, Written]]] = {}
        self._others: dict[tuple[str, Key], dict[int, Written]] = {}
        self._origins: dict[str, str] = {}

    def copied(self, node: str, origin: str) -> None:
        """A node began with the disk of another."""
        self._origins[node] = origin

    def note(self, node: str, key: Key, sequence: int, written: Written) -> None:
        """A node has journaled a vector."""
        writer, vectors = self._first.setdefault(key, (node, {}))
        if writer != node:
            vectors = self._others.setdefault((node, key), {})
            writers = self.shared.setdefault(key, [writer])
            if node not in writers:
                writers.append(node)
        vectors[sequence] = written

    def by(self, node: str, key: Key, sequence: int) -> Written | None:
        """What a node has under a key and a sequence: its own, or what came with its disk."""
        sequence = unmarked(sequence)
        known = self._first.get(key)
        if known is None:
            return None
        first, vectors = known
        if self._others:
            holder = node
            while holder and holder != first:
                own = self._others.get((holder, key))
                if own is not None and sequence in own:
                    return own[sequence]
                holder = self._origins.get(holder, "")
        return vectors.get(sequence)

    def vector(self, key: Key, sequence: int, node: str = "") -> Vector:
        """The vector under a key and a sequence, of a node or of the key's first writer."""
        written = self.by(node, key, sequence) if sequence else None
        return written.vector if written is not None else ZERO_VECTOR

    def anybody(self, key: Key, sequence: int, vector: Vector) -> bool:
        """Whether somebody wrote exactly this."""
        for node in self.shared.get(key, ("",)):
            written = self.by(node, key, sequence)
            if written is not None and written.vector == vector:
                return True
        return False

    def newest(self, key: Key) -> Iterator[tuple[str, int, Vector]]:
        """The newest vector of each writer of a shared key, with its sequence."""
        for node in self.shared[key]:
            own = self._others.get((node, key)) or self._first[key][1]
            sequence = max(own)
            yield node, sequence, own[sequence].vector
