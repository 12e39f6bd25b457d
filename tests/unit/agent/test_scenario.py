"""Scenarios: exact, deterministic counters, and bad scripts refused with one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.scenario import parse_scenario
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S

GOOD = """
seed = 1
acceleration = 100
duration_s = 10000
[node]
count = 2
devices = 1
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "a"
start_s = 1000
stop_s = 9000
nodes = ["n0", "n1"]
tensor_activity = 0.5
clock_mhz = 1500
power_w = 600
"""


def test_the_mean_activity_is_the_one_asked_for() -> None:
    """Deviations of the steps cancel to within one per cent over many steps."""
    scenario = parse_scenario(GOOD)
    cycles = scenario.tensor_cycles("n0", 0, 10_000 * NS_PER_S)
    asked = 8000 * 1_500_000_000 * 132 // 2
    assert abs(cycles - asked) < asked // 100


def test_one_seed_gives_one_truth() -> None:
    """The same script gives the same counters; another seed or device gives others."""
    at_ns = 5_000 * NS_PER_S
    first, second = parse_scenario(GOOD), parse_scenario(GOOD)
    other = parse_scenario(GOOD.replace("seed = 1", "seed = 2"))
    assert first.tensor_cycles("n0", 0, at_ns) == second.tensor_cycles("n0", 0, at_ns)
    assert first.tensor_cycles("n0", 0, at_ns) != other.tensor_cycles("n0", 0, at_ns)
    assert first.tensor_cycles("n0", 0, at_ns) != first.tensor_cycles("n1", 0, at_ns)


@given(instants=st.lists(st.integers(min_value=0, max_value=10_000 * NS_PER_S), min_size=2))
def test_counters_never_decrease(instants: list[int]) -> None:
    """Every counter of a device is cumulative, tensor <= active <= elapsed."""
    scenario = parse_scenario(GOOD)
    before = (0, 0, 0, 0)
    for at_ns in sorted(instants):
        now = (
            scenario.tensor_cycles("n0", 0, at_ns),
            scenario.active_cycles("n0", at_ns),
            scenario.elapsed_cycles("n0", at_ns),
            scenario.energy_mj("n0", at_ns),
        )
        assert all(n >= b for n, b in zip(now, before, strict=True))
        assert now[0] <= now[1] <= now[2]
        before = now


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("seed = 1", "seed = 1\nspeed = 3"), "unknown keys: speed"),
        (("power_w = 600", "power_w = 600\ncolour = 1"), "unknown keys: colour"),
        (("devices = 1", "devices = 0"), "devices must be a whole number above 0"),
        (("tensor_activity = 0.5", "tensor_activity = 1.5"), "must lie in 0..1"),
        (("stop_s = 9000", "stop_s = 500"), "must start, then stop"),
        (("clock_mhz = 1500", "clock_mhz = 5000"), "clocked above"),
        (('"n1"]', '"n7"]'), "names nodes the scenario lacks: n7"),
        (("duration_s = 10000\n", ""), "lacks 'duration_s'"),
        (("[node]", "[node"), "not valid TOML"),
    ],
)
def test_a_bad_script_is_one_clear_sentence(change: tuple[str, str], sentence: str) -> None:
    """Each mistake names the key and what is allowed."""
    with pytest.raises(DataError, match=sentence):
        parse_scenario(GOOD.replace(*change))


def test_two_runs_cannot_share_a_node() -> None:
    """A device has one user at a time."""
    second = GOOD[GOOD.index("[[run]]") :].replace('"a"', '"b"').replace("1000", "8000")
    with pytest.raises(DataError, match="at the same time"):
        parse_scenario(GOOD + second)
