"""The claim book: what is taken, what is refused, and what survives the agent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent import claims as claims_module
from flopmeter_agent.claims import ClaimBook
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.claim_sums import ClaimTotals, add_up
from flopmeter_core.claims import Claim, ClaimQuantity
from flopmeter_core.errors import DataError
from flopmeter_core.reports import ClaimAcknowledgement, Durability, LedgerPosition
from flopmeter_core.run_file import RunFile

WRITER = "ab" * 16
POSITION = LedgerPosition("L", 1, 5)


class MemoryFile:
    """Storage in memory that can fail."""

    def __init__(self) -> None:
        """Empty and working."""
        self.content = bytearray()
        self.failing = False

    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes."""
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, content: bytes) -> None:
        """Write."""
        if self.failing:
            raise OSError(28, "planted")
        self.content[offset : offset + len(content)] = content

    def sync(self) -> None:
        """Nothing to do."""

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Take the place."""
        if self.failing:
            raise OSError(28, "planted")
        self.content = bytearray(length)
        self.write(offset, content)

    def close(self) -> None:
        """Nothing to do."""


def message(*stretches: Sequence[int], **fields: Any) -> bytes:
    """A client's message; stretches are pass, first, last, steps, tokens, FLOP."""
    content = {
        "v": 1,
        "run": "a",
        "attempt": "0",
        "scope": "rank",
        "rank": 0,
        "stretches": stretches or [[0, 1, 10, 10, 100, 1000]],
    }
    return json.dumps(content | fields).encode()


def book(file: MemoryFile | None = None, **named: Any) -> ClaimBook:
    """A book on a journal in memory."""
    return ClaimBook(Journal(file or MemoryFile()), **named)


def acknowledged(*claims: Claim, durability: Durability = Durability.AT_ROOT) -> list[Any]:
    """Answers to claims."""
    return [ClaimAcknowledgement(claim, durability, "planted") for claim in claims]


def totals(*books: ClaimBook) -> ClaimTotals:
    """What everything pending adds up to."""
    return add_up(claim for each in books for claim in each.pending())


def test_newest_counts_win() -> None:
    """A message replaces what an older one said, and a late older one changes nothing."""
    kept = book()
    assert kept.take(message([0, 1, 20, 20, 200, 2000]), WRITER)
    assert kept.take(message(), WRITER)
    (claim,) = kept.pending()
    assert (claim.counts.last_step, claim.counts.compute_flop) == (20, 2000)
    assert claim.sequence == 1  # nothing changed, so nothing has to be sent again


MESSAGES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 60)), min_size=1, max_size=20
)


@given(course=MESSAGES, data=st.data())
def test_any_order_repetition_and_loss(course: list[tuple[int, int, int]], data: Any) -> None:
    """Once the newest message of each process is there, the totals are the same whatever came.

    A process' messages hold everything it did: rank, and how far it came in each pass.
    """
    said: dict[int, list[bytes]] = {}
    stretches: dict[int, dict[int, int]] = {}
    for rank, number, last in course:
        mine = stretches.setdefault(rank, {})
        mine[number] = max(last, mine.get(number, 0))
        rows = [[n, 1, at, at, 7 * at, 1000 * at] for n, at in sorted(mine.items())]
        said.setdefault(rank, []).append(message(*rows, rank=rank))
    in_order, disordered = book(), book()
    for rank, messages in said.items():
        for each in messages:
            in_order.take(each, f"{rank:032x}")
    everything = [(rank, each) for rank, messages in said.items() for each in messages]
    lost = data.draw(st.sets(st.sampled_from(everything)))
    newest = [(rank, messages[-1]) for rank, messages in said.items()]
    some = [each for each in everything if each not in lost]
    for rank, each in data.draw(st.permutations(some + some[:5] + newest)):
        disordered.take(each, f"{rank:032x}")
    assert totals(disordered) == totals(in_order)


