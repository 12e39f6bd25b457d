"""How a key's work is cut at the times that something was declared for.

Owns: the fold of a key's hourly vectors into segments of time, and the outer coefficients of what
straddles a cut.
May touch: nothing; pure functions of segments and vectors.
Called by shares (folds, and what straddles), retention (what may become one) and the lab (the
first record).
Explained in docs/adr/0007-hourly-vectors-and-splits.md.

Nothing is added up twice and nothing is left out: the increments of a key's hourly vectors and
what its newest vector has beyond the last of them make exactly that newest vector.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from flopmeter_collector.spans import Content, Segment
from flopmeter_core.methods.base import Coefficients
from flopmeter_core.registers import ZERO_VECTOR, Component, Vector
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR

Places = tuple[int, ...]
"""Numbers of segments; several where work straddles the cuts between them."""


@dataclass(frozen=True, slots=True)
class Told:
    """Up to when a key's rows tell of all that was done.

    Attributes:
        boot_ns: boot time in ns.
        hour: the hour of the last row.
        earlier_ns: boot time in ns up to which the rows before that one tell all; not before its
            hour.
        least_offset_ns, greatest_offset_ns: by how much the wall clock was ahead of boot time
            there, and in the rows since that a silent device left.
    """

    boot_ns: int
    hour: int
    earlier_ns: int
    least_offset_ns: int
    greatest_offset_ns: int

    @property
    def wall_ns(self) -> int:
        """Unix time in ns, the earlier one where a clock stepped."""
        return self.boot_ns + self.least_offset_ns


@dataclass(slots=True)
class Fold(Generic[Content]):
    """What the hourly vectors of one key say of its segments, row by row.

    Attributes:
        segments: of the key's phase.
        sums: the increments by the segments they may lie in.
        last: the newest row so far; None before the first.
        told: up to when that row, or those before it, tell all.
    """

    segments: tuple[Segment[Content], ...]
    sums: dict[Places, list[int]] = field(default_factory=dict)
    last: HourlyVector | None = None
    told: Told | None = None

    def add(self, row: HourlyVector) -> bool:
        """Take the next row.

        Returns:
            False when it is not the next one: the rows have to be read again from the first.
        """
        before = self.last
        if before is not None:
            if row == before:
                return True
            if row.hour <= before.hour or row.sequence < before.sequence:
                return False
        older = before.vector if before is not None else ZERO_VECTOR
        increment = [new - old for new, old in zip(row.vector, older, strict=True)]
        if min(increment) < 0:
            return False
        self._sum(self._places(*reach_ns(row, self.told)), increment)
        self.last, self.told = row, told_after(row, before, self.told)
        return True

    def split(self, newest: Vector) -> dict[Places, Vector]:
        """The newest vector, cut into parts by the segments they may lie in.

        Where the newest vector does not follow the rows, all of it may lie anywhere.
        """
        last = self.last.vector if self.last is not None else ZERO_VECTOR
        tail = [new - old for new, old in zip(newest, last, strict=True)]
        if min(tail) < 0:
            return {tuple(range(len(self.segments))): newest}
        parts = {places: tuple(amounts) for places, amounts in self.sums.items()}
        if any(tail):
            # Not from the end of the row's hour: an agent that ended in it closed it early, and
            # over a gap that is read just now work came about in closed hours too.
            places = self._places(None if self.told is None else self.told.wall_ns, None)
            held = parts.get(places, ZERO_VECTOR)
            parts[places] = tuple(a + b for a, b in zip(held, tail, strict=True))
        return parts

    def _places(self, from_ns: int | None, until_ns: int | None) -> Places:
        return tuple(
            number
            for number, segment in enumerate(self.segments)
            if segment.meets(from_ns, until_ns)
        )

    def _sum(self, places: Places, increment: Sequence[int]) -> None:
        amounts = self.sums.setdefault(places, [0] * len(increment))
        for place, amount in enumerate(increment):
            amounts[place] += amount


def told_after(row: HourlyVector, before: HourlyVector | None, told: Told | None) -> Told:
    """Up to when all is told once a row is known.

    Args:
        row: the row.
        before: the one before it of the same key; None of the first.
        told: up to when all was told before it.
    """
    offset_ns = row.wall_ns - row.boot_ns
    since = told or _untold(offset_ns)
    older = before.vector if before is not None else ZERO_VECTOR
    earlier_ns = max(row.hour * NS_PER_HOUR, since.boot_ns)
    if row.vector[Component.UNOBSERVED_NS] == older[Component.UNOBSERVED_NS]:
        return Told(row.boot_ns, row.hour, earlier_ns, offset_ns, offset_ns)
    # A device that is silent may still be at work: a counter tells of it when it is read again.
    return Told(
        since.boot_ns,
        row.hour,
        earlier_ns,
        min(since.least_offset_ns, offset_ns),
        max(since.greatest_offset_ns, offset_ns),
    )


def reach_ns(row: HourlyVector, told: Told | None) -> tuple[int, int]:
    """The Unix time in ns, half open, that the increment of a row may lie in.

    Args:
        row: the row.
        told: up to when the rows before it of the same key tell all; None of the first.
    """
    offset_ns = row.wall_ns - row.boot_ns
    # A wall clock that stepped inside the hour leaves both readings possible.
    since = told or _untold(offset_ns)
    # A silence that began in the hour of the row before it: where its time is another key's, as of
    # a MIG instance, that row does not show it.
    told_ns = since.earlier_ns if row.first_hour == since.hour else since.boot_ns
    from_ns = max(row.first_hour * NS_PER_HOUR, told_ns)
    return (
        from_ns + min(since.least_offset_ns, offset_ns),
        row.boot_ns + 1 + max(since.greatest_offset_ns, offset_ns),
    )


def _untold(offset_ns: int) -> Told:
    """Before the first row."""
    return Told(0, -1, 0, offset_ns, offset_ns)


def outer(weights: Sequence[Coefficients]) -> Coefficients:
    """Coefficients for work that was done under one of several: the outer side of each bound.

    Vectors are not negative, so the least coefficient gives the least figure. Best is the mean.
    """
    return Coefficients(
        floor=_least(each.floor for each in weights),
        lower=_least(each.lower for each in weights),
        best=tuple(sum(column) // len(weights) for column in _columns(w.best for w in weights)),
        upper=_greatest(each.upper for each in weights),
        ceiling=_greatest(each.ceiling for each in weights),
        unobserved=_greatest(each.unobserved for each in weights),
    )


def reaches(
    hours: Iterable[HourlyVector],
) -> Iterator[tuple[HourlyVector, int, int]]:
    """Each hourly vector with the Unix time in ns, half open, that its increment may lie in.

    Args:
        hours: by key, the oldest of each first.
    """
    for _, of_key in itertools.groupby(hours, key=lambda row: row.key):
        before: HourlyVector | None = None
        told: Told | None = None
        for row in of_key:
            yield row, *reach_ns(row, told)
            before, told = row, told_after(row, before, told)


def first_record_ns(hours: Iterable[HourlyVector]) -> int | None:
    """The earliest Unix time in ns that any hourly vector may speak of; None without one."""
    return min((from_ns for _, from_ns, _ in reaches(hours)), default=None)


def _columns(rows: Iterable[tuple[int, ...]]) -> Iterable[tuple[int, ...]]:
    return zip(*rows, strict=True)


def _least(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(min(column) for column in _columns(rows))


def _greatest(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(max(column) for column in _columns(rows))
