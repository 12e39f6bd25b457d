"""The simulation's judges: each thing a ledger must never do is said, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flopmeter.lab.simulation.clones import Forks, judge
from flopmeter.lab.simulation.history import History, Written
from flopmeter.lab.simulation.ledgers import ROOT, Ledgers
from flopmeter.lab.simulation.oracle import Oracle
from flopmeter.lab.simulation.oracle import Watched as WatchedNode
from flopmeter.lab.simulation.plan import plan_for
from flopmeter_agent.own import REMEMBERED_STATES
from flopmeter_collector.ledger.base import StoredVector
from support.ingest import INCARNATION, key, vector

KEY = key()


def history(*written: tuple[str, int, int]) -> History:
    """What nodes wrote of the test's key: node, sequence, seconds."""
    made = History()
    for node, sequence, seconds in written:
        made.note(node, KEY, sequence, Written(vector(seconds), 1))
    return made


def held(*branches: tuple[int, int]) -> list[StoredVector]:
    """Branches of the test's key: sequence, seconds."""
    return [
        StoredVector(KEY, branch, sequence, vector(seconds))
        for branch, (sequence, seconds) in enumerate(branches)
    ]


def test_whose_vector_a_copy_of_a_copy_holds() -> None:
    """What came with a disk is of the node that it was copied from, however often, not of its twin.

    A node that was copied while it started, and its twin, write other vectors under one key.
    """
    made = history(("n", 1, 1), ("n", 2, 2), ("n-twin", 2, 3), ("n-twin-clone", 3, 4))
    made.copied("n-twin", "n")
    made.copied("n-twin-clone", "n-twin")
    held = {
        node: [made.vector(KEY, sequence, node) for sequence in (1, 2)]
        for node in ("n", "n-twin", "n-twin-clone", "")
    }
    assert held["n"] == held[""] == [vector(1), vector(2)]
    assert held["n-twin"] == held["n-twin-clone"] == [vector(1), vector(3)]
    assert made.vector(KEY, 3, "n-twin-clone") == vector(4)


# --- what one ledger must never do ---------------------------------------------------------------


class Watched:
    """A ledger that is watched, and what was found of it."""

    def __init__(self, written: History) -> None:
        self.found: list[str] = []
        self.ledgers = Ledgers(written, self.found.append)

    def commits(self, *branches: tuple[int, int]) -> None:
        """A commit is durable."""
        self.ledgers.committed(ROOT, held(*branches))


def test_a_sound_ledger() -> None:
    """It goes up, comes back with all it had, and is asked when it had what."""
    watched = Watched(history(("n", 1, 1), ("n", 2, 2)))
    watched.commits((1, 1))
    watched.commits((2, 2))
    watched.ledgers.opened(ROOT, held((2, 2)), restored=False)
    assert watched.found == []
    assert watched.ledgers.held(KEY) == 2
    assert watched.ledgers.held_at(ROOT, KEY, 1) == 1
    assert watched.ledgers.held_at(ROOT, KEY, 0) == 0
    assert watched.ledgers.was_held(ROOT, KEY, 2, 2) and not watched.ledgers.was_held(
        ROOT, KEY, 2, 1
    )
    assert (watched.ledgers.key_count(ROOT), watched.ledgers.key_count("nobody")) == (1, 0)
    assert watched.ledgers.held_at("nobody", KEY, 9) == 0


def test_what_nobody_wrote() -> None:
    """A vector out of thin air is said."""
    watched = Watched(history(("n", 1, 1)))
    watched.commits((1, 7))
    assert watched.found == ["the ledger root holds a vector of GPU-1 nobody wrote"]


def test_a_fork_of_one_writer() -> None:
    """Only a key that two wrote may have two branches."""
    watched = Watched(history(("n", 1, 1), ("n", 2, 2)))
    watched.commits((2, 2), (1, 1))
    assert watched.found == ["the ledger root has a fork of GPU-1 with one writer"]


def test_a_vector_that_goes_back() -> None:
    """The newest sequence never falls."""
    watched = Watched(history(("n", 1, 1), ("n", 2, 2)))
    watched.commits((2, 2))
    watched.commits((1, 1))
    assert watched.found == ["the ledger root went back on a vector of GPU-1"]


@pytest.mark.parametrize("restored", [True, False])
def test_what_is_gone_after_a_restart(restored: bool) -> None:
    """Without an old backup in its place nothing committed may be missing."""
    watched = Watched(history(("n", 1, 1)))
    watched.commits((1, 1))
    watched.ledgers.opened(ROOT, [], restored=restored)
    said = "a committed vector of GPU-1 is gone after a restart of root"
    assert watched.found == ([] if restored else [said])
    assert watched.ledgers.held(KEY) == 0


