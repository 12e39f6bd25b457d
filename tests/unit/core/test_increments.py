"""Increments: each rung's arithmetic, and that time nobody saw is never work and never lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.increments import Increment, increment, unobserved_time
from flopmeter_core.readings import Reading
from flopmeter_core.registers import (
    COMPONENT_COUNT,
    SUBUNITS,
    TIME_COMPONENTS,
    Component,
    Evidence,
)

S = 10**9
H100 = DeviceRecord(
    node="n",
    device="GPU-1",
    vendor="nvidia",
    product_name="H100",
    sm_count=132,
    max_sm_clock_mhz=1_980,
)
SAMPLED = [e for e in Evidence if not e.integrates]


def reading(evidence: Evidence, at_s: float, **quantities: object) -> Reading:
    """A reading at a time, on a node that never slept."""
    at_ns = int(at_s * S)
    base = Reading(device="GPU-1", evidence=evidence, monotonic_ns=at_ns, boottime_ns=at_ns)
    return replace(base, **quantities)  # type: ignore[arg-type]


def full(evidence: Evidence, at_s: float) -> Reading:
    """A reading that says all its rung can say: 90 % tensor activity at 1.5 GHz and 700 W."""
    cycles = int(132 * 1_500_000_000 * at_s)
    return reading(
        evidence,
        at_s,
        cycles={Component.SM_ELAPSED_MEGACYCLES: cycles, Component.HMMA_MEGACYCLES: cycles // 2},
        energy_mj=int(700_000 * at_s) if evidence is not Evidence.POWER_SAMPLED else None,
        activity_ppm={Component.TENSOR_MEGACYCLES: 900_000},
        clock_khz=1_500_000,
        power_mw=700_000,
        busy_ppm=250_000,
    )


def take(
    before: Reading,
    after: Reading,
    *,
    record: DeviceRecord = H100,
    period_s: float = 1,
    allocated: bool = True,
) -> dict[Component, int]:
    """The increment's components that are not zero, in sub-units."""
    taken = increment(before, after, record, period_ns=int(period_s * S), allocated=allocated)
    return nonzero(taken)


def nonzero(taken: Increment) -> dict[Component, int]:
    """By component."""
    assert len(taken) == COMPONENT_COUNT
    return {Component(place): amount for place, amount in enumerate(taken) if amount}


def whole(component: Component, units: int) -> int:
    """Units as sub-units."""
    return units * SUBUNITS[component]


def test_cycles() -> None:
    """Counted cycles are taken as they are; any activity makes the period busy."""
    before = reading(
        Evidence.CYCLES, 0, cycles={Component.HMMA_MEGACYCLES: 10**12}, clock_khz=1_000_000
    )
    after = reading(
        Evidence.CYCLES,
        1,
        cycles={Component.HMMA_MEGACYCLES: 10**12 + 7_000_001},
        clock_khz=2_000_000,
    )
    assert take(before, after) == {
        Component.HMMA_MEGACYCLES: 7_000_001 * 10**12,
        Component.BUSY_MEGACYCLES: whole(Component.BUSY_MEGACYCLES, 1_500),
        Component.BUSY_NS: S,
    }


def test_idle_cycles() -> None:
    """Elapsed cycles alone are no activity: the device stood still."""
    before = reading(Evidence.CYCLES, 0, cycles={Component.SM_ELAPSED_MEGACYCLES: 0})
    after = reading(Evidence.CYCLES, 1, cycles={Component.SM_ELAPSED_MEGACYCLES: 5 * 10**6})
    assert take(before, after) == {
        Component.SM_ELAPSED_MEGACYCLES: whole(Component.SM_ELAPSED_MEGACYCLES, 5),
        Component.IDLE_NS: S,
    }


