"""What the totals have counted of each register, in rows beside those that are held.

Owns: the counted components of keys that only grow, and what they grew by, by where it is put.
May touch: memory only.
Called by totals. Explained in docs/adr/0039-registers-in-rows.md.

Nearly every register that changed only grew, and what it grew by is added to a growth
(growth.py) with all that weigh alike. Here that is done for many rows in one pass of a kernel; a
row that is not usual is left, and totals counts it as one that comes alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from flopmeter_collector.classified import NO_ACCOUNT
from flopmeter_collector.device_time import Growing
from flopmeter_collector.growth import Growth
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_core.kernels import count_rows as kernel
from flopmeter_core.kernels.count_rows import (
    ACCOUNT,
    DONE,
    FIRST,
    GREATEST_DIFFERENCE,
    GREATEST_PRODUCT,
    GROUP,
    GROUP_WIDTH,
    LEFT,
    TOLD_WIDTH,
    TOUCHED,
    WIDTH,
    count_rows,
)
from flopmeter_core.registers import COMPONENT_COUNT, Key, Vector
from flopmeter_core.units import REGISTER_LIMIT

if TYPE_CHECKING:
    from flopmeter_collector.shares import Entry

COMPILED = hasattr(kernel, "SOURCE_SHA256")
"""Interpreted the pass over rows costs more than to count each as one that comes alone."""

NO_GROUP = -1
_UNCOUNTED = array("q", [NO_GROUP, NO_ACCOUNT] + [0] * (WIDTH - FIRST))
_NO_SUMS = array("q", [0] * COMPONENT_COUNT)


class CountedRows:
    """The counted rows. One thread."""

    def __init__(self, residuals: ResidualAccounts) -> None:
        """Start with none; what they cover goes to the residual's accounts."""
        self._residuals = residuals
        self._grows: list[Growing | None] = []
        self._block = array("q")
        self._groups = array("q")
        self._growths: list[Growth] = []
        self._numbers: dict[Growth, int] = {}
        self._touched: list[int] = []

    def put(self, key: Key, entry: Entry, vector: Vector) -> None:
        """Count a key's row here from now on, where it has one and only grows; else no more.

        Args:
            key: whose.
            entry: of the key, with its growth where it only grows.
            vector: all that was counted of it.
        """
        place, growth = entry.place, entry.growth
        if place < 0 or not COMPILED:
            return
        missing = place + 1 - len(self._grows)
        if missing > 0:
            self._block += _UNCOUNTED * missing
            self._grows += [None] * missing
        at = place * WIDTH
        self._block[at + GROUP] = NO_GROUP
        if growth is None or len(vector) != COMPONENT_COUNT or max(vector) >= REGISTER_LIMIT:
            return
        self._block[at + FIRST : at + WIDTH] = array("q", vector)
        self._block[at + GROUP] = self._group(growth)
        grows = self._grows[place] = self._residuals.growing(key, entry.record)
        self._block[at + ACCOUNT] = NO_ACCOUNT if grows is None else grows.account
        entry.rows, entry.lower_before = self, entry.lower_flop - growth.lower_flop(vector)

    def vector(self, place: int) -> Vector:
        """What was counted of a row that is counted here."""
        at = place * WIDTH
        return tuple(self._block[at + FIRST : at + WIDTH])

    def count(
        self,
        held: array[int],
        places: array[int],
        read_ns: array[int],
        note: Callable[[int, int], None],
    ) -> list[int]:
        """Count what rows grew by; `settle` takes the sums.

        Args:
            held: the rows that are held (`known_rows.WIDTH`).
            places: the numbers of the rows.
            read_ns: up to when since its boot each was read; 0 where that is told elsewhere.
            note: gets each number and time that the residual was not told of.

        Returns:
            The numbers of the rows that are not usual, of which nothing was counted.
        """
        if not COMPILED:
            for place, boot_ns in zip(places, read_ns, strict=True):
                if boot_ns:
                    note(place, boot_ns)
            return list(places)
        count = len(places)
        marks, told = bytearray(count), array("q", bytes(8 * TOLD_WIDTH * count))
        touched = array("q", bytes(8 * (count + 1)))
        accounts = self._residuals.classified.block
        count_rows(held, places, read_ns, self._block, self._groups, accounts, touched, told, marks)
        self._touched += touched[1 : touched[0] + 1]
        left: list[int] = []
        if marks.count(DONE) == count:
            return left  # nearly always
        for row in [row for row, mark in enumerate(marks) if mark != DONE]:
            place, boot_ns, noted = places[row], read_ns[row], False
            if marks[row] == LEFT:
                left.append(place)
            elif (grows := self._grows[place]) is not None:
                covered_ns, lower_flop = told[row * TOLD_WIDTH : (row + 1) * TOLD_WIDTH]
                noted = self._residuals.go_on(grows, covered_ns, lower_flop, boot_ns)
            if boot_ns and not noted:
                note(place, boot_ns)
        return left

    def settle(self) -> Iterator[tuple[Growth, Sequence[int]]]:
        """What was counted since this was last asked, by where it is put; the sums begin anew.

        Only groups that rows were counted in are looked at: of 100,000 runs that is a few.
        """
        touched, self._touched = sorted(self._touched), []
        for number in touched:
            at, growth = number * GROUP_WIDTH, self._growths[number]
            self._groups[at + TOUCHED] = False
            sums = self._groups[at : at + COMPONENT_COUNT]
            if any(sums):
                self._groups[at : at + COMPONENT_COUNT] = _NO_SUMS
                yield growth, sums

    def _group(self, growth: Growth) -> int:
        """The number of the group of a growth."""
        number = self._numbers.get(growth)
        if number is None:
            number = self._numbers[growth] = len(self._growths)
            self._growths.append(growth)
            weights, limits = [0] * COMPONENT_COUNT, [GREATEST_DIFFERENCE] * COMPONENT_COUNT
            for place, weight in growth.lower:
                # With a weight that is too great every difference is, and none is taken here.
                weights[place] = weight if abs(weight) < GREATEST_PRODUCT else 0
                limits[place] = min(limits[place], GREATEST_PRODUCT // abs(weight))
            self._groups += array("q", [*_NO_SUMS, *weights, *limits, False])
        return number
