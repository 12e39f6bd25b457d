"""A relay's batch taken as rows: the same registers, notes and answers as one by one."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import registers
from flopmeter_collector.branches import Outcome
from flopmeter_collector.intake import Intake
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.known import Received
from flopmeter_collector.relay.receive import Seen, merge_batch
from flopmeter_core.batches import RelayBatch
from flopmeter_core.errors import WireError
from flopmeter_core.reports import KeyedVector, LedgerPosition
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.batch import BatchReader, BatchWriter
from support.forms import FORMS, kernel
from support.ingest import RECORD, hourly, key, vector

pytestmark = pytest.mark.timeout(600)

NOW_NS = 1_790_000_000 * 10**9
SECOND_NS = 10**9


class Side:
    """A root's table, and two relays' streams into it."""

    def __init__(self, *, known: bool) -> None:
        """Begin; `known` lets usual vectors be taken as rows."""
        self.table = RegisterTable()
        clock = MagicMock(wall_ns=lambda: NOW_NS)
        self.intake = Intake(
            self.table, cast(Any, None), clock, simulated=False, ledger_id="ledger"
        )
        self._known = known
        self._streams = [
            (BatchWriter(), BatchReader(), Seen(self.table.rows, self.table.doubts))
            for _ in range(2)
        ]
        self.grown = 0

    def take(self, came: RelayBatch, stream: int = 0) -> pb.StreamBatchesResponse:
        """Take a batch and answer it, as the service does."""
        writer, reader, seen = self._streams[stream]
        received = Received(reader, writer.batch(came), seen.known if self._known else None)
        left = received.grow(self.intake)
        merged = asyncio.run(merge_batch(self.intake, left, never, seen))
        received.learn(self.intake, merged.taken)
        self.grown += received.grown
        return reader.answer(
            left,
            received.placed(merged.untaken),
            LedgerPosition("ledger", 1, 2),
            at_root=True,
            rooted={},
            beside=merged.beside,
            rows=received.rows,
            refused_claims=merged.refused_claims,
            refused_hours=merged.refused_hours,
        )

    def holds(self) -> tuple[object, ...]:
        """Everything that is known afterwards."""
        table = self.table
        changed = table.take_uncounted()
        changed.gather(table.note_read)
        sightings = table.sightings.take()
        changes = table.take_uncommitted()
        return (
            [(of, branches, [each.boot_ns for each in branches]) for of, branches in table.items()],
            {outcome: count for outcome, count in table.outcomes.items() if count},
            sorted(map(repr, changes.vectors)),
            list(changes.hours),
            sorted(changed.places),
            (sightings.live, sightings.reported),
            self.intake.counts,
            [(row.key, row.sequence) for row in table.quarantine.held()],
        )


async def never() -> None:
    """Nobody waits."""


def batch(vectors: list[KeyedVector], hours: int = 0) -> RelayBatch:
    """A batch of vectors, and of the first few an hour each."""
    told = [
        hourly(number, each.sequence, each.vector, key=each.key)
        for number, each in enumerate(vectors[:hours], start=1)
    ]
    return RelayBatch((), {RECORD.record_id: RECORD}, tuple(vectors), hours=tuple(told))


AMOUNT = st.integers(0, 3) | st.sampled_from([2**62 - 1])
KEYED = st.builds(
    KeyedVector,
    st.integers(0, 2).map(lambda phase: key(phase=phase)),
    st.integers(1, 4) | st.sampled_from([2**40, 2**40 + 1]),
    st.integers(0, 3).map(vector)
    | st.tuples(AMOUNT, AMOUNT).map(lambda two: (*two, *vector(2)[2:])),
    st.sampled_from([None, 3 * SECOND_NS, 4 * SECOND_NS]),
)
BATCHES = st.lists(
    st.tuples(st.lists(KEYED, min_size=1, max_size=4), st.integers(0, 1), st.integers(0, 1)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("form", FORMS)
@given(told=BATCHES)
def test_as_one_by_one(form: str, told: list[tuple[list[KeyedVector], int, int]]) -> None:
    """Whatever comes on two streams, both ways leave the same and answer the same."""
    fast, slow = Side(known=True), Side(known=False)
    with pytest.MonkeyPatch.context() as patch:
        module = kernel("known_rows", form)
        patch.setattr(registers, "judge_rows", module.judge_rows)
        patch.setattr(registers, "take_rows", module.take_rows)
        for vectors, stream, hours in told:
            assert fast.take(batch(vectors, hours), stream) == slow.take(
                batch(vectors, hours), stream
            )
    assert fast.holds() == slow.holds()


def grown(seconds: int, *, keys: int = 3) -> list[KeyedVector]:
    """Vectors of some keys after so many seconds."""
    return [
        KeyedVector(key(phase=phase), seconds, vector(seconds), seconds * SECOND_NS)
        for phase in range(keys)
    ]


def test_what_is_not_usual_goes_one_by_one() -> None:
    """In a batch of usual vectors one that fell, one that is new, and one with an hour."""
    side, same = Side(known=True), Side(known=False)
    batches = [
        batch(grown(10)),
        batch(grown(20)),
        batch([*grown(30, keys=2), KeyedVector(key(phase=2), 30, vector(9), 30 * SECOND_NS)]),
        batch([*grown(40, keys=2), KeyedVector(key(phase=7), 1, vector(1), SECOND_NS)]),
        batch(grown(50, keys=2), hours=1),
    ]
    for each in batches:
        assert side.take(each) == same.take(each)
    assert side.grown == 3 + 2 + 2 + 1
    assert side.table.outcomes[Outcome.FORK] == 1
    assert side.holds() == same.holds()


def test_what_came_on_another_stream_is_told() -> None:
    """A vector that replaces what another relay brought is never taken in silence."""
    side = Side(known=True)
    side.take(batch(grown(10)), 0)
    side.take(batch(grown(20)), 1)
    assert len(side.take(batch(grown(30)), 0).beside) == 3
    assert side.take(batch(grown(40)), 0).beside == []
    assert side.grown == 3


@pytest.mark.parametrize("wrong", ["number", "sequence", "component", "column", "boot"])
def test_a_batch_that_breaks_the_contract(wrong: str) -> None:
    """It is refused as ever, and nothing of it is merged."""
    side = Side(known=True)
    writer, reader, seen = side._streams[0]
    side.take(batch(grown(10)))
    message = writer.batch(batch(grown(20)))
    match wrong:
        case "number":
            message.key_numbers[2] = 99
        case "sequence":
            message.sequences[2] = 0
        case "component":
            message.columns[0].component_values[2] = -1
        case "column":
            del message.columns[0].component_values[2]
        case "boot":
            message.boot_duration_ns[2] = -1
    with pytest.raises(WireError):
        Received(reader, message, seen.known).grow(side.intake)
    assert [side.table.branches(key(phase=phase))[0].sequence for phase in range(3)] == [10] * 3


def test_what_was_taken_as_rows_is_told_of() -> None:
    """Of a batch in which one vector is not usual the keys and sequences of the others."""
    side = Side(known=True)
    side.take(batch([KeyedVector(key(phase=n), 1, vector(1), SECOND_NS) for n in range(3)]))
    _, reader, seen = side._streams[0]
    writer = side._streams[0][0]
    came = [
        KeyedVector(key(phase=n), 2, vector(0 if n == 1 else 2), 2 * SECOND_NS) for n in range(3)
    ]
    received = Received(reader, writer.batch(batch(came)), seen.known)
    received.grow(side.intake)
    assert received.grown_to(side.intake) == [(key(phase=0), 2), (key(phase=2), 2)]
    apart = Received(reader, writer.batch(batch(came)), None)
    apart.grow(side.intake)
    assert apart.grown_to(side.intake) == []
