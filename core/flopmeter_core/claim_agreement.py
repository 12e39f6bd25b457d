"""What a run's claims and its meter say of each other.

Owns: the comparison of a run's claims with the meter's figure of the same quantity.
May touch: nothing; exact fractions.
Called by the collector. Neither figure changes the other: docs/sdk.md.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from fractions import Fraction

from flopmeter_core.claim_sums import ClaimTotals
from flopmeter_core.claims import ClaimQuantity
from flopmeter_core.interval import Interval
from flopmeter_core.recompute import Factor, model_flop
from flopmeter_core.values import value_class

DEFAULT_CLAIM_BOUND = 1.25
"""Claim and meter are shown as contradicting beyond this factor, like held against like: what is
left is convention (attention full, causal or left out; padding, evaluation), not recomputation."""


class Agreement(enum.StrEnum):
    """How a run's claims stand to what was metered of it."""

    AGREES = "agrees"
    """Within the bound of the likely range."""
    ABOVE = "above"
    """More is claimed than the upper figure times the bound."""
    BELOW = "below"
    """Less is claimed than the lower figure over the bound."""
    IMPOSSIBLE = "impossible"
    """More is claimed than the devices could execute."""
    UNMEASURED = "unmeasured"
    """Nothing was metered that a claim could be held against."""
    UNCLAIMED = "unclaimed"
    """Labels, steps or tokens are claimed, and no FLOP."""

    @property
    def alerts(self) -> bool:
        """Whether a person has to look."""
        return self in (Agreement.ABOVE, Agreement.BELOW, Agreement.IMPOSSIBLE)


@value_class(frozen=True, slots=True)
class Reconciliation:
    """A run's claims of one quantity beside the meter's figure of it; neither changes the other.

    Attributes:
        totals: what the claims add up to.
        metered: the meter's figure of the same quantity, in FLOP.
        factor: executed / model FLOP that `metered` was divided by; None for executed FLOP.
        agreement: how they stand to each other.
        ratio: claimed over the most likely metered FLOP; None where one of the two is nothing.
        bound: the factor beyond which they contradict each other.
    """

    totals: ClaimTotals
    metered: Interval
    factor: Factor | None
    agreement: Agreement
    ratio: Fraction | None
    bound: float


def reconcile(
    totals: ClaimTotals, executed: Interval, *, factor: Factor, bound: float
) -> Reconciliation:
    """Hold claims against the metered figure of the same quantity.

    Args:
        totals: a run's claims of one quantity.
        executed: what was metered of the run, unobserved time included in the upper side.
        factor: executed / model FLOP of the run; only model FLOP are divided by it.
        bound: at least 1; docs/sdk.md.
    """
    models = totals.quantity is ClaimQuantity.MODEL
    metered = model_flop(executed, factor) if models else executed
    claimed, tolerance = totals.executed_flop, Fraction(bound)
    if not claimed:
        agreement = Agreement.UNCLAIMED
    elif metered.ceiling and claimed > metered.ceiling:
        agreement = Agreement.IMPOSSIBLE
    elif not metered.best:
        agreement = Agreement.UNMEASURED
    elif claimed > metered.upper * tolerance:
        agreement = Agreement.ABOVE
    elif claimed * tolerance < metered.lower:
        agreement = Agreement.BELOW
    else:
        agreement = Agreement.AGREES
    return Reconciliation(
        totals=totals,
        metered=metered,
        factor=factor if models else None,
        agreement=agreement,
        ratio=Fraction(claimed, metered.best) if claimed and metered.best else None,
        bound=bound,
    )


_WORST_FIRST = (
    Agreement.IMPOSSIBLE,
    Agreement.ABOVE,
    Agreement.BELOW,
    Agreement.UNMEASURED,
    Agreement.AGREES,
    Agreement.UNCLAIMED,
)


def worst(reconciliations: Iterable[Reconciliation]) -> Agreement:
    """How a run's claims stand to its meter, all quantities together: at their worst.

    Args:
        reconciliations: at least one.
    """
    found = {each.agreement for each in reconciliations}
    return next(agreement for agreement in _WORST_FIRST if agreement in found)
