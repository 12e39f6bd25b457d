"""The usual report, taken as rows: the same registers, notes and outcomes as one by one."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import registers
from flopmeter_collector.branches import Outcome
from flopmeter_collector.intake import Intake
from flopmeter_collector.known import KnownKeys
from flopmeter_collector.receive import merge_report
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.outbox import Outbox
from flopmeter_core.reports import Acknowledgement, Durability, Hello, KeyedVector, Report
from flopmeter_core.writers import NOTHING, fingerprint
from flopmeter_proto.wire.known import known_report
from flopmeter_proto.wire.stream import StreamReader, StreamWriter
from support.forms import FORMS, kernel
from support.ingest import INCARNATION, RECORD, key, report, vector

pytestmark = pytest.mark.timeout(600)

HELLO = Hello("node-1", INCARNATION, simulated=False)
NOW_NS = 1_790_000_000 * 10**9
SECOND_NS = 10**9


class Side:
    """A collector's table and one stream into it."""

    def __init__(self, *, known: bool, forwards: bool = False) -> None:
        """Begin; `known` lets usual reports be taken as rows, `forwards` puts an outbox on it."""
        self.table = RegisterTable()
        self.outbox = Outbox(self.table)
        self.watch = self.outbox.open_watch()
        if forwards:
            self.table.on_change = lambda of, before, now: self.outbox.changed(
                of, before, now, NOW_NS
            )
            self.table.on_grow = lambda keys, before: self.outbox.grown(keys, before, NOW_NS)
        clock = MagicMock(wall_ns=lambda: NOW_NS)
        self.intake = Intake(
            self.table, cast(Any, None), clock, simulated=False, ledger_id="ledger"
        )
        self.writer, self.reader = StreamWriter(), StreamReader()
        self.reader.hello(self.writer.hello(HELLO))
        self.known = KnownKeys() if known else None
        self.listener = self.table.doubts.listen((HELLO.node,))
        self.taken_whole = 0

    def take(self, came: Report) -> None:
        """Take a report, as the service does."""
        message = self.writer.report(came)
        if self.known is not None:
            usual = known_report(message)
            if usual is not None and self.known.take(self.intake, usual, HELLO):
                self.taken_whole += 1
                self._note(self.known.said(self.intake, usual).vectors)
                return
        read = self.reader.report(message)
        merged = asyncio.run(merge_report(self.intake, read, HELLO, {}, never, self.listener))
        if self.known is not None:
            self.known.learn(self.intake, merged.taken, self.reader.number)
        self._note(merged.taken)
        if merged.newest:
            self.intake.note_live(HELLO, read.boot_ns)
        self.intake.counts.reports += 1
        self.intake.seen(HELLO.node, read.display_flop)

    def _note(self, taken: Iterable[KeyedVector]) -> None:
        """Wait for the root, as the service of a collector that forwards does."""
        for keyed in taken:
            self.outbox.watch(keyed.key, keyed.sequence, self.watch)

    def forward(self, *, at_root: bool) -> object:
        """Send what waits, and have it answered; what was sent, and what is told of the root."""
        sent = self.outbox.take(100, NOW_NS)
        durable = Durability.AT_ROOT if at_root else Durability.HERE
        self.outbox.acknowledge(
            [Acknowledgement(each.key, each.sequence, durable) for each in sent]
        )
        return sent, dict(self.watch.ready), self.outbox.backlog()

    def holds(self) -> tuple[object, ...]:
        """Everything that is known afterwards."""
        table, counts = self.table, self.intake.counts
        changed = table.take_uncounted()
        changed.gather(table.note_read)
        sightings = table.sightings.take()
        return (
            [(of, branches, [each.boot_ns for each in branches]) for of, branches in table.items()],
            {outcome: count for outcome, count in table.outcomes.items() if count},
            sorted(map(repr, table.take_uncommitted().vectors)),
            sorted(changed.places),
            (sightings.live, sightings.reported),
            counts,
            self.intake.nodes,
            [(row.key, row.sequence) for row in table.quarantine.held()],
        )


async def never() -> None:
    """Nobody waits."""


AMOUNT = st.integers(0, 3) | st.sampled_from([2**62 - 1])
KEYED = st.builds(
    KeyedVector,
    st.integers(0, 2).map(lambda phase: key(phase=phase)),
    st.integers(1, 4) | st.sampled_from([2**40, 2**40 + 1]),
    st.integers(0, 3).map(vector)
    | st.tuples(AMOUNT, AMOUNT).map(lambda two: (*two, *vector(2)[2:])),
    st.sampled_from([None, 1, 3 * SECOND_NS, 4 * SECOND_NS]),
)
REPORTS = st.lists(st.lists(KEYED, min_size=1, max_size=3), min_size=1, max_size=6)


