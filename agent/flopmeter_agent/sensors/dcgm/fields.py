"""Which DCGM field a family is, in which unit, and how it becomes ours.

Owns: the names of both generations, the units, and what a blank looks like.
May touch: nothing; definitions and pure functions.
Called by scrape.

Names: dcgm_fields.h of DCGM 4.6 (the ``*_UTIL_RATIO`` names and their older aliases) and go-dcgm's
base-unit fields 1600 to 1612 (hertz, joules). A name alone does not always tell its unit, so where
it does not, the unit in the help text comes before the one the name used to have. Profiling fields
are ratios whatever their help says: it said "%" for years (dcgm-exporter 346).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from flopmeter_core.registers import Component
from flopmeter_core.suspicion import is_blank
from flopmeter_core.units import PPM
from flopmeter_core.values import value_class

Quantity = Component | str
"""What a family measures: activity of a component, or one of the words below."""

ENGINE = "engine"
BUSY = "busy"
CLOCK = "clock"
MAX_CLOCK = "highest clock"
POWER = "power"
ENERGY = "energy"

# Unit -> factor to ours: ppm, kHz, mW, mJ.
_FACTORS: Mapping[str, Decimal] = {
    "ratio": Decimal(PPM),
    "%": Decimal(PPM // 100),
    "MHz": Decimal(1_000),
    "Hz": Decimal(1) / 1_000,
    "W": Decimal(1_000),
    "mW": Decimal(1),
    "mJ": Decimal(1),
    "J": Decimal(1_000),
}

_KINDS: Mapping[str, frozenset[str]] = {
    CLOCK: frozenset({"MHz", "Hz"}),
    MAX_CLOCK: frozenset({"MHz", "Hz"}),
    POWER: frozenset({"W", "mW"}),
    ENERGY: frozenset({"mJ", "J"}),
}
_SHARE = frozenset({"ratio", "%"})

_HELP_UNIT = re.compile(r"\(in ([^()]+)\)")


@value_class(frozen=True, slots=True)
class Field:
    """One family.

    Attributes:
        quantity: what it measures.
        unit: as its name has it.
        settled: whether the name itself says the unit, so that no help text changes it.
    """

    quantity: Quantity
    unit: str
    settled: bool = False


def _activity() -> dict[str, Field]:
    # Component -> (name since DCGM 4.6, older name), field ids 1002, 1004, 1006 to 1008, 1013 to
    # 1016. DFMA is FP64 on the tensor cores; which part of it 1015 covers is not documented, so
    # it is not read: FP64 tensor work is what any tensor is above HMMA and IMMA.
    names = {
        Component.SM_ACTIVE_MEGACYCLES: ("SM_UTIL_RATIO", "SM_ACTIVE"),
        Component.TENSOR_MEGACYCLES: ("TENSOR_UTIL_RATIO", "PIPE_TENSOR_ACTIVE"),
        Component.FP64_MEGACYCLES: ("FP64_UTIL_RATIO", "PIPE_FP64_ACTIVE"),
        Component.FP32_MEGACYCLES: ("FP32_UTIL_RATIO", "PIPE_FP32_ACTIVE"),
        Component.FP16_MEGACYCLES: ("FP16_UTIL_RATIO", "PIPE_FP16_ACTIVE"),
        Component.IMMA_MEGACYCLES: ("IMMA_UTIL_RATIO", "PIPE_TENSOR_IMMA_ACTIVE"),
        Component.HMMA_MEGACYCLES: ("HMMA_UTIL_RATIO", "PIPE_TENSOR_HMMA_ACTIVE"),
        Component.INT_MEGACYCLES: ("INT_UTIL_RATIO", "PIPE_INT_ACTIVE"),
    }
    return {
        f"DCGM_FI_PROF_{name}": Field(component, "ratio", settled=True)
        for component, both in names.items()
        for name in both
    }


FIELDS: Mapping[str, Field] = {
    **_activity(),
    "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO": Field(ENGINE, "ratio", settled=True),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": Field(ENGINE, "ratio", settled=True),
    # The name says ratio since DCGM 4.6, whose own value is still a percent: the help decides.
    "DCGM_FI_DEV_GPU_UTIL_RATIO": Field(BUSY, "ratio"),
    "DCGM_FI_DEV_GPU_UTIL": Field(BUSY, "%"),
    "DCGM_FI_DEV_SM_CLOCK_HERTZ": Field(CLOCK, "Hz", settled=True),
    "DCGM_FI_DEV_SM_CLOCK": Field(CLOCK, "MHz"),
    "DCGM_FI_DEV_SM_MAX_CLOCK_HERTZ": Field(MAX_CLOCK, "Hz", settled=True),
    "DCGM_FI_DEV_MAX_SM_CLOCK": Field(MAX_CLOCK, "MHz"),
    "DCGM_FI_DEV_BOARD_POWER_WATTS": Field(POWER, "W", settled=True),
    "DCGM_FI_DEV_POWER_USAGE": Field(POWER, "W"),
    "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL": Field(ENERGY, "J", settled=True),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": Field(ENERGY, "mJ"),
}
"""Family -> what it is. Where a text has both generations of one quantity, the first one counts."""


def unit_of(field: Field, told: str) -> str:
    """The unit of a family, from its name and its help text."""
    match = _HELP_UNIT.search(told)
    if field.settled or match is None:
        return field.unit
    allowed = _KINDS.get(field.quantity, _SHARE) if isinstance(field.quantity, str) else _SHARE
    return match[1] if match[1] in allowed else field.unit


def converted(stated: str, unit: str) -> int | None:
    """A value in our unit, rounded to nearest; None for NaN, infinity and DCGM's blanks.

    Args:
        stated: as it is written.
        unit: one of the units above.
    """
    number = Decimal(stated)
    # Above 10^30 no number is worth its digits; a blank is at most 2^63 in its own unit.
    if not number.is_finite() or number.adjusted() > 30 or is_blank(int(number)):
        return None
    return int((number * _FACTORS[unit]).to_integral_value())
