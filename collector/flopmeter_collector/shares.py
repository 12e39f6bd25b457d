"""A key's work, shared out: which piece of it is whose, and what each piece adds.

Owns: the cut of one key's vectors by what was declared, and the slots its pieces go to.
May touch: nothing; exact integers in memory.
Called by totals for each key that grew or that a declaration touches.
Explained in docs/adr/0007-hourly-vectors-and-splits.md and docs/adr/0021-attribution.md.

Work that may be of several runs is nobody's, and widens the upper side of each of them; work that
may be of two labels counts as unlabelled; work that may be in two formats takes the outer side.
The pieces add up to the key's registers exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter_collector.counted import CountedRows
from flopmeter_collector.growth import Growth
from flopmeter_collector.ledger.base import QuarantinedVector
from flopmeter_collector.pieces import Piece
from flopmeter_collector.spans import Segment
from flopmeter_collector.split import Fold, outer
from flopmeter_collector.weighed import STRADDLE, Amounts, Slot, amounts_of
from flopmeter_collector.weighing import Weigher, merge_branches, without_doubled
from flopmeter_core.activities import UNLABELLED
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.estimate import figures_of, weigh
from flopmeter_core.registers import Key, Vector, covered_ns


@dataclass(slots=True)
class Entry:
    """What one key adds, kept so that it can be taken out again.

    Attributes:
        record: what its device said of itself.
        segments: what was declared of its work, over all time.
        ends: for a boundary period, the runs at its two ends.
        fold: its hours, where more than one thing was declared of its work.
        told: its branches, where nobody counts its row.
        rows, place: who counts its row, and its number; None and -1 where nobody does.
        pieces: what it added when it was last shared out.
        growth: where it is put what the key grows by; None where it has to be shared out anew.
        covered_ns, lower_flop: what the residual was told, as of when somebody counted its row
            last; `settle` makes them new.
        lower_before: what `lower_flop` held beside its growth.
        ceiling_flop_per_ns: what its device could do at most.
        doubled_ns, writer_covered_ns: time that another agent measured too, and all of its agent's.
        known: whether the device table has a row for the record.
    """

    record: DeviceRecord
    segments: tuple[Segment[Piece], ...]
    ends: frozenset[str] = frozenset()
    fold: Fold[Piece] | None = None
    told: tuple[Vector, ...] = ()
    rows: CountedRows | None = None
    place: int = -1
    pieces: Mapping[Slot, Amounts] = field(default_factory=dict)
    growth: Growth | None = None
    covered_ns: int = 0
    lower_flop: int = 0
    lower_before: int = 0
    ceiling_flop_per_ns: int = 0
    doubled_ns: int = 0
    writer_covered_ns: int = 0
    known: bool = True

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """Its branches."""
        return self.told if self.rows is None else (self.rows.vector(self.place),)

    def settle(self) -> None:
        """Know what the residual was told of a row that is counted elsewhere."""
        if self.rows is not None and self.growth is not None:
            (vector,) = self.vectors
            self.covered_ns = covered_ns(vector)
            self.lower_flop = self.lower_before + self.growth.lower_flop(vector)

    def added(self) -> Mapping[Slot, Amounts]:
        """What the key adds now."""
        if self.growth is None:
            return self.pieces
        return {self.growth.slot: self.growth.amounts(self.vectors[0])}

    def recut(self, segments: tuple[Segment[Piece], ...]) -> bool:
        """Take what was declared anew.

        Returns:
            False when the cuts moved, and the hours have to be read again from the first.
        """
        cuts = [(each.from_ns, each.until_ns) for each in self.segments]
        self.segments = segments
        if len(segments) == 1:
            self.fold = None
        elif self.fold is None or cuts != [(each.from_ns, each.until_ns) for each in segments]:
            self.fold = Fold(segments)
            return False
        return True


def share_out(
    key: Key, entry: Entry, vectors: Sequence[Vector], widest: Vector, weigher: Weigher
) -> dict[Slot, Amounts]:
    """What the pieces of a key's work add, before any time that two agents measured is taken out.

    Args:
        key: whose register.
        entry: what is known of the key.
        vectors: all branches of the key.
        widest: the largest of each component over the branches.
        weigher: knows the coefficients.
    """
    segments, device_count = entry.segments, entry.record.device_count
    if len(segments) == 1:
        piece = segments[0].content
        weights, aside = weigher.weights(key, entry.record, piece)
        flop = merge_branches([weigh(vector, weights) for vector in vectors])
        return {slot_of((piece,), entry.ends): amounts_of(flop, widest, device_count, aside)}
    told = [weigher.weights(key, entry.record, each.content) for each in segments]
    weights_of = [weights for weights, _ in told]
    aside = next((text for _, text in told if text), "")
    if len(vectors) > 1 or entry.fold is None:
        # Of a fork nobody can tell when what was done.
        flop = merge_branches([weigh(vector, outer(weights_of)) for vector in vectors])
        slot = slot_of([each.content for each in segments], entry.ends)
        return {slot: amounts_of(flop, widest, device_count, aside)}
    found: dict[Slot, Amounts] = {}
    for places, amount in entry.fold.split(vectors[0]).items():
        flop = weigh(amount, outer([weights_of[place] for place in places]))
        slot = slot_of([segments[place].content for place in places], entry.ends)
        aside = next((told[place][1] for place in places if told[place][1]), "")
        amounts = amounts_of(flop, amount, device_count, aside)
        held = found.get(slot)
        found[slot] = amounts if held is None else _sum(held, amounts)
    return found


def once(entry: Entry, amounts: Amounts) -> Amounts:
    """What a piece adds where another agent measured some of the same time."""
    if not entry.doubled_ns:
        return amounts
    flop = without_doubled(
        amounts.flop,
        doubled_ns=min(entry.doubled_ns, entry.covered_ns),
        covered_ns=entry.writer_covered_ns,
        ceiling_flop_per_ns=entry.ceiling_flop_per_ns,
    )
    devices = entry.record.device_count or 1
    return Amounts(
        flop,
        tuple(_less(time_ns // devices, entry) * devices for time_ns in amounts.times_ns),
        _less(amounts.energy_mj, entry),
        amounts.set_aside,
    )


def quarantined_best(
    row: QuarantinedVector,
    record: DeviceRecord,
    segments: Sequence[Segment[Piece]],
    weigher: Weigher,
) -> int:
    """Most likely FLOP of a vector as it was sent; where it is cut, of all its parts together.

    Args:
        row: the vector.
        record: what its device said of itself.
        segments: what was declared of its work.
        weigher: knows the coefficients.
    """
    several = [weigher.weights(row.key, record, each.content)[0] for each in segments]
    weights = several[0] if len(several) == 1 else outer(several)
    return figures_of(weigh(row.vector, weights)).observed.best


def slot_of(pieces: Sequence[Piece], ends: frozenset[str]) -> Slot:
    """Where work goes that may lie in any of these."""
    runs = {piece.run for piece in pieces}
    if len(runs) > 1:
        return Slot(ends=frozenset(run for run in runs if run is not None))
    (run,) = runs
    if run is None:
        return Slot(ends=ends)
    labels = {piece.label for piece in pieces}
    return Slot(
        run,
        label=next(iter(labels)) if len(labels) == 1 else UNLABELLED,
        part=pieces[0].span if len({piece.span for piece in pieces}) == 1 else STRADDLE,
    )


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(
        tuple(a + b for a, b in zip(one.flop, other.flop, strict=True)),
        tuple(a + b for a, b in zip(one.times_ns, other.times_ns, strict=True)),
        one.energy_mj + other.energy_mj,
        one.set_aside or other.set_aside,
    )


def _less(amount: int, entry: Entry) -> int:
    """An amount without the share of it that another agent measured too, by time."""
    return amount - amount * min(entry.doubled_ns, entry.writer_covered_ns) // (
        entry.writer_covered_ns
    )