@pytest.mark.parametrize("evidence", [Evidence.GPM, Evidence.DCGM_SAMPLED])
def test_interval_activity(evidence: Evidence) -> None:
    """Activity x SMs x clock x time, and the elapsed cycles beside it."""
    after = reading(
        evidence, 1, activity_ppm={Component.HMMA_MEGACYCLES: 500_000}, clock_khz=1_980_000
    )
    assert take(reading(evidence, 0), after) == {
        Component.SM_ELAPSED_MEGACYCLES: whole(Component.SM_ELAPSED_MEGACYCLES, 132 * 1_980),
        Component.HMMA_MEGACYCLES: whole(Component.HMMA_MEGACYCLES, 132 * 990),
        Component.BUSY_MEGACYCLES: whole(Component.BUSY_MEGACYCLES, 1_980),
        Component.BUSY_NS: S,
    }
    still = replace(after, activity_ppm={Component.HMMA_MEGACYCLES: 0})
    assert take(reading(evidence, 0), still)[Component.IDLE_NS] == S
    # Work that no pipe of the reading tells of is work all the same.
    engine = replace(still, engine_ppm=970_000)
    assert take(reading(evidence, 0), engine)[Component.BUSY_NS] == S


def test_activity_without_an_sm_count() -> None:
    """Where nobody said how many SMs there are, an exporter's cycles are those of one SM."""
    after = reading(
        Evidence.DCGM_SAMPLED,
        1,
        activity_ppm={Component.HMMA_MEGACYCLES: 500_000},
        clock_khz=1_980_000,
    )
    before = reading(Evidence.DCGM_SAMPLED, 0)
    amount = increment(before, after, replace(H100, sm_count=0), period_ns=S, allocated=True)
    assert amount[Component.HMMA_MEGACYCLES] == whole(Component.HMMA_MEGACYCLES, 990)


def test_busy_share() -> None:
    """Utilisation splits the period into busy and idle; a percent beyond the scale is cut."""
    before = reading(Evidence.BUSY_SAMPLED, 0, busy_ppm=0, clock_khz=1_000_000)
    after = replace(before, monotonic_ns=S, boottime_ns=S, busy_ppm=250_000)
    assert take(before, after) == {
        Component.BUSY_MEGACYCLES: whole(Component.BUSY_MEGACYCLES, 250),
        Component.BUSY_NS: S // 4,
        Component.IDLE_NS: 3 * S // 4,
    }
    assert take(before, replace(after, busy_ppm=1_500_000))[Component.BUSY_NS] == S


@pytest.mark.parametrize("allocated", [True, False])
def test_trapezoid(allocated: bool) -> None:
    """Power is integrated exactly; time is busy while a user is confirmed, else idle."""
    before = reading(Evidence.POWER_SAMPLED, 0, power_mw=700_001)
    after = reading(Evidence.POWER_SAMPLED, 1, power_mw=500_000)
    # (700.001 W + 500 W) / 2 x 1 s = 600.0005 J = 600000.5 mJ: the half is carried, not lost.
    assert take(before, after, allocated=allocated) == {
        Component.ENERGY_MJ: 600_000 * 2 * S + S,
        Component.BUSY_NS if allocated else Component.IDLE_NS: S,
    }


@given(
    powers=st.lists(st.integers(0, 10**8), min_size=2, max_size=20),
    spacing_ns=st.integers(1, S),
)
def test_trapezoid_sum(powers: list[int], spacing_ns: int) -> None:
    """Summed over any readings the energy is the trapezoid in whole numbers, nothing rounded."""
    readings = [
        Reading(
            device="GPU-1",
            evidence=Evidence.POWER_SAMPLED,
            monotonic_ns=number * spacing_ns,
            boottime_ns=number * spacing_ns,
            power_mw=power_mw,
        )
        for number, power_mw in enumerate(powers)
    ]
    taken = [
        increment(a, b, H100, period_ns=S, allocated=True)[Component.ENERGY_MJ]
        for a, b in pairwise(readings)
    ]
    twice_mean = 2 * sum(powers) - powers[0] - powers[-1]
    assert sum(taken) == twice_mean * spacing_ns


