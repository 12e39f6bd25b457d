"""Method of rung 6: a device was allocated, and nothing else is known.

Owns: the coefficients for registers that know only that a user held the device.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.

Formula: FLOP = allocated time x SMs x maximum clock x FLOP per SM and cycle x 0.3.
Assumptions: utilisation 0.30 when only time is known (Sevilla et al. 2022, Epoch AI); the device
may have stood still the whole time (lower 0) or run at its ceiling (upper).
Error budget: none is claimed; the likely interval is everything that can be, and best a prior.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions, busy_ceiling, coefficients
from flopmeter_core.registers import Component

UTILIZATION_BEST = Fraction(30, 100)


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of allocated time."""
    _, likely, _ = conditions.tensor_rates
    cycles_per_ns = Fraction(
        conditions.sm_count * conditions.ceiling_clock_mhz * conditions.record.device_count, 1_000
    )
    return coefficients(
        conditions,
        # Lower is 0 and upper the ceiling: there is nothing that a width could move.
        certainty=Fraction(1),
        floor={},
        lower={},
        best={Component.BUSY_NS: cycles_per_ns * likely * UTILIZATION_BEST},
        upper=busy_ceiling(conditions),
        ceiling=busy_ceiling(conditions),
    )
