"""Boundary periods: work that may be of one of several runs, and counts in none of them.

Owns: what such work could hold for each set of runs it may be of: those at the two ends of a
period, or on the two sides of a cut.
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

    def change(self, ends: frozenset[str], new: Sequence[int], old: Sequence[int]) -> None:
        """Add the difference between what a period holds now and what it held before, in FLOP."""
        pool = self._pools.get(ends)
        if pool is None:
            pool = self._pools[ends] = [0, 0, 0]
            for run in ends:
                self._ends_by_run.setdefault(run, set()).add(ends)
        for place, column in enumerate(_UPPER_COLUMNS):
            pool[place] += new[column] - old[column]

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
