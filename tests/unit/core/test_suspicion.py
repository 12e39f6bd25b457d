"""Suspicion: each check on a reported case and beside an honest one, and what a doubt may cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.estimate import coefficients_for, estimate
from flopmeter_core.increments import Increment, increment
from flopmeter_core.interval import Figures
from flopmeter_core.methods.base import Conditions
from flopmeter_core.readings import Reading
from flopmeter_core.registers import SUBUNITS, Component, Evidence
from flopmeter_core.suspicion import (
    FROZEN_PERIODS,
    Check,
    Stillness,
    Suspicion,
    impossible_counts,
    inspect,
    is_blank,
    widened,
)

S = 10**9
TABLE = parse_device_table(builtin_table("devices.toml"))
H100 = DeviceRecord(
    node="n",
    device="GPU-1",
    vendor="nvidia",
    product_name="H100",
    part="h100-sxm5-80gb",
    sm_count=132,
    max_sm_clock_mhz=1_980,
    energy_scope=EnergyScope.GPU,
)
RATED_W = TABLE.recognise(H100).power_w
TENSOR, SM = Component.TENSOR_MEGACYCLES, Component.SM_ACTIVE_MEGACYCLES


def said(at_s: float = 0, evidence: Evidence = Evidence.GPM, **quantities: Any) -> Reading:
    """A reading of a device that works: 40 % tensor activity at 650 W, unless said otherwise."""
    at_ns = int(at_s * S)
    base = Reading(
        device="GPU-1",
        evidence=evidence,
        monotonic_ns=at_ns,
        boottime_ns=at_ns,
        energy_mj=10**9 + int(650_000 * at_s),
        activity_ppm={TENSOR: 400_000, SM: 900_000},
        clock_khz=1_700_000,
    )
    return replace(base, **quantities)


def checks(
    before: Reading,
    after: Reading,
    *,
    stillness: Stillness | None = None,
    rated_power_w: int = RATED_W,
    record: DeviceRecord = H100,
) -> set[Check]:
    """The names of what is doubted."""
    found = inspect(
        before,
        after,
        record,
        stillness=stillness or Stillness(),
        rated_power_w=rated_power_w,
    )
    return {suspicion.check for suspicion in found}


def silent(at_s: float, busy_ppm: int | None = None, **quantities: Any) -> Reading:
    """A reading whose activity counters are all at zero."""
    quantities = {"activity_ppm": {TENSOR: 0}, "engine_ppm": 0, **quantities}
    return said(at_s, Evidence.DCGM_SAMPLED, busy_ppm=busy_ppm, **quantities)


# --- the reported cases ---------------------------------------------------------------------------


def test_dcgm_exporter_662() -> None:
    """Engine activity 0 under full load, while the driver's utilisation says 99 %: silent."""
    before, after = silent(0, 990_000), silent(30, 990_000)
    assert checks(before, after) == {Check.SILENT}
    assert checks(before, after, rated_power_w=0) == {Check.SILENT}  # utilisation is enough
    # Power by the energy counter is enough too, and half of the rated power is the line.
    assert checks(silent(0), silent(30)) == {Check.SILENT}
    for power_w, found in ((RATED_W // 2 + 1, {Check.SILENT}), (RATED_W // 2 - 1, set())):
        after = silent(30, energy_mj=10**9 + power_w * 30_000)
        assert checks(silent(0), after) == found


def test_gpu_monitoring_tools_188() -> None:
    """An exporter that serves its last values for ever is frozen after some periods."""
    assert FROZEN_PERIODS == 3  # as docs/estimation.md says
    stillness, last = Stillness(), said(0)
    for period in range(1, FROZEN_PERIODS + 3):
        again = replace(last, monotonic_ns=period * S, boottime_ns=period * S)
        stillness = stillness.after(last, again)
        found = checks(last, again, stillness=stillness, rated_power_w=0)
        assert (Check.FROZEN in found) is (period >= FROZEN_PERIODS), period
        last = again
    moved = replace(last, monotonic_ns=9 * S, energy_mj=(last.energy_mj or 0) + 1)
    assert stillness.after(last, moved) == Stillness(0, 9 * S)


@pytest.mark.parametrize(
    "quantities",
    [
        {"energy_mj": 9223372036854775794},
        {"energy_mj": 140737488355328},
        {"power_mw": 140737488355328 * 1_000},
        {"clock_khz": 140737488355329},
        {"busy_ppm": 14073748835532800 * 10_000},  # the 1.4e16 percent of the report
        {"activity_ppm": {TENSOR: 140737488355328 * 10**6}},
        {"engine_ppm": 140737488355331 * 10**6},
    ],
)
def test_slurm_job_exporter_53(quantities: dict[str, Any]) -> None:
    """A blank in any quantity, in any unit, is a sentinel and no number."""
    assert checks(said(0), said(1, **quantities)) == {Check.SENTINEL}


def test_honest_numbers_are_no_blanks() -> None:
    """32-bit blanks are honest energies, and so are the numbers around the 64-bit ones."""
    for stated in (0, 2147483632, 15152422938, 140737488355327, 140737488355332, 9 * 10**18):
        assert not is_blank(stated)
    assert is_blank(1 << 63)


# --- the other checks -----------------------------------------------------------------------------


def test_a_counter_that_goes_back_is_said() -> None:
    """It has a sentence of its own, and its period is unobserved: never negative, never silent."""
    before, after = said(1), said(2, energy_mj=10**9)
    (doubt,) = inspect(before, after, H100, stillness=Stillness())
    assert doubt.check is Check.BACKWARDS
    assert doubt.detail == "the energy counter went back from 1000650000 to 1000000000 mJ"
    amount = increment(before, after, H100, period_ns=S, allocated=True)
    assert widened(amount, (doubt,)) == amount
    assert amount[Component.UNOBSERVED_NS] == sum(amount) == S


def test_cycles_that_go_back_are_said() -> None:
    """Of a cumulative cycle counter too; one that only one of the readings has proves nothing."""
    before = said(1, Evidence.CYCLES, cycles={SM: 50, TENSOR: 9}, activity_ppm={})
    after = said(2, Evidence.CYCLES, cycles={SM: 60, TENSOR: 8}, activity_ppm={})
    (doubt,) = inspect(before, after, H100, stillness=Stillness())
    assert (doubt.check, doubt.detail) == (Check.BACKWARDS, "counter tensor_megacycles went back")
    lacking = replace(before, cycles={SM: 50})
    assert Check.BACKWARDS not in checks(lacking, after)


@pytest.mark.parametrize(
    "quantities",
    [
        {"activity_ppm": {TENSOR: 1_100_000}},
        {"activity_ppm": {TENSOR: -1}},
        {"clock_khz": -5},
        {"clock_khz": 20_000_000},
        {"energy_mj": 10**9 + 11_000_000},
        {"power_mw": 6_000_000},
        {"power_mw": -1},
    ],
)
def test_impossible_numbers(quantities: dict[str, Any]) -> None:
    """What no device can have is impossible, not zero and not counted."""
    assert checks(said(0), said(1, **quantities)) == {Check.IMPOSSIBLE}


def test_active_within_elapsed() -> None:
    """A counter of active cycles cannot outrun the elapsed ones; one clock of slack is honest."""
    elapsed = Component.SM_ELAPSED_MEGACYCLES

    def counted(at_s: float, tensor: int, total: int) -> Reading:
        cycles = {elapsed: total * 10**6, TENSOR: tensor * 10**6, SM: tensor * 10**6}
        return said(at_s, Evidence.CYCLES, activity_ppm={}, cycles=cycles)

    start = counted(0, 0, 0)
    assert checks(start, counted(1, 80_000, 200_000)) == set()
    assert checks(start, counted(1, 200_001, 200_000)) == set()
    assert checks(start, counted(1, 300_000, 200_000)) == {Check.IMPOSSIBLE}
    assert checks(start, counted(1, 300_000, 0)) == {Check.NO_CLOCK}


def test_cycles_of_a_restarted_source() -> None:
    """A counter that went back is said, and is no impossible count."""
    elapsed = Component.SM_ELAPSED_MEGACYCLES
    before = said(0, Evidence.CYCLES, cycles={TENSOR: 0, elapsed: 1_635_192_555_853})
    after = said(1, Evidence.CYCLES, cycles={TENSOR: 0, elapsed: 0})
    assert checks(before, after) == {Check.BACKWARDS}


@pytest.mark.parametrize("clock_khz", [0, None])
def test_activity_without_clock(clock_khz: int | None) -> None:
    """Activity at no clock would be zero cycles in silence; rest at no clock is rest."""
    assert checks(said(0), said(1, clock_khz=clock_khz)) == {Check.NO_CLOCK}
    assert checks(
        said(0), said(1, clock_khz=clock_khz, activity_ppm={TENSOR: 0}, energy_mj=10**9)
    ) == (set())


def test_the_limit_of_the_device_is_named() -> None:
    """More cycles than the device's own SMs and clock allow are found by increments."""
    before, after = said(0), said(1, clock_khz=3_000_000)
    amount = increment(before, after, H100, period_ns=S, allocated=True)
    assert {s.check for s in impossible_counts("GPU-1", amount)} == {Check.IMPOSSIBLE}
    fine = increment(before, said(1), H100, period_ns=S, allocated=True)
    assert impossible_counts("GPU-1", fine) == ()


# --- honest cases ---------------------------------------------------------------------------------

HONEST = {
    "a recommender: no tensor activity at full power, but the SMs work": (
        said(0), said(1, activity_ppm={TENSOR: 0, SM: 950_000})
    ),
    "an exporter's default fields: no tensor activity, but the engine works": (
        silent(0, 990_000), silent(30, 990_000, engine_ppm=950_000)
    ),
    "at rest": (silent(0, 0), silent(30, 0, energy_mj=10**9 + 70_000 * 30)),
    "a loaded model at rest": (silent(0, 0), silent(30, 0, energy_mj=10**9 + 113_000 * 30)),
    "work that began just before the reading": (
        silent(0, 0, energy_mj=10**9), silent(30, 1_000_000, energy_mj=10**9 + 80_000 * 30)
    ),
    "tensor activity is all there is, and utilisation proves nothing": (
        silent(0, 990_000, engine_ppm=None), silent(30, 990_000, engine_ppm=None, energy_mj=10**9)
    ),
    "power of a whole node says little of one device": (
        said(0, Evidence.POWER_SAMPLED, energy_mj=None, power_mw=4_000_000),
        said(1, Evidence.POWER_SAMPLED, energy_mj=None, power_mw=4_000_000),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_honest_readings(case: str) -> None:
    """What can be explained without a broken counter is believed."""
    before, after = HONEST[case]
    assert checks(before, after) == set()


def test_power_of_more_than_the_board() -> None:
    """Module power holds a processor too, so it contradicts no counter of the GPU."""
    module = replace(H100, energy_scope=EnergyScope.MODULE)
    assert checks(silent(0), silent(30), record=module) == set()
    assert checks(silent(0), silent(30)) == {Check.SILENT}


def test_only_what_has_to_move_can_be_frozen() -> None:
    """Without energy or elapsed cycles a device at rest and a frozen source look the same."""
    long = Stillness(periods=100, since_ns=0)
    still = said(100, energy_mj=None, activity_ppm={TENSOR: 0, SM: 0})
    assert checks(still, replace(still, monotonic_ns=101 * S), stillness=long) == set()
    # Faster than the counter is refreshed, sameness proves nothing either.
    quick = Stillness(periods=9, since_ns=int(99.1 * S))
    assert Check.FROZEN not in checks(said(99.9), said(100), stillness=quick)


# --- what a doubt costs ---------------------------------------------------------------------------


def figures(evidence: Evidence, amount: Increment) -> Figures:
    """What one increment is worth, rounded down to whole units."""
    weights = coefficients_for(evidence, Conditions(TABLE.recognise(H100), H100))
    vector = [part // unit for part, unit in zip(amount, SUBUNITS, strict=True)]
    return estimate(vector, weights)


def doubts(names: Iterable[Check]) -> tuple[Suspicion, ...]:
    """Suspicions of these checks."""
    return tuple(Suspicion("GPU-1", name, "") for name in names)


SHARES = st.integers(min_value=0, max_value=1_000_000)
READINGS = st.builds(
    lambda evidence, tensor, hmma, active, fp32, clock, energy, busy: (
        said(0, evidence, energy_mj=0, power_mw=energy, cycles={TENSOR: 0, SM: 0}),
        said(
            1,
            evidence,
            activity_ppm={
                TENSOR: tensor,
                Component.HMMA_MEGACYCLES: hmma,
                SM: active,
                Component.FP32_MEGACYCLES: fp32,
            },
            cycles={TENSOR: tensor * 10**5, SM: active * 10**5},
            clock_khz=clock,
            energy_mj=energy,
            power_mw=energy,
            busy_ppm=busy,
        ),
    ),
    st.sampled_from(
        [
            Evidence.GPM,
            Evidence.DCGM_SAMPLED,
            Evidence.ENERGY,
            Evidence.POWER_SAMPLED,
            Evidence.BUSY_SAMPLED,
            Evidence.ALLOCATION,
        ]
    ),
    SHARES,
    SHARES,
    SHARES,
    SHARES,
    st.integers(min_value=0, max_value=1_980_000),
    st.integers(min_value=0, max_value=2_000_000),
    SHARES,
)


@given(READINGS, st.sets(st.sampled_from(sorted(set(Check) - {Check.BACKWARDS})), min_size=1))
def test_no_doubt_lowers_upper(pair: tuple[Reading, Reading], names: set[Check]) -> None:
    """Whatever is doubted of whatever reading, upper and ceiling only grow and no time is lost."""
    amount = increment(*pair, H100, period_ns=S, allocated=True)
    changed = widened(amount, doubts(names))
    evidence = pair[1].evidence
    plain, doubtful = figures(evidence, amount).total, figures(evidence, changed).total
    assert doubtful.upper >= plain.upper
    assert doubtful.ceiling >= plain.ceiling
    assert doubtful.lower <= plain.lower
    assert changed[Component.SUSPECT_NS] == S
    assert changed[Component.BUSY_NS] == changed[Component.IDLE_NS] == 0
    assert figures(evidence, changed).unobserved_ceiling > 0


@given(READINGS)
def test_belief_changes_nothing(pair: tuple[Reading, Reading]) -> None:
    """An increment nobody doubts is the very same."""
    amount = increment(*pair, H100, period_ns=S, allocated=True)
    assert widened(amount, ()) is amount


def test_only_missing_work_is_kept() -> None:
    """A doubt about silence keeps energy and the little work there is; other doubts keep none."""
    before = silent(0, activity_ppm={TENSOR: 0, SM: 5_000})
    after = silent(1, activity_ppm={TENSOR: 0, SM: 5_000})
    amount = increment(before, after, H100, period_ns=30 * S, allocated=True)
    kept = widened(amount, doubts({Check.SILENT}))
    assert kept[SM] == amount[SM] > 0
    assert kept[Component.ENERGY_MJ] == amount[Component.ENERGY_MJ] > 0
    dropped = widened(amount, doubts({Check.SILENT, Check.FROZEN}))
    assert [place for place, part in enumerate(dropped) if part] == [Component.SUSPECT_NS]


def test_suspended_time_stays_what_it_is() -> None:
    """Sleep is known from the clocks and is nobody's doubt."""
    before, after = said(0), replace(said(1), boottime_ns=5 * S)
    amount = increment(before, after, H100, period_ns=S, allocated=True)
    changed = widened(amount, doubts({Check.FROZEN}))
    assert (changed[Component.SUSPENDED_NS], changed[Component.SUSPECT_NS]) == (4 * S, S)
