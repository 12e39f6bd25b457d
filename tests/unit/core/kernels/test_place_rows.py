"""Who says where he lies once more: told apart exactly, whatever the rows hold."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import count_rows, place_rows
from flopmeter_core.kernels.place_rows import (
    ANCHOR,
    BEGAN,
    COVERED,
    READ,
    SMALLEST_STEP_NS,
    UNPLACED,
)
from support.forms import COMPILED, FORMS, INTERPRETED, kernel

pytestmark = pytest.mark.timeout(600)

STEP = SMALLEST_STEP_NS
NUMBER = st.sampled_from([0, 1, 7, STEP - 1, STEP, STEP + 7, 2**60, 2**61 - 1])
SIGNED = NUMBER | NUMBER.map(int.__neg__)
account = st.tuples(st.just(0), NUMBER, SIGNED, NUMBER, SIGNED | st.just(UNPLACED), SIGNED).map(
    list
)
report = st.tuples(st.integers(0, 3), NUMBER, SIGNED)


def marked(form: str, accounts: list[list[int]], reports: list[tuple[int, int, int]]) -> list[int]:
    """How many a form marks, and whom; each agent has the next accounts."""
    block = array("q", [each for row in accounts for each in row])
    counts, boots, anchors = (array("q", each) for each in zip(*reports, strict=True))
    numbers = array("q", [place % len(accounts) for place in range(sum(counts))])
    marks = bytearray(b"\7" * len(reports))
    found = kernel("place_rows", form).place_rows(block, numbers, counts, boots, anchors, marks)
    return [found, *marks]


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(account, min_size=1, max_size=3), st.lists(report, min_size=1, max_size=4))
def test_as_the_rule_says(
    form: str, accounts: list[list[int]], reports: list[tuple[int, int, int]]
) -> None:
    """An agent is marked where one of its accounts is not placed, or may be placed better.

    Where more was counted than the report had, another report is to place it.
    """
    numbers = [place % len(accounts) for place in range(sum(count for count, _, _ in reports))]
    expected = []
    for count, boot, anchor in reports:
        own, numbers = numbers[:count], numbers[count:]
        expected.append(
            any(
                row[BEGAN] == UNPLACED
                or row[ANCHOR] - anchor >= STEP
                or row[BEGAN] + row[COVERED] - (row[READ] if row[READ] > 0 else boot) >= STEP
                for row in map(accounts.__getitem__, own)
                if row[READ] <= boot
            )
        )
    assert marked(form, accounts, reports) == [sum(expected), *expected]


@pytest.mark.parametrize("form", FORMS)
def test_buffers(form: str) -> None:
    """An account that is not there, and buffers that do not fit together, are errors."""
    place = kernel("place_rows", form).place_rows
    block, one, none = array("q", [0, 0, 0, 0, UNPLACED, 0]), array("q", [0]), array("q")
    single, mark = array("q", [1]), bytearray(1)
    assert place(block, one, single, one, one, mark) == 1
    for accounts, numbers, counts, boots, anchors, marks in (
        (block[1:], one, single, one, one, mark),
        (block, array("q", [-1]), single, one, one, mark),
        (block, none, single, one, one, mark),
        (block, one, array("q", [-1]), one, one, mark),
        (block, one, single, none, one, mark),
        (block, one, single, one, none, mark),
        (block, one, single, one, one, bytearray()),
    ):
        with pytest.raises(IndexError):
            place(accounts, numbers, counts, boots, anchors, marks)


def test_an_account_is_that_of_the_other_kernel() -> None:
    """Both kernels mean the same integers of a row."""
    assert (count_rows.COVERED, count_rows.READ, count_rows.ACCOUNT_WIDTH) == (
        place_rows.COVERED,
        place_rows.READ,
        place_rows.ACCOUNT_WIDTH,
    )
    assert COMPILED != INTERPRETED
