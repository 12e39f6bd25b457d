"""A usual report read as rows says what it says read as a report, and so does its answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import WireError
from flopmeter_core.kernels.known_rows import CAME_WIDTH
from flopmeter_core.reports import Hello, KeyedVector, LedgerPosition
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.known import KnownReader, KnownReport, known_answer, known_report
from flopmeter_proto.wire.parsing import parse_reports
from flopmeter_proto.wire.stream import MAXIMUM_FOLLOWED, StreamReader, StreamWriter
from support.ingest import INCARNATION, key, report, vector

POSITION = LedgerPosition("ledger", 3, 17)


def spoken(*vectors: KeyedVector) -> tuple[StreamReader, pb.StreamReportsRequest]:
    """A reader that knows the keys of these vectors, and a message of nothing but them."""
    writer, reader = StreamWriter(), StreamReader()
    reader.hello(writer.hello(Hello("node-1", INCARNATION, simulated=False)))
    reader.report(writer.report(report(vectors)))
    return reader, writer.report(report(vectors, display_flop={"run:a": 7}))


VECTORS = (
    KeyedVector(key(phase=1), 7, vector(10), 11 * 10**9),
    KeyedVector(key(phase=0), 2**61, vector(0), None, (1, 2**64 - 1)),
)


Way = Callable[[pb.StreamReportsRequest], KnownReport | None]


def by_bytes(message: pb.StreamReportsRequest) -> KnownReport | None:
    """A message read from its bytes."""
    return KnownReader(100).read(message.SerializeToString())


WAYS = [known_report, by_bytes]


def read(message: pb.StreamReportsRequest, way: Way = by_bytes) -> KnownReport:
    """A message that is usual in shape."""
    found = way(message)
    assert found is not None
    return found


@pytest.mark.parametrize("way", WAYS)
def test_rows_are_the_vectors(way: Way) -> None:
    """Each row holds what `report` reads: sequence, boot time and components; names beside it."""
    reader, message = spoken(*VECTORS)
    rows, same = read(message, way), reader.report(message)
    width = CAME_WIDTH
    told = [
        KeyedVector(
            same.vectors[place].key,
            rows.came[place * width],
            tuple(rows.came[place * width + 2 : (place + 1) * width]),
            rows.came[place * width + 1] or None,
        )
        for place in range(2)
    ]
    assert told == list(same.vectors)
    assert [reader.number(each.key) for each in same.vectors] == list(rows.numbers)
    assert list(rows.sequences) == [each.sequence for each in same.vectors]
    assert {place: tuple(named) for place, named in rows.follows.items()} == {1: (1, 2**64 - 1)}
    assert (rows.boot_ns, rows.display_flop) == (same.boot_ns, same.display_flop)


def states(message: pb.StreamReportsRequest) -> None:
    """State a key."""
    message.keys.add()


def describes(message: pb.StreamReportsRequest) -> None:
    """State a device record."""
    message.device_records.add()


def claims(message: pb.StreamReportsRequest) -> None:
    """Claim something."""
    message.claims.add()


def ends_an_hour(message: pb.StreamReportsRequest) -> None:
    """Bring an hourly vector."""
    message.hourly_vectors.add()


def is_short(message: pb.StreamReportsRequest) -> None:
    """Leave the last component out, as an older agent."""
    del message.vectors[1].component_values[-1]


def is_long(message: pb.StreamReportsRequest) -> None:
    """Bring one component more, as a newer agent."""
    message.vectors[0].component_values.append(0)


def names_many(message: pb.StreamReportsRequest) -> None:
    """Name more fingerprints than are read."""
    message.vectors[0].follows_fingerprints.extend(range(MAXIMUM_FOLLOWED + 1))


def is_empty(message: pb.StreamReportsRequest) -> None:
    """Bring no vector."""
    del message.vectors[:]


def is_before_boot(message: pb.StreamReportsRequest) -> None:
    """Say a boot time below 0."""
    message.boot_duration.FromNanoseconds(-1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "change",
    [
        states,
        describes,
        claims,
        ends_an_hour,
        is_short,
        is_long,
        names_many,
        is_empty,
        is_before_boot,
    ],
)
def test_other_messages(change: Callable[[pb.StreamReportsRequest], None], way: Way) -> None:
    """Whatever is more than vectors of today's shape is left to `report`."""
    _, message = spoken(*VECTORS)
    assert way(message) is not None
    change(message)
    assert way(message) is None


def test_hello_again() -> None:
    """A second hello is left to whoever refuses it."""
    _, message = spoken(*VECTORS)
    message.hello.node = "node-1"
    assert by_bytes(message) is None


def test_more_than_there_is_room_for() -> None:
    """A reader takes no more vectors than it was made for."""
    _, message = spoken(*VECTORS)
    raw = message.SerializeToString()
    assert KnownReader(2).read(raw) is not None
    assert KnownReader(1).read(raw) is None


@pytest.mark.parametrize("way", WAYS)
def test_an_estimate_that_is_none(way: Way) -> None:
    """What `report` refuses is refused here too."""
    _, message = spoken(*VECTORS)
    message.display_estimates[0].compute_flop = "many"
    with pytest.raises(WireError, match="decimal digits"):
        way(message)


def test_bytes_that_are_no_message() -> None:
    """Where an estimate is no message at all, nothing else of it is taken for a report."""
    _, message = spoken(*VECTORS)
    raw = message.SerializeToString().replace(b"run:a", b"\xff\xff\xff\xff\xff")
    with pytest.raises(WireError):
        KnownReader(2).read(raw) or parse_reports(raw)


@given(changes=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=4))
def test_bytes_and_message_say_the_same(changes: list[tuple[int, int]]) -> None:
    """Whatever bytes come, what is read from them is what protobuf reads of them."""
    _, message = spoken(*VECTORS)
    raw = bytearray(message.SerializeToString())
    for place, value in changes:
        raw[place % len(raw)] = value
    try:
        ours = KnownReader(2).read(bytes(raw))
    except WireError:
        ours = None
    if ours is not None:
        assert ours == known_report(parse_reports(bytes(raw)))


def test_answers() -> None:
    """Each answer is the one that `StreamReader.answer` builds, whatever the one before was."""
    reader, both = spoken(*VECTORS)
    _, one = spoken(*VECTORS[:1])
    later = LedgerPosition("another", 4, 18)
    for message, position, fold in ((both, POSITION, True), (one, later, False), (both, later, 0)):
        for more in (0, 5):
            for each in message.vectors:
                each.sequence += more
            same, rows = reader.report(message), read(message)
            given_one = reader.answer(same, {}, position, at_root=True, fold_users=bool(fold))
            ours = known_answer(rows.numbers, rows.sequences, position, fold_users=bool(fold))
            assert pb.StreamReportsResponse.FromString(ours) == given_one
