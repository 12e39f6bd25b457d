"""Estimates: ordered, held down by physics, and the same total for any partition of time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.estimate import coefficients_for, estimate
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import sum_figures
from flopmeter_core.methods.base import Coefficients, Conditions, Workload
from flopmeter_core.methods.table import METHODS
from flopmeter_core.registers import COMPONENT_COUNT, ZERO_VECTOR, Component, Evidence

TABLE = parse_device_table(builtin_table("devices.toml"))
H100 = DeviceRecord(
    node="n",
    device="GPU-1",
    vendor="nvidia",
    product_name="H100",
    part="h100-sxm5-80gb",
    energy_scope=EnergyScope.GPU,
)
MIXES = [None, "bf16", "fp8", "fp8=0.90..0.97,bf16=rest", "tf32=1"]
amounts = st.integers(0, 10**12)
vectors = st.lists(amounts, min_size=COMPONENT_COUNT, max_size=COMPONENT_COUNT)


def conditions(
    formats: str | None = None, workload: Workload | None = None, record: DeviceRecord = H100
) -> Conditions:
    """Conditions of a record."""
    mix = parse_format_mix(formats) if formats else None
    return Conditions(TABLE.recognise(record), record, formats=mix, workload=workload)


def vector_of(amounts_by_component: dict[Component, int]) -> list[int]:
    """A vector with these components."""
    return [amounts_by_component.get(component, 0) for component in Component]


@st.composite
def counted_vectors(draw: st.DrawFn) -> list[int]:
    """What hardware counts: classes within any tensor, everything within the elapsed cycles."""
    hmma, imma, dmma = (draw(st.integers(0, 10**9)) for _ in range(3))
    tensor = hmma + imma + dmma
    # At the highest clock SMs x MHz megacycles go by in a second.
    busy_ns = tensor * 10**9 // (132 * 1_980) + draw(st.integers(1, 10**9))
    return vector_of(
        {
            Component.TENSOR_MEGACYCLES: tensor,
            Component.HMMA_MEGACYCLES: hmma,
            Component.IMMA_MEGACYCLES: imma,
            Component.DMMA_MEGACYCLES: dmma,
            Component.BUSY_NS: busy_ns,
            Component.UNOBSERVED_NS: draw(amounts),
        }
    )


@given(
    vector=vectors,
    evidence=st.sampled_from(list(Evidence)),
    formats=st.sampled_from(MIXES),
    workload=st.sampled_from([None, *Workload]),
)
def test_any_vector_is_ordered(
    vector: list[int], evidence: Evidence, formats: str | None, workload: Workload | None
) -> None:
    """Whatever a register holds, the figures are ordered and not negative (Interval refuses)."""
    figures = estimate(vector, coefficients_for(evidence, conditions(formats, workload)))
    assert figures.unobserved_ceiling >= 0
    assert figures.total.upper >= figures.observed.upper


@given(
    parts=st.lists(counted_vectors(), min_size=1, max_size=6),
    formats=st.sampled_from(MIXES),
)
def test_any_partition_of_counted_cycles(parts: list[list[int]], formats: str | None) -> None:
    """However time is cut into keys, the figures of counted cycles add up to the same integers."""
    weights = coefficients_for(Evidence.CYCLES, conditions(formats))
    whole = [sum(column) for column in zip(*parts, strict=True)]
    assert sum_figures(estimate(part, weights) for part in parts) == estimate(whole, weights)


@given(vector=counted_vectors(), formats=st.sampled_from(MIXES))
def test_no_clipping_on_possible_counts(vector: list[int], formats: str | None) -> None:
    """On counts the hardware can make, every bound is its own dot product: none was lifted."""
    weights = coefficients_for(Evidence.CYCLES, conditions(formats))
    found = estimate(vector, weights).observed
    for bound in ("floor", "lower", "best", "upper", "ceiling"):
        dot = sum(w * v for w, v in zip(getattr(weights, bound), vector, strict=True))
        assert getattr(found, bound) == dot


def test_nothing() -> None:
    """No time is no work on every rung."""
    for evidence in Evidence:
        figures = estimate(ZERO_VECTOR, coefficients_for(evidence, conditions()))
        assert figures.total.ceiling == 0


def fixed(**bounds: int) -> Coefficients:
    """Weights of one FLOP count per ns busy."""
    weights = {
        name: tuple(vector_of({Component.BUSY_NS: bounds.get(name, 0)}))
        for name in ("floor", "lower", "best", "upper", "ceiling", "unobserved")
    }
    return Coefficients(**weights)


def test_clipping() -> None:
    """A negative sum is 0, a bound below its neighbour is lifted, ceiling holds upper down."""
    second = vector_of({Component.BUSY_NS: 10})
    observed = estimate(second, fixed(lower=-3, best=-5, upper=7, ceiling=9)).observed
    assert (observed.lower, observed.best, observed.upper, observed.ceiling) == (0, 0, 70, 90)
    observed = estimate(second, fixed(lower=3, best=2, upper=20, ceiling=9)).observed
    assert (observed.lower, observed.best, observed.upper, observed.ceiling) == (30, 30, 90, 90)
    observed = estimate(second, fixed(floor=4, lower=1, best=1, upper=1, ceiling=1)).observed
    assert set(map(int, (observed.floor, observed.lower, observed.ceiling))) == {40}


@pytest.mark.parametrize("evidence", Evidence)
def test_unobserved_and_suspect_time(evidence: Evidence) -> None:
    """An unmeasured second could hold the part's ceiling, and is in no other figure."""
    weights = coefficients_for(evidence, conditions())
    for component in (Component.UNOBSERVED_NS, Component.SUSPECT_NS):
        figures = estimate(vector_of({component: 10**9}), weights)
        assert figures.unobserved_ceiling / 1e12 == pytest.approx(2_141.06, rel=1e-5)
        assert figures.observed.ceiling == 0
    idle = estimate(vector_of({Component.IDLE_NS: 10**9, Component.SUSPENDED_NS: 9}), weights)
    # A window that saw no kernel says nothing of the time between windows; the others integrate,
    # or their reading stands for its spacing.
    sampled = evidence is Evidence.BUSY_SAMPLED
    assert idle.total.ceiling / 1e12 == pytest.approx(2_141.06 if sampled else 0, rel=1e-5)
    assert idle.total.upper == 0


