"""The usual report of an agent straight from its bytes, and its answer straight into bytes.

Owns: which bytes are a report of nothing but whole vectors, and the integers they say.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by proto (wire/known.py). Explained in docs/adr/0039-registers-in-rows.md.

What is read here is narrower than what the protocol permits: a field that is not known, a field
that comes twice, a number of ten bytes, anything cut off makes a message unusual, and protobuf
reads that one. The encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

COMPONENTS = 18
"""Of a vector, in the order of `registers.Component`."""

CAME_FIRST, CAME_WIDTH = 2, 20
"""A row that came, as in known_rows: sequence, boot time in ns, components."""

SPAN_WIDTH = 2
"""Where something lies in the message: its first byte, and its length in bytes."""

NUMBER, BOOT, SHOWN, TOLD_WIDTH = 0, 1, 2, 3
"""What is told of a message: room for the number read last, time since boot in ns, and how many
display estimates it has."""

FINGERPRINT_BYTES, MOST_FINGERPRINT_BYTES = 8, 256
"""More fingerprints are not usual (`wire.MAXIMUM_FOLLOWED`)."""

SHORT_BYTES = 127
"""Up to here a length takes one byte."""

ACKNOWLEDGEMENT_BYTES = 23
"""The longest acknowledgement: a tag and a length, a number of 5, one of 10 and one of 1 byte."""

# Below only: compiled, these are C integers (known_wire.pxd).
_NS_PER_S = 1_000_000_000
_GREATEST_SECONDS = 1 << 32
_GREATEST_INT32 = (1 << 31) - 1
_COMPONENT_BYTES = 8
_GREATEST_TOP_BYTE = 63
"""Highest byte of the greatest number a register holds, 2^62 - 1."""

# Tags of fields: 8 x number + kind, kind 0 for a number and 2 for bytes of a told length.
_VECTOR, _DISPLAY, _OBSERVED, _BOOTED = 34, 42, 50, 58
_KEY, _SEQUENCE, _COMPONENTS, _BOOT, _FOLLOWS = 8, 16, 26, 32, 42
_SECONDS, _NANOS = 8, 16
_ACKNOWLEDGEMENT, _DURABILITY = 10, 24


def varint(raw: Sequence[int], at: int, end: int, told: MutableSequence[int]) -> int:
    """Read a number of 7 bits a byte, 9 bytes at most.

    Args:
        raw: the message.
        at: where the number begins.
        end: where what it is part of ends, within the message.
        told: gets it, at `NUMBER`.

    Returns:
        Where it ends; -1 where it is cut off or longer.
    """
    value = 0
    shift = 0
    while at < end and shift < 63:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            told[0] = value
            return at
        shift += 7
    return -1


def read_moment(raw: Sequence[int], at: int, end: int, told: MutableSequence[int]) -> int:
    """Read a duration or a time of day; tells its ns at `NUMBER`.

    Args:
        raw: the message.
        at: where its seconds and ns begin.
        end: where they end.
        told: gets its ns.

    Returns:
        1; 0 where it is not usual.
    """
    seconds = nanos = 0
    while at < end:
        tag = raw[at]
        if tag != _SECONDS and tag != _NANOS:
            return 0
        at = varint(raw, at + 1, end, told)
        if at < 0:
            return 0
        if tag == _SECONDS:
            seconds = told[0]
        else:
            nanos = told[0]
    if seconds > _GREATEST_SECONDS or nanos > _GREATEST_INT32:
        return 0
    told[0] = seconds * _NS_PER_S + nanos
    return 1


def read_components(
    raw: Sequence[int], at: int, length: int, came: MutableSequence[int], first: int
) -> int:
    """Read the components of a vector, 64-bit little endian integers.

    Args:
        raw: the message.
        at: where they begin.
        length: how many bytes they have, all of them within the message.
        came: gets them.
        first: where to.

    Returns:
        1; 0 where they are not as many as a vector has, or one is none that a register holds.
    """
    components = COMPONENTS
    if length != _COMPONENT_BYTES * components:
        return 0
    for component in range(components):
        # Negative, or beyond what a register holds: others say what is wrong.
        if raw[at + _COMPONENT_BYTES - 1] > _GREATEST_TOP_BYTE:
            return 0
        value = 0
        for byte in range(_COMPONENT_BYTES):
            part = raw[at + byte]
            value |= part << 8 * byte
        came[first + component] = value
        at += _COMPONENT_BYTES
    return 1


def read_vector(
    raw: Sequence[int],
    at: int,
    end: int,
    row: int,
    numbers: MutableSequence[int],
    came: MutableSequence[int],
    follows: MutableSequence[int],
    told: MutableSequence[int],
) -> int:
    """Read one vector into a row.

    Args:
        raw: the message.
        at: where the vector begins.
        end: where it ends.
        row: which row it is.
        numbers: gets the number of its key.
        came: gets the row.
        follows: gets where its fingerprints lie.
        told: room for a number.

    Returns:
        1; 0 where it is not usual.
    """
    came_width, came_first = CAME_WIDTH, CAME_FIRST
    span_width, fingerprint, most_named = SPAN_WIDTH, FINGERPRINT_BYTES, MOST_FINGERPRINT_BYTES
    first = row * came_width
    number = sequence = boot = seen = 0
    named_at = named_bytes = 0
    while at < end:
        tag = raw[at]
        at = varint(raw, at + 1, end, told)
        if at < 0:
            return 0
        value = told[0]
        if tag == _KEY:
            number = value
        elif tag == _SEQUENCE:
            sequence = value
        elif tag == _BOOT:
            boot = value
        elif value > end - at:
            return 0
        elif tag == _COMPONENTS:
            if seen or not read_components(raw, at, value, came, first + came_first):
                return 0
            seen = 1
            at += value
        elif tag == _FOLLOWS:
            if named_bytes or value % fingerprint or value > most_named:
                return 0
            named_at, named_bytes = at, value
            at += value
        else:
            return 0
    if not seen or number > _GREATEST_INT32:
        return 0
    numbers[row] = number
    came[first] = sequence
    came[first + 1] = boot
    follows[row * span_width] = named_at
    follows[row * span_width + 1] = named_bytes
    return 1


def read_report(
    raw: Sequence[int],
    numbers: MutableSequence[int],
    came: MutableSequence[int],
    follows: MutableSequence[int],
    shown: MutableSequence[int],
    told: MutableSequence[int],
) -> int:
    """Read a report that holds nothing but vectors, estimates for display and its times.

    Args:
        raw: the message (`flopmeter.ingest.v1.StreamReportsRequest`).
        numbers: gets of each vector the number of its key; its length is how many are read.
        came: gets of each its row, `CAME_WIDTH` int64.
        follows: gets of each where its fingerprints lie (`SPAN_WIDTH` int64), little endian.
        shown: gets where each estimate lies (`SPAN_WIDTH` int64); its length is how many are read.
        told: gets what is told of the whole (`TOLD_WIDTH` int64).

    Returns:
        How many vectors there are; 0 where the message is not usual, whatever buffers hold then.

    Raises:
        IndexError: buffers that do not fit together.
    """
    span_width, most = SPAN_WIDTH, len(numbers)
    most_shown = len(shown) // span_width
    size = len(raw)
    if len(came) < most * CAME_WIDTH or len(follows) < most * span_width or len(told) < TOLD_WIDTH:
        raise IndexError("each vector that may come needs room for its row and its span")
    at = rows = estimates = observed = booted = 0
    boot = 0
    while at < size:
        tag = raw[at]
        if tag not in (_VECTOR, _DISPLAY, _OBSERVED, _BOOTED):
            return 0
        at = varint(raw, at + 1, size, told)
        if at < 0 or told[0] > size - at:
            return 0
        length = told[0]
        end = at + length
        if tag == _VECTOR:
            if rows >= most or not read_vector(raw, at, end, rows, numbers, came, follows, told):
                return 0
            rows += 1
        elif tag == _DISPLAY:
            if estimates >= most_shown:
                return 0
            shown[estimates * span_width] = at
            shown[estimates * span_width + 1] = length
            estimates += 1
        else:
            if (observed if tag == _OBSERVED else booted) or not read_moment(raw, at, end, told):
                return 0
            if tag == _OBSERVED:
                observed = 1
            else:
                booted, boot = 1, told[0]
        at = end
    told[1] = boot
    told[2] = estimates
    return rows


def put_varint(out: MutableSequence[int], at: int, value: int) -> int:
    """Write a number of 7 bits a byte; returns where it ends.

    Args:
        out: gets it; the caller has seen that there is room.
        at: where to.
        value: 0 .. 2^63 - 1.
    """
    while value > 127:
        out[at] = value & 127 | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


def spell_answer(
    numbers: Sequence[int], sequences: Sequence[int], durability: int, out: MutableSequence[int]
) -> int:
    """Write an acknowledgement of each vector.

    Args:
        numbers: of the keys, 0 .. 2^31 - 1.
        sequences: of the vectors, 0 .. 2^63 - 1.
        durability: where they are durable, 1 .. 127.
        out: gets them (`ACKNOWLEDGEMENT_BYTES` bytes each at most), fields of a
            `flopmeter.ingest.v1.StreamReportsResponse`.

    Returns:
        How many bytes were written.

    Raises:
        IndexError: buffers that do not fit together.
        OverflowError: a number outside its range.
    """
    count = len(numbers)
    if len(sequences) < count or len(out) < count * ACKNOWLEDGEMENT_BYTES:
        raise IndexError("each acknowledgement needs a sequence, and room")
    if durability < 1 or durability > SHORT_BYTES:
        raise OverflowError("durability is not one")
    at = 0
    for row in range(count):
        number, sequence = numbers[row], sequences[row]
        if number < 0 or number > _GREATEST_INT32 or sequence < 0:
            raise OverflowError("a number on the wire is not negative")
        length_at = at + 1
        out[at] = _ACKNOWLEDGEMENT
        out[at + 2] = _KEY
        at = put_varint(out, at + 3, number)
        out[at] = _SEQUENCE
        at = put_varint(out, at + 1, sequence)
        out[at] = _DURABILITY
        out[at + 1] = durability
        at += 2
        out[length_at] = at - length_at - 1
    return at
