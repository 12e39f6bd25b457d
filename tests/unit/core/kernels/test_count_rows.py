"""Counting rows: exact sums by group of what only grew; every other row is left as it was."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import count_rows, known_rows
from flopmeter_core.kernels.count_rows import (
    GREATEST_DIFFERENCE,
    GREATEST_PRODUCT,
    GROUP_WIDTH,
    HELD_WIDTH,
    WIDTH,
)
from flopmeter_core.registers import COMPONENT_COUNT, TIME_COMPONENTS
from support.forms import COMPILED, FORMS, INTERPRETED, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

ROWS, GROUPS = 3, 2
EDGE = st.sampled_from([0, 1, 2**58, 2**58 + 1, 2**62 - 1])
FAIR = st.integers(0, 9) | EDGE
HOSTILE = FAIR | st.sampled_from([-1, 2**62, 2**63 - 1, -(2**63)])
WEIGHT = st.integers(-9, 9) | st.sampled_from([-(2**57) + 1, 2**40, 2**57 - 1])


def components(entries: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """Components of a row, most of them 0."""
    some = st.dictionaries(st.sampled_from(range(COMPONENT_COUNT)), entries, max_size=4)
    return some.map(lambda told: [told.get(place, 0) for place in range(COMPONENT_COUNT)])


def rows(entries: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[int]]]:
    """A few rows."""
    return st.lists(components(entries), min_size=ROWS, max_size=ROWS)


group = st.tuples(components(FAIR), components(WEIGHT)).map(
    lambda told: [
        *told[0],
        *told[1],
        *(min(GREATEST_DIFFERENCE, GREATEST_PRODUCT // abs(each or 1)) for each in told[1]),
    ]
)
groups = st.lists(group, min_size=GROUPS, max_size=GROUPS)
of_group = st.lists(st.integers(-1, GROUPS - 1), min_size=ROWS, max_size=ROWS)
sequences = st.lists(st.sampled_from([-1, 1, 7]), min_size=ROWS, max_size=ROWS)
places = st.lists(st.integers(0, ROWS - 1), max_size=4)


def flat(several: list[list[int]]) -> array[int]:
    """Rows as a buffer."""
    return array("q", [each for row in several for each in row])


def counted(form: str, given: tuple[list[list[int]], ...], wanted: list[int]) -> list[list[int]]:
    """Everything a form leaves: how many were left, what is counted, sums, told, marks."""
    held, before, sums = (flat(each) for each in given)
    told, usual = array("q", [0] * 2 * len(wanted)), bytearray(b"\7" * len(wanted))
    left = kernel("count_rows", form).count_rows(
        held, array("q", wanted), before, sums, told, usual
    )
    return [[left], list(before), list(sums), list(told), list(usual)]


@given(rows(HOSTILE), rows(HOSTILE), groups, of_group, sequences, places)
def test_forms_are_equal(
    held: list[list[int]],
    before: list[list[int]],
    sums: list[list[int]],
    numbers: list[int],
    told: list[int],
    wanted: list[int],
) -> None:
    """Both forms leave the same integers everywhere, whatever the rows hold."""
    blocks = (
        [[sequence, 0, 0, 0, 0, 0, *row] for sequence, row in zip(told, held, strict=True)],
        [[number, *row] for number, row in zip(numbers, before, strict=True)],
        sums,
    )
    assert counted(COMPILED, blocks, wanted) == counted(INTERPRETED, blocks, wanted)


@pytest.mark.parametrize("form", FORMS)
@given(rows(FAIR), rows(FAIR), groups, of_group, sequences, places)
def test_sums_are_exact(
    form: str,
    held: list[list[int]],
    before: list[list[int]],
    sums: list[list[int]],
    numbers: list[int],
    told: list[int],
    wanted: list[int],
) -> None:
    """What was counted makes the sums of integers; what was left changes nothing at all."""
    blocks = (
        [[sequence, 0, 0, 0, 0, 0, *row] for sequence, row in zip(told, held, strict=True)],
        [[number, *row] for number, row in zip(numbers, before, strict=True)],
        sums,
    )
    (left,), after, added, grew, usual = counted(form, blocks, wanted)
    expected = [row[:] for row in sums]
    now = [row[:] for row in before]
    for row, place in enumerate(wanted):
        more = [new - old for new, old in zip(held[place], now[place], strict=True)]
        number = numbers[place]
        plain = number >= 0 and told[place] >= 0 and min(more) >= 0
        assert plain or not usual[row]
        if not usual[row]:
            if plain and max(more) < 2**20 and max(expected[number][:COMPONENT_COUNT]) < 2**61:
                assert max(map(abs, expected[number][18:36])) > 2**20
            continue
        now[place] = held[place]
        weights = expected[number][COMPONENT_COUNT : 2 * COMPONENT_COUNT]
        for component, amount in enumerate(more):
            expected[number][component] += amount
        assert grew[2 * row] == sum(more[time] for time in TIME_COMPONENTS)
        assert grew[2 * row + 1] == sum(a * b for a, b in zip(more, weights, strict=True))
    assert after == list(flat([[n, *row] for n, row in zip(numbers, now, strict=True)]))
    assert added == list(flat(expected))
    assert left == usual.count(0)


@pytest.mark.parametrize("form", FORMS)
def test_growth_is_counted_once(form: str) -> None:
    """What was counted is not counted again."""
    held = [[1, 0, 0, 0, 0, 0, *[7] * COMPONENT_COUNT]]
    before = [[0, *[5] * COMPONENT_COUNT]]
    limits = [GREATEST_DIFFERENCE] * COMPONENT_COUNT
    sums = [[*[0] * COMPONENT_COUNT, *[1] * COMPONENT_COUNT, *limits]]
    _, _, added, told, usual = counted(form, (held, before, sums), [0, 0])
    assert added[:COMPONENT_COUNT] == [2] * COMPONENT_COUNT
    assert (told, usual) == ([2 * len(TIME_COMPONENTS), 2 * COMPONENT_COUNT, 0, 0], [1, 1])


@pytest.mark.parametrize("form", FORMS)
def test_buffers(form: str) -> None:
    """A row or group that is not there is an error; a row nobody counted yet is left."""
    count = kernel("count_rows", form).count_rows
    held = array("q", [1, *[0] * (HELD_WIDTH - 1)] * 2)
    before, sums = array("q", [0] * WIDTH), array("q", [0] * GROUP_WIDTH)
    told, usual = array("q", [0] * 4), bytearray(2)
    assert count(held, array("q", [0, 1]), before, sums, told, usual) == 1
    assert list(usual) == [1, 0]
    for wanted, groups_, room, marks in (
        ([2], sums, told, usual),
        ([-1], sums, told, usual),
        ([0], sums[:-1], told, usual),
        ([0], sums, told[:1], usual),
        ([0], sums, told, bytearray()),
    ):
        with pytest.raises(IndexError):
            count(held, array("q", wanted), before, groups_, room, marks)


def test_places_are_those_of_the_vector() -> None:
    """The kernel has no imports; what it says of rows is what the others say."""
    assert count_rows.COMPONENTS == COMPONENT_COUNT
    assert TIME_COMPONENTS[0] == count_rows.TIMES and TIME_COMPONENTS[-1] == COMPONENT_COUNT - 1
    assert (count_rows.HELD_FIRST, count_rows.HELD_WIDTH) == (known_rows.FIRST, known_rows.WIDTH)
    assert count_rows.FIRST + COMPONENT_COUNT == WIDTH
    assert 3 * COMPONENT_COUNT == GROUP_WIDTH
