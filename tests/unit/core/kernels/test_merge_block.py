"""The merge of a block: the usual case is decided as `compare` does, anything else is marked."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels.merge import ABOVE, BELOW, EQUAL, compare
from flopmeter_core.kernels.merge_block import ASK, DUPLICATE, LATE, SEVERAL, WON
from support.forms import COMPILED, FORMS, INTERPRETED, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

WIDTH = 3

FAIR = st.integers(0, 3) | st.integers(2**62 - 3, 2**62 - 1)
HOSTILE = FAIR | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 2**62, 2**63 - 1])


def block(entries: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, list[int], int]]]:
    """Rows that came: place, components, sequence."""
    row = st.lists(entries, min_size=WIDTH, max_size=WIDTH)
    return st.lists(st.tuples(st.integers(0, 2), row, st.integers(0, 3)), max_size=12)


def held_rows(entries: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """Three rows that are held."""
    return st.lists(entries, min_size=3 * WIDTH, max_size=3 * WIDTH)


SEQUENCES = st.lists(st.integers(SEVERAL, 3), min_size=3, max_size=3)


def merged(
    form: str, held: list[int], sequences: list[int], came: list[tuple[int, list[int], int]]
) -> tuple[int, list[int], list[int], list[int]]:
    """What a form makes of a block: rows asked about, and the three buffers afterwards."""
    rows, numbers, outcomes = array("q", held), array("q", sequences), bytearray(len(came))
    asked = kernel("merge_block", form).merge_rows(
        rows,
        numbers,
        array("q", [place for place, _, _ in came]),
        array("q", [entry for _, row, _ in came for entry in row]),
        array("q", [sequence for _, _, sequence in came]),
        outcomes,
        WIDTH,
    )
    return asked, list(rows), list(numbers), list(outcomes)


@pytest.mark.parametrize("form", FORMS)
@given(held=held_rows(FAIR), sequences=SEQUENCES, came=block(FAIR))
def test_as_one_by_one(
    form: str, held: list[int], sequences: list[int], came: list[tuple[int, list[int], int]]
) -> None:
    """A block decides what the rule for one vector decides, in order, and marks the rest."""
    rows = [tuple(held[place * WIDTH : place * WIDTH + WIDTH]) for place in range(3)]
    numbers, expected = list(sequences), []
    for place, entries, sequence in came:
        relation = compare(tuple(entries), rows[place])
        newest, outcome = numbers[place], ASK
        if newest == SEVERAL:
            outcome = ASK
        elif sequence > newest and relation in (ABOVE, EQUAL):
            rows[place], numbers[place], outcome = tuple(entries), sequence, WON
        elif sequence == newest and relation == EQUAL:
            outcome = DUPLICATE
        elif sequence < newest and relation in (BELOW, EQUAL):
            outcome = LATE
        expected.append(outcome)
    flat = [entry for row in rows for entry in row]
    told = merged(form, held, sequences, came)
    assert told == (expected.count(ASK), flat, numbers, expected)


@given(held=held_rows(HOSTILE), sequences=SEQUENCES, came=block(HOSTILE))
def test_forms_are_equal(
    held: list[int], sequences: list[int], came: list[tuple[int, list[int], int]]
) -> None:
    """Both forms leave the same integers everywhere, whatever int64 they are given."""
    assert merged(COMPILED, held, sequences, came) == merged(INTERPRETED, held, sequences, came)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entry", [-1, -(2**63), 2**62, 2**63 - 1])
def test_out_of_range(form: str, entry: int) -> None:
    """A component no register can have is never taken, on either side, and nothing is changed."""
    row = [0, 0, entry]
    assert merged(form, [0] * 9, [1, 1, 1], [(0, row, 2)]) == (1, [0] * 9, [1, 1, 1], [ASK])
    held = [*row, *[0] * 6]
    told = merged(form, held, [1, 1, 1], [(0, [2**62 - 1] * 3, 2)])
    assert told == (1, held, [1, 1, 1], [ASK])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("newest", "sequence"), [(2**40, 1), (1, 2**40), (2**40, 2**41 + 1)])
def test_other_writers(form: str, newest: int, sequence: int) -> None:
    """Sequences of other writers are never told apart by their numbers."""
    told = merged(form, [0] * 9, [newest, 0, 0], [(0, [1, 1, 1], sequence)])
    assert told == (1, [0] * 9, [newest, 0, 0], [ASK])
    own = merged(form, [0] * 9, [sequence, 0, 0], [(0, [1, 1, 1], sequence + 1)])
    assert own[3] == [WON]


@pytest.mark.parametrize("form", FORMS)
def test_empty(form: str) -> None:
    """A block without rows changes nothing."""
    assert merged(form, [], [], []) == (0, [], [], [])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", [-1, 3, 2**40])
def test_no_such_place(form: str, place: int) -> None:
    """A place that is not held is an error, never another row or other memory."""
    with pytest.raises(IndexError):
        merged(form, [0] * 9, [1, 1, 1], [(place, [1, 1, 1], 2)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("short", range(4))
def test_too_short(form: str, short: int) -> None:
    """A buffer that is too short is an error before any row is read."""
    lengths = [2 * WIDTH, 1, 1, WIDTH]
    lengths[short] -= 1
    held, came_sequences, outcomes, came = lengths
    with pytest.raises(IndexError):
        kernel("merge_block", form).merge_rows(
            array("q", bytes(8 * held)),
            array("q", [0, 0]),
            array("q", [0]),
            array("q", bytes(8 * came)),
            array("q", bytes(8 * came_sequences)),
            bytearray(outcomes),
            WIDTH,
        )
