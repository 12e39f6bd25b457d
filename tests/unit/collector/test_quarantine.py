"""Quarantine: which vector of a key is kept, how many, and what a release accepts."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flopmeter_collector import quarantine
from flopmeter_collector.ledger.base import QuarantinedVector, StoredVector
from flopmeter_collector.quarantine import QuarantineTable, is_released, key_name, quarantine_name
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, key, vector


def keyed(sequence: int, seconds: int, **fields: Any) -> KeyedVector:
    """A vector of the test's key."""
    return KeyedVector(key(**fields), sequence, vector(seconds))


def name_of(of: KeyedVector) -> str:
    """The name of a vector, wherever it is kept."""
    return quarantine_name(StoredVector(of.key, 0, of.sequence, of.vector))


def hold(table: QuarantineTable, vector_: KeyedVector, node: str = "n", at_ns: int = 1) -> bool:
    """Quarantine one vector."""
    return table.hold(vector_, node, boot_ns=7, reason="too much", at_ns=at_ns)


def test_the_newest_stays_whoever_comes_first() -> None:
    """Of one key the highest sequence stays, and of one sequence the greater content."""
    vectors = [keyed(1, 9), keyed(2, 5), keyed(2, 6)]
    for order in itertools.permutations(vectors):
        table = QuarantineTable()
        assert all(hold(table, each) for each in order)
        (row,) = table.held()
        assert (row.sequence, row.vector) == (2, vector(6))
        assert table.held_count() == 1


def test_rows_are_committed_once() -> None:
    """A row is given to one commit, again only after it changed, and keeps its first time."""
    table = QuarantineTable()
    hold(table, keyed(1, 1), at_ns=5)
    (row,) = table.take_uncommitted()
    assert (row.quarantined_at_ns, row.boot_ns, row.reason) == (5, 7, "too much")
    hold(table, keyed(1, 1), at_ns=6)
    assert table.take_uncommitted() == ()
    hold(table, keyed(2, 1), at_ns=7)
    (row,) = table.take_uncommitted()
    assert (row.sequence, row.quarantined_at_ns) == (2, 5)


def test_a_node_has_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's keys beyond the limit are counted, its known keys still renewed, others let in."""
    monkeypatch.setattr(quarantine, "MAXIMUM_HELD_PER_NODE", 2)
    table = QuarantineTable()
    assert [hold(table, keyed(1, 1, phase=phase)) for phase in range(4)] == [True, True] + [
        False
    ] * 2
    assert table.overflow_count == 2
    assert hold(table, keyed(2, 1, phase=0))
    assert hold(table, keyed(1, 1, phase=9), node="other")
    assert table.held_count() == 3
    monkeypatch.setattr(quarantine, "MAXIMUM_HELD", 3)
    assert not hold(table, keyed(1, 1, phase=10), node="third")


def test_a_release_makes_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A released row stays as a record and takes no place; a newer vector of it does again."""
    monkeypatch.setattr(quarantine, "MAXIMUM_HELD_PER_NODE", 1)
    table = QuarantineTable()
    hold(table, keyed(1, 1))
    assert table.release(name_of(keyed(1, 1)), 1, declaration=4) is not None
    assert table.held_count() == 0
    assert hold(table, keyed(1, 1, phase=1))
    assert not hold(table, keyed(2, 1))
    assert [row.key.phase for row in table.held()] == [1]


def test_a_release_names_one_vector() -> None:
    """Another vector or another name releases nothing, and nothing is released twice."""
    table = QuarantineTable()
    hold(table, keyed(3, 1))
    name = name_of(keyed(3, 1))
    assert table.release(name, 2, 1) is None
    assert table.release(name_of(keyed(3, 1, phase=1)), 3, 1) is None
    assert table.release(name_of(keyed(3, 0)), 3, 1) is None
    assert not table.knows(1)
    assert not table.was_released(keyed(3, 1))
    assert table.release(name, 3, 1) is not None
    assert table.release(name, 3, 2) is None
    assert table.knows(1) and not table.knows(2)
    assert table.was_released(keyed(3, 1))
    assert not table.was_released(keyed(3, 2))
    assert not table.was_released(keyed(3, 1, phase=1))


def test_released_work_counts() -> None:
    """The register table holds a quarantined vector only after its release, after a restart too."""
    table = RegisterTable()
    bad = keyed(5, 9)
    table.hold(bad, RECORD, boot_ns=None, reason="too much", at_ns=1)
    assert table.branches(bad.key) == ()
    changes = table.take_uncommitted()
    assert changes.records == {RECORD.record_id: RECORD} and not changes.vectors
    restarted = RegisterTable()
    restarted.restore(changes.records, (), table.quarantine.take_uncommitted())
    assert not restarted.release("0" * 12, 5, 1)
    assert restarted.release(name_of(bad), 5, 1)
    (stored,) = restarted.branches(bad.key)
    assert (stored.sequence, stored.vector) == (5, vector(9))
    (row,) = restarted.quarantine.take_uncommitted()
    assert row == dataclasses.replace(row, released=1)


def test_names_differ() -> None:
    """Every part of a key is in its name, and in a vector's its content too."""
    keys = [key(), key(phase=1), key(allocation="none"), key(device="GPU-9"), key(record="0" * 16)]
    assert len({key_name(each) for each in keys}) == len(keys)
    vectors = [KeyedVector(each, 3, vector(1)) for each in keys] + [keyed(4, 1), keyed(3, 2)]
    assert len({name_of(each) for each in vectors}) == len(vectors)


