"""Vectors of which this collector cannot tell whether their key's other writer knows them.

Owns: what is remembered of them, how much, and which stream has been told of what.
May touch: memory only; a restart forgets it, and everything that is not at the root comes again.
Called by the ways in (which note) and by the service and the forwarder (which tell).
Explained in docs/adr/0049-who-else-is-asked.md.

A vector that stands below another one of its key, or takes its place, is the same writer's nearly
always. Where the two came on ways of their own it may be a clone's, and its sender may have nobody
left who could tell. So whoever else reports for the node is asked too, once a stream.
Streams come for what they are told: a doubt that is noted wakes nobody, and a stream that opens
later is told as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import NamedTuple

from flopmeter_core.reports import MAXIMUM_DOUBTS_PER_MESSAGE, Doubt

MAXIMUM_DOUBTS = 8_192
"""Of each kind, the newest stay: about 0.7 KB each, so that both take 11 MB at most."""

MAXIMUM_DOUBTS_PER_NODE = 256
"""One incarnation's registers twice over; what a node sends late pushes out only its own."""


class _Noted(NamedTuple):
    """A doubt with its number and the stream that it came on; 0 for none."""

    number: int
    source: int
    doubt: Doubt


class Listener:
    """One stream that is told of doubts: of an agent, of a relay, or towards the root."""

    def __init__(self, number: int, nodes: Iterable[str], *, everything: bool) -> None:
        """Have been told of nothing; `Doubts.listen` makes one.

        Args:
            number: of the stream; what came on it is not told on it.
            nodes: whose agents report on it.
            everything: whether it leads to where other agents of any node may report.
        """
        self.number = number
        self.nodes = set(nodes)
        self.everything = everything
        self.told = 0
        self.fresh: set[str] = set()
        self.waiting: list[Doubt] = []

    def hear(self, nodes: Set[str]) -> None:
        """More nodes report on it: what was noted of them before is news here."""
        new = nodes - self.nodes
        self.nodes |= new
        self.fresh |= new

    def begin_again(self) -> None:
        """What was told may be lost: tell all of it again."""
        self.told = 0
        self.waiting.clear()


class Doubts:
    """What a collector remembers of vectors in doubt. One event loop."""

    def __init__(self, limit: int = MAXIMUM_DOUBTS) -> None:
        """Start with none.

        Args:
            limit: how many are kept of each kind.
        """
        self.count = 0
        """How many were noted; a stream that was told of so many has nothing to hear."""
        self._streams = 0
        self._late = _Pool(limit)
        # Apart, because all that is sent again to a collector that was started anew is such, and
        # would push out the few late ones.
        self._replaced = _Pool(limit)

    def __len__(self) -> int:
        return self._late.size + self._replaced.size

    def listen(self, nodes: Iterable[str] = (), *, everything: bool = False) -> Listener:
        """A stream begins; arguments as of `Listener`."""
        self._streams += 1
        return Listener(self._streams, nodes, everything=everything)

    def note(self, doubt: Doubt, source: Listener | None, *, late: bool) -> None:
        """Remember a vector in doubt.

        Args:
            doubt: it.
            source: the stream that it came on, or that asked; None where that is nobody's.
            late: whether another vector stands above it; else it took another one's place.
        """
        pool = self._late if late else self._replaced
        noted = _Noted(self.count + 1, 0 if source is None else source.number, doubt)
        if pool.note(noted):
            self.count += 1

    def tell(self, listener: Listener) -> tuple[Doubt, ...]:
        """What a stream is to be told now, and was not told yet."""
        if listener.told == self.count and not listener.fresh and not listener.waiting:
            return ()
        if not listener.waiting:
            # A node may be told of twice, where it is new on the stream.
            news = {
                each.doubt: None for each in self._news(listener) if each.source != listener.number
            }
            listener.waiting = list(news)
            listener.told = self.count
            listener.fresh.clear()
        told = tuple(listener.waiting[:MAXIMUM_DOUBTS_PER_MESSAGE])
        del listener.waiting[:MAXIMUM_DOUBTS_PER_MESSAGE]
        return told

    def _news(self, listener: Listener) -> Iterator[_Noted]:
        """What was noted since a stream was told, newest first."""
        if listener.everything:
            # What took another's place goes up with the vector itself, and is looked at there.
            yield from self._late.since(listener.told, None)
            return
        for pool in (self._late, self._replaced):
            # A relay may name thousands of nodes at once, of which few have any.
            for node in sorted(listener.fresh & pool.nodes):
                yield from pool.of(node)
            yield from pool.since(listener.told, listener.nodes)


class _Pool:
    """Doubts of one kind by their node; the node of which one was noted last is the last."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._by_node: dict[str, dict[Doubt, _Noted]] = {}

    @property
    def nodes(self) -> Set[str]:
        """Those of which there is one."""
        return self._by_node.keys()

    def note(self, noted: _Noted) -> bool:
        """Remember it; False where it is known."""
        doubt = noted.doubt
        held = self._by_node.get(doubt.node, {})
        if doubt in held:
            return False
        if len(held) >= MAXIMUM_DOUBTS_PER_NODE:
            self._forget(doubt.node, held)
        self._by_node.pop(doubt.node, None)
        self._by_node[doubt.node] = held
        held[doubt] = noted
        self.size += 1
        if self.size > self._limit:
            node, oldest = next(iter(self._by_node.items()))
            self._forget(node, oldest)
        return True

    def of(self, node: str) -> Iterator[_Noted]:
        """Those of a node, newest first."""
        return reversed(self._by_node.get(node, {}).values())

    def since(self, number: int, nodes: Set[str] | None) -> Iterator[_Noted]:
        """Those after a number, of some nodes or of all, newest first."""
        if nodes is not None and len(nodes) == 1:
            (only,) = nodes
            yield from _after(number, self.of(only))
            return
        for node in reversed(self._by_node):
            if next(self.of(node)).number <= number:
                return
            if nodes is None or node in nodes:
                yield from _after(number, self.of(node))

    def _forget(self, node: str, held: dict[Doubt, _Noted]) -> None:
        del held[next(iter(held))]
        self.size -= 1
        if not held:
            self._by_node.pop(node, None)


def _after(number: int, noted: Iterator[_Noted]) -> Iterator[_Noted]:
    for each in noted:
        if each.number <= number:
            return
        yield each