def test_energy_counter_before_power() -> None:
    """Where the hardware integrates energy itself, the samples of power are not used."""
    before = reading(Evidence.ENERGY, 0, energy_mj=1_000, power_mw=9)
    after = reading(Evidence.ENERGY, 1, energy_mj=1_700, power_mw=9)
    assert take(before, after)[Component.ENERGY_MJ] == whole(Component.ENERGY_MJ, 700)


@pytest.mark.parametrize("evidence", SAMPLED)
def test_late_sample(evidence: Evidence) -> None:
    """A spacing above two periods is unobserved in whole; two periods are still observed."""
    on_time = take(full(evidence, 10), full(evidence, 12))
    assert Component.UNOBSERVED_NS not in on_time
    late = replace(full(evidence, 12), monotonic_ns=12 * S + 1, boottime_ns=12 * S + 1)
    assert take(full(evidence, 10), late) == {Component.UNOBSERVED_NS: 2 * S + 1}


@pytest.mark.parametrize("evidence", [Evidence.CYCLES, Evidence.GPM, Evidence.ENERGY])
def test_late_integral(evidence: Evidence) -> None:
    """The hardware kept counting while nobody read: a late reading loses nothing."""
    late = take(full(evidence, 10), full(evidence, 1_000))
    assert late[Component.BUSY_NS] == 990 * S
    assert Component.UNOBSERVED_NS not in late


WENT_BACK = [
    (
        reading(Evidence.CYCLES, 0, cycles={Component.HMMA_MEGACYCLES: 5}),
        reading(Evidence.CYCLES, 1, cycles={Component.HMMA_MEGACYCLES: 4}),
    ),
    (
        reading(Evidence.ENERGY, 0, energy_mj=5),
        reading(Evidence.ENERGY, 1, energy_mj=4),
    ),
    # The energy of a reading whose cycles are good is no reason to trust its cycles.
    (
        reading(Evidence.CYCLES, 0, cycles={Component.HMMA_MEGACYCLES: 5}, energy_mj=5),
        reading(Evidence.CYCLES, 1, cycles={Component.HMMA_MEGACYCLES: 6}, energy_mj=4),
    ),
]
MISSING = [
    (full(Evidence.CYCLES, 0), reading(Evidence.CYCLES, 1)),
    (
        reading(Evidence.CYCLES, 0, cycles={Component.HMMA_MEGACYCLES: 5}),
        reading(Evidence.CYCLES, 1, cycles={Component.TENSOR_MEGACYCLES: 6}),
    ),
    (full(Evidence.GPM, 0), replace(full(Evidence.GPM, 1), clock_khz=None)),
    (full(Evidence.GPM, 0), replace(full(Evidence.GPM, 1), activity_ppm={})),
    (full(Evidence.BUSY_SAMPLED, 0), replace(full(Evidence.BUSY_SAMPLED, 1), busy_ppm=None)),
    (reading(Evidence.ENERGY, 0), reading(Evidence.ENERGY, 1, energy_mj=4)),
    (
        reading(Evidence.POWER_SAMPLED, 0, power_mw=700_000),
        reading(Evidence.POWER_SAMPLED, 1),
    ),
]


@pytest.mark.parametrize(("before", "after"), WENT_BACK + MISSING)
def test_no_difference(before: Reading, after: Reading) -> None:
    """A counter that went back, or a quantity that is absent, is unobserved time and never 0."""
    assert take(before, after) == {Component.UNOBSERVED_NS: S}


@pytest.mark.parametrize(
    "after",
    [
        reading(Evidence.CYCLES, 1, cycles={Component.HMMA_MEGACYCLES: 132 * 2_100 * 10**6}),
        reading(
            Evidence.GPM,
            1,
            activity_ppm={Component.HMMA_MEGACYCLES: 1_100_000},
            clock_khz=1_980_000,
        ),
        reading(Evidence.GPM, 1, activity_ppm={Component.HMMA_MEGACYCLES: 10}, clock_khz=2_500_000),
    ],
)
def test_impossible(after: Reading) -> None:
    """More cycles than SMs x maximum clock x time: the time is suspect, the work is dropped."""
    before = replace(after, monotonic_ns=0, boottime_ns=0, cycles=dict.fromkeys(after.cycles, 0))
    assert take(before, after) == {Component.SUSPECT_NS: S}
    # Without a limit read from the device there is nothing to hold the count against.
    assert Component.SUSPECT_NS not in take(before, after, record=replace(H100, sm_count=0))


