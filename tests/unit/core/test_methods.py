"""The methods' numbers for one H100, by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.estimate import coefficients_for, estimate
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import Interval
from flopmeter_core.methods.base import Conditions
from flopmeter_core.methods.table import METHODS
from flopmeter_core.registers import Component, Evidence

TABLE = parse_device_table(builtin_table("devices.toml"))
H100 = DeviceRecord(
    node="n", device="GPU-1", vendor="nvidia", product_name="H100", part="h100-sxm5-80gb"
)
BF16_PEAK = 132 * 1_830 * 10**6 * 4_096
"""989.4 TFLOP/s."""
CEILING = -(132 * 1_980 * 8_192 // -1_000) * 10**9
"""2141 TFLOP/s: every SM, the highest clock, fp8; rounded up to whole FLOP a ns."""
FULL = 132 * 1_830
"""Mega-SM-cycles of a second at the dense clock."""
S = 10**9
KEPT = Fraction(98, 100)
"""Lower's share when a data-sheet constant is off by its 2 %; upper is divided by it."""


def observed(
    evidence: Evidence,
    amounts: dict[Component, int],
    formats: str | None = None,
    record: DeviceRecord = H100,
) -> Interval:
    """The interval of a vector with these components."""
    mix = parse_format_mix(formats) if formats else None
    weights = coefficients_for(evidence, Conditions(TABLE.recognise(record), record, formats=mix))
    return estimate([amounts.get(component, 0) for component in Component], weights).observed


def hmma(megacycles: int) -> dict[Component, int]:
    """A busy second with this much HMMA work."""
    return {
        Component.TENSOR_MEGACYCLES: megacycles,
        Component.HMMA_MEGACYCLES: megacycles,
        Component.BUSY_NS: S,
    }


@pytest.mark.parametrize("evidence", [Evidence.CYCLES, Evidence.GPM])
def test_full_second_in_bf16(evidence: Evidence) -> None:
    """A second of full HMMA activity at 1830 MHz in bf16 is the data sheet's 989.4 TFLOP."""
    found = observed(evidence, hmma(FULL), "bf16=1")
    assert found.best == BF16_PEAK
    assert found.best / 1e12 == pytest.approx(989.4, rel=1e-4)
    lower, upper = {Evidence.CYCLES: (92, 103), Evidence.GPM: (90, 106)}[evidence]
    # Lower also assumes the slowest instruction family, 62 % of the rate.
    # Cycles of all SMs are the device's own on rung 1; here rung 2's SM count is the table's.
    kept = KEPT if evidence is Evidence.CYCLES else KEPT**2
    assert found.lower == pytest.approx(BF16_PEAK * lower * 62 * kept / 10_000, rel=1e-9)
    assert found.upper == pytest.approx(BF16_PEAK * upper / kept / 100, rel=1e-9)


def test_full_second_in_fp8() -> None:
    """The same cycles in fp8 are twice the work; bare fp8 allows for 30 % bf16."""
    assert observed(Evidence.CYCLES, hmma(FULL), "fp8=1").best == 2 * BF16_PEAK
    bare = observed(Evidence.CYCLES, hmma(FULL), "fp8")
    assert bare.best == pytest.approx(2 * BF16_PEAK / (1 + 0.15), rel=1e-9)


def test_undeclared_is_wider() -> None:
    """Undeclared, lower assumes tf32 and upper fp8, as far as physics goes; best stays at bf16."""
    found = observed(Evidence.CYCLES, hmma(FULL))
    declared = observed(Evidence.CYCLES, hmma(FULL), "bf16=1")
    assert found.best == declared.best
    # The slowest way there is: without the rate's own width it is the floor, and stays there.
    assert found.lower == found.floor == declared.lower / KEPT / 2
    assert found.upper == found.ceiling
    assert 2 * declared.upper > found.ceiling > 2 * declared.upper * KEPT
    assert (found.floor, found.ceiling) == (declared.floor, declared.ceiling)


@pytest.mark.parametrize("evidence", [e for e in Evidence if e is not Evidence.CYCLES])
def test_ceiling_of_a_busy_second(evidence: Evidence) -> None:
    """No rung without counted cycles can exceed 2141 TFLOP a busy second, whatever is declared."""
    for formats in (None, "bf16=1"):
        found = observed(evidence, {Component.BUSY_NS: S}, formats)
        assert found.ceiling == CEILING
        assert found.ceiling / 1e12 == pytest.approx(2_141, rel=1e-4)


