"""An allocation as the totals know it: its keys, where its work may go, and what holds for it.

Owns: what is remembered of an allocation between two statements of people.
May touch: nothing; memory only, and the book of statements it is given.
Called by totals. Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flopmeter_collector.book import Book
from flopmeter_collector.pieces import Piece
from flopmeter_collector.spans import Segment
from flopmeter_core.registers import Key


@dataclass(slots=True)
class Holder:
    """One allocation: its keys, and where its work may go.

    Attributes:
        keys: of the allocation itself.
        shared: of periods with several users, of whom it is one.
        visited: runs its work may pass.
        ends: runs whose totals may hold it; None for the remainder.
        dated: whether hours tell whose some of it is.
    """

    keys: list[Key] = field(default_factory=list)
    shared: list[Key] = field(default_factory=list)
    visited: frozenset[str] = frozenset()
    ends: frozenset[str | None] = frozenset()
    dated: bool = False


class KeptPieces:
    """What holds for the work of allocations, kept until the next statement.

    The keys of an allocation are asked for one by one, at a start for all of a ledger.
    """

    def __init__(self, book: Book) -> None:
        """Start with none; whoever changes the book has to say so by `forget`."""
        self._book = book
        self._of: dict[tuple[str, int], tuple[Segment[Piece], ...]] = {}

    def of(self, allocation: str, phase: int) -> tuple[Segment[Piece], ...]:
        """What holds for an allocation's phase, over all time (`Book.pieces`)."""
        found = self._of.get((allocation, phase))
        if found is None:
            found = self._of[allocation, phase] = self._book.pieces(allocation, phase)
        return found

    def forget(self) -> None:
        """Note that the book is about to change, or has."""
        self._of.clear()
