"""The merge: what the table holds depends on what was sent, never on how it arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import registers
from flopmeter_collector.branches import MAXIMUM_BRANCHES, Outcome
from flopmeter_collector.held_rows import Branches
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.reports import Held, HourlyVector, KeyedVector
from flopmeter_core.writers import NOTHING, fingerprint, mark_of, marked, unmarked
from support.ingest import RECORD, hourly, key, vector

KEY = key()


def keyed(sequence: int, *components: int) -> KeyedVector:
    """A vector of the test's key with these first components."""
    return KeyedVector(KEY, sequence, (*components, *vector(0)[len(components) :]))


def merged(arrivals: Sequence[KeyedVector]) -> tuple[Branches, list[Outcome]]:
    """What a new table holds after these arrivals."""
    table = RegisterTable()
    outcomes = [table.merge(arrival, RECORD) for arrival in arrivals]
    return table.branches(KEY), outcomes


def contents(branches: Branches) -> list[tuple[int, tuple[int, ...]]]:
    """The first two components of each branch with its sequence, in branch order."""
    assert [stored.branch for stored in branches] == list(range(len(branches)))
    return [(stored.sequence, stored.vector[:2]) for stored in branches]


def test_first_and_newer() -> None:
    """The first vector is new; one that follows it wins whole, even where nothing grew."""
    branches, outcomes = merged([keyed(1, 5), keyed(2, 7), keyed(3, 7)])
    assert outcomes == [Outcome.NEW, Outcome.ADVANCED, Outcome.ADVANCED]
    assert contents(branches) == [(3, (7, 0))]


def test_duplicate() -> None:
    """The same sequence with the same content changes nothing."""
    branches, outcomes = merged([keyed(1, 5), keyed(1, 5)])
    assert outcomes == [Outcome.NEW, Outcome.DUPLICATE]
    assert contents(branches) == [(1, (5, 0))]


def test_late() -> None:
    """A lower sequence with nothing above what is held came late and changes nothing."""
    branches, outcomes = merged([keyed(9, 5, 5), keyed(2, 5, 1)])
    assert outcomes == [Outcome.NEW, Outcome.LATE]
    assert contents(branches) == [(9, (5, 5))]


def test_same_sequence_other_content() -> None:
    """One sequence with two contents has two writers, even where one content is above."""
    branches, outcomes = merged([keyed(3, 5), keyed(3, 6)])
    assert outcomes == [Outcome.NEW, Outcome.FORK]
    assert contents(branches) == [(3, (5, 0)), (3, (6, 0))]


def test_newer_but_lower_somewhere() -> None:
    """A higher sequence that is lower somewhere does not follow: both are kept."""
    branches, outcomes = merged([keyed(3, 5, 5), keyed(4, 9, 4)])
    assert outcomes[-1] is Outcome.FORK
    assert contents(branches) == [(3, (5, 5)), (4, (9, 4))]


def test_older_but_higher_somewhere() -> None:
    """A lower sequence that is higher somewhere is no late one: both are kept."""
    branches, outcomes = merged([keyed(4, 9, 4), keyed(3, 5, 5)])
    assert outcomes[-1] is Outcome.FORK
    assert contents(branches) == [(3, (5, 5)), (4, (9, 4))]


def test_branch_advances() -> None:
    """After a fork a vector that follows one branch takes its place and leaves the other."""
    branches, outcomes = merged([keyed(3, 5, 5), keyed(3, 1, 9), keyed(4, 2, 9)])
    assert outcomes[-1] is Outcome.ADVANCED
    assert contents(branches) == [(3, (5, 5)), (4, (2, 9))]


def test_fork_in_the_middle_heals() -> None:
    """A vector that follows every branch is the only one left: no other can be above it."""
    branches, outcomes = merged([keyed(3, 5, 5), keyed(3, 1, 9), keyed(4, 9, 9), keyed(3, 5, 5)])
    assert outcomes == [Outcome.NEW, Outcome.FORK, Outcome.ADVANCED, Outcome.LATE]
    assert contents(branches) == [(4, (9, 9))]


def test_branches_are_limited() -> None:
    """A key never has more than the stated branches; the least goes, or is refused."""
    writers = [keyed(1, place, MAXIMUM_BRANCHES - place) for place in range(MAXIMUM_BRANCHES + 1)]
    branches, outcomes = merged(writers)
    assert outcomes == [Outcome.NEW, *[Outcome.FORK] * MAXIMUM_BRANCHES]
    assert [content for _, content in contents(branches)] == [
        (place, MAXIMUM_BRANCHES - place) for place in range(1, MAXIMUM_BRANCHES + 1)
    ]
    branches, outcomes = merged(writers[::-1])
    assert outcomes[-1] is Outcome.REFUSED_FORK
    assert len(branches) == MAXIMUM_BRANCHES


