"""The wire: what goes in comes out, and what breaks the contract is refused before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimQuantity, ClaimScope
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import WireError
from flopmeter_core.registers import COMPONENT_COUNT, ZERO_VECTOR, Evidence, Key
from flopmeter_core.reports import (
    MAXIMUM_DOUBTS_PER_MESSAGE,
    Doubt,
    Durability,
    Held,
    Hello,
    HourlyAcknowledgement,
    HourlyVector,
    KeyedVector,
    LedgerPosition,
    Report,
)
from flopmeter_core.units import NS_PER_HOUR, REGISTER_LIMIT
from flopmeter_core.writers import key_digest
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.claims import MAXIMUM_CLAIMS_PER_MESSAGE
from flopmeter_proto.wire.doubts import spelled_doubts
from flopmeter_proto.wire.hello import MAXIMUM_DISPLAYS
from flopmeter_proto.wire.numbering import StatedNumbers
from flopmeter_proto.wire.stream import StreamReader, StreamWriter
from flopmeter_proto.wire.values import check_values, record_in, record_out

HELLO = Hello("node-1", "ab" * 16, simulated=True, cluster="c", sensor="nvml", boot_id="b")
RECORD = DeviceRecord(
    node="node-1",
    device="GPU-1",
    vendor="nvidia",
    product_name="H100",
    pci_device_id=0x233010DE,
    part="h100-sxm5-80gb",
    sm_count=132,
    max_sm_clock_mhz=1_980,
    memory_mib=81_559,
    driver_version="595",
    energy_scope=EnergyScope.MODULE,
    tensor_classes=False,
    simulated=True,
)
KEY = Key("GPU-1", "ab" * 16, "run:a", 3, Evidence.GPM, RECORD.record_id)
VECTOR = (*range(COMPONENT_COUNT - 1), REGISTER_LIMIT - 1)
POSITION = LedgerPosition("ledger", 2, 77)


def report(*vectors: KeyedVector, record: DeviceRecord = RECORD) -> Report:
    """A report of one record."""
    return Report({record.record_id: record}, vectors, boot_ns=5, wall_ns=7 * 10**18 + 3)


@given(hello=st.builds(Hello, st.just("n"), st.just("cd" * 16), st.booleans(), st.just("cluster")))
def test_hello(hello: Hello) -> None:
    """Who sends comes through whole."""
    assert StreamReader().hello(StreamWriter().hello(hello)) == hello
    assert StreamReader().hello(StreamWriter().hello(HELLO)) == HELLO


def test_report() -> None:
    """Record, key, vector, times and display estimates come through whole."""
    sent = replace(report(KeyedVector(KEY, 9, VECTOR)), display_flop={"run:a": 10**27})
    assert StreamReader().report(StreamWriter().report(sent)) == sent


@given(
    vectors=st.lists(
        st.tuples(
            st.sampled_from(["run:a", "none", "boundary(none,run:a)"]),
            st.sampled_from(list(Evidence)),
            st.integers(1, REGISTER_LIMIT - 1),
            st.lists(
                st.integers(0, REGISTER_LIMIT - 1),
                min_size=COMPONENT_COUNT,
                max_size=COMPONENT_COUNT,
            ),
        ),
        max_size=8,
    )
)
def test_stream(
    vectors: list[tuple[str, Evidence, int, list[int]]],
) -> None:
    """Many reports on one stream: keys are spelled once, vectors come through bit for bit."""
    writer, reader = StreamWriter(), StreamReader()
    stated = set()
    for allocation, evidence, sequence, amounts in vectors:
        key = replace(KEY, allocation=allocation, evidence=evidence)
        sent = report(KeyedVector(key, sequence, tuple(amounts)))
        message = writer.report(sent)
        assert len(message.keys) == (0 if key in stated else 1)
        stated.add(key)
        assert reader.report(message) == sent


def test_answer() -> None:
    """Each vector is answered under its own key and sequence: durable, or refused with a reason."""
    writer, reader = StreamWriter(), StreamReader()
    other = replace(KEY, phase=4)
    sent = report(KeyedVector(KEY, 9, VECTOR), KeyedVector(other, 2, ZERO_VECTOR))
    received = reader.report(writer.report(sent))
    for at_root, durability in ((True, Durability.AT_ROOT), (False, Durability.HERE)):
        answer = writer.answer(
            reader.answer(received, {other: "too much"}, POSITION, at_root=at_root)
        )
        assert answer.position == POSITION and not answer.fold_users
        good, bad = answer.acknowledgements
        assert (good.key, good.sequence, good.durability, good.reason) == (KEY, 9, durability, "")
        assert (bad.key, bad.sequence) == (other, 2)
        assert (bad.durability, bad.reason) == (Durability.REFUSED, "too much")


def test_an_answer_that_asks_to_fold_users() -> None:
    """An agent hears that little room is left for its users."""
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(report(KeyedVector(KEY, 9, VECTOR))))
    message = reader.answer(received, {}, POSITION, at_root=True, fold_users=True)
    assert writer.answer(message).fold_users


def test_what_a_vector_follows() -> None:
    """Fingerprints go with a vector, no more of them than are read; who says none has none."""
    follows = (0, 5, 2**64 - 1)
    sent = report(
        KeyedVector(KEY, 9, VECTOR, follows=follows),
        KeyedVector(replace(KEY, phase=4), 2, ZERO_VECTOR, follows=tuple(range(99))),
        KeyedVector(replace(KEY, phase=5), 2, ZERO_VECTOR),
    )
    received = StreamReader().report(StreamWriter().report(sent))
    assert [keyed.follows for keyed in received.vectors] == [follows, tuple(range(32)), ()]


def test_what_is_held_beside() -> None:
    """It is told with the answer for its key, of now or of before, and alone with no other."""
    writer, reader = StreamWriter(), StreamReader()
    keys = [replace(KEY, phase=phase) for phase in range(3)]
    sent = report(*(KeyedVector(name, 9, VECTOR) for name in keys))
    received = reader.report(writer.report(sent))
    message = reader.answer(
        replace(received, vectors=received.vectors[:2]),
        {},
        POSITION,
        at_root=False,
        rooted={keys[2]: 5},
        contested={keys[0]},
        held={keys[0]: Held(8, 2**64 - 1)},
        beside={keys[2]: Held(11, 4)},
    )
    assert [
        (ack.key, ack.sequence, ack.durability, ack.held)
        for ack in writer.answer(message).acknowledgements
    ] == [
        (keys[0], 9, Durability.CONTESTED, Held(8, 2**64 - 1)),
        (keys[1], 9, Durability.HERE, None),
        (keys[2], 5, Durability.AT_ROOT, Held(11, 4)),
    ]


def test_doubts_are_spelled_out() -> None:
    """Of keys that the stream never stated; behind a usual answer they are as in any other."""
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(report(KeyedVector(KEY, 9, VECTOR))))
    doubts = tuple(
        Doubt("node-1", key_digest(replace(KEY, phase=phase)), Held(2**61, 2**64 - 1))
        for phase in (0, 7)
    )
    message = reader.answer(received, {}, POSITION, at_root=True, doubts=doubts)
    assert writer.answer(message).doubts == doubts
    plain = reader.answer(received, {}, POSITION, at_root=True)
    assert writer.answer(plain).doubts == ()
    joined = plain.SerializeToString() + spelled_doubts(doubts)
    assert pb.StreamReportsResponse.FromString(joined) == message


def test_a_doubt_that_cannot_be_read_is_left_out() -> None:
    """A word of a later version, or of nobody: what stands beside it is read; and not too many."""
    doubt = Doubt("node-1", key_digest(KEY), Held(5, 6))
    writer = StreamWriter()
    plain = pb.StreamReportsResponse.FromString(spelled_doubts([doubt])).doubts[0]
    broken: list[dict[str, Any]] = [
        {"node": ""},
        {"node": "x" * 300},
        {"node": "a\n"},
        {"key_digest": b"short"},
        {"held_sequence": 0},
    ]
    message = pb.StreamReportsResponse()
    for fields in broken:
        each = message.doubts.add()
        each.CopyFrom(plain)
        for name, said in fields.items():
            setattr(each, name, said)
    message.doubts.append(plain)
    assert writer.answer(message).doubts == (doubt,)
    many = pb.StreamReportsResponse.FromString(spelled_doubts([doubt] * 600))
    assert len(writer.answer(many).doubts) == MAXIMUM_DOUBTS_PER_MESSAGE


def test_answer_for_a_key_never_sent() -> None:
    """An acknowledgement that is not ours must not release anything."""
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(report(KeyedVector(KEY, 9, VECTOR))))
    message = reader.answer(received, {}, POSITION, at_root=True)
    message.acknowledgements[0].key_number = 5
    with pytest.raises(WireError, match="acknowledged key 5, never sent"):
        writer.answer(message)


def test_unknown_durability_releases_nothing() -> None:
    """A durability this agent does not know is no durability."""
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(report(KeyedVector(KEY, 9, VECTOR))))
    message = reader.answer(received, {}, POSITION, at_root=True)
    message.acknowledgements[0].durability = 99  # type: ignore[assignment]
    assert writer.answer(message).acknowledgements[0].durability is Durability.REFUSED


# The messages are the generated ones; only wire may name their types.
Break = Callable[..., object]
BAD_REPORTS: list[tuple[Break, str]] = [
    (lambda m: m.ClearField("keys"), "key number 0 was never stated"),
    (lambda m: m.ClearField("device_records"), "device record 0 was never stated"),
    (lambda m: setattr(m.vectors[0], "sequence", 0), "sequence 0 lies outside"),
    (lambda m: setattr(m.vectors[0], "sequence", 2**62), "lies outside"),
    (lambda m: m.vectors[0].component_values.append(1), "1 to 18 components, not 19"),
    (lambda m: m.vectors[0].component_values.extend([0] * 240), "1 to 18 components, not 258"),
    (lambda m: m.vectors[0].ClearField("component_values"), "not 0"),
    (lambda m: m.vectors[0].component_values.__setitem__(3, -1), "outside 0"),
    (lambda m: m.vectors[0].component_values.__setitem__(3, 2**62), "outside 0"),
    (lambda m: setattr(m.keys[0], "allocation", ""), "allocation is empty"),
    (lambda m: setattr(m.keys[0], "allocation", "a" * 513), "allocation has 513 characters"),
    (lambda m: setattr(m.keys[0], "allocation", "a\nb"), "allocation holds control"),
    (lambda m: setattr(m.keys[0], "incarnation", b"short"), "has 16 bytes, not 5"),
    (lambda m: setattr(m.keys[0], "phase", -1), "phase is negative"),
    (lambda m: setattr(m.keys[0], "evidence", 0), "evidence level 0 is not known"),
    (lambda m: setattr(m.keys[0], "evidence", 99), "evidence level 99 is not known"),
    (lambda m: setattr(m.device_records[0], "device", ""), "device is empty"),
    (lambda m: setattr(m.device_records[0], "node", "n" * 257), "node has 257 characters"),
    (lambda m: setattr(m.device_records[0], "sm_count", -1), "sm_count is negative"),
    (lambda m: setattr(m.device_records[0], "memory_mib", -1), "memory_mib is negative"),
    (lambda m: setattr(m.device_records[0], "device_count", 0), "device_count must be 1"),
    (lambda m: setattr(m.device_records[0], "device", "GPU-1/gi1@MIG-1"), "has device_count 0"),
    (lambda m: setattr(m.device_records[0], "device_count", 1_025), "device_count must be 1"),
    (lambda m: setattr(m.device_records[0], "energy_scope", 9), "energy scope 9 is not known"),
    (lambda m: setattr(m.boot_duration, "seconds", -1), "boot_duration is negative"),
    (lambda m: m.display_estimates.add(allocation="a", compute_flop="-1"), "decimal digits"),
    (lambda m: m.display_estimates.add(allocation="a", compute_flop="9" * 41), "decimal digits"),
    (lambda m: m.display_estimates.add(allocation="a", compute_flop="٣"), "decimal digits"),
]


@pytest.mark.parametrize(("breaking", "sentence"), BAD_REPORTS)
def test_bad_report(breaking: Break, sentence: str) -> None:
    """Each way a report can break the contract is refused with its reason."""
    message = StreamWriter().report(report(KeyedVector(KEY, 9, VECTOR)))
    breaking(message)
    with pytest.raises(WireError, match=sentence):
        StreamReader().report(message)


BAD_HELLOS: list[tuple[Break, str]] = [
    (lambda m: m.ClearField("hello"), "must carry hello"),
    (lambda m: setattr(m.hello, "protocol_version", 2), "version 2 is not spoken here"),
    (lambda m: setattr(m.hello, "node", ""), "node is empty"),
    (lambda m: setattr(m.hello, "incarnation", b""), "has 16 bytes, not 0"),
    (lambda m: setattr(m.hello, "cluster", "a\x1b[31m"), "cluster holds control"),
]


@pytest.mark.parametrize(("breaking", "sentence"), BAD_HELLOS)
def test_bad_hello(breaking: Break, sentence: str) -> None:
    """Each way a hello can break the contract is refused with its reason."""
    message = StreamWriter().hello(HELLO)
    breaking(message)
    with pytest.raises(WireError, match=sentence):
        StreamReader().hello(message)


def test_restated_numbers() -> None:
    """A number stands for one key and one record as long as the stream lives."""
    reader = StreamReader()
    first = StreamWriter().report(report(KeyedVector(KEY, 9, VECTOR)))
    reader.report(first)
    reader.report(first)
    other = replace(RECORD, sm_count=1)
    changed = replace(KEY, record=other.record_id)
    with pytest.raises(WireError, match="device record 0 was stated before as another"):
        reader.report(StreamWriter().report(report(KeyedVector(changed, 9, VECTOR), record=other)))
    moved = replace(KEY, allocation="run:b")
    with pytest.raises(WireError, match="key number 0 was stated before as another"):
        reader.report(StreamWriter().report(report(KeyedVector(moved, 9, VECTOR))))


def test_older_writer() -> None:
    """A vector of a writer that knew fewer components is filled with zeros."""
    assert check_values((5, 6)) == (5, 6) + (0,) * (COMPONENT_COUNT - 2)


def test_limits() -> None:
    """A stream cannot fill the collector's memory with keys or records."""
    other = replace(KEY, phase=4)
    two = report(KeyedVector(KEY, 9, VECTOR), KeyedVector(other, 9, VECTOR))
    with pytest.raises(WireError, match="more than 1 keys"):
        StreamReader(StatedNumbers(maximum_keys=1)).report(StreamWriter().report(two))
    with pytest.raises(WireError, match="more than 0 device records"):
        StreamReader(StatedNumbers(maximum_records=0)).report(StreamWriter().report(two))


