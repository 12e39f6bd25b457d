"""Closed registers: kept, sent, let go and added up, and nothing of them lost or doubled."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_agent import packing
from flopmeter_agent.accumulate import carry_owner
from flopmeter_agent.closed import (
    REMEMBERED_INCARNATIONS,
    SLOTS,
    ClosedRegisters,
    incarnation_after,
)
from flopmeter_agent.closed_room import KEPT_NS
from flopmeter_agent.state import StoredRegister
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS, Component, Evidence, Register
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.writers import marked
from support.closed_registers import POSITION, RECORD, RECORDS, Small, incarnation, stored


def subunits(closed: ClosedRegisters) -> list[int]:
    """All that is held, in sub-units."""
    sums = [0] * COMPONENT_COUNT
    for register in closed.held().values():
        for place, (units, carry) in enumerate(zip(register.units, register.carry, strict=True)):
            sums[place] += units * SUBUNITS[place] + carry
    return sums


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str, object]]:
    """What was logged: how severe, the sentence, and its fields."""
    return [(each.levelno, each.message, vars(each)["flopmeter_fields"]) for each in caplog.records]


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """An empty one."""
    return Small(tmp_path)


def test_what_was_closed_is_kept_over_a_restart(small: Small) -> None:
    """Vector, sequence, carry, record and mark come back as they were."""
    left = [stored(1, sent=True), stored(1, run=1)]
    small.absorb(1, left)
    before = small.closed.held()
    assert before == {each.key: each.register for each in left}
    after = small.open()
    assert after.held() == before
    assert len(after) == 2
    assert set(after) == set(before)
    assert after.records == RECORDS
    assert {k.sequence for k in after.unacknowledged()} == {5}
    assert after.sequence(stored(1).key) == 5
    assert after.sequence(stored(2).key) == 0
    assert {row.sent for row in after._rows.values()} == {True, False}


def test_a_register_that_never_grew_is_not_kept(small: Small) -> None:
    """It holds nothing."""
    empty = stored(1)
    empty.register = Register()
    small.absorb(1, [empty])
    assert len(small.closed) == 0
    assert small.closed.records == {}


def test_an_incarnation_is_taken_over_once(small: Small) -> None:
    """A kill before the next state was written offers the older copy again: it is known."""
    small.absorb(1)
    small.open()
    assert small.closed.holds(incarnation(1))
    assert not small.closed.holds(incarnation(2))
    larger = stored(1)
    larger.register.units[0] += 7
    larger.register.sequence += 1
    assert small.absorb(1, [larger]) == ()
    assert small.closed.sequence(larger.key) == 5


def test_only_the_last_incarnations_are_remembered(small: Small) -> None:
    """The list of names does not grow for ever."""
    for of in range(1, REMEMBERED_INCARNATIONS + 2):
        small.absorb(of, [])
    assert not small.closed.holds(incarnation(1))
    assert small.closed.holds(incarnation(2))
    assert small.open().holds(incarnation(REMEMBERED_INCARNATIONS + 1))


def test_the_newest_holder_of_a_fraction_keeps_it(small: Small) -> None:
    """What is below one unit goes on in the successor; it is nowhere twice."""
    small.absorb(1)
    owner = carry_owner(stored(1).key)
    assert small.closed.carries() == {owner: stored(1).register.carry}
    small.absorb(2, [stored(2, run=1)])
    assert small.closed.carries().keys() == {owner, carry_owner(stored(2, run=1).key)}
    successor = stored(3)
    successor.register.carry[1] = 12_345
    small.absorb(3, [successor])
    assert small.open().carries()[owner][1] == 12_345
    assert not any(small.closed.held()[stored(1).key].carry)
    assert any(small.closed.held()[stored(2, run=1).key].carry)


def test_who_left_no_fraction_hands_none_on(small: Small) -> None:
    """A register that ended on whole units gives its successor nothing, not what was there once."""
    small.absorb(1)
    assert small.closed.carries()
    whole = stored(2)
    whole.register.carry = [0] * COMPONENT_COUNT
    assert carry_owner(whole.key) in small.closed.carries()
    small.absorb(2, [whole])
    assert small.closed.carries() == {}


def test_what_the_root_has_is_not_offered(small: Small) -> None:
    """Only the last sequence counts, and only once; a restart knows it."""
    small.absorb(1, [stored(1), stored(1, run=1, acknowledged=5), stored(1, run=2, acknowledged=4)])
    assert {k.key.allocation for k in small.closed.unacknowledged()} == {"run:0", "run:2"}
    small.closed.acknowledge(stored(1).key, 4, up_ns=9)
    assert small.closed.at_root(stored(1).key) == 0
    assert small.closed.answers == 0
    small.closed.acknowledge(stored(1).key, 5, up_ns=9)
    small.closed.acknowledge(stored(1).key, 5, up_ns=99)
    small.closed.acknowledge(stored(2).key, 5, up_ns=9)
    assert small.closed.answers == 1
    assert small.closed.at_root(stored(1).key) == 5
    small.closed.save(POSITION)
    assert small.closed.position == POSITION
    after = small.open()
    assert after.position == POSITION
    assert {k.key.allocation for k in after.unacknowledged()} == {"run:2"}
    assert after._rows[stored(1).key].root_up_ns == 9


def test_nothing_new_is_not_written(small: Small) -> None:
    """An answer that says nothing of closed keys costs no write."""
    small.absorb(1)
    payload = small.journal.payload
    small.closed.save(POSITION)
    assert small.journal.payload == payload
    small.acknowledge()
    small.closed.save(POSITION)
    written = small.journal.payload
    assert written != payload
    small.closed.save(LedgerPosition("L", 1, 2))
    assert small.journal.payload is written


def test_a_ledger_that_went_back_is_told_everything(small: Small) -> None:
    """No acknowledgement holds any more, after a restart neither."""
    small.absorb(1, [stored(1, acknowledged=5)])
    assert list(small.closed.unacknowledged()) == []
    small.closed.went_back()
    assert [k.key for k in small.closed.unacknowledged()] == [stored(1).key]
    small.closed.save(POSITION)
    assert [k.key for k in small.open().unacknowledged()] == [stored(1).key]


def test_90_days_after_the_root_has_it_a_vector_goes(small: Small) -> None:
    """Not a moment before, and never what the root does not have."""
    small.absorb(1, [stored(1), stored(1, run=1)])
    small.closed.acknowledge(stored(1).key, 5, up_ns=1_000)
    small.absorb(2, [], up_ns=1_000 + KEPT_NS)
    assert len(small.closed) == 2
    small.absorb(3, [], up_ns=1_001 + KEPT_NS)
    assert set(small.closed) == {stored(1, run=1).key}
    small.absorb(4, [], up_ns=100 * KEPT_NS)
    assert len(small.open()) == 1


@pytest.mark.parametrize("way", ["closed", "answered", "shown", "another went"])
def test_90_days_are_known_over_a_restart(small: Small, way: str) -> None:
    """Whichever write was the last before it: what the root has goes as soon as without one."""
    key = stored(1, run=7).key
    small.absorb(1, [stored(1, run=7, acknowledged=0 if way == "answered" else 5)], up_ns=1_000)
    if way == "answered":
        small.closed.acknowledge(key, 5, up_ns=1_000)
        small.closed.save(POSITION)
    if way == "shown":
        small.absorb(2)
        small.closed.offer([stored(2).key])
    if way == "another went":
        small.absorb(2, [stored(2, acknowledged=5)], up_ns=0)
        small.absorb(3, [], up_ns=KEPT_NS + 1)
        assert set(small.closed) == {key}
    small.open()
    small.absorb(998, [], up_ns=1_000 + KEPT_NS)
    assert key in set(small.closed)
    small.open()
    small.absorb(999, [], up_ns=1_001 + KEPT_NS)
    assert key not in set(small.closed)


def test_an_up_time_before_zero_is_zero(small: Small) -> None:
    """A sign would read as not acknowledged."""
    small.absorb(1, [stored(1, acknowledged=5), stored(1, run=1)], up_ns=-7)
    small.closed.acknowledge(stored(1, run=1).key, 5, up_ns=-7)
    assert list(small.closed.unacknowledged()) == []
    assert [row.root_up_ns for row in small.closed._rows.values()] == [0, 0]


def test_an_answer_says_that_a_vector_left(small: Small) -> None:
    """What was acknowledged had left, whatever its mark said; each answer makes room once."""
    small.absorb(1, [stored(1), stored(1, run=1), stored(1, run=2)])
    for run in range(2):
        small.closed.acknowledge(stored(1, run=run).key, 5, up_ns=1)
    assert small.closed.answers == 2
    small.closed.went_back()
    assert [row.sent for row in small.closed._rows.values()] == [True, True, False]


def test_a_restart_knows_sequences_and_boots(small: Small) -> None:
    """A copy held for display has its sequence; each row remembers the boot it was written in."""
    for of, boot in enumerate(("first", "second", "third"), start=1):
        small.absorb(of, [stored(of)], boot=boot)
    after = small.open()
    assert {register.sequence for register in after.held().values()} == {5}
    assert [row.boot_id for row in after._rows.values()] == ["first", "second", "third"]


def test_what_leaves_is_marked_durably_before(small: Small) -> None:
    """A mark survives any end; one that is there is not written again."""
    small.absorb(1, [stored(1), stored(1, run=1)])
    small.closed.offer([stored(1).key, stored(9).key])
    written = small.journal.payload
    small.closed.offer([stored(1).key])
    assert small.journal.payload is written
    after = small.open()
    assert after._rows[stored(1).key].sent
    assert not after._rows[stored(1, run=1).key].sent


def test_what_was_shown_is_counted(small: Small) -> None:
    """Each time that something new may leave, once, and over restarts: the witness goes by it."""
    small.absorb(1, [stored(1), stored(1, run=1)])
    for offered, shown in (((), 0), ((0,), 1), ((0,), 1), ((0, 1), 2)):
        small.closed.offer([stored(1, run=run).key for run in offered])
        assert small.closed.shown == shown
    small.absorb(2)
    small.acknowledge()
    small.closed.save(POSITION)
    closed = small.open()
    closed.offer([stored(2).key])
    assert small.open().shown == closed.shown == 2
    small.absorb(3)
    small.closed.offer([stored(3).key])
    assert small.closed.shown == 3


def test_what_a_process_found_is_written_as_it_was(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what changes; no bytes of it are made anew."""
    small.absorb(1, [stored(1, run=run, device=run % 2) for run in range(9)], boot="first")
    small.absorb(2, boot="second")
    closed = small.open()
    rows = dict(closed._rows)
    told = []
    vector_out = packing.vector_out

    def counted(values: Sequence[int]) -> bytes:
        told.append(list(values))
        return vector_out(values)

    monkeypatch.setattr(packing, "vector_out", counted)
    fractions = list(closed.carries().values())
    for changed in (stored(1, run=3, device=1), stored(2)):
        told.clear()
        closed.offer([changed.key])
        assert sorted(told) == sorted([changed.register.units, *fractions])
        rows[changed.key] = replace(rows[changed.key], sent=True)
    assert small.open()._rows == rows


