"""Columns: exact sums of any size, and doubts about everything that is not usual, in both forms."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.forms import COMPILED, FORMS, INTERPRETED, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

INT64 = st.integers(-(2**63), 2**63 - 1)
HOSTILE = (
    st.integers(-2, 3)
    | st.integers(2**62 - 2, 2**62 + 1)
    | st.sampled_from([2**63 - 1, -(2**63), 2**47 - 1, 2**47, 2**38, 2**38 + 1, 2**31, 2**24])
    | st.integers(0, 2**40)
    | INT64
)
ROWS = 9
COLUMN = st.lists(HOSTILE, min_size=ROWS, max_size=ROWS).map(lambda rows: array("q", rows))
EMPTY = st.just(array("q"))
PACKED = st.lists(st.integers(0, 2**32 - 1) | st.just(2**32 - 1), max_size=ROWS)
MARKS = st.lists(st.integers(0, 1), min_size=ROWS, max_size=ROWS).map(bytearray)
LIMIT = HOSTILE

CALLS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "dot": (COLUMN, COLUMN, st.just(array("Q", [0, 0, 0]))),
    "spans": (COLUMN, COLUMN, LIMIT, COLUMN, MARKS),
    "within": (COLUMN, LIMIT, LIMIT, MARKS),
    "raise_to": (COLUMN, COLUMN),
    "fast": (COLUMN, COLUMN, LIMIT, MARKS),
    "loud_in_silence": (COLUMN, LIMIT, COLUMN, LIMIT, MARKS),
    "energy_steps": (COLUMN, COLUMN, LIMIT, LIMIT, COLUMN, LIMIT, MARKS),
    "settle": (COLUMN, COLUMN, MARKS, COLUMN),
    "share_of": (COLUMN, COLUMN, LIMIT, COLUMN),
    "means": (COLUMN, COLUMN),
    "weights": (COLUMN, COLUMN, COLUMN),
    "kept_steps": (COLUMN, MARKS),
    "total_of": (COLUMN,),
    "widen": (PACKED.map(lambda rows: array("I", rows)), LIMIT, COLUMN),
    "running": (PACKED.map(lambda rows: array("I", rows)), LIMIT, COLUMN),
}
"""Every kernel with what it is given."""


def told(form: str, name: str, arguments: tuple[Any, ...]) -> tuple[object, ...]:
    """What a kernel returns or raises, and its buffers afterwards."""
    copies = [each[:] if isinstance(each, array | bytearray) else each for each in arguments]
    try:
        answer = getattr(kernel("columns", form), name)(*copies)
    except (IndexError, OverflowError) as error:
        return type(error), str(error)
    return answer, *copies


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
def test_forms_are_equal(name: str, data: st.DataObject) -> None:
    """Both forms return, write and refuse the same, whatever int64 they are given."""
    arguments = data.draw(st.tuples(*CALLS[name]))
    assert told(COMPILED, name, arguments) == told(INTERPRETED, name, arguments)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", FORMS)
def test_too_short(name: str, form: str) -> None:
    """A column that is shorter than the first is an error before anything is read or written."""
    call: Callable[..., object] = getattr(kernel("columns", form), name)
    buffers = [place for place, each in enumerate(CALLS[name]) if each in (COLUMN, MARKS)]
    if CALLS[name][0] is COLUMN:
        buffers = buffers[1:]  # the first column is what the others are held against
    for short in buffers:
        arguments: list[Any] = []
        for place, each in enumerate(CALLS[name]):
            length = 1 if place == short else 2
            if each is MARKS:
                arguments.append(bytearray(length))
            elif each is COLUMN:
                arguments.append(array("q", [1] * length))
            elif each is LIMIT:
                arguments.append(1)
            else:
                arguments.append(array("Q", [0] * 3) if name == "dot" else array("I", [1, 1]))
        with pytest.raises(IndexError):
            call(*arguments)


def test_every_kernel_is_here() -> None:
    """No kernel is left out of the comparison of the forms."""
    module = kernel("columns", INTERPRETED)
    own = {
        name
        for name, each in vars(module).items()
        if callable(each) and getattr(each, "__module__", "") == module.__name__
    }
    assert own == set(CALLS)


GREAT = st.integers(0, 2**63 - 1) | st.just(2**63 - 1)


@pytest.mark.parametrize("form", FORMS)
@given(pairs=st.lists(st.tuples(GREAT, GREAT), max_size=40))
def test_dot_is_exact(form: str, pairs: list[tuple[int, int]]) -> None:
    """Sums of products beyond 128 bits lose nothing."""
    words = array("Q", [7, 7, 7])
    first, second = (array("q", [pair[side] for pair in pairs]) for side in (0, 1))
    kernel("columns", form).dot(first, second, words)
    assert words[2] << 128 | words[1] << 64 | words[0] == sum(one * two for one, two in pairs)


@pytest.mark.parametrize("form", FORMS)
def test_dot_carries(form: str) -> None:
    """The carry of the middle word is not lost: a thousand of the greatest products."""
    words, greatest = array("Q", [0, 0, 0]), array("q", [2**63 - 1] * 1_000)
    kernel("columns", form).dot(greatest, greatest, words)
    assert words[2] > 0
    assert words[2] << 128 | words[1] << 64 | words[0] == 1_000 * (2**63 - 1) ** 2


@pytest.mark.parametrize("form", FORMS)
def test_dot_refuses_negative(form: str) -> None:
    """A negative entry is an error where it counts, and is not looked at where it does not."""
    words = array("Q", [0, 0, 0])
    dot = kernel("columns", form).dot
    with pytest.raises(OverflowError):
        dot(array("q", [-1]), array("q", [1]), words)
    dot(array("q", [-1, 2]), array("q", [0, 3]), words)
    assert list(words) == [6, 0, 0]


@pytest.mark.parametrize("form", FORMS)
def test_spans(form: str) -> None:
    """A period is the shorter of both clocks' differences; empty, long or odd ones are in doubt."""
    elapsed, doubts = array("q", bytes(8 * 7)), bytearray(7)
    monotonic = array("q", [0, 10, 20, 20, 31, 42, -1])
    boottime = array("q", [0, 10, 19, 20, 40, 200, 210])
    kernel("columns", form).spans(monotonic, boottime, 10, elapsed, doubts)
    assert list(elapsed) == [0, 10, 9, 0, 0, 0, 0]
    assert list(doubts) == [0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=8))
def test_means(form: str, rows: list[int]) -> None:
    """The mean of both ends, rounded down, without a sum that could leave int64."""
    mean = array("q", bytes(8 * len(rows)))
    kernel("columns", form).means(array("q", rows), mean)
    assert list(mean) == [0, *((a + b) // 2 for a, b in pairwise(rows))]


@pytest.mark.parametrize("form", FORMS)
def test_packed(form: str) -> None:
    """Entries of 32 bits become columns: scaled, or summed up from a start."""
    column = array("q", [0, 0, 0])
    packed = array("I", [1, 2**32 - 1, 3])
    kernel("columns", form).widen(packed, 1_000, column)
    assert list(column) == [1_000, 1_000 * (2**32 - 1), 3_000]
    kernel("columns", form).running(packed, 2**61, column)
    assert list(column) == [2**61 + 1, 2**61 + 2**32, 2**61 + 2**32 + 3]
