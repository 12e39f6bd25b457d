"""What is not well known of a part widens lower and upper, once, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, Part, parse_device_table
from flopmeter_core.errors import DataError
from flopmeter_core.estimate import coefficients_for, estimate, figures_of, weigh
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import Interval
from flopmeter_core.methods.base import Conditions, certainty_of
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence
from flopmeter_core.standing import Standing, parse_widths

TABLE = parse_device_table(builtin_table("devices.toml"))
H100, H20 = TABLE.by_id["h100-sxm5-80gb"], TABLE.by_id["h20-96gb"]
WORK = {
    Component.TENSOR_MEGACYCLES: 10**6,
    Component.HMMA_MEGACYCLES: 10**6,
    Component.BUSY_MEGACYCLES: 10**5,
    Component.ENERGY_MJ: 6 * 10**8,
    Component.BUSY_NS: 10**12,
}
COUNTING = (Evidence.CYCLES, Evidence.GPM, Evidence.DCGM_SAMPLED, Evidence.BUSY_SAMPLED)


def known_as(part: Part, standing: Standing, **single: Standing) -> Part:
    """The part as if all of it, or single constants, were known so well."""
    architecture = replace(part.architecture, standing=standing)
    return replace(part, architecture=architecture, standing=standing, standings=single)


def conditions(part: Part, *, sm_count: int = 132, formats: str = "bf16=1") -> Conditions:
    """Conditions of a device of the part."""
    record = DeviceRecord(
        node="n",
        device="GPU-1",
        vendor="nvidia",
        product_name=part.name,
        part=part.id,
        sm_count=sm_count,
        energy_scope=EnergyScope.GPU,
    )
    return Conditions(part, record, formats=parse_format_mix(formats))


def observed(evidence: Evidence, case: Conditions) -> Interval:
    """The figures of some work that is far below the ceiling of every rung."""
    vector = [WORK.get(component, 0) for component in Component][:COMPONENT_COUNT]
    return estimate(vector, coefficients_for(evidence, case)).observed


def ratios(evidence: Evidence, standing: Standing, **more: Standing) -> tuple[float, float]:
    """How far lower and upper move when the constants are known so well and no better."""
    plain = observed(evidence, conditions(known_as(H100, Standing.VERIFIED)))
    found = observed(evidence, conditions(known_as(H100, standing, **more)))
    assert (found.floor, found.best, found.ceiling) == (plain.floor, plain.best, plain.ceiling)
    return found.lower / plain.lower, found.upper / plain.upper


def test_standings_have_each_their_width() -> None:
    """The less is known, the wider; what a printed peak confirms is known within 2 %."""
    widths = [standing.width for standing in Standing]
    assert widths == sorted(set(widths))
    assert Standing.VERIFIED.width == 0
    assert Fraction(1, 100) <= Standing.EXTRAPOLATED.width <= Fraction(2, 100)
    assert Standing.UNVERIFIED.width >= Fraction(10, 100)


@pytest.mark.parametrize("evidence", COUNTING)
@pytest.mark.parametrize("standing", Standing)
def test_the_rate_widens_every_counting_rung(evidence: Evidence, standing: Standing) -> None:
    """Lower times 1 - width, upper over it; floor, best and ceiling stay as they are."""
    kept = float(1 - standing.width)
    assert ratios(evidence, standing) == pytest.approx((kept, 1 / kept), rel=1e-6)


@pytest.mark.parametrize("evidence", [Evidence.DCGM_SAMPLED, Evidence.BUSY_SAMPLED])
def test_units_of_the_table_widen_too(evidence: Evidence) -> None:
    """A device that did not say its SM count is known no better than its row."""
    part = replace(H100, standings={"sm_count": Standing.UNVERIFIED})
    said, unsaid = (observed(evidence, conditions(part, sm_count=n)) for n in (132, 0))
    # Cycles of an exporter that never said it are those of one SM.
    factor = 132 if evidence is Evidence.DCGM_SAMPLED else 1
    assert unsaid.best == factor * said.best
    assert unsaid.lower == pytest.approx(said.lower * factor * 0.9, rel=1e-6)
    assert unsaid.upper == pytest.approx(said.upper * factor / 0.9, rel=1e-6)


@pytest.mark.parametrize("constant", ["sm_count", "dense_clock_mhz", "max_sm_clock_mhz"])
@pytest.mark.parametrize("evidence", COUNTING)
def test_what_the_device_said_has_no_width(evidence: Evidence, constant: str) -> None:
    """Where units and clock were read, the row's standing of them does not matter."""
    moved = ratios(evidence, Standing.VERIFIED, **{constant: Standing.UNVERIFIED})
    assert moved == (1, 1)


