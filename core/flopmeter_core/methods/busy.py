"""Method of rung 5: busy time x clock x an efficiency prior.

Owns: the coefficients for registers that know only when a kernel ran and at what clock.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.

Formula: FLOP = busy megacycles x SMs x FLOP per SM and cycle x efficiency.
Assumptions: utilisation says a kernel ran, not how hard: one thread on one SM reads 100 %.
Error budget: a factor of 7 down and 2.5 up around the prior, unverified (docs/estimation.md).
Aliasing budget: the driver watches a window of 1/6 to 1 s before each reading (nvml.h,
nvmlUtilization_t), so up to 5/6 of a period of 1 s is not seen, and more of a longer one. Lower to
upper assumes that the work is not in step with the readings; the ceiling assumes the worst:
kernels in all of the time in which the windows saw none.
The width of the rates, and of the SM count where the device did not say it, comes on top.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions, busy_ceiling, coefficients
from flopmeter_core.registers import Component
from flopmeter_core.units import CYCLES_PER_MEGACYCLE

# Share of the dense peak of the running format while busy: 0.35 is usual for LLM training
# (Llama 3 405B: 0.38-0.43 in BF16), 0.05 the least seen, and no matrix product sustains
# more than about 0.87 of the data sheet (ml-engineering's MAMF table, A100; H100 0.80).
EFFICIENCY_LOWER = Fraction(5, 100)
EFFICIENCY_BEST = Fraction(35, 100)
EFFICIENCY_UPPER = Fraction(87, 100)


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of busy time."""
    least, likely, greatest = conditions.tensor_rates
    per_megacycle = conditions.sm_count * conditions.record.device_count * CYCLES_PER_MEGACYCLE
    return coefficients(
        conditions,
        certainty=conditions.device_cycle_certainty,
        floor={},
        lower={Component.BUSY_MEGACYCLES: per_megacycle * least * EFFICIENCY_LOWER},
        best={Component.BUSY_MEGACYCLES: per_megacycle * likely * EFFICIENCY_BEST},
        upper={Component.BUSY_MEGACYCLES: per_megacycle * greatest * EFFICIENCY_UPPER},
        ceiling=busy_ceiling(conditions) | {Component.IDLE_NS: conditions.ceiling_flop_per_ns},
    )
