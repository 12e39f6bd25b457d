"""What every ledger promises, on every implementation.

A new implementation is one more of `support.ledgers.KINDS`.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from flopmeter_collector.ledger.base import (
    Batch,
    Coverage,
    QuarantinedVector,
    StoredVector,
)
from flopmeter_collector.ledger.packed import PackedVectors
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimQuantity, ClaimScope
from flopmeter_core.errors import BusyError, InvariantError, NotPermittedError
from flopmeter_core.registers import ZERO_VECTOR, Evidence, Vector
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, SIMULATED_RECORD, hourly, key, vector
from support.ledger_places import Place, batch, declaration, stored, transition


def test_new(place: Place) -> None:
    """A new ledger is empty and has an identity of its own."""
    ledger = place.open()
    assert (list(ledger.vectors()), dict(ledger.records())) == ([], {})
    assert (list(ledger.declarations()), list(ledger.transitions())) == ([], [])
    position = ledger.position()
    assert len(position.ledger_id) == 32
    assert position.commit_number == 0


def test_committed_is_kept(place: Place) -> None:
    """Everything of a batch is there after the ledger was closed and opened again."""
    first = place.open()
    position = first.commit(
        dataclasses.replace(
            batch(stored(3, vector(10))),
            declarations=(declaration("a", model="m", format="fp8"),),
            transitions=(transition(),),
        )
    )
    first.close()
    ledger = place.open()
    assert ledger.position().ledger_id == position.ledger_id
    assert ledger.position().commit_number == position.commit_number
    assert list(ledger.vectors()) == [stored(3, vector(10))]
    assert ledger.records() == {RECORD.record_id: RECORD}
    assert list(ledger.declarations()) == [
        dataclasses.replace(declaration("a", model="m", format="fp8"), sequence=1)
    ]
    assert list(ledger.transitions()) == [
        transition(sequence=1, commit_number=position.commit_number)
    ]


def test_greatest_values(place: Place) -> None:
    """Every component keeps values up to 2^62 - 1 exactly, and so does the sequence."""
    greatest = tuple(2**62 - 1 - step for step, _ in enumerate(ZERO_VECTOR))
    ledger = place.open()
    ledger.commit(batch(stored(2**62 - 1, greatest)))
    assert list(ledger.vectors()) == [stored(2**62 - 1, greatest)]


def test_newest_replaces(place: Place) -> None:
    """A key has one row: its newest vector."""
    ledger = place.open()
    for seconds in (1, 2, 3):
        ledger.commit(batch(stored(seconds, vector(seconds))))
    assert list(ledger.vectors()) == [stored(3, vector(3))]


def test_every_part_of_a_key_counts(place: Place) -> None:
    """Keys that differ in one part only are different keys, after a new start too."""
    other_record = dataclasses.replace(RECORD, driver_version="571")
    keys = [
        key(),
        key(device="GPU-2"),
        key(incarnation="f" * 32),
        key(allocation="none"),
        key(phase=1),
        key(evidence=Evidence.ENERGY),
        key(record=other_record.record_id),
    ]
    first = place.open()
    records = {r.record_id: r for r in (RECORD, other_record)}
    rows = tuple(stored(place_ + 1, vector(place_), k) for place_, k in enumerate(keys))
    first.commit(Batch(records=records, vectors=rows))
    first.close()
    assert list(place.open().vectors()) == list(rows)


def test_branches(place: Place) -> None:
    """A batch replaces all branches of a key it names, before and after a new start."""
    ledger = place.open()
    both = (stored(3, vector(1)), stored(3, vector(2), branch=1))
    ledger.commit(batch(*both, stored(1, vector(9), key(phase=1))))
    assert list(ledger.vectors()) == [*both, stored(1, vector(9), key(phase=1))]
    ledger.close()
    ledger = place.open()
    assert len(list(ledger.vectors())) == 3
    ledger.commit(batch(stored(4, vector(4))))
    assert list(ledger.vectors()) == [stored(4, vector(4)), stored(1, vector(9), key(phase=1))]


def test_packed_vectors(place: Place) -> None:
    """Vectors that come as bytes are stored as those that come as objects, forks too."""
    table = RegisterTable()
    for sequence, seconds, phase in ((3, 5, 0), (4, 6, 1), (3, 4, 2), (3, 8, 2), (1, 2, 3)):
        table.merge(KeyedVector(key(phase=phase), sequence, vector(seconds)), RECORD)
    packed = table.take_uncommitted().vectors
    assert isinstance(packed, PackedVectors) and len(packed.forked) == 2
    ledger = place.open()
    ledger.commit(Batch(records={RECORD.record_id: RECORD}, vectors=packed))
    held = [stored for _, branches in table.items() for stored in branches]
    assert sorted(ledger.vectors(), key=repr) == sorted(packed, key=repr)
    assert sorted(packed, key=repr) == sorted(held, key=repr)
    assert list(packed[1:3]) == [packed[1], packed[2]] and packed[-1] == packed.forked[-1]
    table.merge(KeyedVector(key(phase=2), 9, vector(9)), RECORD)
    ledger.commit(Batch(vectors=table.take_uncommitted().vectors))
    assert stored(9, vector(9), key(phase=2)) in list(ledger.vectors())
    assert len(list(ledger.vectors())) == 4
    # Of keys that the ledger met before, by themselves and beside one that it did not.
    for told in (((0, 5),), ((0, 6), (1, 7), (8, 1))):
        for phase, sequence in told:
            table.merge(KeyedVector(key(phase=phase), sequence, vector(10 + sequence)), RECORD)
        ledger.commit(Batch(vectors=table.take_uncommitted().vectors))
        for phase, sequence in told:
            assert stored(sequence, vector(10 + sequence), key(phase=phase)) in ledger.vectors()
    held = [stored for _, branches in table.items() for stored in branches]
    assert sorted(ledger.vectors(), key=repr) == sorted(held, key=repr)


def test_branches_of_several_keys(place: Place) -> None:
    """A branch goes with its own key's next vector, however many other commits lie between."""
    ledger = place.open()
    forks = [
        (stored(3, vector(1), key(phase=n)), stored(3, vector(2), key(phase=n), branch=1))
        for n in range(3)
    ]
    ledger.commit(batch(*forks[0]))
    ledger.commit(batch(*forks[1], *forks[2]))
    ledger.commit(batch(stored(4, vector(4), key(phase=7))))
    assert list(ledger.vectors()) == [
        *forks[0],
        *forks[1],
        *forks[2],
        stored(4, vector(4), key(phase=7)),
    ]
    ledger.commit(batch(stored(5, vector(5), key(phase=1))))
    ledger.commit(batch(stored(6, vector(6), key())))
    assert list(ledger.vectors()) == [
        stored(6, vector(6)),
        stored(5, vector(5), key(phase=1)),
        *forks[2],
        stored(4, vector(4), key(phase=7)),
    ]