def test_one_key_has_one_number() -> None:
    """A key stated under a second number would be acknowledged under the wrong one."""
    message = StreamWriter().report(report(KeyedVector(KEY, 1, ZERO_VECTOR)))
    again = type(message.keys[0])()
    again.CopyFrom(message.keys[0])
    again.key_number = 99
    message.keys.append(again)
    with pytest.raises(WireError, match="has another"):
        StreamReader().report(message)


# --- claims --------------------------------------------------------------------------------------

CLAIM_KEY = ClaimKey(
    "a", "42.0", ClaimScope.RANK, 7, "cd" * 16, 2, 100, "m", "fp8=0.9,bf16=rest", "pretraining"
)
CLAIM = Claim(CLAIM_KEY, ClaimCounts(200, 101, 10**15, 10**27), sequence=5)


def claims(*sent: Claim) -> Report:
    """A report of claims alone."""
    return replace(report(), records={}, claims=sent)


def test_claims() -> None:
    """Every field of a claim comes through whole, and so does its acknowledgement."""
    counted = replace(CLAIM_KEY, quantity=ClaimQuantity.EXECUTED)
    other = replace(CLAIM, key=counted, sequence=6)
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(claims(CLAIM, other)))
    assert received == claims(CLAIM, other)
    answer = writer.answer(
        reader.answer(received, {}, POSITION, at_root=True, refused_claims={CLAIM_KEY: "no"})
    )
    assert [(ack.claim, ack.durability, ack.reason) for ack in answer.claims] == [
        (CLAIM, Durability.REFUSED, "no"),
        (other, Durability.AT_ROOT, ""),
    ]


