"""Bytes that are no message, or one of too many parts, are refused before anything is built."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import WireError
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.parsing import (
    MAXIMUM_PARTS_PER_MESSAGE,
    PARTS_AT_ONCE,
    parse_batches,
    parse_long_reports,
    parse_reports,
    parse_submitted,
)

CLAIM = bytes([pb.StreamReportsRequest.CLAIMS_FIELD_NUMBER << 3 | 2, 0])
"""An empty claim takes two bytes, and far more once it is built."""


def test_parts_are_counted() -> None:
    """As many parts as may be are a message; one more is refused with the limit in the sentence."""
    message = parse_reports(CLAIM * MAXIMUM_PARTS_PER_MESSAGE)
    assert len(message.claims) == MAXIMUM_PARTS_PER_MESSAGE
    with pytest.raises(WireError, match=f"more than {MAXIMUM_PARTS_PER_MESSAGE} parts"):
        parse_reports(CLAIM * (MAXIMUM_PARTS_PER_MESSAGE + 1))


def test_every_kind_of_field_is_counted() -> None:
    """Unknown fields of each kind count too, so that none hides others behind it."""
    unknown = b"".join(
        [bytes([15 << 3 | 0, 1]), bytes([15 << 3 | 1, *[0] * 8]), bytes([15 << 3 | 5, *[0] * 4])]
    )
    with pytest.raises(WireError, match="parts"):
        parse_reports(unknown * (MAXIMUM_PARTS_PER_MESSAGE // 3 + 1))
    assert not parse_reports(unknown * 1_000).claims


def test_groups_hide_nothing() -> None:
    """A group, which nothing of ours has, is refused in a message large enough to matter."""
    group = bytes([15 << 3 | 3, 15 << 3 | 4])
    with pytest.raises(WireError, match="no StreamReportsRequest"):
        parse_reports(group + CLAIM * 10_000)


def test_a_long_message_is_built_in_pieces() -> None:
    """Between two pieces others have their turn; one of too many parts is never begun."""
    paused: list[int] = []
    message = parse_long_reports(CLAIM * 1_000, lambda: paused.append(1))
    assert len(message.claims) == 1_000
    assert len(paused) == 2 * (1_000 // PARTS_AT_ONCE + 1)
    with pytest.raises(WireError, match=f"more than {MAXIMUM_PARTS_PER_MESSAGE} parts"):
        parse_long_reports(CLAIM * (MAXIMUM_PARTS_PER_MESSAGE + 1), lambda: None)


sent_messages = st.builds(
    pb.StreamReportsRequest,
    hello=st.none() | st.builds(pb.Hello, node=st.text(max_size=3)),
    keys=st.lists(st.builds(pb.KeyDescriptor, key_number=st.integers(0, 9)), max_size=100),
    vectors=st.lists(st.builds(pb.Vector, sequence=st.integers(0, 300)), max_size=200),
    claims=st.lists(st.builds(pb.Claim, run=st.text(max_size=3)), max_size=80),
)


@given(sent_messages.map(pb.StreamReportsRequest.SerializeToString) | st.binary(max_size=3_000))
def test_pieces_make_the_whole(raw: bytes) -> None:
    """A message built piece by piece is the one built at once, or neither is one."""
    try:
        whole = parse_reports(raw)
    except WireError as error:
        with pytest.raises(WireError, match=re.escape(str(error))):
            parse_long_reports(raw, lambda: None)
    else:
        assert parse_long_reports(raw, lambda: None) == whole


@given(st.binary(max_size=6_000))
def test_any_bytes_are_a_message_or_a_sentence(raw: bytes) -> None:
    """Whatever comes, it is taken or refused with a sentence."""
    for parse in (parse_reports, parse_batches, parse_submitted):
        try:
            parse(raw)
        except WireError as error:
            assert str(error)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_large_message_is_what_was_sent(vectors: int, length: int) -> None:
    """Counting refuses nothing that a sender of ours writes."""
    sent = pb.StreamReportsRequest()
    for number in range(vectors):
        sent.vectors.add(key_number=number, sequence=1, component_values=[2**62 - 1] * length)
    assert parse_reports(sent.SerializeToString()) == sent
