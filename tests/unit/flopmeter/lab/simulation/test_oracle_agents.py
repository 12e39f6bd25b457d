"""The simulation's judge of agents: a broken promise is said, and a sound agent passes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from flopmeter.lab.simulation.disk import Content
from flopmeter.lab.simulation.figures import CLOCK_SLACK_NS, FLOP_PER_TENSOR_CYCLE, FigureWatch
from flopmeter.lab.simulation.ledgers import ROOT
from flopmeter.lab.simulation.oracle import Oracle
from flopmeter.lab.simulation.truth import Round
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.residual import DEFAULT_SILENCE_NS
from flopmeter_core.interval import Interval
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS, Key, Register, Vector
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    Durability,
    KeyedVector,
    LedgerPosition,
    Report,
)
from flopmeter_core.units import NS_PER_S
from flopmeter_core.writers import marked
from support.ingest import INCARNATION, key, vector

KEY = key()
PERIOD_NS = 30 * NS_PER_S
POSITION = LedgerPosition("simulated", 1, 1)


def register(sequence: int, seconds: int) -> Register:
    """A register of whole units."""
    return Register(list(vector(seconds)), [0] * COMPONENT_COUNT, sequence)


def loop(registers: Mapping[Key, Register]) -> Any:
    """As much of an agent as the judge looks at."""
    held = dict(registers)
    return SimpleNamespace(
        incarnation=INCARNATION,
        accumulator=SimpleNamespace(registers=held, carries={}),
        held=lambda: held,
    )


class Judged:
    """A judge, and a node `n` that has sampled once: one second under sequence 1."""

    def __init__(self) -> None:
        self.oracle = Oracle(lambda: 0, period_ns=PERIOD_NS)
        self.oracle.started("n", loop({}), "boot")
        self.sampled({KEY: register(1, 1)}, write=1)

    def sampled(self, registers: Mapping[Key, Register], *, write: int, seconds: int = 1) -> None:
        """A round after which `seconds` were read, and these registers are there."""
        amounts = tuple(u * each for u, each in zip(vector(seconds), SUBUNITS, strict=True))
        self.oracle.nodes["n"].truth.amounts[KEY.device] = amounts
        self.oracle.sampled("n", loop(registers), Round(), kept=write, boot_id="boot")

    def sends(self, sequence: int, sent: Vector, *, durable_write: int = 1) -> None:
        """A report of the test's key leaves."""
        report = Report({}, (KeyedVector(KEY, sequence, sent),), boot_ns=0, wall_ns=0)
        journal = Content(writes=1, durable_write=durable_write)
        self.oracle.sends("n", report, journal=journal, closed=Content())

    def answered(self, sequence: int, durability: Durability, reason: str = "") -> None:
        """An answer of the root comes."""
        ack = Acknowledgement(KEY, sequence, durability, reason)
        self.oracle.answered("n", Answer((ack,), POSITION), ROOT, 1)

    def said(self) -> list[str]:
        """What was found, without the time."""
        return [sentence.partition(": ")[2] for sentence in self.oracle.violations]


def stored(sequence: int, seconds: int) -> StoredVector:
    """The test's key in a ledger."""
    return StoredVector(KEY, 0, sequence, vector(seconds))


def test_a_sound_agent() -> None:
    """It samples, syncs, sends, is answered after the commit, and ends in the ledger."""
    judged = Judged()
    judged.sends(1, vector(1))
    judged.oracle.ledgers.committed(ROOT, [stored(1, 1)])
    judged.answered(1, Durability.AT_ROOT)
    judged.answered(1, Durability.CONTESTED)
    assert judged.oracle.settle({KEY: (stored(1, 1),)}) == (0, 0)
    assert judged.said() == []


def test_registers_that_are_not_what_was_read() -> None:
    """The component and the difference are named."""
    judged = Judged()
    judged.sampled({KEY: register(2, 2)}, write=2, seconds=3)
    (said,) = judged.said()
    assert said.startswith("the registers of GPU-1 of n are not what was read of it: ")
    assert "busy_ns -1e+09" in said


@pytest.mark.parametrize(
    ("sequence", "seconds", "durable_write", "said"),
    [
        (1, 2, 1, "n sends a vector of GPU-1 it never journaled"),
        (2, 1, 1, "n sends a vector of GPU-1 it never journaled"),
        (1, 1, 0, "n sends a vector of GPU-1 before it is synced"),
        (marked(1, 7), 1, 1, "n takes its own GPU-1 for another writer's"),
    ],
)
def test_what_may_not_leave(sequence: int, seconds: int, durable_write: int, said: str) -> None:
    """A report holds what was journaled and synced, under its own writer's sequence."""
    judged = Judged()
    judged.sends(sequence, vector(seconds), durable_write=durable_write)
    assert judged.said() == [said]


