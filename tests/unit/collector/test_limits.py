"""Counts of what one node has, and when they are made anew."""

from __future__ import annotations

import pytest

from flopmeter_collector import limits
from flopmeter_collector.limits import (
    BURST_S,
    COUNT_PERIOD_S,
    WORK_PER_REPORT,
    HourCounts,
    KeyCounts,
    KeyLimits,
    Pace,
    Places,
)
from flopmeter_core.units import NS_PER_S
from support.ingest import key


def test_hours_are_counted_where_it_matters() -> None:
    """The ledger is asked from a tenth of the limit on, and at the limit now and then."""
    counts = HourCounts(100)
    assert not counts.is_due("n", 10, 0)
    for _ in range(10):
        counts.add("n")
    assert counts.is_due("n", 1, 0)
    assert not counts.is_due("other", 1, 0)
    counts.note("n", 98, 0)
    assert not counts.is_due("n", 2, 0)
    assert counts.refusal("n") == ""
    counts.add("n")
    counts.add("n")
    assert "n has 100 hourly vectors" in counts.refusal("n")
    assert not counts.is_due("n", 1, COUNT_PERIOD_S * NS_PER_S - 1)
    assert counts.is_due("n", 1, COUNT_PERIOD_S * NS_PER_S)
    counts.note("n", 40, COUNT_PERIOD_S * NS_PER_S)
    assert counts.refusal("n") == ""


def test_what_is_owed_is_told_without_more() -> None:
    """Asking what a sender owes adds nothing to it, and time pays it off."""
    pace = Pace(100)
    assert pace.owed_ns("a", 0) == 0
    pace.pause_ns("a", 100 * BURST_S, 0)
    owed_ns = pace.owed_ns("a", 0)
    assert owed_ns > 0
    assert pace.owed_ns("a", 0) == owed_ns
    assert pace.owed_ns("a", owed_ns) == 0
    assert pace.owed_ns("b", 0) == 0


def test_a_collector_and_its_nodes_hold_so_many_registers() -> None:
    """Each limit has its sentence with the setting that raises it; a known user needs no room."""
    counts = KeyCounts(KeyLimits(per_node=3, allocations_per_node=2, overall=4))
    for phase, user in enumerate(("run:a", "run:b")):
        assert counts.refusal(key(phase=phase, allocation=user), "n") == ""
        counts.add(key(phase=phase, allocation=user), "n")
    said = counts.refusal(key(phase=2, allocation="run:c"), "n")
    assert said.startswith("the devices of node n had 2 users") and "allocations_per_node" in said
    assert counts.refusal(key(phase=2, allocation="run:a"), "n") == ""
    counts.add(key(phase=2, allocation="run:a"), "n")
    assert "node n has 3 registers" in counts.refusal(key(phase=3, allocation="run:a"), "n")
    assert counts.refusal(key(phase=3), "other") == ""
    counts.add(key(phase=3), "other")
    assert "the collector holds 4 registers" in counts.refusal(key(phase=4), "third")
    assert counts.refused == 3


def test_nobody_is_no_user() -> None:
    """What belongs to no user, or to all that were folded, is taken although no user is."""
    counts = KeyCounts(KeyLimits(allocations_per_node=1))
    counts.add(key(allocation="none"), "n")
    assert counts.refusal(key(allocation="run:a"), "n") == ""
    counts.add(key(allocation="run:a"), "n")
    assert counts.refusal(key(allocation="run:b"), "n")
    assert counts.refusal(key(allocation="overflow"), "n") == ""
    assert counts.refusal(key(allocation="none", phase=1), "n") == ""


@pytest.mark.parametrize(
    "most",
    [{"per_node": 10}, {"allocations_per_node": 10}, {"overall": 10}],
    ids=["registers", "users", "all"],
)
def test_a_tenth_is_kept_for_those_that_did_not_hear(most: dict[str, int]) -> None:
    """From nine tenths of any limit on, an agent is told to fold its users."""
    counts = KeyCounts(KeyLimits(**most))
    for number in range(8):
        counts.add(key(phase=number, allocation=f"run:{number}"), "n")
    assert not counts.is_nearly_full("n")
    counts.add(key(phase=8, allocation="run:8"), "n")
    assert counts.is_nearly_full("n")
    assert counts.is_nearly_full("other") == ("overall" in most)


def test_streams_have_places() -> None:
    """So many in all and from one address; a place is another's first, its own address' last."""
    places = Places(overall=3, per_address=2)
    assert places.take("a") == places.take("a") == ""
    assert "2 streams come from this address" in places.take("a")
    assert places.take("b") == ""
    assert "serves 3 streams and all are taken" in places.take("c")
    places.leave()
    assert "2 streams come from this address" in places.take("a")
    assert places.take("c") == ""
    places.leave()
    places.forget("a")
    assert places.take("a") == ""


def test_what_a_report_costs_beyond_its_size_is_no_second_report() -> None:
    """It adds its work alone, and holds nobody back once more."""
    whole, parts = Pace(100), Pace(100)
    whole.pause_ns("a", 5_000, 0)
    parts.pause_ns("a", 2_000, 0)
    parts.add("a", 3_000, 0)
    assert parts.owed_ns("a", 0) == whole.owed_ns("a", 0) > 0
    assert parts.held_count == whole.held_count == 1
    free = Pace(0)
    free.add("a", 3_000, 0)
    assert free.owed_ns("a", 0) == 0


def test_a_node_works_at_its_pace() -> None:
    """A burst is free, what goes beyond it waits, and a rested node begins anew."""
    assert Pace(0).pause_ns("n", 10**9, 0) == 0
    pace = Pace(100)
    burst = BURST_S * 100 - WORK_PER_REPORT
    assert pace.pause_ns("n", burst, 0) == 0
    assert pace.pause_ns("n", 100 - WORK_PER_REPORT, 0) == NS_PER_S
    assert pace.pause_ns("other", burst, 0) == 0
    assert pace.pause_ns("n", burst, (2 * BURST_S + 1) * NS_PER_S) == 0
    assert pace.held_count == 1


def test_paces_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up nodes cost a bounded memory: the one that came longest ago is forgotten."""
    monkeypatch.setattr(limits, "REMEMBERED_NODES", 2)
    pace = Pace(100)
    for node in ("a", "b", "c"):
        pace.pause_ns(node, BURST_S * 100, 0)
    assert len(pace._busy_until_ns) == 2
    assert pace.pause_ns("c", 100, 0) > 0
    assert pace.pause_ns("a", 100, 0) == 0