def test_at_the_limit() -> None:
    """A count at the device's own limit, with a reading's jitter, is believed."""
    cycles = int(132 * 1_980 * 10**6 * 1.05)
    before = reading(Evidence.CYCLES, 0, cycles={Component.TENSOR_MEGACYCLES: 0})
    after = reading(Evidence.CYCLES, 1, cycles={Component.TENSOR_MEGACYCLES: cycles})
    assert take(before, after)[Component.BUSY_NS] == S


@pytest.mark.parametrize("evidence", Evidence)
def test_suspend(evidence: Evidence) -> None:
    """Time the node slept is suspended, whatever the rung; it is neither work nor unobserved."""
    before, after = full(evidence, 10), full(evidence, 11)
    slept = take(before, replace(after, boottime_ns=after.boottime_ns + 3_600 * S))
    assert slept.pop(Component.SUSPENDED_NS) == 3_600 * S
    assert slept == take(before, after)


def test_same_instant() -> None:
    """Two readings at one instant have no period between them."""
    at = full(Evidence.POWER_SAMPLED, 5)
    assert take(at, at) == {}
    assert take(at, replace(at, boottime_ns=at.boottime_ns + 4)) == {Component.SUSPENDED_NS: 4}


def test_time_only() -> None:
    """The increment of time alone holds nothing else."""
    assert nonzero(unobserved_time(5)) == {Component.UNOBSERVED_NS: 5}


quantity = st.none() | st.integers(0, 10**13)


@st.composite
def any_reading(draw: st.DrawFn, evidence: Evidence) -> Reading:
    """A reading with anything in it, also what makes no sense."""
    parts = st.sampled_from(list(Component)[:4])
    return Reading(
        device="GPU-1",
        evidence=evidence,
        monotonic_ns=draw(st.integers(0, 10**13)),
        boottime_ns=draw(st.integers(0, 10**13)),
        cycles=draw(st.dictionaries(parts, st.integers(0, 10**15), max_size=3)),
        energy_mj=draw(quantity),
        activity_ppm=draw(st.dictionaries(parts, st.integers(-5, 2 * 10**6), max_size=3)),
        clock_khz=draw(st.none() | st.integers(0, 3 * 10**6)),
        power_mw=draw(quantity),
        busy_ppm=draw(st.none() | st.integers(-5, 2 * 10**6)),
    )


@given(data=st.data(), evidence=st.sampled_from(list(Evidence)), allocated=st.booleans())
def test_time_adds_up(data: st.DataObject, evidence: Evidence, allocated: bool) -> None:
    """Every nanosecond of boot time is in exactly one class and nothing is ever negative."""
    before, after = data.draw(any_reading(evidence)), data.draw(any_reading(evidence))
    taken = increment(before, after, H100, period_ns=S, allocated=allocated)
    assert min(taken) >= 0
    elapsed_ns = max(0, after.boottime_ns - before.boottime_ns)
    assert sum(taken[component] for component in TIME_COMPONENTS) == elapsed_ns


def test_jitter_between_the_clocks() -> None:
    """The two clocks are read one after the other; their jitter never adds up to covered time."""
    covered_ns = 0
    readings = [
        Reading(
            device="GPU-1",
            evidence=Evidence.POWER_SAMPLED,
            monotonic_ns=number * S,
            boottime_ns=number * S + (number % 2) * 1_000,
            power_mw=1,
        )
        for number in range(101)
    ]
    for before, after in pairwise(readings):
        taken = increment(before, after, H100, period_ns=S, allocated=True)
        covered_ns += sum(taken[component] for component in TIME_COMPONENTS)
    assert covered_ns == 100 * S
