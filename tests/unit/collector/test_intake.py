"""The way in: what is refused or kept apart is said by key, and nodes are labels only."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from flopmeter_collector import intake as module
from flopmeter_collector.branches import Outcome
from flopmeter_collector.commit import Committer
from flopmeter_collector.doubts import Listener
from flopmeter_collector.intake import MAXIMUM_DISPLAY_ESTIMATES, Intake
from flopmeter_collector.receive import merge_report
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.receive import (
    HEARD_AT_ONCE,
    SLICE,
    Merged,
    Seen,
    check_path,
    merge_batch,
)
from flopmeter_core.batches import RelayBatch, RelayedNode
from flopmeter_core.errors import NotPermittedError
from flopmeter_core.reports import Doubt, Durability, Held, KeyedVector
from flopmeter_core.writers import fingerprint, key_digest, marked
from support.ingest import RECORD, hello, hourly, key, report, vector
from support.manual_clock import ManualClock

IMPOSSIBLE = vector(5, TENSOR_MEGACYCLES=2**40)
HOUR_NS = 3_600 * 10**9


@pytest.fixture
def clock() -> ManualClock:
    """Moved by hand."""
    return ManualClock()


@pytest.fixture
def intake(clock: ManualClock) -> Intake:
    """An intake whose commits nobody asks for."""
    table = RegisterTable()
    committer = Committer(cast(Any, None), table)
    return Intake(table, committer, clock, simulated=False, ledger_id="here")


def merged(intake: Intake, batch: RelayBatch) -> tuple[Merged, int]:
    """What becomes of a relay's batch, and how often others had their turn."""
    turns = 0

    async def give_way() -> None:
        nonlocal turns
        turns += 1

    found = asyncio.run(merge_batch(intake, batch, give_way, Seen(intake.rows, intake.doubts)))
    return found, turns


def batch(*vectors: KeyedVector, **more: Any) -> RelayBatch:
    """A batch of these vectors."""
    return RelayBatch(("relay",), {RECORD.record_id: RECORD}, vectors, **more)


def keyed(phase: int, sequence: int, values: tuple[int, ...]) -> KeyedVector:
    """A vector of one phase."""
    return KeyedVector(key(phase=phase), sequence, values)


def test_each_vector_of_a_batch_has_its_own_answer(intake: Intake) -> None:
    """One that cannot be true is kept apart, one of too many writers refused, the rest taken."""
    for writer in range(9):
        intake.merge(
            keyed(2, 5, vector(5 + writer)), RECORD, boot_ns=None, refused={}, quarantined={}
        )
    found, turns = merged(
        intake,
        batch(keyed(0, 3, vector(3)), keyed(1, 5, IMPOSSIBLE), keyed(2, 5, vector(1))),
    )
    assert [each.key.phase for each in found.taken] == [0]
    assert found.untaken[1][0] is Durability.QUARANTINED
    assert "tensor_megacycles" in found.untaken[1][1]
    assert found.untaken[2][0] is Durability.REFUSED
    assert "too many writers use this key with contradicting values" in found.untaken[2][1]
    assert list(found.quarantined) == [key(phase=1)] and list(found.refused) == [key(phase=2)]
    assert intake.counts.quarantined_vectors == 1 and intake.counts.batches == 1
    assert turns == 0


def test_a_long_batch_lets_others_go_first(intake: Intake) -> None:
    """After so many vectors, and after so many hours."""
    vectors = tuple(keyed(phase, 1, vector(1)) for phase in range(2 * SLICE))
    hours = tuple(hourly(0, 1, vector(1), phase=phase) for phase in range(SLICE))
    found, turns = merged(intake, batch(*vectors, hours=hours))
    assert len(found.taken) == 2 * SLICE and turns == 3


def test_many_nodes_and_doubts_let_others_go_first(intake: Intake) -> None:
    """What a relay says of its nodes, and what it asks, is heard in parts too, all of it."""
    nodes = tuple(
        RelayedNode(hello(node=f"node-{number}"), 0) for number in range(2 * HEARD_AT_ONCE)
    )
    doubts = tuple(
        Doubt(f"node-{number}", key_digest(key()), Held(3, 4)) for number in range(HEARD_AT_ONCE)
    )
    _, turns = merged(intake, batch(nodes=nodes, doubts=doubts))
    assert (len(intake.nodes), len(intake.doubts), turns) == (len(nodes), len(doubts), 3)


