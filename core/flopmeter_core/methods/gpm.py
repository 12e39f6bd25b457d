"""Method of rung 2: GPM interval activity x SM clock.

Owns: the coefficients for registers whose cycles are activity x SMs x clock x time.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.

Formula: as rung 1 (methods.cycles), on cycles that the agent integrated from the mean tensor
activity between two samples and the SM clock (OFU, arXiv 2605.20799: tensor activity x clock).
Assumptions: the clock read stands for the period; the ceiling trusts neither activity nor clock
and takes busy time at the part's highest rate.
Error budget: -10 % / +6 % with the format known, unverified on hardware (docs/estimation.md). The
width of the architecture's rates comes on top (methods.base); SMs and clock are the device's own.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import (
    Coefficients,
    Conditions,
    Weights,
    busy_ceiling,
    coefficients,
)
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
    return from_activity(conditions, lower=BUDGET_LOWER, upper=BUDGET_UPPER)


def from_activity(
    conditions: Conditions, *, lower: Fraction, upper: Fraction, sm_factor: int = 1
) -> Coefficients:
    """Weights of cycles made from activity x clock, within a budget.

    Args:
        conditions: of the key.
        lower: the truth is at least this share of the product, with the format known.
        upper: the truth is at most this share of the product.
        sm_factor: how many SMs a cycle of the register stands for.
    """
    least, likely, greatest = conditions.tensor_rates

    def whole(weights: Weights) -> Weights:
        return {component: flop * sm_factor for component, flop in weights.items()}

    return coefficients(
        conditions,
        certainty=conditions.device_cycle_certainty,
        floor={},
        lower=whole(tensor_weights(conditions, issued(conditions, least) * lower)),
        best=whole(tensor_weights(conditions, likely)),
        upper=whole(
            tensor_weights(conditions, greatest * upper)
            | vector_weights(conditions)
            | integer_weights(conditions, greatest * upper)
        ),
        ceiling=busy_ceiling(conditions),
    )