@given(st.permutations(range(20)), st.lists(st.integers(0, 19), max_size=10))
def test_the_same_branches_stay(order: list[int], again: list[int]) -> None:
    """Of any number of contradicting writers the same ones stay, whoever comes first or again."""
    writers = [keyed(1 + place % 3, place // 2, 40 - place) for place in range(20)]
    expected, _ = merged(writers)
    branches, _ = merged([writers[place] for place in (*order, *again)])
    assert branches == expected
    assert len(branches) == MAXIMUM_BRANCHES


def test_forks_are_counted() -> None:
    """The number of forked keys follows forks, their healing and a restart."""
    table = RegisterTable()
    for arrival in [keyed(3, 5, 5), keyed(3, 1, 9)]:
        table.merge(arrival, RECORD)
    assert table.forked_key_count() == 1
    restarted = RegisterTable()
    restarted.restore({RECORD.record_id: RECORD}, table.branches(KEY))
    assert restarted.forked_key_count() == 1
    restarted.merge(keyed(4, 9, 9), RECORD)
    assert restarted.forked_key_count() == 0


def test_changes_are_taken_once() -> None:
    """Commit and totals each get every change once, with the record of a new key."""
    table = RegisterTable()
    table.merge(keyed(1, 5), RECORD)
    committed = table.take_uncommitted()
    assert (tuple(committed.vectors), committed.records) == (
        table.branches(KEY),
        {RECORD.record_id: RECORD},
    )
    assert not table.take_uncommitted()
    table.merge(keyed(1, 5), RECORD)
    assert not table.take_uncommitted()
    table.merge(keyed(2, 6), RECORD)
    assert [table.rows.keys[place] for place in table.take_uncounted().places] == [KEY]
    assert not table.take_uncounted()


def test_restored_keys_are_counted_not_committed() -> None:
    """What a ledger held needs no commit, but every total is built from it."""
    table = RegisterTable()
    stored = StoredVector(KEY, 0, 4, vector(2))
    table.restore({RECORD.record_id: RECORD}, [stored])
    assert not table.take_uncommitted()
    assert [table.rows.branches_at(each) for each in table.take_uncounted().places] == [(stored,)]
    assert table.record(RECORD.record_id) == RECORD
    assert table.merge(KeyedVector(KEY, 4, vector(2)), RECORD) is Outcome.DUPLICATE


@st.composite
def one_writer(draw: st.DrawFn) -> list[KeyedVector]:
    """What one register reports over its life: each vector follows the one before."""
    steps = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
    first = second = 0
    life = []
    for place, (more, also) in enumerate(steps):
        first, second = first + more, second + also
        life.append(keyed(place + 1, first, second))
    return life


@given(st.data())
def test_delivery_does_not_matter(data: st.DataObject) -> None:
    """Loss of all but the last, repetition and order never change what is held."""
    life = data.draw(one_writer())
    received = data.draw(st.lists(st.sampled_from(life), max_size=12))
    arrivals = data.draw(st.permutations([*received, life[-1]]))
    branches, outcomes = merged(arrivals)
    assert contents(branches) == contents(merged([life[-1]])[0])
    assert not {Outcome.FORK, Outcome.REFUSED_FORK} & set(outcomes)


@given(st.data())
def test_partition_does_not_matter(data: st.DataObject) -> None:
    """A restart between any two vectors changes nothing."""
    life = data.draw(one_writer())
    cuts = data.draw(st.lists(st.booleans(), min_size=len(life), max_size=len(life)))
    table = RegisterTable()
    for arrival, cut in zip(life, cuts, strict=True):
        table.merge(arrival, RECORD)
        if cut:
            restarted = RegisterTable()
            restarted.restore({RECORD.record_id: RECORD}, table.branches(KEY))
            table = restarted
    assert table.branches(KEY) == merged(life)[0]


ANY = st.builds(keyed, st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))


@given(st.data())
def test_any_writers_any_order(data: st.DataObject) -> None:
    """Even with several writers on one key the order and repetition of arrivals do not matter."""
    arrivals = data.draw(st.lists(ANY, min_size=1, max_size=6))
    again = data.draw(st.permutations([*arrivals, *arrivals]))
    held = merged(arrivals)[0]
    assert len(held) <= len(set(arrivals))
    assert merged(again)[0] == held


@given(st.lists(ANY, min_size=1, max_size=6))
def test_nothing_sent_is_lost(arrivals: list[KeyedVector]) -> None:
    """Every vector sent is held, or one that follows it is."""
    held = merged(arrivals)[0]
    for sent in arrivals:
        assert any(
            (stored.sequence, stored.vector) == (sent.sequence, sent.vector)
            or (
                stored.sequence > sent.sequence
                and all(a >= b for a, b in zip(stored.vector, sent.vector, strict=True))
            )
            for stored in held
        )


def test_hour_of_the_newest() -> None:
    """An hour is taken where the newest vector follows it, and is handed to ledger and totals."""
    table = RegisterTable()
    table.merge(keyed(5, 9, 9), RECORD)
    taken = [hourly(1, 3, keyed(3, 4, 9).vector), hourly(2, 5, keyed(5, 9, 9).vector)]
    assert [table.merge_hour(row) for row in taken] == ["", ""]
    assert list(table.take_uncommitted().hours) == taken
    assert list(table.take_uncounted().hours) == taken
    assert table.branches(KEY)[0].vector == keyed(5, 9, 9).vector


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (hourly(1, 6, keyed(6, 9, 9).vector), "not part of the newest one"),
        (hourly(1, 4, keyed(4, 10, 0).vector), "not part of the newest one"),
        (hourly(1, 5, keyed(5, 9, 8).vector), "not part of the newest one"),
        (hourly(1, 3, keyed(3, 1).vector, phase=1), "not part of the newest one"),
    ],
)
def test_hour_that_does_not_follow(row: HourlyVector, sentence: str) -> None:
    """An hour above, beside or without its key's newest vector is refused; nothing changes."""
    table = RegisterTable()
    table.merge(keyed(5, 9, 9), RECORD)
    table.take_uncommitted()
    assert sentence in table.merge_hour(row)
    assert not table.take_uncommitted()


