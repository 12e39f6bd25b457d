"""From one register vector to figures in FLOP: pure, linear per key, versioned.

Owns: the choice of a method, the dot product, and the one place of clipping and ordering.
May touch: nothing; pure function of its arguments.
Called by the collector's totals (and by an agent for display only).
Explained in docs/adr/0004-interval-semantics.md and docs/estimation.md.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from flopmeter_core.interval import Figures, Interval
from flopmeter_core.methods import unknown_part
from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.methods.table import METHODS
from flopmeter_core.registers import Evidence

Columns = tuple[int, int, int, int, int, int]
"""Floor, lower, best, upper, ceiling, and what unobserved time could hold, in whole FLOP."""

METHOD_VERSION = "3"
"""Changes with every change that can move a figure; printed beside each total."""


def coefficients_for(evidence: Evidence, conditions: Conditions) -> Coefficients:
    """The coefficients of a key's rung under the declared conditions.

    Raises:
        DataError: a declared number format the part does not have.
    """
    if not conditions.part.known:
        return unknown_part.coefficients_of(conditions)
    return METHODS[evidence](conditions)


def estimate(vector: Sequence[int], weights: Coefficients) -> Figures:
    """Turn one register vector into figures: `weigh`, then `figures_of`.

    Args:
        vector: COMPONENT_COUNT cumulative values in the units of `Component`.
        weights: whole FLOP per unit, one vector a bound.
    """
    return figures_of(weigh(vector, weights))


def weigh(vector: Sequence[int], weights: Coefficients) -> Columns:
    """The plain products of a vector, in whole FLOP; they add up exactly in any grouping.

    A bound may still be negative or out of order: the energy rung subtracts what idling takes.
    """
    return (
        _dot(weights.floor, vector),
        _dot(weights.lower, vector),
        _dot(weights.best, vector),
        _dot(weights.upper, vector),
        _dot(weights.ceiling, vector),
        _dot(weights.unobserved, vector),
    )


def figures_of(columns: Sequence[int]) -> Figures:
    """Clip at 0 and put in order the sum of any number of `weigh`.

    Done once for all keys of a run on one evidence level, so that neither a restart of an agent
    nor a device that idles changes what another one is credited with (ADR 4).

    Args:
        columns: floor, lower, best, upper, ceiling and unobserved ceiling in FLOP.

    Returns:
        Ordered figures: a bound below its neighbour is lifted to it, ceiling holds upper down.
    """
    plain_floor, plain_lower, plain_best, plain_upper, plain_ceiling, unobserved = columns
    floor = max(0, plain_floor)
    ceiling = max(floor, plain_ceiling)
    lower = min(max(floor, plain_lower), ceiling)
    upper = min(max(lower, plain_upper), ceiling)
    best = min(max(lower, plain_best), upper)
    return Figures(
        observed=Interval(floor, lower, best, upper, ceiling), unobserved_ceiling=unobserved
    )


def _dot(weights: Sequence[int], vector: Sequence[int]) -> int:
    """Whole FLOP; a vector from an older writer may be shorter than the weights."""
    return sum(map(operator.mul, weights, vector))
