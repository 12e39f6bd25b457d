"""The accumulator: whose a period is, and that no time is lost or counted twice."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.accumulate import Accumulator
from flopmeter_core.allocations import NONE, boundary
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence, covered_ns
from flopmeter_core.units import NS_PER_S

RECORD = DeviceRecord(
    node="n0",
    device="GPU-1",
    vendor="nvidia",
    product_name="test part",
    sm_count=132,
    max_sm_clock_mhz=1980,
)
PERIOD_NS = NS_PER_S


def counted(at_ns: int, megacycles: int) -> Reading:
    """A reading of cumulative counters."""
    cycles = megacycles * 1_000_000
    return Reading(
        device="GPU-1",
        evidence=Evidence.CYCLES,
        monotonic_ns=at_ns,
        boottime_ns=at_ns,
        cycles={Component.TENSOR_MEGACYCLES: cycles, Component.HMMA_MEGACYCLES: cycles},
    )


def sampled(at_ns: int, power_mw: int) -> Reading:
    """A reading of power alone."""
    return Reading(
        device="GPU-1",
        evidence=Evidence.POWER_SAMPLED,
        monotonic_ns=at_ns,
        boottime_ns=at_ns,
        power_mw=power_mw,
    )


def by_allocation(accumulator: Accumulator) -> dict[str, tuple[int, ...]]:
    """The vectors by the allocation of their key."""
    return {key.allocation: reg.vector for key, reg in accumulator.registers.items()}


def test_the_first_reading_is_a_baseline_only() -> None:
    """Nothing is known of the time before the first reading, and nothing is claimed."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(5 * NS_PER_S, 900), allocation="run:a")
    assert accumulator.registers == {}


def test_a_started_device_is_unobserved_until_its_first_reading() -> None:
    """Time that was announced and not read is unobserved, of the user who was announced."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.start_device(RECORD, allocation="run:a", monotonic_ns=0, boottime_ns=0)
    accumulator.observe(RECORD, sampled(1_389_000_000, 7_000_000), allocation="run:a")
    vector = by_allocation(accumulator)["run:a"]
    assert vector[Component.UNOBSERVED_NS] == 1_389_000_000
    assert vector[Component.BUSY_NS] == 0


def test_a_period_of_one_user_is_that_users() -> None:
    """The difference of two readings with the same user goes to this user's key."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(0, 0), allocation="run:a")
    accumulator.observe(RECORD, counted(NS_PER_S, 1234), allocation="run:a")
    vector = by_allocation(accumulator)["run:a"]
    assert vector[Component.HMMA_MEGACYCLES] == 1234
    assert vector[Component.BUSY_NS] == NS_PER_S


def test_a_period_of_two_users_is_a_boundary() -> None:
    """Work between two readings with different users belongs to neither of them."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(0, 0), allocation="run:a")
    accumulator.observe(RECORD, counted(NS_PER_S, 10), allocation="run:b")
    assert list(by_allocation(accumulator)) == [boundary("run:a", "run:b")]


def test_a_period_of_two_phases_is_a_boundary() -> None:
    """What a run did while it changed its phase is in no phase; what follows is in the new one."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    for at_s, megacycles, phase in ((0, 0, 0), (1, 10, 0), (2, 30, 2), (3, 70, 2)):
        accumulator.observe(
            RECORD, counted(at_s * NS_PER_S, megacycles), allocation="run:a", phase=phase
        )
    work = {
        (key.allocation, key.phase): register.vector[Component.HMMA_MEGACYCLES]
        for key, register in accumulator.registers.items()
    }
    assert work == {("run:a", 0): 10, (boundary("run:a", "run:a"), 0): 20, ("run:a", 2): 40}


def test_silence_in_which_the_phase_changed_is_a_boundary() -> None:
    """Nobody can tell how much of it was in which phase, so neither format may bound it."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(0, 0), allocation="run:a")
    at_ns = 10 * NS_PER_S
    accumulator.unobserved_until(
        "GPU-1", monotonic_ns=at_ns, boottime_ns=at_ns, allocation="run:a", phase=1
    )
    assert list(by_allocation(accumulator)) == [boundary("run:a", "run:a")]


def test_power_of_an_unused_device_is_idle_time() -> None:
    """With power alone, time is busy only while a user is confirmed."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, sampled(0, 100_000), allocation=NONE)
    accumulator.observe(RECORD, sampled(NS_PER_S, 100_000), allocation=NONE)
    vector = by_allocation(accumulator)[NONE]
    assert vector[Component.IDLE_NS] == NS_PER_S
    assert vector[Component.ENERGY_MJ] == 100_000


