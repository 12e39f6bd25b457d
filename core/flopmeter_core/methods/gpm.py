"""Method of rung 2: GPM interval activity x SM clock.

Owns: the coefficients for registers whose cycles are activity x SMs x clock x time.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.

Formula: as rung 1 (methods.cycles), on cycles that the agent integrated from the mean tensor
activity between two samples and the SM clock (OFU, arXiv 2605.20799: tensor activity x clock).
Assumptions: the clock read stands for the period; the ceiling trusts neither activity nor clock
and takes busy time at the part's highest rate.
Error budget: -10 % / +6 % with the format known, unverified on hardware (docs/estimation.md).
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions, busy_ceiling, coefficients
from flopmeter_core.methods.cycles import (
    integer_weights,
    issued,
    tensor_weights,
    vector_weights,
)

# GPM interval utilisation holds to -6/+10 % with the format known: truth may be 10 % below the
# product (padding, clock sampling) or 6 % above it.
BUDGET_LOWER = Fraction(90, 100)
BUDGET_UPPER = Fraction(106, 100)


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of interval activity."""
    least, likely, greatest = conditions.tensor_rates
    return coefficients(
        conditions,
        floor={},
        lower=tensor_weights(conditions, issued(conditions, least) * BUDGET_LOWER),
        best=tensor_weights(conditions, likely),
        upper=tensor_weights(conditions, greatest * BUDGET_UPPER)
        | vector_weights(conditions)
        | integer_weights(conditions, greatest * BUDGET_UPPER),
        ceiling=busy_ceiling(conditions),
    )
