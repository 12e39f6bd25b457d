"""The usual report from its bytes: what is read is what protobuf reads, or nothing is."""

from __future__ import annotations

from array import array
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import known_rows
from flopmeter_core.kernels import known_wire as names
from flopmeter_core.registers import COMPONENT_COUNT
from support.forms import COMPILED, FORMS, INTERPRETED, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

ROOM = 3
Read = tuple[int, list[int], list[int], list[int], list[int], list[int]]


def room(integers: int) -> array[int]:
    """Integers that nobody wrote."""
    return array("q", [7] * integers)


def read(module: ModuleType, raw: bytes) -> Read:
    """What a form makes of a message, with room for a few vectors and estimates."""
    numbers, came, told = room(ROOM), room(ROOM * names.CAME_WIDTH), room(names.TOLD_WIDTH)
    follows, shown = room(ROOM * names.SPAN_WIDTH), room(2 * names.SPAN_WIDTH)
    count = module.read_report(raw, numbers, came, follows, shown, told)
    if not count:
        return 0, [], [], [], [], []
    return (
        count,
        list(numbers[:count]),
        list(came[: count * names.CAME_WIDTH]),
        list(follows[: count * names.SPAN_WIDTH]),
        list(shown[: told[names.SHOWN] * names.SPAN_WIDTH]),
        list(told[1:]),
    )