def test_silence_is_registered_once_and_the_counter_keeps_the_work() -> None:
    """A device that was away: its time is unobserved, and its counter still gives the work."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(0, 0), allocation="run:a")
    silent_until_ns = 10 * NS_PER_S
    assert list(accumulator.overdue(silent_until_ns)) == ["GPU-1"]
    accumulator.unobserved_until(
        "GPU-1", monotonic_ns=silent_until_ns, boottime_ns=silent_until_ns, allocation="run:a"
    )
    accumulator.observe(RECORD, counted(12 * NS_PER_S, 5000), allocation="run:a")
    vector = by_allocation(accumulator)["run:a"]
    assert vector[Component.HMMA_MEGACYCLES] == 5000
    assert vector[Component.UNOBSERVED_NS] == 10 * NS_PER_S
    assert vector[Component.BUSY_NS] == 2 * NS_PER_S


@pytest.mark.parametrize("other", [("run:b", 0), ("run:a", 1), (NONE, 0)])
def test_silence_that_others_had_too_is_nobodys(other: tuple[str, int]) -> None:
    """Who has a silent device before and after others had it is not given their work."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(0, 0), allocation="run:a")
    for at_s, (allocation, phase) in ((10, other), (20, ("run:a", 0))):
        at_ns = at_s * NS_PER_S
        accumulator.unobserved_until(
            "GPU-1", monotonic_ns=at_ns, boottime_ns=at_ns, allocation=allocation, phase=phase
        )
    accumulator.observe(RECORD, counted(22 * NS_PER_S, 5000), allocation="run:a")
    accumulator.observe(RECORD, counted(23 * NS_PER_S, 6000), allocation="run:a")
    vectors = by_allocation(accumulator)
    assert vectors[boundary("run:a", "run:a")][Component.HMMA_MEGACYCLES] == 5000
    assert vectors["run:a"][Component.HMMA_MEGACYCLES] == 1000


def test_a_changed_device_record_starts_from_a_new_baseline() -> None:
    """A new driver or part has counters of its own: the period between is unobserved."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.observe(RECORD, counted(0, 0), allocation="run:a")
    updated = dataclasses.replace(RECORD, driver_version="600")
    accumulator.observe(updated, counted(NS_PER_S, 7), allocation="run:a")
    (vector,) = by_allocation(accumulator).values()
    assert vector[Component.UNOBSERVED_NS] == NS_PER_S
    assert vector[Component.HMMA_MEGACYCLES] == 0


steps = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=5 * NS_PER_S),
        st.integers(min_value=0, max_value=100_000),
        st.sampled_from(["run:a", "run:b", NONE]),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@given(steps=steps)
def test_every_nanosecond_is_classified_once(steps: list[tuple[int, int, str, bool]]) -> None:
    """Whatever comes in whatever order, the time of all keys is the time that passed."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    accumulator.start_device(RECORD, allocation=NONE, monotonic_ns=0, boottime_ns=0)
    at_ns, megacycles = 0, 0
    for elapsed_ns, work, allocation, silent in steps:
        at_ns += elapsed_ns
        megacycles += work
        if silent:
            accumulator.unobserved_until(
                "GPU-1", monotonic_ns=at_ns, boottime_ns=at_ns, allocation=allocation
            )
        else:
            accumulator.observe(RECORD, counted(at_ns, megacycles), allocation=allocation)
    assert sum(covered_ns(reg.vector) for reg in accumulator.registers.values()) == at_ns


@given(cuts=st.lists(st.integers(min_value=1, max_value=999), unique=True, max_size=20))
def test_any_partition_of_time_gives_the_same_registers(cuts: list[int]) -> None:
    """Reading more or less often changes no counted component, to the unit."""

    def cycles_at(thousandth: int) -> int:
        return 123_457 * thousandth * thousandth

    whole = Accumulator("0" * 32, PERIOD_NS)
    parts = Accumulator("0" * 32, PERIOD_NS)
    for accumulator, instants in ((whole, [0, 1000]), (parts, [0, *sorted(cuts), 1000])):
        for thousandth in instants:
            reading = Reading(
                device="GPU-1",
                evidence=Evidence.CYCLES,
                monotonic_ns=thousandth * NS_PER_S,
                boottime_ns=thousandth * NS_PER_S,
                cycles={Component.HMMA_MEGACYCLES: cycles_at(thousandth)},
            )
            accumulator.observe(RECORD, reading, allocation="run:a")
    (first,) = whole.registers.values()
    (second,) = parts.registers.values()
    assert first.vector == second.vector
    assert first.carry == second.carry


