"""Which method turns which evidence into FLOP.

Owns: the explicit list of methods.
May touch: nothing.
Called by estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flopmeter_core.methods import allocation, busy, cycles, dcgm, energy, gpm
from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.registers import Evidence

METHODS: Mapping[Evidence, Callable[[Conditions], Coefficients]] = {
    Evidence.CYCLES: cycles.coefficients_of,
    Evidence.GPM: gpm.coefficients_of,
    Evidence.DCGM_SAMPLED: dcgm.coefficients_of,
    Evidence.ENERGY: energy.coefficients_of,
    Evidence.POWER_SAMPLED: energy.coefficients_of,
    Evidence.BUSY_SAMPLED: busy.coefficients_of,
    Evidence.ALLOCATION: allocation.coefficients_of,
}
