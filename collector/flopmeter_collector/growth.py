"""Keys that only grew: their raw difference is added up first, and weighed once for all of them.

Owns: the raw growth of all keys whose work weighs alike and enters the same sums.
May touch: nothing; exact integers in memory.
Called by totals, for each key that grew, and by sums, which takes what a growth makes.
Explained in docs/adr/0035-collector-at-its-limits.md.

Nearly every vector that comes in is the usual case: one branch before and after, one statement
about all of its work, no second agent on its device. Then what the key adds is a product of its
vector and coefficients (docs/adr/0004-interval-semantics.md), and products of integers add up
exactly in any grouping: the differences of a thousand keys, added first and weighed once, make the
same sums to the last FLOP as a thousand products, at a quarter of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add

from flopmeter_collector.weighed import Amounts, Slot, amounts_of
from flopmeter_core.devices import EnergyScope
from flopmeter_core.estimate import weigh
from flopmeter_core.methods.base import Coefficients
from flopmeter_core.registers import COMPONENT_COUNT, Vector


@dataclass(slots=True, eq=False)
class Growth:
    """The growth of keys that weigh alike, since it was last taken.

    Attributes:
        slot: where their work goes.
        level: the name of their evidence level.
        weights: their coefficients.
        device_count: accelerators behind each of their records.
        scope: what their energy covers.
        product: what their devices call themselves.
        set_aside: what was set aside of declarations.
        lower: places and coefficients of the lower bound that are not 0.
        vector: the growth, in the units of `Component`.
        grown: whether anything was added since it was last taken.
    """

    slot: Slot
    level: str
    weights: Coefficients
    device_count: int
    scope: EnergyScope
    product: str
    set_aside: str
    lower: tuple[tuple[int, int], ...] = ()
    vector: list[int] = field(default_factory=lambda: [0] * COMPONENT_COUNT)
    grown: bool = False

    def __post_init__(self) -> None:
        """Note which coefficients matter."""
        self.lower = tuple((place, each) for place, each in enumerate(self.weights.lower) if each)

    def grow(self, more: Sequence[int]) -> bool:
        """Add what a key grew by; returns whether that is the first since it was last taken."""
        self.vector[:] = map(add, self.vector, more)
        first = not self.grown
        self.grown = True
        return first

    def lower_flop(self, more: Sequence[int]) -> int:
        """What a growth adds to the lower bound, in FLOP."""
        return sum([more[place] * weight for place, weight in self.lower])

    def take(self) -> Amounts:
        """What the growth makes; it begins anew."""
        taken = self.amounts(self.vector)
        self.vector = [0] * COMPONENT_COUNT
        self.grown = False
        return taken

    def amounts(self, vector: Vector | Sequence[int]) -> Amounts:
        """What one of its keys adds, all of it."""
        return amounts_of(weigh(vector, self.weights), vector, self.device_count, self.set_aside)