def test_where_a_quarantine_is_full_a_vector_is_refused(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the sentence says both why it cannot be true and why it is not kept."""
    monkeypatch.setattr("flopmeter_collector.quarantine.MAXIMUM_HELD_PER_NODE", 1)
    found, _ = merged(intake, batch(keyed(0, 5, IMPOSSIBLE), keyed(1, 5, IMPOSSIBLE)))
    assert found.untaken[0][0] is Durability.QUARANTINED
    assert found.untaken[1][0] is Durability.REFUSED
    assert "its node has too many quarantined keys already" in found.untaken[1][1]


def test_another_writer_beside_it(intake: Intake) -> None:
    """What this relay did not bring and what its vector replaces is told back, once."""
    intake.merge(keyed(0, 3, vector(3)), RECORD, boot_ns=None, refused={}, quarantined={})
    found, _ = merged(intake, batch(keyed(0, 5, vector(5)), keyed(0, 7, vector(7))))
    assert found.beside[key()].sequence == 3


def test_a_circle_of_relays_is_refused() -> None:
    """The sentence says what to change."""
    check_path("here", ("there",), "r")
    with pytest.raises(NotPermittedError, match="relay r forwards for this collector"):
        check_path("here", ("there", "here"), "r")


# --- nodes ---------------------------------------------------------------------------------------


def test_a_node_that_reports_twice_over(intake: Intake, clock: ManualClock) -> None:
    """What a relay knows of it counts where it is newer than what came here."""
    clock.advance(3_600)
    greeting = hello(node="n")
    intake.open_stream(greeting)
    intake.seen("n", {"run:a": 5})
    here_ns = intake.nodes["n"].last_report_ns
    assert here_ns == clock.wall_ns()
    intake.relayed(RelayedNode(greeting, 10**9, {"run:a": 7}))
    assert intake.nodes["n"].display_flop == {"run:a": 5}, "it is older"
    clock.advance(60)
    intake.relayed(RelayedNode(greeting, 0, {"run:a": 9}))
    assert intake.nodes["n"].display_flop == {"run:a": 9}
    assert (intake.nodes["n"].last_report_ns, intake.nodes["n"].streams) == (clock.wall_ns(), 1)
    many = {f"run:{number}": 1 for number in range(MAXIMUM_DISPLAY_ESTIMATES + 1)}
    intake.relayed(RelayedNode(greeting, 0, many))
    assert intake.nodes["n"].display_flop == {}
    intake.seen("n", many)
    assert intake.nodes["n"].display_flop == {}
    intake.close_stream(greeting)
    assert intake.nodes["n"].streams == intake.counts.open_streams == 0


def test_who_was_silent_is_told_apart(
    intake: Intake, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is asked for with the number of those whose agents had been silent for a second."""
    asked: list[int] = []

    async def durable(*, rested: int) -> str:
        asked.append(rested)
        return "there"

    monkeypatch.setattr(intake._committer, "durable", durable)
    clock.advance(10 * 10**9)
    for nodes in (("a", "b"), ("a",), ()):
        for node in nodes:
            intake.seen(node)
        asyncio.run(intake.durable(0))
    clock.advance(10**9)
    intake.seen("a")
    asyncio.run(intake.durable(0))
    assert asked == [2, 0, 0, 1]


def test_nobody_says_that_a_node_beyond_the_limit_was_silent(
    intake: Intake, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not remembered of it may not pass for a rest before each of its reports."""
    monkeypatch.setattr(module, "MAXIMUM_NODES", 1)
    clock.advance(10 * 10**9)
    for node in ("first", "second", "second"):
        intake.seen(node)
    assert intake._rested_count == 1


def test_nodes_beyond_the_limit_are_collected_and_not_shown(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known ones are still renewed, and the stream of an unknown one is counted all the same."""
    monkeypatch.setattr(module, "MAXIMUM_NODES", 1)
    first, second = hello(node="first"), hello(node="second")
    intake.open_stream(first)
    intake.open_stream(second)
    assert list(intake.nodes) == ["first"] and intake.counts.open_streams == 2
    intake.close_stream(second)
    intake.seen("first")
    assert intake.counts.open_streams == 1 and intake.nodes["first"].last_report_ns > 0


def test_the_other_kind_is_refused(intake: Intake) -> None:
    """Made-up readings never come into a ledger of measured ones."""
    with pytest.raises(NotPermittedError):
        intake.open_stream(hello(simulated=True))
    assert intake.counts.open_streams == 0


def test_a_late_vector_is_no_refusal(intake: Intake) -> None:
    """What is known already, or older than what is held, is taken as it is."""
    for sequence, outcome in ((5, Outcome.NEW), (3, Outcome.LATE)):
        found = intake.merge(
            keyed(0, sequence, vector(sequence)), RECORD, boot_ns=None, refused={}, quarantined={}
        )
        assert found is outcome


def asked(intake: Intake, listener: Listener) -> list[tuple[int, int]]:
    """Of which phase and sequence a stream is asked now, in ascending order."""
    phases = {key_digest(key(phase=phase)): phase for phase in range(9)}
    told = intake.doubts.tell(listener)
    return sorted((phases[doubt.key_digest], doubt.held.sequence) for doubt in told)


def test_what_came_from_elsewhere_is_asked_about(intake: Intake) -> None:
    """Below another stream's vector or in its place; not what follows on its own, nor a fork."""
    first, second = (Seen(intake.rows, intake.doubts) for _ in range(2))
    listener = intake.doubts.listen((RECORD.node,))

    def arrive(seen: Seen, *vectors: KeyedVector) -> None:
        asyncio.run(merge_batch(intake, batch(*vectors), never, seen))

    arrive(first, *(keyed(phase, 5, vector(5)) for phase in range(4)))
    arrive(first, keyed(0, 6, vector(6)), keyed(1, 4, vector(4)))
    assert asked(intake, listener) == []
    arrive(
        second,
        keyed(0, 3, vector(3)),
        keyed(1, 7, vector(7)),
        keyed(2, 5, vector(5)),
        keyed(3, 5, vector(1)),
        keyed(4, 1, vector(1)),
    )
    assert asked(intake, listener) == [(0, 3), (1, 7)]
    doubt = intake.doubts.tell(intake.doubts.listen((RECORD.node,)))[0]
    assert doubt.node == RECORD.node
    assert doubt.held == Held(3, fingerprint(3, vector(3)))
    # Of a fork, and of what has a mark, everybody knows.
    arrive(second, keyed(3, 4, vector(1)), keyed(0, marked(6, 9), vector(6)))
    arrive(second, keyed(5, marked(6, 9), vector(6)))
    arrive(first, keyed(5, marked(5, 9), vector(5)))
    assert asked(intake, listener) == []


def test_what_ends_a_fork_is_asked_about(intake: Intake) -> None:
    """One of two writers did more after all: the other one's work would be in no bound."""
    seen = Seen(intake.rows, intake.doubts)
    listener = intake.doubts.listen((RECORD.node,))

    def arrive(*vectors: KeyedVector) -> None:
        asyncio.run(merge_batch(intake, batch(*vectors), never, seen))

    arrive(keyed(0, 24, vector(5, SUSPECT_NS=7)), keyed(0, 28, vector(6)))
    arrive(keyed(0, 30, vector(7)))
    assert len(intake.rows.branches(key(phase=0))) == 2
    assert asked(intake, listener) == []
    arrive(keyed(0, 32, vector(8, SUSPECT_NS=7)))
    assert len(intake.rows.branches(key(phase=0))) == 1
    assert asked(intake, listener) == [(0, 32)]


def test_what_a_relay_asks_is_asked_elsewhere(intake: Intake) -> None:
    """On streams of relays that told of the node too, but not on the one that it came on."""
    first, second = (Seen(intake.rows, intake.doubts) for _ in range(2))
    told = (RelayedNode(hello(), 0), RelayedNode(hello(node="node-2"), 0))
    doubt = Doubt("node-1", key_digest(key()), Held(3, 4))
    asyncio.run(merge_batch(intake, batch(nodes=told, doubts=(doubt,)), never, first))
    asyncio.run(merge_batch(intake, batch(nodes=told[:1]), never, second))
    assert intake.doubts.tell(first.listener) == ()
    assert intake.doubts.tell(second.listener) == (doubt,)


def test_an_ended_process_is_asked_about(intake: Intake) -> None:
    """A running one names what it wrote, and whoever else wrote is told of it as ever."""
    sender, other = (intake.doubts.listen((RECORD.node,)) for _ in range(2))

    def arrive(*vectors: KeyedVector) -> None:
        came = report(vectors)
        asyncio.run(merge_report(intake, came, hello(), {}, never, sender))

    arrive(*(keyed(phase, 5, vector(5)) for phase in range(3)))
    named = (fingerprint(5, vector(5)),)
    arrive(KeyedVector(key(phase=0), 6, vector(6), follows=named))
    assert asked(intake, other) == []
    arrive(keyed(1, 6, vector(6)), keyed(2, 4, vector(4)), keyed(0, 6, vector(6)))
    assert asked(intake, other) == [(1, 6), (2, 4)]
    assert asked(intake, sender) == []
    arrive(keyed(1, 7, vector(1)), keyed(1, 5, vector(5)))
    assert asked(intake, other) == []


async def never() -> None:
    """Nobody waits."""