def test_hour_of_a_fork() -> None:
    """Nobody can tell whose hour it is."""
    table = RegisterTable()
    for arrival in (keyed(3, 5), keyed(3, 6)):
        table.merge(arrival, RECORD)
    assert "two writers" in table.merge_hour(hourly(1, 3, keyed(3, 5).vector))


def test_more_hours_than_the_totals_are_handed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The totals are told that they have to read; the ledger still gets every one."""
    monkeypatch.setattr(registers, "MAXIMUM_UNCOUNTED_HOURS", 2)
    table = RegisterTable()
    table.merge(keyed(9, 9), RECORD)
    for hour in range(3):
        assert table.merge_hour(hourly(hour, 1 + hour, keyed(1, hour).vector)) == ""
    changes = table.take_uncounted()
    assert (len(changes.hours), changes.hours_left_out) == (2, True)
    assert len(table.take_uncommitted().hours) == 3


OWN = fingerprint(10, keyed(10, 5).vector)
STRANGE = OWN ^ 1


@pytest.mark.parametrize(
    ("sequence", "amount", "follows", "outcome"),
    [
        (12, 9, (NOTHING,), Outcome.CONTESTED),
        (12, 9, (STRANGE,), Outcome.CONTESTED),
        (9, 3, (OWN,), Outcome.CONTESTED),
        (12, 9, (STRANGE, OWN), Outcome.ADVANCED),
        (10, 5, (NOTHING,), Outcome.DUPLICATE),
        (10, 9, (NOTHING,), Outcome.FORK),
        (9, 9, (NOTHING,), Outcome.FORK),
        (12, 9, (), Outcome.ADVANCED),
        (9, 3, (), Outcome.LATE),
    ],
)
def test_what_another_process_wrote(
    sequence: int, amount: int, follows: tuple[int, ...], outcome: Outcome
) -> None:
    """No vector takes the place of one that its process, by its own word, has not written."""
    table = RegisterTable()
    table.merge(keyed(10, 5), RECORD)
    coming = replace(keyed(sequence, amount), follows=follows)
    assert table.merge(coming, RECORD) is outcome
    held = {Outcome.ADVANCED: {amount}, Outcome.FORK: {5, amount}}.get(outcome, {5})
    assert {stored.vector[0] for stored in table.branches(KEY)} == held
    told = table.beside(coming)
    contested = outcome in (Outcome.CONTESTED, Outcome.LATE)
    assert told == (Held(10, OWN) if contested else None)


def test_what_another_process_wrote_beside_a_fork() -> None:
    """Of several branches none is replaced by a process that does not know it."""
    table = RegisterTable()
    for arrival in (keyed(10, 5, 1), keyed(11, 1, 5)):
        table.merge(arrival, RECORD)
    known = fingerprint(10, keyed(10, 5, 1).vector)
    coming = replace(keyed(12, 9, 9), follows=(known,))
    assert table.merge(coming, RECORD) is Outcome.CONTESTED
    assert table.beside(coming) == Held(11, fingerprint(11, keyed(11, 1, 5).vector))
    both = (known, fingerprint(11, keyed(11, 1, 5).vector))
    assert table.merge(replace(coming, follows=both), RECORD) is Outcome.ADVANCED


@given(
    st.permutations(
        [
            KeyedVector(KEY, marked(sequence, mark) if mark else sequence, vector(amount))
            for mark, sequence, amount in [(0, 3, 3), (0, 9, 5), (1, 5, 5), (1, 6, 6), (2, 7, 4)]
        ]
    )
)
def test_marks_never_follow_each_other(arrivals: Sequence[KeyedVector]) -> None:
    """Of each mark the newest stays, whatever stands above it under another one."""
    branches, _ = merged(arrivals)
    assert [(mark_of(each.sequence), unmarked(each.sequence)) for each in branches] == [
        (0, 9),
        (1, 6),
        (2, 7),
    ]


def test_hours_of_a_writer_that_marked() -> None:
    """The hours it had before are its own still; one that is above its vector is not."""
    table = RegisterTable()
    table.merge(KeyedVector(KEY, marked(9, 4), vector(9)), RECORD)
    assert table.merge_hour(hourly(1, 8, vector(8))) == ""
    assert table.merge_hour(hourly(2, 10, vector(9))) != ""
    assert table.merge_hour(hourly(2, 8, vector(10))) != ""