def busy(at_s: int, energy_mj: int) -> Reading:
    """A reading of sampled utilisation beside an energy counter."""
    return Reading(
        device="GPU-1",
        evidence=Evidence.BUSY_SAMPLED,
        monotonic_ns=at_s * NS_PER_S,
        boottime_ns=at_s * NS_PER_S,
        energy_mj=energy_mj,
        clock_khz=1_000_000,
        busy_ppm=1_000_000,
    )


def bridging() -> Accumulator:
    """An accumulator that knows a rated power, with one reading taken at 10 s."""
    accumulator = Accumulator("0" * 32, PERIOD_NS, rated_power_w=lambda record: 700)
    accumulator.observe(RECORD, busy(10, 0), allocation="run:a")
    return accumulator


def test_energy_covers_a_gap() -> None:
    """Samples say nothing of a gap, the energy counter does: its time and work are on its rung."""
    accumulator = bridging()
    accumulator.observe(RECORD, busy(110, 50_000_000), allocation="run:a")
    (key,) = accumulator.registers
    vector = accumulator.registers[key].vector
    assert key.evidence is Evidence.ENERGY
    assert vector[Component.ENERGY_MJ] == 50_000_000
    assert vector[Component.BUSY_NS] == 100 * NS_PER_S
    assert vector[Component.UNOBSERVED_NS] == 0


def test_energy_covers_no_registered_silence() -> None:
    """Where the time stands as unobserved already, energy alone would be work without a time."""
    accumulator = bridging()
    accumulator.unobserved_until(
        "GPU-1", monotonic_ns=60 * NS_PER_S, boottime_ns=60 * NS_PER_S, allocation="run:a"
    )
    accumulator.observe(RECORD, busy(110, 50_000_000), allocation="run:a")
    assert {key.evidence for key in accumulator.registers} == {Evidence.BUSY_SAMPLED}
    (register,) = accumulator.registers.values()
    assert register.vector[Component.UNOBSERVED_NS] == 100 * NS_PER_S
    assert register.vector[Component.ENERGY_MJ] == 0


def test_energy_that_cannot_be_of_the_gap() -> None:
    """Less than any board draws at rest, or less than before: a counter that began anew."""
    for energy_mj in (3_000_000, -5):
        accumulator = bridging()
        accumulator.observe(RECORD, busy(110, energy_mj), allocation="run:a")
        (register,) = accumulator.registers.values()
        assert register.vector[Component.UNOBSERVED_NS] == 100 * NS_PER_S


def test_one_impossible_power() -> None:
    """A power no device can have makes no energy, neither of its period nor of the one after."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    for second, power_mw in enumerate((700_000, 700_000, 3_000_000_000, 700_000, 700_000)):
        accumulator.observe(RECORD, sampled(second * NS_PER_S, power_mw), allocation="run:a")
    vector = by_allocation(accumulator)["run:a"]
    assert vector[Component.ENERGY_MJ] == 2 * 700_000
    assert vector[Component.SUSPECT_NS] == vector[Component.UNOBSERVED_NS] == NS_PER_S


@pytest.mark.parametrize("impossible_khz", [10**15, 5 * 10**6])
def test_one_impossible_clock(impossible_khz: int) -> None:
    """A clock no device can have makes no cycles, neither of its period nor of the one after."""
    accumulator = Accumulator("0" * 32, PERIOD_NS)
    for second, clock_khz in enumerate((10**6, 10**6, impossible_khz, 10**6, 10**6)):
        at_ns = second * NS_PER_S
        reading = Reading(
            device="GPU-1",
            evidence=Evidence.BUSY_SAMPLED,
            monotonic_ns=at_ns,
            boottime_ns=at_ns,
            clock_khz=clock_khz,
            busy_ppm=10**6,
        )
        accumulator.observe(RECORD, reading, allocation="run:a")
    vector = by_allocation(accumulator)["run:a"]
    assert vector[Component.BUSY_MEGACYCLES] == 3 * 1_000
    assert vector[Component.SUSPECT_NS] == NS_PER_S