def test_closed_vectors_have_a_file_of_their_own() -> None:
    """What an incarnation before left has to be durable there."""
    judged = Judged()
    judged.oracle.nodes["n"].incarnation = "another"
    judged.sends(1, vector(1))
    assert judged.said() == []
    report = Report({}, (KeyedVector(KEY, 1, vector(1)),), boot_ns=0, wall_ns=0)
    torn = Content(writes=2, durable_write=1)
    judged.oracle.sends("n", report, journal=Content(), closed=torn)
    assert judged.said() == ["n sends a vector of GPU-1 before it is synced"]


def test_a_true_vector_that_is_refused() -> None:
    """With the reason that was given."""
    judged = Judged()
    judged.answered(1, Durability.QUARANTINED, "too fast")
    assert judged.said() == ["a true vector of GPU-1 was not taken: too fast"]


def test_an_answer_before_its_commit() -> None:
    """An acknowledgement of what the ledger does not hold is said with the sequence."""
    judged = Judged()
    judged.answered(1, Durability.AT_ROOT)
    said = "n got sequence 1 of a key of GPU-1 acknowledged by root before its commit"
    assert judged.said() == [said]


def test_what_is_missing_or_too_much_in_the_end() -> None:
    """An acknowledged vector that is gone is counted, as is every unit beyond the truth."""
    judged = Judged()
    judged.oracle.ledgers.committed(ROOT, [stored(1, 1)])
    judged.answered(1, Durability.AT_ROOT)
    assert judged.oracle.settle({}) == (1, 0)
    assert judged.said() == [
        "an acknowledged vector of GPU-1 is not in the ledger",
        "the ledger holds sequence 0 of a key of GPU-1, not 1",
    ]
    other = key(device="GPU-9")
    more = StoredVector(other, 0, 1, vector(1))
    _, beyond = judged.oracle.settle({KEY: (stored(1, 1),), other: (more,)})
    assert beyond == sum(vector(1))


def test_a_journal_that_went_back() -> None:
    """A killed agent finds its newest state again, or it is said."""
    judged = Judged()
    judged.oracle.crashed("n", None, 0)
    judged.oracle.started("n", loop({}), "boot")
    assert judged.said() == ["the agent of n found a state that it must not come back to"]


def test_a_journal_that_garbles() -> None:
    """The sequence is right, and its content another one."""
    judged = Judged()
    judged.oracle.crashed("n", None, 0)
    judged.oracle.started("n", loop({KEY: register(1, 7)}), "boot")
    assert judged.said() == ["the journal of n garbled a register of GPU-1"]


# --- published figures ----------------------------------------------------------------------------


class Figures:
    """A watch over figures, one device, and what was found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.now_ns = 0
        self.done_cycles = 0
        work = lambda: {KEY.device: self.done_cycles}  # noqa: E731
        self.watch = FigureWatch(lambda: self.now_ns, work, self.found.append)

    def published(self, lower_flop: int, upper_flop: int) -> None:
        """A publication of these bounds."""
        total = Interval(0, lower_flop, lower_flop, upper_flop, upper_flop)
        account = SimpleNamespace(figures=SimpleNamespace(total=total))
        published: Any = SimpleNamespace(snapshot=SimpleNamespace(runs=(), unattributed=account))
        self.watch.look(published)


def test_more_time_than_went_by() -> None:
    """A device's classified time cannot exceed the time there was."""
    figures = Figures()
    figures.now_ns = 10 * NS_PER_S
    figures.watch.committed([stored(1, 10)])
    assert figures.found == []
    figures.watch.committed([stored(2, 12)])
    assert figures.found == ["GPU-1 has 12.0 s classified, more than went by"]


def test_a_lower_bound_above_the_truth() -> None:
    """Something was invented, or counted twice."""
    figures = Figures()
    figures.done_cycles = 2
    done_flop = 2 * FLOP_PER_TENSOR_CYCLE
    figures.published(done_flop, done_flop)
    assert figures.found == []
    figures.published(done_flop + 1, done_flop + 1)
    assert figures.found == [f"lower is {done_flop + 1}, but only {done_flop} FLOP were done"]


def test_an_upper_bound_below_the_truth() -> None:
    """It is held against what was done before reports could be late."""
    figures = Figures()
    figures.watch.committed([stored(1, 0)])
    figures.done_cycles = 2
    done_flop = 2 * FLOP_PER_TENSOR_CYCLE
    figures.published(0, 0)
    assert figures.found == []
    figures.now_ns = DEFAULT_SILENCE_NS + 2 * CLOCK_SLACK_NS
    figures.published(0, done_flop)
    assert figures.found == []
    figures.published(0, done_flop - 1)
    assert figures.found == [f"upper is {done_flop - 1}, but {done_flop} FLOP were done"]