def test_commit_numbers(place: Place) -> None:
    """Each commit and each declaration from outside raises the number; nothing else does."""
    ledger = place.open()
    numbers = [ledger.commit(batch(stored(n, vector(n)))).commit_number for n in (1, 2)]
    assert numbers == [1, 2]
    assert ledger.commit(Batch()).commit_number == 2
    place.declare(declaration("a", model="m"))
    assert ledger.position().commit_number == 3


def test_all_or_nothing(place: Place) -> None:
    """A batch that cannot be stored leaves nothing of it, and no later commit hides that."""
    ledger = place.open()
    ledger.commit(batch(stored(1, vector(1))))
    broken = Batch(
        vectors=(stored(2, vector(2)), stored(1, vector(1), key(record="0" * 16))),
        transitions=(transition(),),
    )
    with pytest.raises(InvariantError):
        ledger.commit(broken)
    assert list(ledger.vectors()) == [stored(1, vector(1))]
    assert list(ledger.transitions()) == []
    assert ledger.position().commit_number == 1


def test_claims(place: Place) -> None:
    """Claims of a batch take the place of older counts of the same stretch, and are kept."""
    key_ = ClaimKey("a", "0", ClaimScope.RANK, 7, "cd" * 16, 1, 5, "m", "bf16=1", "pretraining")
    other = dataclasses.replace(key_, quantity=ClaimQuantity.EXECUTED)
    first = place.open()
    first.commit(Batch(claims=(Claim(key_, ClaimCounts(9, 5, 10, 10**30)),)))
    newer = Claim(key_, ClaimCounts(10, 6, 12, 10**30 + 1), sequence=2)
    first.commit(Batch(claims=(newer, Claim(other, ClaimCounts(5, 1, 0, 0)))))
    assert first.position().commit_number == 2
    first.close()
    assert list(place.open().claims()) == [newer, Claim(other, ClaimCounts(5, 1, 0, 0))]


