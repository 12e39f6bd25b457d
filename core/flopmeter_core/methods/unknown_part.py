"""Method for a part the device table does not know: counted at a stated ceiling, never guessed.

Owns: the coefficients of unknown parts, whatever their evidence.
May touch: nothing; pure function of the conditions.
Called by estimate in place of a rung's method when the part is not known; an alert goes with it.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions, busy_ceiling, coefficients


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Busy time at the highest rate of any known architecture, for best, upper and ceiling."""
    ceiling = busy_ceiling(conditions)
    return coefficients(
        conditions,
        # Nothing is taken for known, so nothing has a width.
        certainty=Fraction(1),
        floor={},
        lower={},
        best=ceiling,
        upper=ceiling,
        ceiling=ceiling,
    )
