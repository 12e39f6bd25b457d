"""What every estimation method gives: whole-number coefficients, one vector a bound.

Owns: the conditions a method looks at, the coefficients it returns, and outward rounding.
May touch: nothing; exact rationals and integers.
Called by each method and by estimate; docs/adr/0004-interval-semantics.md explains why a
coefficient is a whole number of FLOP: rounding happens once, outward, in the method, so that
every later step is exact integer addition and any partition of time gives the same total.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from flopmeter_core.devices import DeviceRecord, Part
from flopmeter_core.formats import FormatMix, widest_rates
from flopmeter_core.registers import COMPONENT_COUNT, Component
from flopmeter_core.units import PPM

Weights = dict[Component, Fraction]
"""FLOP per unit of a component, exact; components that are absent weigh nothing."""


class Workload(enum.StrEnum):
    """What kind of training a run is; a declaration, because no counter tells."""

    DENSE_TRANSFORMER = "dense-transformer"
    MOE = "moe"
    LORA = "lora"
    VISION = "vision"
    RECOMMENDER = "recommender"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    floor: Weights,
    lower: Weights,
    best: Weights,
    upper: Weights,
    ceiling: Weights,
) -> Coefficients:
    """Round exact weights outward: floor and lower down, best to nearest, upper and ceiling up.

    Suspect and unobserved time weigh the part's ceiling, in `unobserved` only.
    """
    nobody_measured = {
        Component.UNOBSERVED_NS: conditions.ceiling_flop_per_ns,
        Component.SUSPECT_NS: conditions.ceiling_flop_per_ns,
    }
    return Coefficients(
        floor=_whole(floor, math.floor),
        lower=_whole(lower, math.floor),
        best=_whole(best, round),
        upper=_whole(upper, math.ceil),
        ceiling=_whole(ceiling, math.ceil),
        unobserved=_whole(nobody_measured, math.ceil),
    )


def _whole(weights: Weights, rounding: Callable[[Fraction], int]) -> tuple[int, ...]:
    return tuple(
        rounding(weights[component]) if component in weights else 0
        for component in tuple(Component)[:COMPONENT_COUNT]
    )


def busy_ceiling(conditions: Conditions) -> Weights:
    """The ceiling of rungs that do not count cycles: busy time at the part's highest rate."""
    return {Component.BUSY_NS: conditions.ceiling_flop_per_ns}
