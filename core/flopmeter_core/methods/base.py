"""What every estimation method gives: whole-number coefficients, one vector a bound.

Owns: the conditions a method looks at, the coefficients it returns, the width its constants add,
    and outward rounding.
May touch: nothing; exact rationals and integers.
Called by each method and by estimate; docs/adr/0004-interval-semantics.md explains why a
coefficient is a whole number of FLOP: rounding happens once, outward, in the method, so that
every later step is exact integer addition and any partition of time gives the same total.

A budget of a method says how far readings and work are off; that of its constants is added here,
once for all methods: lower is multiplied by `certainty`, upper divided by it. Floor, best and
ceiling do not carry it, and it never takes lower below floor or upper above ceiling.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from fractions import Fraction

from flopmeter_core.devices import DeviceRecord, Part
from flopmeter_core.formats import FormatMix, widest_rates
from flopmeter_core.registers import COMPONENT_COUNT, Component
from flopmeter_core.standing import Standing
from flopmeter_core.units import PPM
from flopmeter_core.values import value_class

Weights = dict[Component, Fraction]
"""FLOP per unit of a component, exact; components that are absent weigh nothing."""

_CLASSES = (Component.HMMA_MEGACYCLES, Component.IMMA_MEGACYCLES)


class Workload(enum.StrEnum):
    """What kind of training a run is; a declaration, because no counter tells."""

    DENSE_TRANSFORMER = "dense-transformer"
    MOE = "moe"
    LORA = "lora"
    VISION = "vision"
    RECOMMENDER = "recommender"
    OTHER = "other"


@value_class(frozen=True, slots=True)
class Conditions:
    """All that an estimate depends on besides the register itself.

    Attributes:
        part: the recognised part.
        record: what the device said of itself.
        formats: the declared number-format mix, or None.
        workload: the declared workload class, or None.
    """

    part: Part
    record: DeviceRecord
    formats: FormatMix | None = None
    workload: Workload | None = None

    @property
    def sm_count(self) -> int:
        """SMs of one device: as read, else the table's."""
        return self.record.sm_count or self.part.sm_count

    @property
    def cycle_certainty(self) -> Fraction:
        """`certainty_of` what a counted cycle is multiplied by: FLOP per unit and cycle."""
        return certainty_of(self.part.architecture.standing)

    @property
    def device_cycle_certainty(self) -> Fraction:
        """The same for cycles of one unit: the unit count too, unless the device said it."""
        if self.record.sm_count:
            return self.cycle_certainty
        return self.cycle_certainty * certainty_of(self.part.standing_of("sm_count"))

    @property
    def ceiling_clock_mhz(self) -> int:
        """The highest clock the device or the table knows, in MHz."""
        return max(self.record.max_sm_clock_mhz, self.part.max_sm_clock_mhz)

    @property
    def tensor_rates(self) -> tuple[Fraction, Fraction, Fraction]:
        """FLOP per SM and tensor-active cycle: least, most likely, greatest.

        The greatest is of the fastest instruction family (FP16 accumulation on GeForce boards).
        """
        architecture = self.part.architecture
        rates = self.formats.rates if self.formats else widest_rates
        least, likely, greatest = rates(architecture.tensor)
        return least, likely, greatest * architecture.issue_ceiling_ppm / PPM

    @property
    def ceiling_flop_per_ns(self) -> Fraction:
        """Most FLOP all devices of the record can do in one ns.

        Every SM, every cycle, at the fastest format of the part and the highest clock. A
        declared format does not lower it: a declaration is no physics.
        """
        per_cycle = self.sm_count * self.part.architecture.best_float_rate
        return Fraction(per_cycle * self.ceiling_clock_mhz * self.record.device_count, 1_000)


@value_class(frozen=True, slots=True)
class Coefficients:
    """Whole FLOP per unit of each component, one vector a bound.

    Attributes:
        floor, lower, best, upper, ceiling: COMPONENT_COUNT integers each; may be negative.
        unobserved: FLOP per ns that time nobody measured could hold at most.
    """

    floor: tuple[int, ...]
    lower: tuple[int, ...]
    best: tuple[int, ...]
    upper: tuple[int, ...]
    ceiling: tuple[int, ...]
    unobserved: tuple[int, ...]


def coefficients(
    conditions: Conditions,
    *,
    certainty: Fraction,
    floor: Weights,
    lower: Weights,
    best: Weights,
    upper: Weights,
    ceiling: Weights,
) -> Coefficients:
    """Round exact weights outward: floor and lower down, best to nearest, upper and ceiling up.

    Suspect and unobserved time weigh the part's ceiling, in `unobserved` only.

    Args:
        conditions: of the key.
        certainty: share left of lower when the constants used are off, above 0, up to 1; for
            upper the same the other way. 1 where nothing is used that could be off.
        floor: exact weights under the constants as they stand, as of the four others.
        lower: before its constants' width.
        best: most likely.
        upper: before its constants' width.
        ceiling: what no reading can exceed.
    """
    nobody_measured = {
        Component.UNOBSERVED_NS: conditions.ceiling_flop_per_ns,
        Component.SUSPECT_NS: conditions.ceiling_flop_per_ns,
    }
    return Coefficients(
        floor=_whole(floor, math.floor),
        lower=_whole(_held(_scaled(lower, certainty), floor, max), math.floor),
        best=_whole(best, round),
        upper=_whole(_held(_scaled(upper, 1 / certainty), ceiling, min), math.ceil),
        ceiling=_whole(ceiling, math.ceil),
        unobserved=_whole(nobody_measured, math.ceil),
    )


def certainty_of(*standings: Standing) -> Fraction:
    """Share left of a product of constants when each of them is off by its width.

    ``1 - width`` for each, multiplied. As a divisor for upper it also covers a constant that a
    method divides by: 1 / (1 - w) is above 1 + w.
    """
    return math.prod((1 - standing.width for standing in standings), start=Fraction(1))


def _scaled(weights: Weights, factor: Fraction) -> Weights:
    return {component: flop * factor for component, flop in weights.items()}


def _held(
    weights: Weights, outer: Weights, side: Callable[[Fraction, Fraction], Fraction]
) -> Weights:
    """Weights that stay within the bound outside them, wherever both weigh the same component.

    Compared by class of tensor cycles, which is what counters can tell apart: a cycle of HMMA or
    IMMA is also one of any tensor. Else clipping would begin, and sums would depend on grouping.
    """
    inside, outside = _by_class(weights, 1), _by_class(outer, 1)
    return _by_class(
        {c: side(flop, outside[c]) if c in outside else flop for c, flop in inside.items()}, -1
    )


def _by_class(weights: Weights, sign: int) -> Weights:
    """Classes of tensor cycles with (sign 1) or without (-1) the weight of any tensor cycle."""
    any_tensor = sign * weights.get(Component.TENSOR_MEGACYCLES, Fraction(0))
    return {c: flop + any_tensor if c in _CLASSES else flop for c, flop in weights.items()}


def _whole(weights: Weights, rounding: Callable[[Fraction], int]) -> tuple[int, ...]:
    return tuple(
        rounding(weights[component]) if component in weights else 0
        for component in tuple(Component)[:COMPONENT_COUNT]
    )


def busy_ceiling(conditions: Conditions) -> Weights:
    """The ceiling of rungs that do not count cycles: busy time at the part's highest rate."""
    return {Component.BUSY_NS: conditions.ceiling_flop_per_ns}
