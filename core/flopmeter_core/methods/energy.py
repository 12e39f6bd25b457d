"""Method of rung 4: energy.

Owns: the coefficients for registers that know energy and time only.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions, busy_ceiling, coefficients
from flopmeter_core.registers import Component


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of energy (provisional constants)."""
    j_per_tflop = (Fraction(6, 10), Fraction(2), Fraction(8))
    per_mj = [Fraction(10**12, 1000) / j for j in j_per_tflop]
    return coefficients(
        conditions,
        floor={},
        lower={Component.ENERGY_MJ: per_mj[2]},
        best={Component.ENERGY_MJ: per_mj[1]},
        upper={Component.ENERGY_MJ: per_mj[0]},
        ceiling=busy_ceiling(conditions),
    )
