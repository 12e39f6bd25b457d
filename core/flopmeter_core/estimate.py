"""From one register vector to figures in FLOP: pure, linear per key, versioned.

Owns: the choice of a method, the dot product, and the one place of clipping and ordering.
May touch: nothing; pure function of its arguments.
Called by the collector's totals (and by an agent for display only).
Explained in docs/adr/0004-interval-semantics.md and docs/estimation.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopmeter_core.interval import Figures, Interval
from flopmeter_core.methods import unknown_part
from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.methods.table import METHODS
from flopmeter_core.registers import Evidence

METHOD_VERSION = "1"
"""Changes with every change that can move a figure; printed beside each total."""


def coefficients_for(evidence: Evidence, conditions: Conditions) -> Coefficients:
    """The coefficients of a key's rung under the declared conditions.

    Raises:
        DataError: a declared number format the part does not have.
    """
    if not conditions.part.known:
        return unknown_part.coefficients_of(conditions)
    # A rung without a method of its own is estimated as the weakest one.
    method = METHODS.get(evidence, METHODS[Evidence.ALLOCATION])
    return method(conditions)


def estimate(vector: Sequence[int], weights: Coefficients) -> Figures:
    """Turn one register vector into figures.

    Args:
        vector: COMPONENT_COUNT cumulative values in the units of `Component`.
        weights: whole FLOP per unit, one vector a bound.

    Returns:
        Ordered figures: a bound below its neighbour is lifted to it, ceiling holds upper down.
    """
    floor = max(0, _dot(weights.floor, vector))
    ceiling = max(floor, _dot(weights.ceiling, vector))
    lower = min(max(floor, _dot(weights.lower, vector)), ceiling)
    upper = min(max(lower, _dot(weights.upper, vector)), ceiling)
    best = min(max(lower, _dot(weights.best, vector)), upper)
    return Figures(
        observed=Interval(floor, lower, best, upper, ceiling),
        unobserved_ceiling=_dot(weights.unobserved, vector),
    )


def _dot(weights: Sequence[int], vector: Sequence[int]) -> int:
    """Whole FLOP; a vector from an older writer may be shorter than the weights."""
    return sum(w * v for w, v in zip(weights, vector, strict=False) if w)