def test_coverage_keeps_the_least(place: Place) -> None:
    """Of each number the least stays, whatever order rows come in, and an unknown one yields."""
    ledger = place.open()
    unknown = Coverage("ab" * 16, "GPU-0", "n0", "", None, None, 900, 7)
    late = Coverage("ab" * 16, "GPU-0", "n0", "b0", 50, 400, 900, 7)
    best = Coverage("ab" * 16, "GPU-0", "n0", "b0", 40, 300, 800, 5)
    other = dataclasses.replace(late, device="GPU-1")
    ledger.commit(Batch(coverage=(unknown,)))
    assert list(ledger.coverage()) == [unknown]
    for rows in ((late, other), (best,), (unknown, late)):
        ledger.commit(Batch(coverage=rows))
    ledger.close()
    assert list(place.open().coverage()) == [best, other]


def test_one_collector(place: Place) -> None:
    """A second collector is let in at once on a shared ledger, else after the first has gone."""
    ledger = place.open()
    if ledger.shared:
        second = place.open()
        assert second.position() == ledger.position()
        return
    with pytest.raises(BusyError, match="held by another collector"):
        place.open()
    ledger.close()
    ledger.close()
    place.open()


def test_readers(place: Place) -> None:
    """A reader sees each commit at once and can change nothing."""
    ledger = place.open()
    reader = place.read()
    for seconds in (1, 2):
        ledger.commit(batch(stored(seconds, vector(seconds))))
        assert list(reader.vectors()) == [stored(seconds, vector(seconds))]
    with pytest.raises(InvariantError):
        reader.commit(batch(stored(3, vector(3))))


@pytest.mark.parametrize("simulated", [True, False])
def test_kind(place: Place, simulated: bool) -> None:
    """A ledger keeps the kind it was created for and refuses the other."""
    first = place.open(simulated=simulated)
    assert first.simulated == simulated
    first.close()
    with pytest.raises(NotPermittedError, match="never takes") as refused:
        place.open(simulated=not simulated)
    assert refused.value.exit_code == 77
    assert place.open(simulated=simulated).simulated == simulated


def test_many(place: Place) -> None:
    """Many keys in one batch come back in the order they were first stored."""
    ledger = place.open()
    rows = tuple(stored(1, vector(n), key(phase=n)) for n in range(2_000))
    ledger.commit(batch(*rows))
    ledger.commit(batch(*(dataclasses.replace(r, sequence=2) for r in reversed(rows))))
    found = list(ledger.vectors())
    assert [row.sequence for row in found] == list(itertools.repeat(2, 2_000))
    assert [row.key for row in found] == [row.key for row in rows]


def test_records_are_kept_whole(place: Place) -> None:
    """A record comes back with every field, the simulated mark included."""
    ledger = place.open(simulated=True)
    ledger.commit(Batch(records={SIMULATED_RECORD.record_id: SIMULATED_RECORD}))
    assert ledger.records() == {SIMULATED_RECORD.record_id: SIMULATED_RECORD}


def test_hours_are_kept(place: Place) -> None:
    """Hours come back by allocation, oldest first, as they were, after a restart too."""
    first = place.open()
    rows = [hourly(hour, hour + 1, vector(hour + 1)) for hour in (0, 1, 4)]
    other = dataclasses.replace(key(), allocation="run:b")
    first.commit(
        dataclasses.replace(
            batch(stored(9, vector(9)), stored(9, vector(9), other)), hours=tuple(rows[::-1])
        )
    )
    first.close()
    ledger = place.open()
    assert list(ledger.hours("run:a")) == rows
    assert list(ledger.hours("run:b")) == []
    late = hourly(2, 3, vector(3))
    ledger.commit(Batch(hours=(late,)))
    assert ledger.hour_count([RECORD.record_id]) == len([*rows, late])
    assert ledger.hour_count(["0" * 16]) == 0
    assert list(ledger.hours("run:a")) == [*rows[:2], late, rows[2]]
    assert list(place.read().hours("run:a")) == [*rows[:2], late, rows[2]]


