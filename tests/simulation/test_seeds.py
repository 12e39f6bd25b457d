"""The ledger is the truth: many seeds, each a fleet under every fault there is."""

from __future__ import annotations

from collections import Counter

import pytest

from flopmeter.lab.simulation.campaign import outcomes, plan_of
from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.plan import COUNTING, SAMPLING, plan_for
from flopmeter.lab.simulation.world import simulate
from simulation.defects import CLONED
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
    several["other_version"] = "version_later"
    names = {name: lasting.get(name, several.get(name, name)) for name in TABLE}
    assert [name for name, kind in names.items() if not struck[kind]] == []


KILLS = ("kill_agent", "kill_collector")


def test_kills_of_counting_nodes_lose_nothing() -> None:
    """Cumulative counters find all work again that was in flight at a kill."""
    killed = simulate(plan_for(5, nodes=4, devices=2, faults=KILLS, sensors=COUNTING))
    assert killed.equal
    assert killed.faults["kill_agent"] > 2
    assert killed.in_flight_lost_ns == 0


@pytest.mark.parametrize("sensors", [COUNTING, SAMPLING])
def test_what_is_in_flight_is_bounded(sensors: str) -> None:
    """A kill of a sampling node loses a sample at most, a power cut a report and a sample."""
    lost_ns = 0
    for seed in range(1, 9):
        plan = plan_for(seed, nodes=4, devices=2, faults=("power_cut", *KILLS), sensors=sensors)
        done = simulate(plan)
        assert done.equal, done.violations
        sample_ns, report_ns = plan.sample_s * 10**9, plan.report_s * 10**9
        bound_ns = done.faults["power_cut"] * (report_ns + sample_ns)
        if sensors == SAMPLING:
            bound_ns += done.faults["kill_agent"] * sample_ns
        assert 0 <= done.in_flight_lost_ns <= plan.devices * bound_ns
        lost_ns += done.in_flight_lost_ns
    assert lost_ns > 0


@pytest.mark.parametrize("seed", [63, 70088, 70111])
def test_a_write_that_its_process_died_in(seed: int) -> None:
    """A state whose write ended with its process may be there whole: it is neither lost nor wrong.

    In these seeds a process is killed after the last byte that differs, or (63) before it has said
    what a power cut left.
    """
    outcome = simulate(plan_of(seed))
    assert outcome.violations == ()
    assert outcome.equal


def test_live_clones_are_held_to_their_bounds() -> None:
    """Where two agents of one incarnation write, both are in the ledger, and a fork alerts.

    In these seeds one of them was hidden before it was told of the other.
    """
    raised = 0
    for seed in (9, 27, 33):
        outcome = simulate(plan_for(seed, nodes=2, devices=2, faults=CLONED))
        assert outcome.faults["live_clone"] == 1
        assert outcome.equal, outcome.violations
        assert outcome.forks.hidden == 0
        raised += outcome.forks.raised
    assert raised > 0


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
