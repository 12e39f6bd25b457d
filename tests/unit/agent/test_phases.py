"""The phase book: which phase is in force, and what no client can make of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent import phases as phases_module
from flopmeter_agent.phases import LAST_PHASE, MAXIMUM_CHANGES, PhaseBook
from flopmeter_core.units import NS_PER_S


def book(*held: str) -> tuple[PhaseBook, list[int]]:
    """A book on a node whose devices these allocations have, and what was told of changes."""
    told: list[int] = []
    made = PhaseBook(lambda: told.append(1))
    made.hold(held or ("run:a",))
    return made, told


def say(kept: PhaseBook, phase: int, **named: Any) -> None:
    """A process of run a's first attempt speaks."""
    where: dict[str, Any] = {"run": "a", "attempt": "0", "connection": 1, "user": 7}
    kept.state_phase(phase=phase, **(where | named))


def test_the_highest_of_all_ranks() -> None:
    """Ranks that are still in the phase before do not hold the node back or fight."""
    kept, told = book()
    for connection, phase in ((1, 1), (2, 0), (3, 0), (1, 1), (2, 1), (3, 2), (1, 1)):
        say(kept, phase, connection=connection)
    assert kept.in_force() == {"a": 2}
    assert len(told) == 2


@given(course=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 70)), min_size=1, max_size=60))
def test_any_order_of_ranks(course: list[tuple[int, int]]) -> None:
    """Within an attempt the phase never falls, and ends at the highest whatever the order."""
    kept, told = book()
    before = 0
    for connection, phase in course:
        say(kept, phase, connection=connection)
        now = kept.in_force().get("a", 0)
        assert now >= before
        before = now
    assert before == min(max(phase for _, phase in course), LAST_PHASE)
    assert len(told) <= LAST_PHASE


def test_a_new_attempt_begins_anew() -> None:
    """When the processes of an attempt are gone, the next one's phase alone counts."""
    kept, _ = book()
    say(kept, 3, connection=1)
    kept.gone(1)
    assert kept.in_force() == {"a": 3}  # nobody has said anything else yet
    say(kept, 1, attempt="1", connection=2)
    assert kept.in_force() == {"a": 1}


def test_two_attempts_at_once() -> None:
    """Processes started by hand are an attempt each: the highest holds while its process lives."""
    kept, _ = book()
    say(kept, 3, attempt="x", connection=1)
    say(kept, 0, attempt="y", connection=2)
    assert kept.in_force() == {"a": 3}
    kept.gone(1)
    say(kept, 0, attempt="y", connection=2)
    assert kept.in_force() == {}


def test_a_run_without_a_device_here(caplog: pytest.LogCaptureFixture) -> None:
    """Its phase acts on nothing and is said once; it holds when the run gets a device."""
    kept, told = book("run:b", "none")
    for phase in (1, 2):
        say(kept, phase)
    assert not told
    assert [record.getMessage() for record in caplog.records] == [
        "a process names a phase of a run that no device here is allocated to; it acts on no "
        "register until one is"
    ]
    kept.hold({"run:a"})
    assert kept.in_force() == {"a": 2}


def test_changes_are_bounded() -> None:
    """Who cycles attempts to change the phase for ever is left in the last phase."""
    kept, told = book()
    for number in range(3 * MAXIMUM_CHANGES):
        say(kept, 1 + number % 5, attempt=str(number))
    assert len(told) == MAXIMUM_CHANGES + 1
    assert kept.in_force() == {"a": LAST_PHASE}


def test_runs_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of run names fills nothing, and the run that has the devices is still heard."""
    kept, _ = book()
    for number in range(200):
        say(kept, 1, run=f"flood-{number}", connection=number)
    assert len(kept.in_force()) == phases_module.MAXIMUM_RUNS
    say(kept, 4, connection=999)
    assert kept.in_force()["a"] == 4
    assert len(kept.in_force()) == phases_module.MAXIMUM_RUNS
    assert sum("are not taken" in record.getMessage() for record in caplog.records) == 1
    kept.gone(5)
    say(kept, 1, run="late", connection=1000)
    assert "late" in kept.in_force()


def test_attempts_are_bounded() -> None:
    """One run keeps so many attempts at once and no more."""
    kept, _ = book()
    for number in range(200):
        say(kept, 1, attempt=str(number), connection=number)
    assert len(kept.state()["a"]["attempts"]) == phases_module.MAXIMUM_ATTEMPTS


def test_late_news_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A phase that began long before it was heard of leaves work in the one before."""
    kept, _ = book()
    with caplog.at_level(logging.INFO):
        say(kept, 1, age_ns=NS_PER_S // 100)
        say(kept, 2, age_ns=60 * NS_PER_S)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_the_journal_brings_it_back() -> None:
    """What is kept as JSON is the same book, in which a rank that lags behind changes nothing."""
    kept, _ = book()
    say(kept, 3)
    later, told = book()
    later.resume(json.loads(json.dumps(kept.state())))
    say(later, 0, connection=2)
    assert later.in_force() == {"a": 3}
    assert not told