def test_a_release_of_an_earlier_version_stands() -> None:
    """It named the key and the sequence."""
    table = QuarantineTable()
    hold(table, keyed(3, 1))
    (row,) = table.held()
    assert is_released(row, {(key_name(row.key), 3)})
    assert not is_released(row, {(key_name(row.key), 2), (key_name(key(phase=1)), 3)})
    assert table.release(key_name(row.key), 3, 1) is not None


def test_what_another_collector_committed_is_taken() -> None:
    """A newer row of a key takes the place of the one here, an older one does not."""
    here, there = QuarantineTable(), QuarantineTable()
    hold(here, keyed(2, 5))
    hold(there, keyed(1, 9))
    hold(there, keyed(1, 3, phase=1))
    rows = [(row, "n") for row in there.held()]
    here.absorb(rows)
    assert {(row.key.phase, row.sequence) for row in here.held()} == {(0, 2), (1, 1)}
    changes = here.change_count
    here.absorb(rows)
    assert here.change_count == changes, "a second time nothing is new"
    assert there.release(name_of(keyed(1, 9)), 1, declaration=4) is not None
    hold(there, keyed(3, 1))
    here.absorb([(row, "n") for row in there.held()])
    assert {(row.key.phase, row.sequence) for row in here.held()} == {(0, 3), (1, 1)}


def test_a_rejection_is_of_one_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row stays and takes no place; sent again it stays rejected; a newer one waits again."""
    monkeypatch.setattr(quarantine, "MAXIMUM_HELD_PER_NODE", 1)
    table = QuarantineTable()
    hold(table, keyed(3, 1))
    table.take_uncommitted()
    name = name_of(keyed(3, 1))
    assert not table.reject(name, 2) and not table.reject(name_of(keyed(3, 0)), 3)
    assert table.held_count() == 1
    assert table.reject(name, 3) and table.reject(name, 3)
    assert table.held() == [] and table.held_count() == 0
    assert table.take_uncommitted() == (), "the ledger's row does not change"
    assert hold(table, keyed(3, 1)) and table.held_count() == 0
    assert not table.was_released(keyed(3, 1))
    assert hold(table, keyed(1, 1, phase=1)), "its place is free"
    assert not hold(table, keyed(4, 1)), "and taken now, for what waits again as well"
    assert table.release(name_of(keyed(1, 1, phase=1)), 1, declaration=7) is not None
    assert hold(table, keyed(4, 1))
    assert [row.sequence for row in table.held()] == [4]
    assert table.held_count() == 1


def test_a_rejection_may_come_before_its_vector() -> None:
    """Of a shared ledger another collector's row may be read later; it is rejected all the same."""
    there, here = QuarantineTable(), QuarantineTable()
    hold(there, keyed(3, 1))
    assert not here.reject(name_of(keyed(3, 1)), 3)
    here.absorb([(row, "n") for row in there.held()])
    assert here.held_count() == 0 and len(here.all()) == 1
    assert here.release(name_of(keyed(3, 1)), 3, declaration=2) is not None
    assert not here.reject(name_of(keyed(3, 1)), 3), "what counts cannot be rejected"
    assert here.was_released(keyed(3, 1))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "release", "reject"]), st.integers(1, 3), st.integers(0, 1)
        ),
        max_size=20,
    )
)
@example([("hold", 1, 0), ("hold", 1, 1), ("reject", 1, 0), ("reject", 1, 1)])
def test_what_waits_is_counted(steps: list[tuple[str, int, int]]) -> None:
    """However words and vectors follow each other: held is whatever nobody spoke of, counted."""
    table, spoken = QuarantineTable(), set()
    for what, sequence, phase in steps:
        each = keyed(sequence, 1, phase=phase)
        if what == "hold":
            hold(table, each)
        elif what == "release":
            table.release(name_of(each), sequence, declaration=1)
        else:
            table.reject(name_of(each), sequence)
            spoken.add(name_of(each))
        waiting = [
            row for row in table.all() if not row.released and quarantine_name(row) not in spoken
        ]
        assert table.held() == waiting
        assert table.held_count() == len(waiting)
    for each in (keyed(sequence, 1, phase=phase) for sequence in (1, 2, 3) for phase in (0, 1)):
        row = next((row for row in table.all() if name_of(each) == quarantine_name(row)), None)
        assert table._row(name_of(each), each.sequence) == row
        assert table._row(key_name(each.key), each.sequence) == row


def test_a_word_names_no_row_that_it_cannot_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and however many words: a name costs a hash."""
    named = []

    def naming(row: QuarantinedVector | StoredVector) -> str:
        named.append(row)
        return quarantine_name(row)

    table = QuarantineTable()
    for number in range(1, 60):
        hold(table, keyed(number, 1, phase=number))
    names = [(name_of(keyed(number, 1, phase=number)), number) for number in (7, 30)]
    monkeypatch.setattr(quarantine, "quarantine_name", naming)
    for name, number in names:
        assert table.reject(name, number)
    assert {row.sequence for row in named} == {7, 30}
    named.clear()
    hold(table, keyed(61, 1, phase=3))
    assert named == [], "of a sequence nobody spoke of"