def test_acknowledged_is_not_sent_again() -> None:
    """Only what changed since its acknowledgement is pending."""
    kept = book()
    kept.take(message(), WRITER)
    kept.acknowledge(acknowledged(*kept.pending()), POSITION)
    assert kept.pending() == ()
    kept.take(message([0, 1, 11, 11, 110, 1100]), WRITER)
    assert [claim.counts.last_step for claim in kept.pending()] == [11]


def test_a_ledger_that_went_back_gets_everything_again() -> None:
    """After a restored backup nothing counts as kept."""
    kept = book()
    kept.take(message(), WRITER)
    kept.acknowledge(acknowledged(*kept.pending()), POSITION)
    kept.acknowledge([], LedgerPosition("L", 1, 4))
    assert len(kept.pending()) == 1


def test_a_refused_claim_is_not_repeated() -> None:
    """What the collector refuses is counted, and sent again only when it changes."""
    kept = book()
    kept.take(message(), WRITER)
    kept.acknowledge(acknowledged(*kept.pending(), durability=Durability.REFUSED), POSITION)
    assert (kept.pending(), kept.counters.refused["collector"]) == ((), 1)


def test_claims_survive_the_agent(tmp_path: Path) -> None:
    """What was pending is sent by the next agent; what was acknowledged is not."""
    file = OsBlockFile(tmp_path / "claims")
    first = ClaimBook(Journal(file))
    first.take(message(rank=0), WRITER)
    first.acknowledge(acknowledged(*first.pending()), POSITION)
    first.take(message(rank=1, model="m", format="bf16=1", activity="pretraining"), WRITER)
    (waiting,) = first.pending()
    file.close()
    second_file = OsBlockFile(tmp_path / "claims")
    second = ClaimBook(Journal(second_file))
    assert second.pending() == (waiting,)
    assert len(second) == 2
    second_file.close()


def test_claims_of_an_older_agent() -> None:
    """Its journal knew no quantity: all were model FLOP."""
    file = MemoryFile()
    row = ["a", "0", 2, 0, WRITER, 0, 1, "", "", "", 10, 10, 100, 1000, 1, 0]
    Journal(file).write(json.dumps({"format": 1, "position": None, "claims": [row]}).encode())
    (claim,) = book(file).pending()
    assert claim.key.quantity is ClaimQuantity.MODEL
    assert claim.counts.compute_flop == 1000


def test_both_quantities() -> None:
    """A process may claim by formula and as counted; neither takes the other's place."""
    file = MemoryFile()
    kept = book(file)
    kept.take(message(), WRITER)
    kept.take(message([0, 1, 10, 10, 100, 1300], quantity="executed"), WRITER)
    assert {c.key.quantity: c.counts.compute_flop for c in kept.pending()} == {
        ClaimQuantity.MODEL: 1000,
        ClaimQuantity.EXECUTED: 1300,
    }
    assert set(book(file).pending()) == set(kept.pending())


def test_a_failing_disk_stops_claims_only() -> None:
    """What is not durable is not sent; it is once the disk works again."""
    file = MemoryFile()
    kept = book(file)
    file.failing = True
    kept.take(message(), WRITER)
    assert kept.pending() == ()
    file.failing = False
    assert len(kept.pending()) == 1


def test_a_damaged_journal_is_one_sentence() -> None:
    """A state nobody can read is said."""
    file = MemoryFile()
    Journal(file).write(b'{"format":1,"position":null,"claims":[["a"]]}')
    with pytest.raises(DataError, match="journal of claims cannot be read"):
        book(file)


def test_the_agent_names_the_run() -> None:
    """A process that names no run works for the one the agent attributes the node to."""
    assert not book().take(message(run=""), WRITER)
    kept = book(run="b")
    assert kept.take(message(run=""), WRITER)
    assert kept.pending()[0].key.run == "b"


