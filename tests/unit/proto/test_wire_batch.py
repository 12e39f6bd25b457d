"""Batches on the wire: what goes in comes out, and what breaks the contract is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.batches import MAXIMUM_VECTORS_PER_BATCH, RelayBatch, RelayedNode, RelayHello
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.errors import WireError
from flopmeter_core.registers import COMPONENT_COUNT, ZERO_VECTOR
from flopmeter_core.reports import (
    Doubt,
    Durability,
    Held,
    HourlyVector,
    KeyedVector,
    LedgerPosition,
)
from flopmeter_core.units import NS_PER_HOUR, REGISTER_LIMIT
from flopmeter_core.writers import key_digest
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.batch import BatchReader, BatchWriter
from flopmeter_proto.wire.numbering import StatedNumbers
from flopmeter_proto.wire.values import MAXIMUM_MESSAGE_BYTES
from support.ingest import RECORD, hello, key, vector

POSITION = LedgerPosition("root", 7, 3)
CLAIM = Claim(
    ClaimKey("a", "1", ClaimScope.RANK, 0, "ab" * 16, 0, 1), ClaimCounts(9, 9, 8, 10**20), 4
)


def batch(*vectors: KeyedVector, **fields: object) -> RelayBatch:
    """A batch of these vectors of the test's device."""
    whole = RelayBatch(("relay",), {RECORD.record_id: RECORD}, vectors)
    return replace(whole, **fields)  # type: ignore[arg-type]


def keyed(number: int, seconds: int = 9) -> KeyedVector:
    """A vector of one of the test's keys."""
    return KeyedVector(key(phase=number), number + 1, vector(seconds))


_COMPONENT = st.integers(0, REGISTER_LIMIT - 1) | st.just(0)
_VECTORS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(1, REGISTER_LIMIT - 1),
        st.tuples(*[_COMPONENT] * COMPONENT_COUNT),
    ),
    max_size=9,
)


@given(st.lists(_VECTORS, max_size=3))
def test_vectors_come_out_as_they_went_in(messages: list[list[tuple[int, int, tuple[int, ...]]]]):  # type: ignore[no-untyped-def]
    """Over several messages of one stream, branches of one key and zero columns included."""
    writer, reader = BatchWriter(), BatchReader()
    for vectors in messages:
        sent = batch(*(KeyedVector(key(phase=n), sequence, v) for n, sequence, v in vectors))
        came = reader.batch(pb.StreamBatchesRequest.FromString(_bytes(writer, sent)))
        assert came.vectors == sent.vectors
        assert came.records == ({RECORD.record_id: RECORD} if vectors else {})


def _bytes(writer: BatchWriter, sent: RelayBatch) -> bytes:
    return bytes(writer.batch(sent).SerializeToString())


def test_all_of_a_batch_comes_out() -> None:
    """Hours, claims, nodes with their own estimates, and the ledgers below."""
    hour = HourlyVector(key(), 1, vector(5), 2, 3 * NS_PER_HOUR - 5, 77)
    node = RelayedNode(replace(hello(), sensor="nvml"), 5, {"run:a": 10**25})
    sent = batch(keyed(0), hours=(hour,), claims=(CLAIM,), nodes=(node,), ledger_ids=("a", "b"))
    assert BatchReader().batch(BatchWriter().batch(sent)) == sent


def test_hello_comes_out() -> None:
    """Who forwards, and whether its readings are made up."""
    greeting = RelayHello("relay-1", simulated=True, version="1.2", ledger_ids=("a", "b"))
    message = BatchWriter().hello(greeting)
    assert BatchReader().hello(message) == greeting
    with pytest.raises(WireError, match="must carry hello"):
        BatchReader().hello(pb.StreamBatchesRequest())
    message.hello.protocol_version = 9
    with pytest.raises(WireError, match="protocol version 9"):
        BatchReader().hello(message)


DOUBT = Doubt("node-1", key_digest(key(phase=9)), Held(3, 4))


def test_doubts_go_up() -> None:
    """A batch asks of keys that it does not state."""
    writer, reader = BatchWriter(), BatchReader()
    assert reader.batch(writer.batch(batch(keyed(5)))).doubts == ()
    assert reader.batch(writer.batch(batch(doubts=(DOUBT,)))).doubts == (DOUBT,)