def test_a_claim_of_an_older_agent() -> None:
    """One that says no quantity claims model FLOP, as all did before."""
    message = StreamWriter().report(claims(CLAIM))
    message.claims[0].ClearField("quantity")
    assert StreamReader().report(message).claims == (CLAIM,)


def test_a_collector_without_claims_answers_none() -> None:
    """What nobody committed is not acknowledged."""
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(claims(CLAIM)))
    assert writer.answer(reader.answer(received, {}, POSITION, at_root=True)).claims == ()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("scope", 0),
        ("scope", 9),
        ("quantity", 9),
        ("run", ""),
        ("writer", b"x"),
        ("rank", -1),
        ("first_step", 201),
        ("compute_flop", "1e27"),
        ("compute_flop", "9" * 41),
        ("format_mix", "fp7"),
        ("sequence", 0),
    ],
)
def test_a_bad_claim_is_refused_alone(field: str, wrong: object) -> None:
    """The vectors and the claims beside it are taken."""
    sent = replace(report(KeyedVector(KEY, 9, VECTOR)), claims=(CLAIM, CLAIM))
    message = StreamWriter().report(sent)
    setattr(message.claims[0], field, wrong)
    reader = StreamReader()
    received = reader.report(message)
    assert (len(received.vectors), received.claims) == (1, (CLAIM,))
    answer = reader.answer(received, {}, POSITION, at_root=True, refused_claims={})
    refused, taken = answer.claim_acknowledgements
    assert refused.reason and not taken.reason


