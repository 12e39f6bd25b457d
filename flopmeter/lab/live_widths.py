"""How wide each rung's interval is where nothing is doubtful but the rung itself.

Owns: the case that is shown for a rung nobody has held to hardware.
May touch: nothing; pure.
Called by lab.scoreboard. The interval is made by the methods themselves, so that what the page says
of a rung is what the meter prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.estimate import coefficients_for, estimate
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.methods.base import Conditions
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence

PART = "h200-sxm-141gb"
FORMAT = "bf16=1"

_RUNGS: Mapping[str, Evidence] = {
    "cycles": Evidence.CYCLES,
    "gpm": Evidence.GPM,
    "dcgm": Evidence.DCGM_SAMPLED,
    "busy": Evidence.BUSY_SAMPLED,
}

# An hour at 1 GHz, half of it in tensor work, none in vector units.
_CLOCK_MHZ, _HOUR_S = 1_000, 3_600


def live_widths(parts: DeviceTable) -> dict[str, tuple[Fraction, Fraction]]:
    """Rung -> lower and upper over best, of an H200 in declared BF16 without vector work."""
    part = parts.by_id[PART]
    found = {}
    for rung, evidence in _RUNGS.items():
        # An exporter does not say how many SMs a device has.
        sm_count = 0 if evidence is Evidence.DCGM_SAMPLED else part.sm_count
        record = DeviceRecord(
            node="n",
            device="d",
            vendor="nvidia",
            product_name=part.name,
            part=PART,
            sm_count=sm_count,
            max_sm_clock_mhz=part.max_sm_clock_mhz,
        )
        megacycles = _CLOCK_MHZ * _HOUR_S
        vector = [0] * COMPONENT_COUNT
        vector[Component.BUSY_NS] = _HOUR_S * 10**9
        vector[Component.BUSY_MEGACYCLES] = megacycles
        vector[Component.SM_ELAPSED_MEGACYCLES] = megacycles * (sm_count or 1)
        for tensor in (Component.TENSOR_MEGACYCLES, Component.HMMA_MEGACYCLES):
            vector[tensor] = megacycles * (sm_count or 1) // 2
        conditions = Conditions(part, record, parse_format_mix(FORMAT))
        interval = estimate(vector, coefficients_for(evidence, conditions)).observed
        found[rung] = (
            Fraction(interval.lower, interval.best),
            Fraction(interval.upper, interval.best),
        )
    return found
