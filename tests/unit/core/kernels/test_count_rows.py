"""Counting rows: exact sums by group of what only grew; every other row is left as it was."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import count_rows, known_rows
from flopmeter_core.kernels.count_rows import (
    ACCOUNT_WIDTH,
    COVERED,
    DONE,
    GREATEST_DIFFERENCE,
    GREATEST_PRODUCT,
    GROUP_WIDTH,
    HELD_WIDTH,
    LEFT,
    LIMIT,
    LOWER,
    QUIET,
    READ,
    TOLD,
    TOUCHED,
    WIDTH,
)
from flopmeter_core.registers import COMPONENT_COUNT, TIME_COMPONENTS
from support.forms import COMPILED, FORMS, INTERPRETED, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

ROWS, GROUPS, ACCOUNTS = 3, 2, 2
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
        0,
    ]
)
groups = st.lists(group, min_size=GROUPS, max_size=GROUPS)
of_group = st.lists(st.integers(-1, GROUPS - 1), min_size=ROWS, max_size=ROWS)
of_account = st.lists(st.integers(-1, ACCOUNTS - 1), min_size=ROWS, max_size=ROWS)
NEAR = st.sampled_from([0, 5, LIMIT - 1])
LOWERS = NEAR | st.sampled_from([-7, 1 - LIMIT])
account = st.tuples(st.booleans(), NEAR, LOWERS, NEAR).map(lambda told: [*map(int, told), 0, 0])
accounts = st.lists(account, min_size=ACCOUNTS, max_size=ACCOUNTS)
sequences = st.lists(st.sampled_from([-1, 1, 7]), min_size=ROWS, max_size=ROWS)
places = st.lists(st.integers(0, ROWS - 1), max_size=4)


def flat(several: list[list[int]]) -> array[int]:
    """Rows as a buffer."""
    return array("q", [each for row in several for each in row])


Blocks = tuple[list[list[int]], ...]
"""Rows that are held, rows that were counted, groups, accounts."""


def counted(form: str, given: Blocks, wanted: list[int], read: list[int]) -> list[list[int]]:
    """Everything a form leaves: what is counted, groups, accounts, and so on."""
    held, before, sums, ledgers = (flat(each) for each in given)
    told, marks = array("q", [0] * 2 * len(wanted)), bytearray(b"\7" * len(wanted))
    touched = array("q", [0] * (len(wanted) + 1))
    kernel("count_rows", form).count_rows(
        held, array("q", wanted), array("q", read), before, sums, ledgers, touched, told, marks
    )
    return [*map(list, (before, sums, ledgers, touched, told, marks))]


@st.composite
def cases(draw: st.DrawFn, entries: st.SearchStrategy[int]) -> tuple[Blocks, list[int], list[int]]:
    """Blocks, the rows to count, and up to when each was read."""
    held, before = draw(rows(entries)), draw(rows(entries))
    heads = zip(draw(of_group), draw(of_account), strict=True)
    blocks = (
        [[first, *[0] * 5, *row] for first, row in zip(draw(sequences), held, strict=True)],
        [[*head, *row] for head, row in zip(heads, before, strict=True)],
        draw(groups),
        draw(accounts),
    )
    wanted = draw(places)
    read = draw(st.lists(entries, min_size=len(wanted), max_size=len(wanted)))
    return blocks, wanted, read


@given(cases(HOSTILE))
def test_forms_are_equal(case: tuple[Blocks, list[int], list[int]]) -> None:
    """Both forms leave the same integers everywhere, whatever the rows hold."""
    assert counted(COMPILED, *case) == counted(INTERPRETED, *case)


@pytest.mark.parametrize("form", FORMS)
@given(cases(FAIR))
def test_sums_are_exact(form: str, case: tuple[Blocks, list[int], list[int]]) -> None:
    """What was counted makes the sums of integers; what was left changes nothing at all."""
    (held, before, sums, ledgers), wanted, read = case
    after, added, ours, touched, grew, marks = counted(form, *case)
    now, expected = [row[:] for row in before], [row[:] for row in sums]
    books, first_touched = [row[:] for row in ledgers], []
    for row, place in enumerate(wanted):
        number, account = now[place][:2]
        more = [new - old for new, old in zip(held[place][6:], now[place][2:], strict=True)]
        plain = number >= 0 and held[place][0] >= 0 and min(more) >= 0
        quiet = account >= 0 and books[account][QUIET]
        if marks[row] == LEFT:
            small = plain and max(more) < 2**20 and max(expected[number][:COMPONENT_COUNT]) < 2**61
            if small and not (quiet and max(map(abs, books[account][1:3])) > 2**61):
                assert max(map(abs, expected[number][18:36])) > 2**20
            continue
        assert plain and marks[row] == (DONE if quiet else TOLD)
        now[place][2:] = held[place][6:]
        weights = expected[number][COMPONENT_COUNT : 2 * COMPONENT_COUNT]
        for component, amount in enumerate(more):
            expected[number][component] += amount
        if not expected[number][TOUCHED]:
            first_touched.append(number)
            expected[number][TOUCHED] = 1
        covered = sum(more[time] for time in TIME_COMPONENTS)
        weighed = sum(a * b for a, b in zip(more, weights, strict=True))
        if quiet:
            books[account][COVERED] += covered
            books[account][LOWER] += weighed
            books[account][READ] = max(books[account][READ], read[row])
        else:
            assert grew[2 * row : 2 * row + 2] == [covered, weighed]
    assert after == list(flat(now))
    assert added == list(flat(expected))
    assert ours == list(flat(books))
    assert touched[: touched[0] + 1] == [len(first_touched), *first_touched]


@pytest.mark.parametrize("form", FORMS)
def test_growth_is_counted_once(form: str) -> None:
    """What was counted is not counted again, and a quiet account hears of it in its row."""
    held = [[1, 0, 0, 0, 0, 0, *[7] * COMPONENT_COUNT]]
    limits = [GREATEST_DIFFERENCE] * COMPONENT_COUNT
    sums = [[*[0] * COMPONENT_COUNT, *[1] * COMPONENT_COUNT, *limits, 0]]
    covered, weighed = 2 * len(TIME_COMPONENTS), 2 * COMPONENT_COUNT
    for account, marks, grew, book in (
        (-1, [TOLD, TOLD], [covered, weighed, 0, 0], [1, 0, 0, 0, 0, 0]),
        (0, [DONE, DONE], [0, 0, 0, 0], [1, covered, weighed, 9, 0, 0]),
    ):
        blocks = (held, [[0, account, *[5] * COMPONENT_COUNT]], sums, [[1, 0, 0, 0, 0, 0]])
        _, added, ours, touched, told, marked = counted(form, blocks, [0, 0], [9, 8])
        assert added[:COMPONENT_COUNT] == [2] * COMPONENT_COUNT
        assert (marked, told, ours, touched) == (marks, grew, book, [1, 0, 0])


@pytest.mark.parametrize("form", FORMS)
def test_buffers(form: str) -> None:
    """What a row names and is not there is an error; a row nobody counted yet is left."""
    count = kernel("count_rows", form).count_rows
    held = array("q", [1, *[0] * (HELD_WIDTH - 1)] * 2)
    before, sums = array("q", [0] * WIDTH), array("q", [0] * GROUP_WIDTH)
    book = array("q", [0] * ACCOUNT_WIDTH)
    pair, four, three, marks = array("q", [0, 0]), array("q", [0] * 4), array("q", [0] * 3), b"  "
    usual = bytearray(marks)
    wanted = array("q", [0, 1])
    count(held, wanted, pair, before, sums, book, three, four, usual)
    assert list(usual) == [TOLD, LEFT]
    one = array("q", [0])
    for names, read, groups_, books, touched, room, marked in (
        (array("q", [2]), pair, sums, book, three, four, usual),
        (array("q", [-1]), pair, sums, book, three, four, usual),
        (one, pair[:0], sums, book, three, four, usual),
        (one, pair, sums[:-1], book, three, four, usual),
        (one, pair, sums, book[:-1], three, four, usual),
        (one, pair, sums, book, one, four, usual),
        (one, pair, sums, book, three, four[:1], usual),
        (one, pair, sums, book, three, four, bytearray()),
    ):
        with pytest.raises(IndexError):
            count(held, names, read, before, groups_, books, touched, room, marked)


def test_places_are_those_of_the_vector() -> None:
    """The kernel has no imports; what it says of rows is what the others say."""
    assert count_rows.COMPONENTS == COMPONENT_COUNT
    assert TIME_COMPONENTS[0] == count_rows.TIMES and TIME_COMPONENTS[-1] == COMPONENT_COUNT - 1
    assert (count_rows.HELD_FIRST, count_rows.HELD_WIDTH) == (known_rows.FIRST, known_rows.WIDTH)
    assert count_rows.FIRST + COMPONENT_COUNT == WIDTH
    assert 3 * COMPONENT_COUNT + 1 == GROUP_WIDTH
