"""The unit of the cumulative counters is found from time, or the counters are not used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.sensors.nvml.normalise import Normaliser
from flopmeter_core.registers import Component
from flopmeter_core.units import NS_PER_S

SM_COUNT = 132
MAX_MHZ = 1980


def offered(
    n: int,
    mhz: int,
    *,
    read_mhz: int | None,
    periods: int = 3,
    tensor_ppm: int = 400_000,
    metric_ppm: int | None = 400_000,
) -> tuple[Normaliser, dict[Component, int]]:
    """A normaliser that saw some periods of counters in the unit n, and the newest counters."""
    unit = Normaliser(SM_COUNT, MAX_MHZ)
    raw: dict[Component, int] = {}
    for second in range(periods + 1):
        elapsed = 10**15 + second * mhz * 1_000_000 * n
        raw = {
            Component.SM_ELAPSED_MEGACYCLES: elapsed,
            Component.TENSOR_MEGACYCLES: (elapsed - 10**15) * tensor_ppm // 1_000_000,
        }
        unit.offer(
            monotonic_ns=second * NS_PER_S,
            raw=raw,
            clock_khz=read_mhz * 1_000 if read_mhz else None,
            tensor_ppm=metric_ppm,
        )
    return unit, raw


@given(
    n=st.sampled_from([1, SM_COUNT, 4 * SM_COUNT]),
    mhz=st.integers(100, MAX_MHZ),
    error_percent=st.integers(-20, 20),
)
def test_unit_found(n: int, mhz: int, error_percent: int) -> None:
    """With a clock read near the true one each unit is found, at every clock."""
    unit, raw = offered(n, mhz, read_mhz=mhz * (100 + error_percent) // 100)
    assert unit.known
    cycles = unit.sm_cycles(raw)
    for component, count in raw.items():
        assert cycles[component] == count * SM_COUNT // n


def test_two_periods_have_to_agree() -> None:
    """One period is not enough."""
    assert not offered(SM_COUNT, 1700, read_mhz=1700, periods=1)[0].known
    assert offered(SM_COUNT, 1700, read_mhz=1700, periods=2)[0].known


def test_several_possible_without_clock() -> None:
    """Without a clock to decide by, S and 4S stay undecided, and the reason says so."""
    unit, _ = offered(SM_COUNT, 1700, read_mhz=None)
    assert not unit.known
    assert "several units" in unit.reason


@pytest.mark.parametrize("mhz", [0, 50])
def test_none_possible(mhz: int) -> None:
    """Counters that stand still, or tick too slowly for any unit, decide nothing."""
    unit, _ = offered(1, mhz, read_mhz=1700)
    assert not unit.known
    assert "no unit" in unit.reason


def test_metric_five_disagrees() -> None:
    """Counters whose tensor share is not the interval metric's are not believed."""
    unit, _ = offered(SM_COUNT, 1700, read_mhz=1700, tensor_ppm=400_000, metric_ppm=100_000)
    assert not unit.known
    assert "disagree" in unit.reason


def test_nothing_known_of_the_device() -> None:
    """Without an SM count there is nothing to compare with."""
    unit = Normaliser(0, MAX_MHZ)
    for second in range(3):
        unit.offer(
            monotonic_ns=second * NS_PER_S,
            raw={Component.SM_ELAPSED_MEGACYCLES: second * 10**9},
            clock_khz=1_000_000,
            tensor_ppm=None,
        )
    assert not unit.known
    assert "SM count" in unit.reason


def test_a_unit_of_before() -> None:
    """One that this device can have is taken; any other is found anew."""
    for unit, known in ((1, True), (SM_COUNT, True), (4 * SM_COUNT, True), (7, False)):
        made = Normaliser(SM_COUNT, MAX_MHZ)
        made.resume(unit)
        assert (made.known, made.unit) == (known, unit if known else None)


def test_whether_counters_go_on() -> None:
    """A counter at rest does; one that fell, or that needs an impossible clock, does not."""
    unit = Normaliser(SM_COUNT, MAX_MHZ)
    second = SM_COUNT * 1_000_000 * 1_500
    assert unit.continues(0, NS_PER_S)
    assert unit.continues(second, NS_PER_S)
    assert not unit.continues(-1, NS_PER_S)
    assert not unit.continues(second, 0)
    assert not unit.continues(second * 100, NS_PER_S)
    assert not Normaliser(SM_COUNT, 0).continues(second, NS_PER_S)


def test_a_share_that_nobody_told_contradicts_nothing() -> None:
    """Without the interval metric the unit is found by the clock alone."""
    assert offered(SM_COUNT, 1700, read_mhz=1700, metric_ppm=None)[0].known
