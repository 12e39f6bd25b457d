"""What each key adds to which sums, and the exact replacement of it by what it adds now.

Owns: the way of a key's work into the sums of runs, of the remainder and of overflow.
May touch: the sums, the residual and the counted rows it is given; exact integers in memory.
Called by totals for each key that came, grew or was told something of.
Explained in docs/adr/0035-collector-at-its-limits.md.

A key's part of a sum is changed by new - old; where it only grew, what it grew by is weighed with
all keys like it. Both make the same sums to the last FLOP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import sub

from flopmeter_collector.boundaries import Boundaries
from flopmeter_collector.counted import CountedRows
from flopmeter_collector.growth import Growth
from flopmeter_collector.kept import KeptTotals
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_collector.shares import Entry, once, share_out, slot_of
from flopmeter_collector.sums import Sums
from flopmeter_collector.weighed import NOTHING, Amounts, Slot
from flopmeter_collector.weighing import Weigher
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.registers import Key, Vector, covered_ns


class Additions:
    """What keys add. One thread."""

    def __init__(
        self,
        sums: Mapping[str | None, Sums],
        overflow: Sums,
        weigher: Weigher,
        boundaries: Boundaries,
        kept: KeptTotals,
        residuals: ResidualAccounts,
        counted: CountedRows,
    ) -> None:
        """Prepare.

        Args:
            sums: of each run that has a place, and of none.
            overflow: a view of what is under that allocation.
            weigher: knows the coefficients.
            boundaries: work that may be of several runs.
            kept: forgets what was shown of a run that changes.
            residuals: hears how much time a key covers.
            counted: counts the rows of keys that only grow.
        """
        self._sums = sums
        self._overflow = overflow
        self._weigher = weigher
        self._boundaries = boundaries
        self._kept = kept
        self._residuals = residuals
        self._counted = counted

    def begin(self, key: Key, entry: Entry, vector: Vector) -> bool:
        """Add all of a new key as what it grew by since nothing; False where more is to be asked.

        A start adds up a million of them. Products of integers add up exactly in any grouping, so
        they are weighed with all keys like them, once.
        """
        if len(entry.segments) > 1 or entry.ends or key.allocation == OVERFLOW:
            return False
        piece, record = entry.segments[0].content, entry.record
        weights, aside = self._weigher.weights(key, record, piece)
        if aside:
            return False
        slot = slot_of((piece,), entry.ends)
        sums = self._sums[slot.run]
        sums.enter(key, record, slot, known=entry.known)
        entry.growth = growth = sums.growth(key, record, slot, weights, aside)
        if slot.run is not None:
            self._kept.forget((slot.run,))
        growth.grow(vector)
        entry.told, entry.pieces = (vector,), {slot: NOTHING}
        self._grow(key, entry, vector, growth.lower_flop(vector))
        self._counted.put(key, entry, vector)
        return True

    def replace(self, key: Key, entry: Entry, vectors: tuple[Vector, ...]) -> None:
        """Put new vectors in the place of the old ones: new - old, in every sum."""
        entry.settle()
        # Of the branches of a fork each physical quantity counts once, at its largest.
        widest = vectors[0] if len(vectors) == 1 else tuple(map(max, *vectors))
        pieces = share_out(key, entry, vectors, widest, self._weigher)
        self._grow(key, entry, widest, sum(amounts.flop[1] for amounts in pieces.values()))
        if entry.doubled_ns:
            pieces = {slot: once(entry, amounts) for slot, amounts in pieces.items()}
        forks = (len(vectors) > 1, len(entry.vectors) > 1)
        before = entry.added()
        for slot in before.keys() - pieces.keys():
            self._change(key, entry, slot, NOTHING, before[slot])
            for sums in self._sums_of(key, slot):
                sums.fork_count -= forks[1]
                sums.leave(key, slot)
        for slot, amounts in pieces.items():
            held = before.get(slot)
            for sums in self._sums_of(key, slot):
                sums.fork_count += forks[0] - (forks[1] and held is not None)
                if held is None:
                    sums.enter(key, entry.record, slot, known=entry.known)
            self._change(key, entry, slot, amounts, NOTHING if held is None else held)
        entry.told, entry.rows, entry.pieces = vectors, None, pieces
        entry.growth = self._growth(key, entry)
        self._counted.put(key, entry, vectors[0])

    def _growth(self, key: Key, entry: Entry) -> Growth | None:
        """Where a key's growth is put, where that is all that can come; else None."""
        usual = len(entry.vectors) == len(entry.pieces) == len(entry.segments) == 1
        if not usual or entry.doubled_ns or key.allocation == OVERFLOW:
            return None
        (slot,) = entry.pieces
        if slot.ends:
            return None
        weights, aside = self._weigher.weights(key, entry.record, entry.segments[0].content)
        return self._sums[slot.run].growth(key, entry.record, slot, weights, aside)

    def go_on(self, key: Key, entry: Entry, growth: Growth, vector: Vector) -> None:
        """Add what a key grew by; it is weighed with that of all keys like it."""
        entry.settle()
        more = list(map(sub, vector, entry.vectors[0]))
        self.put(growth, more)
        covered, lower_flop = covered_ns(more), growth.lower_flop(more)
        self._residuals.grow(
            key,
            entry.record,
            covered_ns=covered,
            lower_flop=lower_flop,
            ceiling_flop_per_ns=entry.ceiling_flop_per_ns,
        )
        entry.covered_ns += covered
        entry.lower_flop += lower_flop
        entry.told, entry.rows = (vector,), None
        self._counted.put(key, entry, vector)

    def put(self, growth: Growth, more: Sequence[int]) -> None:
        """Put what keys grew by with that of all like them."""
        if growth.grow(more) and growth.slot.run is not None:
            self._kept.forget((growth.slot.run,))

    def _change(self, key: Key, entry: Entry, slot: Slot, new: Amounts, old: Amounts) -> None:
        for sums in self._sums_of(key, slot):
            sums.replace(key, entry.record, slot, new, old)
        if slot.run is not None:
            self._kept.forget((slot.run,))
        if slot.ends:
            self._kept.forget(slot.ends)
            self._boundaries.change(slot.ends, new.flop, old.flop)

    def _sums_of(self, key: Key, slot: Slot) -> tuple[Sums, ...]:
        """The sums a piece enters: one, and for overflow a view of it that is added to nothing."""
        sums = self._sums[slot.run]
        return (sums, self._overflow) if key.allocation == OVERFLOW else (sums,)

    def _grow(self, key: Key, entry: Entry, widest: Vector, lower_flop: int) -> None:
        """Tell the residual what a key covers now."""
        covered = covered_ns(widest)
        self._residuals.grow(
            key,
            entry.record,
            covered_ns=covered - entry.covered_ns,
            lower_flop=lower_flop - entry.lower_flop,
            ceiling_flop_per_ns=entry.ceiling_flop_per_ns,
        )
        entry.covered_ns, entry.lower_flop = covered, lower_flop