# --- keys of clones ------------------------------------------------------------------------------

CLONED = (("n", 1, 10), ("n", 2, 30), ("clone", 2, 20))
BOTH = ("n", "clone")
HIDDEN = ["work on GPU-1 of one of two live clones is hidden"]


def judged(
    *branches: tuple[int, int],
    excuse: str = "",
    cut: tuple[str, ...] = (),
    ended: tuple[str, ...] = (),
    kept: int = 2,
    later: int = 0,
) -> tuple[Forks, list[str]]:
    """Two writers of one key, and the branches that a ledger has of it.

    `later` is a sequence at which `n` has come to nothing more.
    """
    written = history(*CLONED, *((("n", later, 30),) if later else ()))
    written.cut |= {(node, INCARNATION) for node in cut}
    written.ended |= {(node, INCARNATION) for node in ended}
    found: list[str] = []
    forks = judge(
        written,
        lambda node, key: kept,
        {KEY: tuple(held(*branches))},
        found.append,
        excuse=lambda writers: excuse if set(writers) == {"n", "clone"} else "",
    )
    return forks, found


def test_both_writers_are_there() -> None:
    """A fork is raised, and its bounds hold what both did."""
    assert judged((2, 30), (2, 20)) == (Forks(raised=1), [])


def test_a_writer_that_is_missing() -> None:
    """Work that is in no branch is said of the node that did it."""
    _, found = judged((2, 20))
    assert "work on GPU-1 of n, which has a clone, is not there" in found


def test_more_than_anybody_did() -> None:
    """A branch above all that was written is said."""
    _, found = judged((2, 90))
    assert "lower of a forked key of GPU-1 is above what its writers did" in found


def test_less_than_both_did() -> None:
    """So is a fork whose sum is below."""
    _, found = judged((2, 30), (1, 10))
    assert "upper of a forked key of GPU-1 is below what its writers did" in found


@pytest.mark.parametrize(
    ("words", "reason", "said"),
    [
        ({"excuse": "an old image"}, "an old image", []),
        ({"cut": BOTH}, "a later boot", []),
        ({"cut": BOTH[:1], "ended": BOTH[1:]}, "a later boot", []),
        ({"ended": BOTH}, "both ended", []),
        ({"later": 2 + REMEMBERED_STATES, "ended": BOTH[1:]}, "long ago", []),
        ({"later": 1 + REMEMBERED_STATES, "ended": BOTH[1:]}, "", HIDDEN),
        ({"later": 2 + REMEMBERED_STATES}, "", HIDDEN),
        ({"cut": BOTH[:1]}, "", HIDDEN),
        ({"ended": BOTH[1:]}, "", HIDDEN),
        ({}, "", HIDDEN),
    ],
)
def test_a_hidden_clone_needs_an_excuse(
    words: dict[str, Any], reason: str, said: list[str]
) -> None:
    """Where somebody lives who could have told, it is a defect."""
    forks, found = judged((2, 30), **words)
    assert (forks.raised, forks.hidden, dict(forks.reasons)) == (0, 1, {reason: 1})
    assert found == said


def test_a_process_that_ends_forgets_all_it_wrote() -> None:
    """Of every incarnation of its own, and of no other node's."""
    oracle = Oracle(lambda: 0, period_ns=1)
    oracle.nodes["n"] = WatchedNode(wrote=["first", "second"])
    oracle.nodes["other"] = WatchedNode(wrote=["first"])
    oracle.crashed("n", None, 0)
    assert oracle.history.ended == {("n", "first"), ("n", "second")}


def test_a_process_knows_two_of_its_incarnations() -> None:
    """As its agent does: the running one and the one before."""
    oracle = Oracle(lambda: 0, period_ns=1)
    watched = WatchedNode()
    accumulator = SimpleNamespace(registers={}, carries={})
    for name in ("first", "second", "third"):
        loop: Any = SimpleNamespace(incarnation=name, accumulator=accumulator)
        oracle._check_sums("n", watched, loop)
    assert oracle.history.ended == {("n", "first")}


def test_what_no_disk_has_any_more_is_not_asked_for() -> None:
    """A node that keeps nothing of the key is owed nothing."""
    assert judged((2, 30), kept=0) == (Forks(), [])


# --- what is simulated ---------------------------------------------------------------------------


def test_the_sampling_period() -> None:
    """Long worlds are sampled once an hour, unless somebody says otherwise."""
    assert (plan_for(1).sample_s, plan_for(1, hours=1_000.0).sample_s) == (30.0, 3_600.0)
    asked = plan_for(1, hours=1_000.0, sample_s=10.0)
    assert (asked.sample_s, asked.report_s) == (10.0, 60.0)
