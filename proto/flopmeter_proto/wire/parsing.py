"""From bytes to messages: what cannot be one, or has too many parts, is refused before it is read.

Owns: the sentences for bytes that are no message, and the limit on a message's parts.
May touch: generated messages; no socket, no clock.
Called by the collector's service, which gets its requests as bytes: gRPC answers a message that it
cannot parse with INTERNAL, as if the fault were the collector's. Explained in docs/wire.md.

A part takes two bytes at least, so 4 MiB hold two million of them, and to build so many takes
seconds in which nothing else of the process runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from flopmeter_core.errors import WireError
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb

MAXIMUM_PARTS_PER_MESSAGE = 16_384
"""Fields of a message, each entry of a list counted: a report of 5,000 vectors with their keys, 500
hours, 512 claims and 256 estimates is the largest an agent makes."""

UNCOUNTED_BYTES = 2_048
"""A message this short cannot have many parts."""

PARTS_AT_ONCE = 64
"""Of a long message so many are built in one piece: about 0.1 ms, in which no thread computes."""

MANY_PIECES = 16
"""Of a message of more pieces the counting alone takes above a millisecond."""

# Kinds of a field: https://protobuf.dev/programming-guides/encoding/#structure
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT_BITS = 70

M = TypeVar("M", bound=Message)


def parse_reports(raw: bytes) -> pb.StreamReportsRequest:
    """A message of an agent's stream.

    Raises:
        WireError: it is none, or has too many parts.
    """
    return _parse(raw, pb.StreamReportsRequest)


def parse_batches(raw: bytes) -> pb.StreamBatchesRequest:
    """A message of a relay's stream.

    Raises:
        WireError: it is none, or has too many parts.
    """
    return _parse(raw, pb.StreamBatchesRequest)


def parse_submitted(raw: bytes) -> pb.SubmitBatchRequest:
    """A batch in a call of its own.

    Raises:
        WireError: it is none, or has too many parts.
    """
    return _parse(raw, pb.SubmitBatchRequest)


def is_many(raw: bytes) -> bool:
    """Whether a message has so many parts that to count and build them at once takes long."""
    if len(raw) <= UNCOUNTED_BYTES:
        return False
    try:
        return next(itertools.islice(_pieces(raw), MANY_PIECES, None), None) is not None
    except (DecodeError, WireError):
        # Whoever builds it says so.
        return False


def parse_long_reports(raw: bytes, pause: Callable[[], None]) -> pb.StreamReportsRequest:
    """A long message of an agent's stream, built piece by piece; see `parse_long_batches`."""
    return _parse_long(raw, pb.StreamReportsRequest, pause)


def parse_long_batches(raw: bytes, pause: Callable[[], None]) -> pb.StreamBatchesRequest:
    """A long message of a relay's stream, built piece by piece.

    Args:
        raw: the message.
        pause: called between two pieces.

    Raises:
        WireError: it is none, or has too many parts.
    """
    return _parse_long(raw, pb.StreamBatchesRequest, pause)


def parse_long_submitted(raw: bytes, pause: Callable[[], None]) -> pb.SubmitBatchRequest:
    """A long batch in a call of its own, built piece by piece; see `parse_long_batches`."""
    return _parse_long(raw, pb.SubmitBatchRequest, pause)


def _parse_long(raw: bytes, kind: type[M], pause: Callable[[], None]) -> M:
    message = kind()
    try:
        # One message after the other is both in one, wherever it is cut between two fields:
        # https://protobuf.dev/programming-guides/encoding/#last-one-wins
        ends: list[int] = []
        for end in _pieces(raw):
            ends.append(end)
            pause()
        for start, end in itertools.pairwise([0, *ends]):
            message.MergeFromString(raw[start:end])
            pause()
    except DecodeError as error:
        raise WireError(_no_message(kind)) from error
    return message


def _parse(raw: bytes, kind: type[M]) -> M:
    try:
        if len(raw) > UNCOUNTED_BYTES:
            for _ in _pieces(raw):
                pass
        return kind.FromString(raw)
    except DecodeError as error:
        raise WireError(_no_message(kind)) from error


def _no_message(kind: type[Message]) -> str:
    return f"the message is no {kind.__name__}; check the sender"


def _pieces(raw: bytes) -> Iterator[int]:
    """Where pieces of `PARTS_AT_ONCE` fields of a message end, the last one at its end.

    Raises:
        DecodeError: a field of a kind that no message of ours has.
        WireError: there are too many fields.
    """
    place = 0
    for part in range(1, MAXIMUM_PARTS_PER_MESSAGE + 1):
        if place >= len(raw):
            break
        tag, place = _varint(raw, place)
        kind = tag & 7
        if kind == _LENGTH:
            length, place = _varint(raw, place)
            place += length
        elif kind == _VARINT:
            _, place = _varint(raw, place)
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            # Groups, whose parts would go uncounted.
            raise DecodeError
        if part % PARTS_AT_ONCE == 0 and place < len(raw):
            yield place
    if place < len(raw):
        raise WireError(
            f"the message has more than {MAXIMUM_PARTS_PER_MESSAGE} parts; check the sender"
        )
    yield len(raw)


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place behind it; one that is cut off ends the message."""
    number = shift = 0
    while place < len(raw) and shift < _LONGEST_VARINT_BITS:
        byte = raw[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
    return number, len(raw)
