"""A piece of work, weighed: where it goes, and what it adds there.

Owns: the slot of a piece and its amounts.
May touch: nothing; exact integers in memory.
Called by shares, which cuts a key's work into pieces, by sums, which adds them up, and by growth.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopmeter_collector.declarations import FormatSpan
from flopmeter_core.activities import UNLABELLED, WorkLabel
from flopmeter_core.registers import TIME_COMPONENTS, Component
from flopmeter_core.values import value_class

FLOP_COLUMNS = 6
"""floor, lower, best, upper, ceiling, and what unobserved time could hold."""

STRADDLE = "straddle"
"""Name of the part of a run that may lie on either side of a cut between two spans."""

Part = FormatSpan | str | None
"""Which part of a split run: a declared span, STRADDLE, or None for all the rest."""


@value_class(frozen=True, slots=True)
class Slot:
    """Which sums a piece of a key's work enters, and which column of them.

    Attributes:
        run: whose sums; None for the unattributed remainder.
        ends: runs that unattributed work may belong to; widens their upper side.
        label: what the work was; work that may be of two labels counts as unlabelled.
        part: the declared part of the run's time it belongs to.
    """

    run: str | None = None
    ends: frozenset[str] = frozenset()
    label: WorkLabel = UNLABELLED
    part: Part = None


@value_class(frozen=True, slots=True)
class Amounts:
    """What a piece of a key's work adds: products in FLOP, device time in ns, energy in mJ.

    `set_aside` is a sentence on a declaration that does not fit its part; empty for none.
    """

    flop: tuple[int, ...] = (0,) * FLOP_COLUMNS
    times_ns: tuple[int, ...] = (0,) * len(TIME_COMPONENTS)
    energy_mj: int = 0
    set_aside: str = ""


NOTHING = Amounts()


def amounts_of(
    flop: tuple[int, ...], vector: Sequence[int], device_count: int, set_aside: str
) -> Amounts:
    """What a piece adds.

    Args:
        flop: its products.
        vector: its work and time, in the units of `Component`.
        device_count: accelerators behind its record.
        set_aside: what was set aside of declarations.
    """
    times_ns = tuple([vector[component] * device_count for component in TIME_COMPONENTS])
    return Amounts(flop, times_ns, vector[Component.ENERGY_MJ], set_aside)
