"""Method of rung 3: DCGM's profiling fields, scraped from an exporter, x SM clock.

Owns: the budget of sampled profiling fields.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.

Formula: as rung 2 (methods.gpm): tensor activity x SMs x clock x time x FLOP per SM and cycle, on
fields 1004, 1013, 1014, 1016 and 1006 to 1008 in place of GPM's metrics.
Assumptions: each collected value stands for the time since the one collected before it, and so
does the clock, which is the clock of one instant. Where the exporter does not say how many SMs a
device has (it never does), the table's count of the recognised part is used, at the estimate only.
The ceiling trusts neither activity nor clock: busy time at the part's highest rate; a period in
which every field read 0, engine activity included, is idle. Vector pipes are in upper only where
the exporter shows them; by default it does not, and then only the budget holds their work.
Error budget: truth is 12 % below to 10 % above the product with the format known, unverified on
hardware. That is rung 2's budget and a little more, because before Hopper the hardware cannot
watch all fields at once and DCGM alternates between groups of them, because the clock is sampled,
and because scrape and collection are not aligned: what that shifts is at most one collection at
each end of a run, which the boundary allocation holds (docs/estimation.md). Source: DCGM 4.6,
dcgm_fields.h and DcgmGpmManager; on Hopper and newer DCGM itself reads GPM. The width of the
architecture's rates and of the table's SM count comes on top (methods.base).
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.methods.gpm import from_activity

# Sampled profiling fields hold to -10/+12 % with the format known: the product may be 12 % too
# high (padding, clock sampling) or 10 % too low (multiplexed fields, scrape alignment).
BUDGET_LOWER = Fraction(88, 100)
BUDGET_UPPER = Fraction(110, 100)


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of sampled activity; cycles of a record without SM count are those of one SM."""
    return from_activity(
        conditions,
        lower=BUDGET_LOWER,
        upper=BUDGET_UPPER,
        sm_factor=1 if conditions.record.sm_count else conditions.sm_count,
    )