def test_too_many_claims() -> None:
    """A message holds so many claims and no more."""
    sent = claims(*[CLAIM] * (MAXIMUM_CLAIMS_PER_MESSAGE + 1))
    with pytest.raises(WireError, match="more than 4096 claims"):
        StreamReader().report(StreamWriter().report(sent))


def test_an_answer_to_no_claim() -> None:
    """A collector that answers what was not sent is not believed; a late answer is left out."""
    writer, reader = StreamWriter(), StreamReader()
    received = reader.report(writer.report(claims(CLAIM)))
    late = reader.answer(received, {}, POSITION, at_root=True, refused_claims={})
    writer.report(claims(replace(CLAIM, sequence=6)))
    assert writer.answer(late).claims == ()
    late.claim_acknowledgements[0].claim_number = 1
    with pytest.raises(WireError, match="claim 1, never sent"):
        writer.answer(late)


def hourly(**changes: object) -> HourlyVector:
    """The vector at the end of hour 7."""
    row = HourlyVector(KEY, 9, VECTOR, 5, 7 * NS_PER_HOUR + 3, 1_800_000_000_000_000_001)
    return replace(row, **changes)  # type: ignore[arg-type]


def test_hours() -> None:
    """Hourly vectors come through whole, alone or beside newest ones, and are acknowledged."""
    writer, reader = StreamWriter(), StreamReader()
    refused = hourly(boot_ns=9 * NS_PER_HOUR)
    for vectors in ([KeyedVector(KEY, 9, VECTOR)], []):
        sent = replace(report(*vectors), hours=(hourly(), refused))
        taken = reader.report(writer.report(sent))
        assert taken == sent
        answer = reader.answer(
            taken, {}, POSITION, at_root=True, refused_hours={(KEY, refused.hour): "no"}
        )
        assert writer.answer(answer).hours == (
            HourlyAcknowledgement(KEY, 7, 9, Durability.AT_ROOT),
            HourlyAcknowledgement(KEY, 9, 9, Durability.REFUSED, "no"),
        )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"first_hour": 8}, "hours 8 to 7, which no boot has"),
        ({"first_hour": -1}, "hours -1 to 7"),
        ({"boot_ns": -1}, "which no boot has"),
        ({"boot_ns": REGISTER_LIMIT}, "which no boot has"),
        ({"sequence": 0}, "sequence 0"),
    ],
)
def test_refused_hours(changes: dict[str, object], sentence: str) -> None:
    """An hour that no boot can have is refused before anything looks at it."""
    message = StreamWriter().report(replace(report(), hours=(hourly(**changes),)))
    with pytest.raises(WireError, match=sentence):
        StreamReader().report(message)


