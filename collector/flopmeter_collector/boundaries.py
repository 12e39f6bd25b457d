"""Boundary periods: work at whose two ends different users were seen.

Owns: what such periods could hold for each set of runs at their ends.
May touch: nothing; exact integers in memory.
Called by totals: it is unattributed in every bound, and widens the upper of both neighbours.
Explained in docs/adr/0004-interval-semantics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UPPER_COLUMNS = (3, 4, 5)
"""Upper, ceiling and unobserved ceiling among the products of a key."""


class Boundaries:
    """Sums of boundary periods by the runs at their two ends; changed by differences only."""

    def __init__(self) -> None:
        """Start empty."""
        self._pools: dict[frozenset[str], list[int]] = {}
        self._ends_by_run: dict[str, set[frozenset[str]]] = {}

    def enrol(self, ends: frozenset[str]) -> None:
        """Make room for periods between these runs; nothing where neither end is a run."""
        if ends:
            self._pools.setdefault(ends, [0, 0, 0])
        for run in ends:
            self._ends_by_run.setdefault(run, set()).add(ends)

    def change(self, ends: frozenset[str], differences: Sequence[int]) -> None:
        """Add the difference of a key's products, in FLOP."""
        if not ends:
            return
        pool = self._pools[ends]
        for place, column in enumerate(_UPPER_COLUMNS):
            pool[place] += differences[column]

    def of(self, runs: Iterable[str]) -> tuple[int, int, int]:
        """What periods with any of these runs at an end could hold, each period once.

        Returns:
            Upper, ceiling and unobserved ceiling, in FLOP.
        """
        upper = ceiling = unobserved = 0
        for ends in set().union(*(self._ends_by_run.get(run, ()) for run in runs)):
            addend_upper, addend_ceiling, addend_unobserved = self._pools[ends]
            # Plain products may be out of order, as in estimate.figures_of.
            upper += max(0, min(addend_upper, addend_ceiling))
            ceiling += max(0, addend_ceiling)
            unobserved += addend_unobserved
        return upper, ceiling, unobserved