# --- room -----------------------------------------------------------------------------------------


def test_what_the_root_has_goes_first(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    """With no room the oldest acknowledged go early, a quarter of the room, and it is said."""
    of = small.fill(sent=True)
    for row in list(small.closed):
        small.closed.acknowledge(row, 5, up_ns=int(row.incarnation, 16))
    keys = sorted(small.closed)
    assert small.absorb(of, [stored(of, run=run) for run in range(4)]) == ()
    gone = [key for key in keys if key not in set(small.closed)]
    assert gone == keys[: len(gone)]
    assert small.closed.counters.let_go_early == len(gone)
    size = len(small.journal.payload or b"")
    assert 0.6 < size / small.journal.room < 0.8
    assert said(caplog) == [
        (
            logging.WARNING,
            "no room for closed registers; some the ledger holds go before their 90 days",
            {"registers": len(gone)},
        )
    ]
    assert (small.closed.counters.added_up, small.closed.counters.overflowed) == (0, 0)


def test_what_may_have_left_is_never_touched(small: Small) -> None:
    """Sent and unacknowledged: no room, nothing changes, and the next start tries again."""
    of = small.fill(sent=True)
    before, payload = small.closed.held(), small.journal.payload
    more = [stored(of, run=run) for run in range(4)]
    assert small.absorb(of, more) is None
    assert small.closed.held() == before
    assert small.journal.payload is payload
    assert not small.closed.holds(incarnation(of))
    small.acknowledge()
    assert small.absorb(of, more) == ()
    assert small.closed.holds(incarnation(of))


def test_what_never_left_is_added_up(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    """By user, exactly, under an incarnation that is new; the parts are gone."""
    of = small.fill()
    before = subunits(small.closed)
    parts = set(small.closed)
    more = [stored(of, run=run) for run in range(4)]
    gone = small.absorb(of, more)
    assert gone is not None
    assert set(gone) == parts | {more[0].key}
    (whole,) = [key for key in small.closed if key.allocation == "run:0"]
    assert whole.incarnation not in {key.incarnation for key in parts}
    assert len(whole.incarnation) == 32
    assert int(whole.incarnation, 16)
    assert (whole.phase, whole.evidence) == (0, Evidence.GPM)
    # A part that stands alone is itself.
    assert {row.key for row in more[1:]} <= set(small.closed)
    for row in more:
        for place, (units, carry) in enumerate(
            zip(row.register.units, row.register.carry, strict=True)
        ):
            before[place] += units * SUBUNITS[place] + carry
    held = small.closed.held()[whole]
    zeroed = [
        (units, carry) for units, carry in zip(held.units, held.carry, strict=True) if carry < 0
    ]
    assert zeroed == []
    assert all(c < s for c, s in zip(held.carry, SUBUNITS, strict=True))
    # Fractions that successors had taken over are not there twice.
    assert subunits(small.closed)[Component.BUSY_NS] == before[Component.BUSY_NS]
    assert small.closed.counters.added_up == len(parts)
    assert small.closed.counters.overflowed == 0
    assert said(caplog) == [
        (
            logging.WARNING,
            "no room for closed registers; unsent ones are added up by their user",
            {"registers": len(parts)},
        )
    ]
    assert small.open().held()[whole] == held
    told = next(k for k in small.closed.unacknowledged() if k.key == whole)
    assert (told.sequence, told.boot_ns) == (1, of * 10**9)


def test_a_sum_knows_no_boot_time_that_a_part_does_not_know(small: Small) -> None:
    """Such a part was closed by an earlier version; the sum might be held against too little."""
    untimed = stored(1)
    untimed.register.boot_ns = 0
    small.absorb(1, [untimed])
    of = small.fill(first=2)
    assert small.absorb(of, [stored(of, run=run) for run in range(4)]) is not None
    assert small.closed.counters.added_up > 0
    told = {keyed.key.allocation: keyed.boot_ns for keyed in small.closed.unacknowledged()}
    assert told == {"run:0": None, **{f"run:{run}": of * 10**9 for run in range(1, 4)}}


def test_too_many_users_are_one_overflow(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    """Where no user comes twice their work becomes the device's overflow, exactly."""
    of = 1
    truth = [0] * COMPONENT_COUNT
    while small.closed.counters.overflowed == 0:
        row = stored(of, device=of % 2, run=of)
        for place, (units, carry) in enumerate(
            zip(row.register.units, row.register.carry, strict=True)
        ):
            truth[place] += units * SUBUNITS[place] + carry
        assert small.absorb(of, [row]) is not None
        of += 1
    assert {(key.device, key.allocation, key.phase) for key in small.closed} == {
        ("GPU-0", OVERFLOW, 0),
        ("GPU-1", OVERFLOW, 0),
    }
    assert subunits(small.closed) == truth
    assert small.closed.counters.overflowed == of - 1 - 2
    assert said(caplog) == [
        (
            logging.ERROR,
            "no room for more users; unsent registers are added up as allocation overflow",
            {"registers": of - 1 - 2},
        )
    ]


def test_an_earlier_boot_is_not_added_up(small: Small) -> None:
    """An image of this disk may have sent it meanwhile: only this boot's own are added up."""
    of = small.fill(boot="")
    more = [stored(of, run=run) for run in range(4)]
    assert small.absorb(of, more, boot="boot") is None
    assert small.absorb(of, more, boot="") is None


@pytest.mark.parametrize("read", [True, False])
def test_what_is_distrusted_is_of_a_boot_that_nobody_knows(small: Small, *, read: bool) -> None:
    """It is sent as it is and never added up; other boots and later rows of this one are not."""
    small.absorb(1, [stored(1)], boot="before")
    small.absorb(2, [stored(2)])
    closed = small.closed if read else small.open()
    closed.distrust("boot")
    for of in (3, 4):
        small.absorb(of, [stored(of)])
    # Twice in a boot: what came since is as little known, and nothing is known again.
    closed.distrust("boot")
    last = small.fill(first=5)
    small.absorb(last, [stored(last)])
    held = {key.incarnation for key in small.open().held()}
    assert {incarnation(of) for of in (1, 2, 3, 4)} <= held
    assert incarnation(5) not in held


def test_what_is_of_no_boot_here_is_not_written_anew(small: Small) -> None:
    """To distrust a boot that nothing is of changes nothing on the disk."""
    small.absorb(1)
    before = small.path.read_bytes()
    small.closed.distrust("another boot")
    assert small.path.read_bytes() == before


def test_two_rooms_are_added_up_under_two_incarnations(small: Small) -> None:
    """A sum is final: the next one is another key, and takes the unsent first one in."""
    of = small.fill()
    small.absorb(of, [stored(of, run=run) for run in range(4)])
    (first,) = [key for key in small.closed if key.allocation == "run:0"]
    of = small.fill(first=of + 1)
    small.absorb(of, [stored(of, run=run) for run in range(4)])
    (second,) = [key for key in small.closed if key.allocation == "run:0"]
    assert second.incarnation != first.incarnation


def test_sums_of_one_process_have_names_of_their_own(small: Small) -> None:
    """Drawn from its incarnation, the same in a simulator's replay, and never one twice."""
    running, of = incarnation(9_999), 1
    for number in range(1, 4):
        of = small.fill(first=of)
        more = [stored(of, run=run) for run in range(4)]
        assert small.absorb(of, more, running=running) is not None
        (whole,) = [key for key in small.closed if key.allocation == "run:0"]
        assert whole.incarnation == incarnation_after(running, f"added-up/{number}")
        of += 1


def test_only_records_that_are_needed_stay(small: Small) -> None:
    """Those of rows, with a fraction or without, and none whose rows are all gone."""
    others = [DeviceRecord("n", f"GPU-{number}", "nvidia", "part") for number in (1, 2)]
    records = {each.record_id: each for each in (RECORD, *others)}
    left = [stored(1), stored(1, run=1), stored(1, run=2, acknowledged=5)]
    left[1].register.carry = left[2].register.carry = [0] * COMPONENT_COUNT
    for each, record in zip(left[1:], others, strict=True):
        each.key = replace(each.key, record=record.record_id)

    def absorb(of: int, registers: Sequence[StoredRegister], up_ns: int) -> None:
        names = {"boot_id": "boot", "running": incarnation(9)}
        small.closed.absorb(incarnation(of), registers, records, up_ns=up_ns, **names)

    absorb(1, left, 1)
    assert small.closed.records == small.open().records == records
    absorb(2, [], 2 + KEPT_NS)
    assert set(small.closed) == {left[0].key, left[1].key}
    del records[others[1].record_id]
    assert small.closed.records == small.open().records == records


@settings(max_examples=20)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 5), st.integers(1, 3), st.sampled_from(["", "boot"]), st.booleans()
        ),
        min_size=25,
        max_size=50,
    )
)
def test_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, str, bool]]
) -> None:
    """However full: what is held and what the root has add up to what was closed, in ns."""
    small = Small(tmp_path_factory.mktemp("closed"), slot_bytes=2_560)
    truth, at_root, count_closed = 0, 0, 0
    for of, (run, count, boot, sends) in enumerate(steps, start=1):
        if sends:
            keys = {k.key: k for k in list(small.closed.unacknowledged())[:3]}
            small.closed.offer(keys)
            for keyed in list(keys.values())[:2]:
                small.closed.acknowledge(keyed.key, keyed.sequence, up_ns=of)
                at_root += keyed.vector[Component.BUSY_NS]
        rows = [stored(of, run=run + number) for number in range(count)]
        if small.absorb(of, rows, boot=boot, up_ns=of) is not None:
            truth += sum(row.register.units[Component.BUSY_NS] for row in rows)
            count_closed += count
        waiting = sum(k.vector[Component.BUSY_NS] for k in small.closed.unacknowledged())
        assert waiting + at_root == truth
        done = small.closed.counters
        gone = done.let_go_early + done.added_up + done.overflowed
        assert len(small.closed) + gone == count_closed
        assert len(small.journal.payload or b"") <= small.journal.room
        assert small.journal.size == SLOTS * small.slot_bytes
    assert small.open().held() == small.closed.held()


