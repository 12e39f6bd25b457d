"""Method of rung 1: cumulative tensor-cycle counters of the hardware.

Owns: the coefficients for registers whose cycles the hardware itself counted.
May touch: nothing; pure function of the conditions.
Called by estimate through methods.table.

Formula: FLOP = tensor cycles x FLOP per SM and cycle of the format, where
    tensor cycles of a floating format below FP64 = HMMA (FP16, BF16, TF32 and, on Hopper, FP8),
    FP64 tensor cycles = any tensor - HMMA - IMMA,
    IMMA (integer matrix work) is no FLOP: it counts only in upper and ceiling.
Assumptions: a cycle counted active issues at the architecture's rate; floor assumes the slowest
instruction family and format; ceiling assumes the fastest format in every active cycle.
Error budget: -8 % / +3 % around the declared format (tile padding, vector work), unverified on
hardware; sources in docs/estimation.md. The width of the architecture's rates comes on top
(methods.base); the cycles are the hardware's own, so no other constant enters.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.methods.base import Coefficients, Conditions, Weights, coefficients
from flopmeter_core.registers import Component
from flopmeter_core.units import CYCLES_PER_MEGACYCLE, PPM

# NVML field notes: cumulative tensor cycles hold to -3/+8 % with the format known. The bounds are
# asymmetric: truth may be 8 % below the count (padding) or 3 % above (vector work beside it).
BUDGET_LOWER = Fraction(92, 100)
BUDGET_UPPER = Fraction(103, 100)

# Clock of the counters against the clock of the work: one domain, so the count itself is exact.
CEILING_MARGIN = Fraction(105, 100)


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of counted cycles."""
    least, likely, greatest = conditions.tensor_rates
    fastest = Fraction(conditions.part.architecture.best_float_rate)
    slowest = issued(conditions, Fraction(slowest_rate(conditions)))
    return coefficients(
        conditions,
        certainty=conditions.cycle_certainty,
        floor=_floor_weights(conditions, slowest * BUDGET_LOWER),
        lower=tensor_weights(conditions, issued(conditions, least) * BUDGET_LOWER),
        best=tensor_weights(conditions, likely),
        upper=tensor_weights(conditions, greatest * BUDGET_UPPER)
        | vector_weights(conditions)
        | integer_weights(conditions, greatest * BUDGET_UPPER),
        ceiling=tensor_weights(conditions, fastest * CEILING_MARGIN)
        | vector_weights(conditions)
        | integer_weights(conditions, fastest * CEILING_MARGIN),
    )


def _floor_weights(conditions: Conditions, rate: Fraction) -> Weights:
    """HMMA cycles only; where classes are not told apart all may be integer work: no floor."""
    if not conditions.record.tensor_classes:
        return {}
    return tensor_weights(conditions, rate, fp64=False)


def slowest_rate(conditions: Conditions) -> int:
    """FLOP per cycle of the slowest floating tensor format below FP64."""
    tensor = conditions.part.architecture.tensor
    return min(rate for name, rate in tensor.items() if name not in ("fp64", "int8"))


def issued(conditions: Conditions, rate: Fraction) -> Fraction:
    """The rate when the slowest instruction family did the work.

    On Hopper wgmma reaches the full rate and mma.sync does not (data/devices has the
    source), and no counter tells which ran.
    """
    return rate * conditions.part.architecture.issue_floor_ppm / PPM


def tensor_weights(conditions: Conditions, rate: Fraction, *, fp64: bool = True) -> Weights:
    """FLOP per mega-SM-cycle of tensor work at `rate` FLOP per SM and cycle.

    Where the device does not tell the classes apart, any tensor cycle weighs `rate`.
    """
    per_megacycle = rate * CYCLES_PER_MEGACYCLE
    if not conditions.record.tensor_classes:
        return {Component.TENSOR_MEGACYCLES: per_megacycle}
    fp64_rate = conditions.part.architecture.tensor.get("fp64", 0) if fp64 else 0
    fp64_per_megacycle = Fraction(fp64_rate * CYCLES_PER_MEGACYCLE)
    return {
        Component.TENSOR_MEGACYCLES: fp64_per_megacycle,
        Component.HMMA_MEGACYCLES: per_megacycle - fp64_per_megacycle,
        Component.IMMA_MEGACYCLES: -fp64_per_megacycle,
    }


def integer_weights(conditions: Conditions, rate: Fraction) -> Weights:
    """Integer matrix cycles as if they were floating ones: the side that must not under-count."""
    if not conditions.record.tensor_classes:
        return {}
    # They are also among any tensor cycles, which weigh what FP64 does.
    fp64_rate = conditions.part.architecture.tensor.get("fp64", 0)
    return {Component.IMMA_MEGACYCLES: (rate - fp64_rate) * CYCLES_PER_MEGACYCLE}


def vector_weights(conditions: Conditions) -> Weights:
    """FLOP per mega-SM-cycle outside the tensor cores if every active cycle were a multiply-add.

    An upper bound: an active cycle may be an addition or a move.
    """
    vector = conditions.part.architecture.vector
    places = {
        Component.FP64_MEGACYCLES: "fp64",
        Component.FP32_MEGACYCLES: "fp32",
        Component.FP16_MEGACYCLES: "fp16",
    }
    return {
        component: Fraction(vector.get(name, 0) * CYCLES_PER_MEGACYCLE)
        for component, name in places.items()
    }