def number(value: int) -> bytes:
    """A number of 7 bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def told(tag: int, content: bytes) -> bytes:
    """A field of bytes."""
    return bytes((tag,)) + number(len(content)) + content


def components(*first: int) -> bytes:
    """The packed components of a vector."""
    values = [*first, *range(COMPONENT_COUNT - len(first))]
    return told(26, b"".join(value.to_bytes(8, "little", signed=True) for value in values))


VECTOR = b"\x08\x05\x10" + number(2**61) + components(2**62 - 1) + b"\x20" + number(2**62)
NAMED = VECTOR + told(42, bytes(16))
TIMES = told(50, b"\x08\x05\x10\x07") + told(58, b"\x08" + number(2**32) + b"\x10\x09")
USUAL = told(34, VECTOR) + told(34, NAMED) + told(42, b"any") + TIMES


@pytest.mark.parametrize("form", FORMS)
def test_read(form: str) -> None:
    """Numbers, rows, where names and estimates lie, and the time since boot are told."""
    count, numbers, came, follows, shown, rest = read(kernel("known_wire", form), USUAL)
    assert (count, numbers, rest) == (2, [5, 5], [2**32 * 10**9 + 9, 1])
    row = [2**61, 2**62, 2**62 - 1, *range(COMPONENT_COUNT - 1)]
    assert came == [*row, *row]
    assert follows[:2] == [0, 0]
    assert (USUAL[follows[2] : follows[2] + 16], follows[3]) == (bytes(16), 16)
    assert USUAL[shown[0] : shown[0] + shown[1]] == b"any"


OTHER = {
    "a field that is not known": told(90, b""),
    "a hello": told(10, b""),
    "a key": told(26, b""),
    "a second boot time": told(58, b""),
    "a second time of day": told(50, b""),
    "more vectors than there is room for": 2 * told(34, VECTOR),
    "more estimates than there is room for": 2 * told(42, b""),
    "a number that is cut off": b"\x22\x80",
    "a field that is cut off": b"\x22\x05\x08",
    "a tag alone": b"\x22",
    "a vector without components": told(34, b"\x08\x05"),
    "components that are too few": told(34, components()[:-8].replace(b"\x90\x01", b"\x88\x01")),
    "components twice": told(34, VECTOR + components()),
    "a component below 0": told(34, components(-1)),
    "a component of 2^62": told(34, components(2**62)),
    "components beyond the vector": told(34, VECTOR[:-20]),
    "names twice": told(34, NAMED + told(42, bytes(8))),
    "half a name": told(34, VECTOR + told(42, bytes(4))),
    "too many names": told(34, VECTOR + told(42, bytes(8 * 33))),
    "a key number beyond 31 bits": told(34, VECTOR + b"\x08" + number(2**31)),
    "a sequence of ten bytes": told(34, VECTOR + b"\x10" + b"\xff" * 9 + b"\x01"),
    "a field of a vector that is not known": told(34, VECTOR + b"\x30\x01"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", OTHER)
def test_not_usual(form: str, what: str) -> None:
    """Whatever else is in a message, protobuf reads it: nothing of it is told here."""
    module = kernel("known_wire", form)
    assert read(module, USUAL)[0] == 2
    assert read(module, USUAL + OTHER[what])[0] == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "moment", [b"\x08" + number(2**32 + 1), b"\x10" + number(2**31), b"\x18\x01", b"\x08"]
)
def test_moments(form: str, moment: bytes) -> None:
    """A time that is no duration, or whose ns could leave int64, is not usual."""
    module = kernel("known_wire", form)
    assert read(module, told(34, VECTOR) + told(58, b""))[0] == 1
    assert read(module, told(34, VECTOR) + told(58, moment))[0] == 0


PIECES = st.sampled_from([told(34, VECTOR), told(34, NAMED), TIMES, *OTHER.values()])
BYTES = st.lists(PIECES | st.binary(max_size=6), max_size=5).map(b"".join)


@given(raw=BYTES, cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0), st.integers())))
def test_forms_are_equal(raw: bytes, cut: int, flips: list[tuple[int, int]]) -> None:
    """Both forms tell the same of any bytes, and read nothing beside them."""
    changed = bytearray(raw[:cut])
    for place, value in flips:
        if changed:
            changed[place % len(changed)] = value & 255
    both = [read(kernel("known_wire", form), bytes(changed)) for form in (COMPILED, INTERPRETED)]
    assert both[0] == both[1]


SPELLED = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)), max_size=3)


@given(rows=SPELLED, durability=st.integers(1, 127))
def test_answers_are_equal(rows: list[tuple[int, int]], durability: int) -> None:
    """Both forms write the same bytes, each acknowledgement within its room."""
    numbers, sequences = (array("q", [row[place] for row in rows]) for place in (0, 1))
    both = []
    for form in (COMPILED, INTERPRETED):
        out = bytearray(len(rows) * names.ACKNOWLEDGEMENT_BYTES)
        written = kernel("known_wire", form).spell_answer(numbers, sequences, durability, out)
        both.append(bytes(out[:written]))
    expected = b"".join(
        told(10, b"\x08" + number(of) + b"\x10" + number(sequence) + bytes((24, durability)))
        for of, sequence in rows
    )
    assert both == [expected, expected]


@pytest.mark.parametrize("form", FORMS)
def test_buffers_that_do_not_fit(form: str) -> None:
    """Nothing is read or written beside a buffer."""
    module = kernel("known_wire", form)
    fit = [room(1), room(names.CAME_WIDTH), room(2), room(2), room(names.TOLD_WIDTH)]
    assert module.read_report(told(34, VECTOR), *fit) == 1
    for place in (1, 2, 4):
        short = [each[:-1] if at == place else each for at, each in enumerate(fit)]
        with pytest.raises(IndexError):
            module.read_report(told(34, VECTOR), *short)
    one, out = array("q", [1]), bytearray(names.ACKNOWLEDGEMENT_BYTES)
    assert module.spell_answer(one, one, 2, out) == 8
    for arguments in ((one, one[:0], 2, out), (one, one, 2, out[:-1])):
        with pytest.raises(IndexError):
            module.spell_answer(*arguments)
    below = array("q", [-1])
    for arguments in ((below, one, 2, out), (one, below, 2, out), (one, one, 0, out)):
        with pytest.raises(OverflowError):
            module.spell_answer(*arguments)


def test_widths() -> None:
    """The rows are those that are judged."""
    assert names.CAME_WIDTH == known_rows.CAME_WIDTH
    assert names.CAME_FIRST == known_rows.CAME_FIRST
    assert names.COMPONENTS == COMPONENT_COUNT