@pytest.mark.parametrize(
    "garbled",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 10_000,
        b'{"v":1' + b"1" * 5_000 + b"}",
        message(v=2),
        message(rank="0"),
        message(rank=True),
        message(rank=1.5),
        message(scope="all"),
        message(quantity="all"),
        message(phase=1.5),
        message(phase="2"),
        message(phase=True),
        message(age_ns=None),
        message(run=7),
        message(stretches=[]),
        message(stretches=7),
        message(stretches=[[0, 1, 10, 10, 100]]),
        message(stretches=[[0, 1, 10, 10, 100, 1e21]]),
        message(stretches=[[0, 1, 10, 10, 100, 1]] * 65),
        message().replace(b"1000]", b"NaN]"),
        message().replace(b"1000]", b"Infinity]"),
    ],
)
def test_garbled(garbled: bytes) -> None:
    """What is no message is counted and refused, whatever it is."""
    kept = book()
    assert not kept.take(garbled, WRITER)
    assert (len(kept), kept.counters.refused["garbled"]) == (0, 1)


@pytest.mark.parametrize(
    "contents",
    [
        message([0, 1, 10, 11, 0, 0]),
        message([0, 1, 10, 10, 0, -1]),
        message([0, 10, 1, 1, 0, 0]),
        message(phase=-1),
        message(phase=1, stretches=[], run="a,b"),
        message(phase=1, stretches=[], attempt=""),
        message(phase=1, age_ns=-1),
        message(run="a" * 300),
        message(format="fp7"),
    ],
)
def test_contents(contents: bytes) -> None:
    """What no honest process says is refused."""
    kept = book()
    assert not kept.take(contents, WRITER)
    assert (len(kept), kept.counters.refused["contents"]) == (0, 1)


@given(garbage=st.binary(max_size=200))
def test_garbage(garbage: bytes) -> None:
    """No bytes at all end the agent."""
    assert not book().take(garbage, WRITER)


def test_a_process_cannot_fill_the_book() -> None:
    """One process has so many registers and no more; another one still has its own."""
    kept = book()
    limit = claims_module.MAXIMUM_REGISTERS_PER_WRITER
    taken = [kept.take(message(rank=rank), WRITER) for rank in range(limit + 1)]
    assert taken == [True] * limit + [False]
    assert kept.counters.refused["too_many"] == 1
    assert kept.take(message(), "cd" * 16)


def test_room_is_made_of_what_the_collector_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full book lets acknowledged registers go, and no others."""
    monkeypatch.setattr(claims_module, "MAXIMUM_REGISTERS", 2)
    kept = book()
    for rank in range(2):
        assert kept.take(message(rank=rank), WRITER)
    assert not kept.take(message(rank=2), WRITER)
    kept.acknowledge(acknowledged(kept.pending()[0]), POSITION)
    assert kept.take(message(rank=2), WRITER)
    assert sorted(claim.key.rank for claim in kept.pending()) == [1, 2]


def test_many_claims_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into one report is in the next, though nothing is acknowledged."""
    monkeypatch.setattr(claims_module, "MAXIMUM_CLAIMS_PER_REPORT", 3)
    kept = book()
    for rank in range(7):
        kept.take(message(rank=rank), WRITER)
    seen = {claim.key.rank for _ in range(3) for claim in kept.pending()}
    assert seen == set(range(7))


def test_labels_of_a_run_file() -> None:
    """What `flopmeter exec` says of its run is one claim for all ranks, and counts nothing."""
    book = ClaimBook(Journal(MemoryFile()))
    for _ in range(8):
        book.take_labels(RunFile("atlas", attempt="42", model="m", activity="pretraining"))
    (claim,) = book.pending()
    assert claim.labels_only
    assert (claim.key.run, claim.key.attempt, claim.key.model) == ("atlas", "42", "m")
    # Whichever node it is on, it is the same start of the same run.
    other = ClaimBook(Journal(MemoryFile()))
    other.take_labels(RunFile("atlas", attempt="42", model="m", activity="pretraining"))
    assert other.pending()[0].key == claim.key
    book.take_labels(RunFile("quiet"))
    book.take_labels(RunFile("bad", format="no such format!"))
    book.take_labels(RunFile("bad", activity="Not A Word"))
    assert len(book) == 1
    assert book.counters.refused["contents"] == 2