@pytest.mark.parametrize(
    ("standing", "single", "kept"),
    [
        (Standing.SAME_DIE, {}, 1),
        (Standing.EXTRAPOLATED, {}, 1),
        (Standing.VERIFIED, {"dense_clock_mhz": Standing.UNVERIFIED}, 0.9),
        (Standing.VERIFIED, {"power_w": Standing.UNVERIFIED}, 0.9),
        (Standing.VERIFIED, {"memory_gb": Standing.UNVERIFIED}, 1),
        (Standing.UNVERIFIED, {}, 0.81),
    ],
)
def test_energy_counts_the_printed_peak_once(
    standing: Standing, single: dict[str, Standing], kept: float
) -> None:
    """Its fractions are of the printed peak: only an unverified peak or power widens, once each."""
    found = ratios(Evidence.ENERGY, standing, **single)
    assert found == pytest.approx((kept, 1 / kept), rel=1e-5)


def test_the_h20_is_wider_than_the_h100() -> None:
    """Of real rows: a part by secondary sources has the wider interval on every counting rung."""
    for evidence in COUNTING:
        h20, h100 = (observed(evidence, conditions(part)) for part in (H20, H100))
        assert h20.upper / h20.best > 1.08 * h100.upper / h100.best


@pytest.mark.parametrize("formats", ["bf16=1", "tf32=1", "fp8=1", "bf16"])
@given(counts=st.tuples(*[st.integers(0, 10**9)] * 7))
def test_no_width_reaches_past_physics(formats: str, counts: tuple[int, ...]) -> None:
    """On counted cycles of the worst known part no bound needs clipping, so any sum is exact."""
    hmma, imma, dmma, *rest = counts
    vector = [0] * COMPONENT_COUNT
    vector[Component.TENSOR_MEGACYCLES] = hmma + imma + dmma
    vector[Component.HMMA_MEGACYCLES] = hmma
    vector[Component.IMMA_MEGACYCLES] = imma
    vector[Component.FP64_MEGACYCLES] = rest[0]
    vector[Component.FP32_MEGACYCLES] = rest[1]
    vector[Component.FP16_MEGACYCLES] = rest[2]
    case = conditions(known_as(H100, Standing.UNVERIFIED), formats=formats)
    columns = weigh(vector, coefficients_for(Evidence.CYCLES, case))
    found = figures_of(columns).observed
    assert (found.floor, found.lower, found.best, found.upper, found.ceiling) == columns[:5]


def test_certainty_is_of_a_product() -> None:
    """Widths of several constants multiply; nothing used is nothing lost."""
    assert certainty_of() == 1
    assert certainty_of(Standing.EXTRAPOLATED, Standing.UNVERIFIED) == Fraction(98 * 90, 100**2)


@pytest.mark.parametrize("evidence", [*COUNTING, Evidence.ENERGY])
@pytest.mark.parametrize("part", [H100, H20])
def test_errors_do_not_average_out(evidence: Evidence, part: Part) -> None:
    """Eight devices are exactly as uncertain as one: each bound is eight times that of one."""
    weights = coefficients_for(evidence, conditions(part, formats="bf16"))
    vector = [WORK.get(component, 0) for component in Component][:COMPONENT_COUNT]
    one, eight = weigh(vector, weights), [0] * 6
    for _ in range(8):
        eight = [a + b for a, b in zip(eight, weigh(vector, weights), strict=True)]
    assert eight == [8 * bound for bound in one]
    single, fleet = figures_of(one).observed, figures_of(eight).observed
    assert Fraction(fleet.upper, fleet.lower) == Fraction(single.upper, single.lower)
    assert Fraction(fleet.upper, fleet.best) == Fraction(single.upper, single.best)


ROWS = builtin_table("standings.toml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[same-die]", "[same]", "must have just verified, same-die"),
        ("width_ppm = 20_000", "width_ppm = 2.0", "no whole number from 0"),
        ("width_ppm = 100_000", "width_ppm = 1_000_000", "no whole number from 0"),
        ("width_ppm = 20_000", "width_ppm = 5_000", "less width than a better one"),
        ("width_ppm = 20_000\n", "", "lacks a field: 'width_ppm'"),
        ('reason = "measured', 'reason = " "\nbefore = "measured', "has an empty reason"),
        ("[verified]", "[verified", "not valid TOML"),
    ],
)
def test_a_table_of_widths_that_cannot_be(old: str, new: str, told: str) -> None:
    """A width without number or reason is refused in one sentence."""
    assert old in ROWS
    with pytest.raises(DataError, match=told):
        parse_widths(ROWS.replace(old, new))