def test_answers_come_out() -> None:
    """Durable here, quarantined with its reason, and at the root since, each with its sequence."""
    writer, reader = BatchWriter(), BatchReader()
    reader.batch(writer.batch(batch(keyed(5))))
    sent = batch(keyed(0), keyed(1), claims=(CLAIM,))
    came = reader.batch(writer.batch(sent))
    answer = writer.answer(
        reader.answer(
            came,
            {1: (Durability.QUARANTINED, "too much")},
            POSITION,
            at_root=False,
            rooted={key(phase=5): 6},
            beside={key(phase=5): Held(77, 2**63)},
            doubts=(DOUBT,),
            refused_claims={},
            refused_hours={},
        )
    )
    assert answer.position == POSITION
    assert answer.doubts == (DOUBT,)
    told = [
        (ack.key.phase, ack.sequence, ack.durability, ack.reason) for ack in answer.acknowledgements
    ]
    assert told == [
        (0, 1, Durability.HERE, ""),
        (5, 6, Durability.AT_ROOT, ""),
        (1, 2, Durability.QUARANTINED, "too much"),
    ]
    held = [ack.held for ack in answer.acknowledgements]
    assert held == [None, Held(77, 2**63), None]
    assert [(each.claim, each.durability) for each in answer.claims] == [(CLAIM, Durability.HERE)]


def test_a_full_batch_fits_into_a_message() -> None:
    """With every key and record stated anew it stays far below the limit of a message."""
    records = [
        replace(RECORD, device=f"GPU-{'0' * 36}-{n}") for n in range(MAXIMUM_VECTORS_PER_BATCH)
    ]
    top = (REGISTER_LIMIT - 1,) * COMPONENT_COUNT
    full = RelayBatch(
        ("relay",),
        {record.record_id: record for record in records},
        tuple(KeyedVector(key(r, allocation="run:" + "r" * 100), 2**60, top) for r in records),
    )
    assert len(_bytes(BatchWriter(), full)) < MAXIMUM_MESSAGE_BYTES / 2


def _two() -> pb.StreamBatchesRequest:
    return BatchWriter().batch(batch(keyed(0), keyed(1)))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda m: m.sequences.pop(), "one sequence for each"),
        (lambda m: m.columns[0].component_values.pop(), "must have its 2 entries"),
        (lambda m: m.columns.extend([pb.Column()] * 9), "1 to 18 columns, not 27"),
        (lambda m: m.ClearField("columns"), "1 to 18 columns, not 0"),
        (lambda m: m.columns[0].component_values.__setitem__(0, -1), "outside 0 .. 2"),
        (lambda m: m.columns[0].component_values.__setitem__(1, 2**62), "outside 0 .. 2"),
        (lambda m: m.key_numbers.__setitem__(0, 7), "key number 7 was never stated"),
        (lambda m: m.sequences.__setitem__(0, 0), "sequence 0 lies outside"),
        (lambda m: m.ledger_ids.append("a\nb"), "ledger_id holds control characters"),
        (lambda m: m.ledger_ids.extend(["x"] * 10_000), "more than 10000 ledgers"),
        (lambda m: m.key_numbers.extend([0] * 1_600), "at most 1600 vectors"),
        (lambda m: m.nodes.extend([pb.RelayedNode()] * 2_001), "more than 2000 nodes"),
        (lambda m: m.nodes.add(), "protocol version 0"),
    ],
)
def test_bad_batches(spoil: Callable[[pb.StreamBatchesRequest], object], sentence: str) -> None:
    """A batch that does not fit together is refused before anything of it is used."""
    message = _two()
    spoil(message)
    with pytest.raises(WireError, match=sentence):
        BatchReader().batch(message)


def test_columns_without_vectors() -> None:
    """Columns that belong to nothing are refused too."""
    with pytest.raises(WireError, match="without vectors has columns"):
        BatchReader().batch(pb.StreamBatchesRequest(columns=[pb.Column()]))


def test_an_older_relay_knows_fewer_components() -> None:
    """Columns that it does not send are 0."""
    message = _two()
    del message.columns[2:]
    vectors = BatchReader().batch(message).vectors
    assert [each.vector for each in vectors] == [(*vector(9)[:2], *ZERO_VECTOR[2:])] * 2


def test_a_stream_cannot_fill_the_memory() -> None:
    """Keys on a relay's stream have a limit."""
    with pytest.raises(WireError, match="more than 1 keys"):
        BatchReader(StatedNumbers(maximum_keys=1)).batch(_two())


def test_bad_answers() -> None:
    """An answer that breaks the contract is not believed."""
    writer = BatchWriter()
    writer.batch(batch(keyed(0)))
    with pytest.raises(WireError, match="different lengths"):
        writer.answer(pb.StreamBatchesResponse(key_numbers=[0]))
    answer = pb.StreamBatchesResponse(
        key_numbers=[4], sequences=[1], durabilities=["DURABILITY_HERE"]
    )
    with pytest.raises(WireError, match="acknowledged key 4, never sent"):
        writer.answer(answer)


def test_a_stream_is_spent_before_its_numbers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay begins a new stream before the other side would have to refuse it."""
    writer = BatchWriter()
    monkeypatch.setattr(
        "flopmeter_proto.wire.batch.MAXIMUM_KEYS_PER_RELAY", 2 * MAXIMUM_VECTORS_PER_BATCH
    )
    assert not writer.full
    writer.batch(batch(keyed(0)))
    assert writer.full