def test_too_many_hours() -> None:
    """A message cannot carry a year of hours."""
    rows = tuple(hourly(boot_ns=n * NS_PER_HOUR, first_hour=0) for n in range(1_001))
    with pytest.raises(WireError, match="at most 1000 hourly vectors, not 1001"):
        StreamReader().report(StreamWriter().report(replace(report(), hours=rows)))


def test_hour_never_sent() -> None:
    """An acknowledgement of an hour of a key that was never stated is refused."""
    answer = pb.StreamReportsResponse()
    answer.hourly_acknowledgements.add(key_number=3, hour=1, sequence=1)
    with pytest.raises(WireError, match="key 3, never sent"):
        StreamWriter().answer(answer)


def test_a_record_that_is_stated_again() -> None:
    """The same words are the same record; one word else is another, and a wrong one stays wrong."""
    said = record_out(RECORD, 0)
    assert record_in(said) == RECORD
    assert record_in(record_out(RECORD, 5)) is record_in(said)
    assert record_in(record_out(replace(RECORD, driver_version="9"), 0)).driver_version == "9"
    said.sm_count = -1
    for _ in range(2):
        with pytest.raises(WireError, match="sm_count is negative"):
            record_in(said)


def test_more_estimates_than_anybody_remembers_are_not_read() -> None:
    """A message of thousands of estimates costs no more than its bytes; the report stands."""
    message = StreamWriter().report(report(KeyedVector(KEY, 1, ZERO_VECTOR)))
    for _ in range(MAXIMUM_DISPLAYS):
        message.display_estimates.add(allocation="run:a", compute_flop="7")
    assert StreamReader().report(message).display_flop == {"run:a": 7}
    message.display_estimates.add(allocation="", compute_flop="none")
    found = StreamReader().report(message)
    assert not found.display_flop
    assert len(found.vectors) == 1