@pytest.mark.parametrize("form", FORMS)
@given(told=REPORTS, names=st.data())
def test_as_one_by_one(form: str, told: list[list[KeyedVector]], names: st.DataObject) -> None:
    """Whatever comes, both ways leave the same in every place."""
    fast, slow = Side(known=True), Side(known=False)
    sent = [NOTHING]
    with pytest.MonkeyPatch.context() as patch:
        module = kernel("known_rows", form)
        patch.setattr(registers, "judge_rows", module.judge_rows)
        patch.setattr(registers, "take_rows", module.take_rows)
        for vectors in told:
            named = tuple(names.draw(st.lists(st.sampled_from(sent), max_size=3)))
            sent += [fingerprint(each.sequence, each.vector) for each in vectors]
            came = report(
                [
                    KeyedVector(each.key, each.sequence, each.vector, each.boot_ns, named)
                    for each in vectors
                ]
            )
            fast.take(came)
            slow.take(came)
    assert fast.holds() == slow.holds()


def grown(side: Side, seconds: int, *, follows: tuple[int, ...] = (), keys: int = 3) -> None:
    """An agent's report after so many seconds, with a vector of each key."""
    side.take(
        report(
            [
                KeyedVector(
                    key(phase=phase), seconds, vector(seconds), seconds * SECOND_NS, follows
                )
                for phase in range(keys)
            ]
        )
    )


def test_the_usual_report_is_taken_whole() -> None:
    """After a stream's first report each further one that only grew is; nothing else differs."""
    sides = Side(known=True), Side(known=False)
    for side in sides:
        for seconds in (10, 20, 30):
            grown(side, seconds)
    assert (sides[0].taken_whole, sides[1].taken_whole) == (2, 0)
    assert sides[0].table.outcomes[Outcome.ADVANCED] == 6
    assert sides[0].holds() == sides[1].holds()


@given(told=st.lists(st.tuples(st.lists(KEYED, min_size=1, max_size=3), st.booleans())))
def test_what_is_forwarded_is_the_same(told: list[tuple[list[KeyedVector], bool]]) -> None:
    """An outbox sends, and tells of the root, what it would had it heard key by key."""
    sides = Side(known=True, forwards=True), Side(known=False, forwards=True)
    for vectors, at_root in told:
        for side in sides:
            side.take(report(vectors))
        assert sides[0].forward(at_root=at_root) == sides[1].forward(at_root=at_root)
    assert sides[0].holds() == sides[1].holds()


def test_what_only_grew_is_forwarded_too() -> None:
    """Taken as rows: each is sent again, and told of once the root has it and not before."""
    side = Side(known=True, forwards=True)
    grown(side, 10)
    side.forward(at_root=True)
    side.watch.ready.clear()
    for seconds in (20, 30):
        grown(side, seconds)
    assert side.taken_whole == 2
    assert not side.watch.ready
    side.forward(at_root=True)
    assert side.watch.ready == {key(phase=phase): 30 for phase in range(3)}


def test_who_names_what_is_held() -> None:
    """A report that names what is held is usual; one that names another vector is contested."""
    side = Side(known=True)
    grown(side, 10)
    grown(side, 20, follows=(NOTHING, fingerprint(10, vector(10))))
    assert side.taken_whole == 1
    grown(side, 30, follows=(NOTHING, fingerprint(10, vector(10))))
    assert side.taken_whole == 1
    assert side.table.outcomes[Outcome.CONTESTED] == 3


def test_a_fork_is_committed_whole() -> None:
    """Both branches of a key are among what is to be stored, beside keys with one."""
    side = Side(known=True)
    grown(side, 10, keys=2)
    side.table.merge(KeyedVector(key(phase=1), 10, vector(9)), RECORD)
    assert len(side.table.take_uncommitted().vectors) == 3


def test_other_keys_between() -> None:
    """Reports of some of the keys, and of a key that is stated later, change nothing else."""
    side = Side(known=True)
    for seconds, keys in ((10, 2), (20, 1), (30, 3), (40, 3), (50, 2)):
        grown(side, seconds, keys=keys)
    assert side.taken_whole == 3
    assert [side.table.branches(key(phase=phase))[0].sequence for phase in range(3)] == [50, 50, 40]


def test_nothing_is_taken_of_a_report_in_which_one_is_not_usual() -> None:
    """All or nothing: the first rows are not written when the last is not usual."""
    side = Side(known=True)
    grown(side, 10)
    rows, before = side.table.rows, side.table.rows.block[:]
    came = [[20, 20 * SECOND_NS, *vector(20)], [20, 20 * SECOND_NS, *vector(9)]]
    block = array("q", [each for row in came for each in row])
    assert not side.table.grow(array("q", [0, 1]), block, {})
    assert rows.block == before


def test_a_forwarding_collector_hears_of_each_change() -> None:
    """Where somebody has to be told of each key, reports are taken one by one."""
    side, told = Side(known=True), []
    side.table.on_change = lambda of, before, now: told.append((of, len(before), now[0].sequence))
    for seconds in (10, 20):
        grown(side, seconds)
    assert side.taken_whole == 0 and len(told) == 6


def test_a_record_of_another_device_has_other_bounds() -> None:
    """What a device can do at most comes from its own record."""
    table, weak = RegisterTable(), replace(RECORD, sm_count=1)
    keyed = KeyedVector(key(weak), 1, vector(0), SECOND_NS)
    table.merge(keyed, weak)
    came = array("q", [2, 20 * SECOND_NS, *vector(10)])
    assert not table.grow(array("q", [0]), came, {})