def test_counted_floor_and_ceiling() -> None:
    """Counted cycles are work at least in the slowest way and at most in the fastest."""
    found = observed(Evidence.CYCLES, hmma(FULL), "bf16=1")
    assert found.floor == FULL * 10**6 * 2_048 * 62 * 92 // 10_000
    assert found.ceiling == FULL * 10**6 * 8_192 * 105 // 100


def test_fp64_tensor_cycles() -> None:
    """Tensor cycles that are neither HMMA nor IMMA ran in FP64 at its own rate."""
    found = observed(Evidence.CYCLES, {Component.TENSOR_MEGACYCLES: FULL}, "bf16=1")
    assert found.best == FULL * 10**6 * 256


def test_integer_tensor_cycles() -> None:
    """Integer matrix work is no FLOP, but in upper it counts once: it might be miscounted."""
    cycles = {Component.TENSOR_MEGACYCLES: FULL, Component.IMMA_MEGACYCLES: FULL}
    found = observed(Evidence.CYCLES, cycles, "bf16=1")
    assert (found.floor, found.lower, found.best) == (0, 0, 0)
    assert found.upper == pytest.approx(BF16_PEAK * 1.03 / KEPT, rel=1e-9)


def test_vector_work() -> None:
    """Work outside the tensor cores widens upper and nothing below it."""
    found = observed(Evidence.CYCLES, {Component.FP32_MEGACYCLES: FULL}, "bf16=1")
    assert (found.lower, found.best) == (0, 0)
    assert found.upper == FULL * 10**6 * 256


def test_classes_not_told_apart() -> None:
    """Where the device has one tensor counter only, it counts, but not in floor."""
    record = replace(H100, tensor_classes=False)
    found = observed(Evidence.CYCLES, {Component.TENSOR_MEGACYCLES: FULL}, "bf16=1", record=record)
    assert found.best == BF16_PEAK
    assert found.lower > 0
    assert found.floor == 0


def test_busy() -> None:
    """A busy second at 1830 MHz is 5, 35 and 87 % of the peak, of SMs the table counts."""
    amounts = {Component.BUSY_MEGACYCLES: 1_830, Component.BUSY_NS: S}
    found = observed(Evidence.BUSY_SAMPLED, amounts, "bf16=1")
    assert (found.floor, found.best) == (0, BF16_PEAK * 35 // 100)
    assert found.lower == pytest.approx(BF16_PEAK * 0.05 * KEPT**2, rel=1e-9)
    assert found.upper == pytest.approx(BF16_PEAK * 0.87 / KEPT**2, rel=1e-9)


def test_allocation() -> None:
    """Of allocated time only the ceiling is known; best is a prior of 30 %."""
    found = observed(Evidence.ALLOCATION, {Component.BUSY_NS: S}, "bf16=1")
    assert (found.floor, found.lower, found.upper) == (0, 0, CEILING)
    assert found.best == pytest.approx(0.3 * 132 * 1_980 * 10**6 * 4_096, rel=1e-6)


def test_what_the_device_read_holds() -> None:
    """The device's own unit count and a higher clock of its own go before the table's."""
    record = replace(H100, sm_count=100, max_sm_clock_mhz=2_100)
    found = observed(Evidence.ALLOCATION, {Component.BUSY_NS: S}, record=record)
    assert found.ceiling == 100 * 2_100 * 8_192 // 1_000 * 10**9


def test_node_of_eight() -> None:
    """Time of a node is time of all its devices."""
    node = replace(H100, device_count=8, energy_scope=EnergyScope.NODE)
    for evidence in (Evidence.POWER_SAMPLED, Evidence.ALLOCATION):
        assert observed(evidence, {Component.BUSY_NS: S}, record=node).ceiling / 8 == pytest.approx(
            CEILING
        )


def test_every_rung_has_a_method() -> None:
    """No rung is estimated by another one's method."""
    assert set(METHODS) == set(Evidence)


def test_sampled_profiling_fields() -> None:
    """A second of full HMMA activity in an exporter's fields is the data sheet's 989.4 TFLOP."""
    found = observed(Evidence.DCGM_SAMPLED, hmma(1_830), "bf16=1")  # of one SM
    assert found.best == BF16_PEAK
    assert found.lower == pytest.approx(BF16_PEAK * 88 * 62 * KEPT**2 / 10_000, rel=1e-9)
    assert found.upper == pytest.approx(BF16_PEAK * 1.10 / KEPT**2, rel=1e-9)
    assert found.floor == 0
    # With the SMs read from the device, cycles are of all of them.
    said = observed(Evidence.DCGM_SAMPLED, hmma(FULL), "bf16=1", replace(H100, sm_count=132))
    assert said.best == found.best
    assert said.lower == pytest.approx(found.lower / KEPT, rel=1e-9)
