"""The ledger is the truth: many seeds, each a fleet under every fault there is."""

from __future__ import annotations

from collections import Counter

import pytest

from flopmeter.lab.simulation.campaign import outcomes, plan_of
from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.world import plan_for, simulate
from support.requirements import nothing_left_out

SEEDS = 200
"""So many where nothing is left out (CI); `make simulate` runs any number more."""

FEW_SEEDS = 20
"""So many in a quick run of the tests: 20 s on two cores."""


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_seeds() -> None:
    """Of every seed, ledger and truth are equal: nothing acknowledged is lost, nothing doubled."""
    struck: Counter[str] = Counter()
    broken = []
    seeds = SEEDS if nothing_left_out() else FEW_SEEDS
    for outcome in outcomes(range(1, seeds + 1)):
        struck.update(outcome.faults)
        if not outcome.equal:
            broken.append((outcome.command, outcome.violations[:2]))
        assert outcome.truth == outcome.ledger or not outcome.equal
    assert broken == []
    # A fault that never struck was not tested.
    lasting = {"disk_full": "disk_full_phase", "disk_errors": "disk_error_phase"}
    several = {"commit_fault": "torn_commit", "old_image": "reverted_image"}
    names = {name: lasting.get(name, several.get(name, name)) for name in TABLE}
    assert [name for name, kind in names.items() if not struck[kind]] == []


def test_what_is_in_flight_is_bounded() -> None:
    """Kills lose nothing where counters are cumulative, a power cut a report period at most."""
    killed = simulate(plan_for(5, nodes=4, devices=2, faults=("kill_agent", "kill_collector")))
    assert killed.equal
    assert killed.faults["kill_agent"] > 2
    assert killed.in_flight_lost_ns == 0
    for seed in range(1, 6):
        plan = plan_for(seed, nodes=4, devices=2, faults=("power_cut",))
        cut = simulate(plan)
        assert cut.equal, cut.violations
        per_cut_ns = plan.devices * (plan.report_s + plan.sample_s) * 10**9
        assert 0 <= cut.in_flight_lost_ns <= cut.faults["power_cut"] * per_cut_ns


@pytest.mark.parametrize("seed", [63, 70088, 70111])
def test_a_write_that_its_process_died_in(seed: int) -> None:
    """A state whose write ended with its process may be there whole: it is neither lost nor wrong.

    In these seeds a process is killed after the last byte that differs, or (63) before it has said
    what a power cut left.
    """
    outcome = simulate(plan_of(seed))
    assert outcome.violations == ()
    assert outcome.equal


def test_a_perfect_world() -> None:
    """Without faults nothing is lost and the ledger is equal after an hour."""
    outcome = simulate(plan_for(1, nodes=2, devices=2))
    assert (outcome.equal, outcome.in_flight_lost_ns, dict(outcome.faults)) == (True, 0, {})
    assert any(outcome.truth.values())


def test_one_in_a_hundred_is_long() -> None:
    """Forty-five days of two nodes, sampled once an hour."""
    plan = plan_of(100)
    assert (plan.nodes, plan.devices, plan.hours, plan.sample_s) == (2, 1, 1_080, 3_600)
    assert plan_of(101).hours == 1