def test_shorter_vector() -> None:
    """A vector of an older writer lacks the newest components: they count nothing."""
    weights = coefficients_for(Evidence.CYCLES, conditions("bf16"))
    long = vector_of({Component.TENSOR_MEGACYCLES: 5, Component.HMMA_MEGACYCLES: 5})
    assert estimate(long[:6], weights) == estimate(long, weights)


@pytest.mark.parametrize("evidence", Evidence)
def test_unknown_part(evidence: Evidence) -> None:
    """An unknown part counts at its stated ceiling on every rung, never at a guess."""
    record = replace(H100, part="", sm_count=100, max_sm_clock_mhz=1_000)
    weights = coefficients_for(evidence, conditions(record=record))
    found = estimate(vector_of({Component.BUSY_NS: 10**9}), weights).observed
    assert (found.floor, found.lower) == (0, 0)
    fastest = max(
        part.architecture.best_float_rate
        for part in TABLE.parts
        if part.architecture.vendor == "nvidia"
    )
    assert found.best == found.upper == found.ceiling == 100 * 10**9 * fastest


def test_format_the_part_lacks() -> None:
    """A declared format the part does not have is an error on the counting rungs."""
    a100 = replace(H100, part="a100-sxm4-80gb")
    for evidence in (Evidence.CYCLES, Evidence.GPM, Evidence.BUSY_SAMPLED, Evidence.ENERGY):
        with pytest.raises(Exception, match="has no fp8 tensor format"):
            coefficients_for(evidence, conditions("fp8", record=a100))


def test_every_rung_has_a_method() -> None:
    """No reading is estimated by a rung that it is not on."""
    assert set(METHODS) == set(Evidence)