def test_an_incarnation_comes_from_another() -> None:
    """The same for the same purpose, another for any other, and of the same form."""
    first = incarnation_after(incarnation(1), "a")
    assert first == incarnation_after(incarnation(1), "a")
    others = {incarnation_after(incarnation(1), "b"), incarnation_after(incarnation(2), "a")}
    assert len({first, *others}) == 3
    assert len(first) == 32


def test_what_is_final(small: Small) -> None:
    """Of a boot that was seen to its end nobody has more; of another one somebody may."""
    small.absorb(1)
    small.absorb(2, boot="")
    key, other = stored(1).key, stored(2).key
    assert [small.closed.final_sequence(each) for each in (key, other, stored(3).key)] == [5, 0, 0]
    small.closed.distrust("boot")
    assert small.closed.final_sequence(key) == small.open().final_sequence(key) == 0


def test_what_stands_beside_another_writer(small: Small) -> None:
    """A vector that gets a mark is offered again, is never added up, and keeps it."""
    small.absorb(1)
    key = stored(1).key
    small.closed.acknowledge(key, 5, up_ns=7)
    small.closed.save(POSITION)
    assert list(small.closed.unacknowledged()) == []
    small.closed.mark(key, 9)
    small.closed.save(POSITION)
    for closed in (small.closed, small.open()):
        (again,) = closed.unacknowledged()
        assert (again.key, again.sequence) == (key, marked(5, 9))
        assert closed.final_sequence(key) == marked(5, 9)


def test_what_gets_a_mark_may_have_left(small: Small) -> None:
    """A collector was shown it, whatever was noted here: it is never added up."""
    small.absorb(1)
    key = stored(1).key
    assert not small.closed._rows[key].sent
    small.closed.mark(key, 9)
    small.closed.save(POSITION)
    assert small.closed._rows[key].sent
    assert small.open()._rows[key].sent
