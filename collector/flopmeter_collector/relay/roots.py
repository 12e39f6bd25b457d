"""What senders are told of the ledger that lies behind this one.

Owns: the words about the root in an answer: whether it is here, where it stands, what it has.
May touch: the forwarder it is given.
Called by the service and by relay.serving, for every answer. Explained in docs/relays.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.outbox import Watch
from flopmeter_core.registers import Key
from flopmeter_core.reports import Durability, KeyedVector, LedgerPosition


class Roots:
    """Speaks for the root, be it this collector's ledger or another one."""

    def __init__(self, forwarder: Callable[[], Forwarder | None]) -> None:
        """Take what knows of the root.

        Args:
            forwarder: gives None where this ledger is the root's.
        """
        self._opened = forwarder

    @property
    def forwarder(self) -> Forwarder | None:
        """What forwards to the root; None where that is here."""
        return self._opened()

    @property
    def is_here(self) -> bool:
        """Whether no ledger lies behind this one."""
        return self.forwarder is None

    @property
    def durability(self) -> Durability:
        """What a commit of this ledger is worth."""
        return Durability.AT_ROOT if self.is_here else Durability.HERE

    def open_watch(self) -> Watch:
        """Begin to tell a stream of its keys; `close` ends it."""
        forwarder = self.forwarder
        return Watch() if forwarder is None else forwarder.outbox.open_watch()

    def close(self, watch: Watch) -> None:
        """A stream has ended."""
        forwarder = self.forwarder
        if forwarder is not None:
            forwarder.close(watch)

    def told(self, position: LedgerPosition) -> LedgerPosition:
        """What senders are told of the ledger's position."""
        forwarder = self.forwarder
        return position if forwarder is None else forwarder.position(position)

    def rooted(
        self,
        watch: Watch,
        taken: Iterable[KeyedVector],
        grown: Callable[[], Iterable[tuple[Key, int]]] = tuple,
    ) -> dict[Key, int]:
        """What a stream is told to have reached the root beyond this collector.

        Args:
            watch: the stream's.
            taken: the vectors of its message that were merged.
            grown: gives the keys that grew as rows, each with its sequence.
        """
        forwarder = self.forwarder
        return {} if forwarder is None else forwarder.rooted(watch, taken, grown())