def test_one_row_of_an_hour(place: Place) -> None:
    """Of one key and hour the highest sequence stays, whatever order the rows come in."""
    rows = [
        hourly(3, 1, vector(1)),
        hourly(3, 2, vector(3)),
        hourly(3, 2, vector(3), first_hour=1),
        hourly(3, 2, vector(2)),
    ]
    ledger = place.open()
    ledger.commit(batch(stored(9, vector(9))))
    ends = set()
    # The last row contradicts two others: any of them may stay, but always the same one.
    orders = [*itertools.permutations(rows[:3]), *itertools.permutations(rows)]
    keyed = [(dataclasses.replace(key(), phase=n), order) for n, order in enumerate(orders)]
    ledger.commit(batch(*(stored(9, vector(9), of) for of, _ in keyed)))
    for step in range(len(rows)):
        coming = [dataclasses.replace(o[step], key=of) for of, o in keyed if step < len(o)]
        ledger.commit(Batch(hours=tuple(coming)))
    found = list(ledger.hours("run:a"))
    for of, order in keyed:
        (kept,) = [row for row in found if row.key == of]
        ends.add((len(order), dataclasses.replace(kept, key=key())))
    assert (3, rows[2]) in ends
    assert len(ends) == 2


def quarantined(sequence: int, values: Vector, **fields: Any) -> QuarantinedVector:
    """A quarantined vector of the test's key."""
    row = QuarantinedVector(key(), sequence, values, 9, "cannot be true", 1_800_000_000)
    return dataclasses.replace(row, **fields)


def test_quarantine(place: Place) -> None:
    """A quarantined vector is kept beside the registers, one a key, and enters none of them."""
    first = place.open()
    rows = (
        quarantined(3, vector(2**32)),
        quarantined(1, vector(1), key=key(phase=1), boot_ns=None, released=7),
    )
    records = {RECORD.record_id: RECORD}
    first.commit(Batch(records=records, quarantined=rows))
    first.commit(batch(stored(1, vector(1))))
    newer = quarantined(4, vector(2**33))
    first.commit(Batch(quarantined=(newer,)))
    first.close()
    ledger = place.open()
    assert list(ledger.quarantined()) == [newer, rows[1]]
    assert list(ledger.vectors()) == [stored(1, vector(1))]
    assert list(place.read().quarantined()) == [newer, rows[1]]


def test_parts(place: Place) -> None:
    """Part by part every register comes once, with all its branches and its record."""
    first = place.open()
    other = dataclasses.replace(RECORD, node="node-2", device="GPU-2")
    keys = [key(phase=number) for number in range(4)] + [key(other), key(other, phase=1)]
    rows = [stored(number + 1, vector(number + 1), of) for number, of in enumerate(keys)]
    fork = stored(9, vector(7, BUSY_NS=1), keys[2], branch=1)
    records = {each.record_id: each for each in (RECORD, other)}
    held = quarantined(4, vector(2**33), key=keys[4])
    rows.insert(3, fork)
    # One key has nothing but a quarantined vector: it hides no key behind it.
    rows = [row for row in rows if row.key != keys[4]]
    first.commit(Batch(records=records, vectors=tuple(rows), quarantined=(held,)))
    first.close()
    ledger = place.open()
    assert ledger.begin_parts() == len(keys)
    found: list[StoredVector] = []
    told: dict[str, object] = {}
    after = 0
    while True:
        part = ledger.part(after=after, limit=2, known=told)
        assert not told.keys() & part.records.keys()
        told.update(part.records)
        found += part.vectors
        if part.last is None:
            break
        after = part.last
    by_key = sorted(found, key=lambda row: (keys.index(row.key), row.branch))
    assert by_key == rows
    assert told == records
    of_one = ledger.part_of(["node-2", "nobody"], ())
    assert (of_one.vectors, dict(of_one.records)) == ([rows[-1]], {other.record_id: other})
    assert list(ledger.part_of(["node-1"], records).vectors) == rows[:-1]
    assert list(ledger.quarantined_nodes()) == ["node-2"]
    assert list(ledger.quarantined()) == [held]


def test_a_part_of_a_fork_is_healed(place: Place) -> None:
    """What was read in parts only is replaced whole: no branch of a healed fork stays behind."""
    first = place.open()
    other = dataclasses.replace(RECORD, node="node-2", device="GPU-2")
    forks = [(stored(1, vector(1), k), stored(1, vector(2), k, 1)) for k in (key(), key(other))]
    records = {each.record_id: each for each in (RECORD, other)}
    first.commit(Batch(records=records, vectors=(*forks[0], *forks[1])))
    first.close()
    ledger = place.open()
    for fork, node in zip(forks, (RECORD.node, other.node), strict=True):
        assert list(ledger.part_of([node], ()).vectors) == list(fork)
    healed = tuple(stored(2, vector(3), fork[0].key) for fork in forks)
    ledger.commit(Batch(vectors=healed))
    assert tuple(ledger.vectors()) == healed


def test_coverage_by_parts(place: Place) -> None:
    """Rows come by incarnation and device, each once."""
    ledger = place.open()
    rows = [
        Coverage(incarnation * 16, device, "n0", "b0", 50, 400, 900, 7)
        for incarnation in ("0b", "ab", "ff")
        for device in ("GPU-0", "GPU-1", "gpu-0")
    ]
    ledger.commit(Batch(coverage=tuple(reversed(rows))))
    found: list[Coverage] = []
    while part := ledger.coverage_part(
        after=(found[-1].incarnation, found[-1].device) if found else None, limit=2
    ):
        found += part
    assert found == rows


def test_an_hour_that_comes_again_after_it_was_dropped_is_told_no_more_exactly(
    place: Place,
) -> None:
    """What lay before it may be dropped still: it reaches back like who stood for it.

    One that is there, or that no other stands for, stays as exact as it was told.
    """
    ledger = place.open()
    rows = [hourly(hour, hour + 1, vector(hour + 1)) for hour in range(6)]
    ledger.commit(dataclasses.replace(batch(stored(9, vector(9))), hours=tuple(rows[:5])))
    wider = dataclasses.replace(rows[3], first_hour=1)
    dropped = ((rows[1].key, 1), (rows[1].key, 2))
    ledger.commit(Batch(hours=(wider,), dropped_hours=dropped, declared_to=0))
    ledger.commit(Batch(hours=(rows[2], rows[3], rows[4], rows[5])))
    again = dataclasses.replace(rows[2], first_hour=1)
    assert list(ledger.hours("run:a")) == [rows[0], again, wider, rows[4], rows[5]]
    ledger.commit(Batch(hours=(rows[0],)))
    assert next(iter(ledger.hours("run:a"))) == rows[0]


def test_hours_are_dropped(place: Place) -> None:
    """Hours that are named go, and an hour told with a wider range takes the narrower's place."""
    ledger = place.open()
    rows = [hourly(hour, hour + 1, vector(hour + 1)) for hour in range(4)]
    ledger.commit(dataclasses.replace(batch(stored(9, vector(9))), hours=tuple(rows)))
    wider = dataclasses.replace(rows[3], first_hour=1)
    dropped = ((key(), 1), (key(), 2), (key(), 77), (key(phase=5), 1))
    ledger.commit(Batch(hours=(wider,), dropped_hours=dropped, declared_to=0))
    assert list(ledger.hours("run:a")) == [rows[0], wider]


def test_allocations(place: Place) -> None:
    """Each allocation a key names is told once."""
    ledger = place.open()
    assert list(ledger.allocations()) == []
    names = ("run:b", "none", "run:a", "run:b")
    keys = [key(phase=number, allocation=name) for number, name in enumerate(names)]
    ledger.commit(batch(*(stored(1, vector(1), of) for of in keys)))
    assert list(ledger.allocations()) == ["none", "run:a", "run:b"]


def test_sound_ledger(place: Place) -> None:
    """The storage finds nothing damaged in a ledger nobody tampered with."""
    ledger = place.open()
    ledger.commit(batch(stored(1, vector(1))))
    assert list(ledger.damage()) == []
    assert list(place.read().damage()) == []
