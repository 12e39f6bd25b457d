"""Sums over packed readings: exact, and they stop at the first row that is not usual."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import packed

LIMITS = (2 * 10**9, 10**7, 5 * 10**6, 1_020_000, (1 << 62) - 1, 10_000, 350_000, (1 << 62) - 1)

USUAL = st.tuples(
    st.integers(1, LIMITS[0]),
    st.integers(1, LIMITS[1]),
    st.integers(0, LIMITS[2]),
    st.integers(10_001, LIMITS[3]),
    st.integers(0, LIMITS[3]),
)
"""Time, clock, power and two activities of a row that nothing speaks against."""

Rows = Sequence[tuple[int, ...]]


def cells_of(rows: Rows) -> memoryview:
    """Rows as columns."""
    return memoryview(array("I", [cell for column in zip(*rows, strict=True) for cell in column]))


def taken(
    rows: Rows, limits: tuple[int, ...] = LIMITS, first: int = 1, places: tuple[int, ...] = ()
) -> tuple[int, list[int]]:
    """The row that was reached, and the sums."""
    wanted = array("q", places or (1, 2, 3, 4))
    sums = array("Q", bytes(16 * (packed.ACTIVITY + len(wanted) - 2)))
    scratch = array("Q", bytes(8 * packed.CHUNK))
    row = packed.usual(cells_of(rows), len(rows), first, wanted, array("q", limits), sums, scratch)
    parts = list(sums)
    time = parts[2 * packed.TIME : 2 * packed.TIME + 2]
    whole = [(upper << 32) + lower for upper, lower in zip(parts[::2], parts[1::2], strict=True)]
    return row, [*whole[: packed.TIME], *time, *whole[packed.ACTIVITY :]]


def expected(rows: Rows) -> list[int]:
    """The same in integers of any size."""
    sums = [0] * 7
    for before, (span, clock, power, one, other) in itertools.pairwise(rows):
        active = span if one or other else 0
        sums[0] += clock * span
        sums[1] += (clock + before[1]) // 2 * active
        sums[2] += (power + before[2]) * span
        sums[3] += active
        sums[4] += span
        sums[5] += one * clock * span
        sums[6] += other * clock * span
    return sums


@given(st.lists(USUAL, min_size=2, max_size=40))
def test_sums_are_exact(rows: Rows) -> None:
    """Whatever usual rows say, no bit of a sum is lost."""
    assert taken(rows) == (len(rows), expected(rows))


def test_the_greatest_rows_of_the_longest_block_fit() -> None:
    """Every cell at its limit, in as many rows as a block may have, over several chunks."""
    greatest = (LIMITS[0], LIMITS[1], LIMITS[2], LIMITS[3], LIMITS[3])
    few = [greatest] * (packed.CHUNK + 5)
    assert taken(few) == (len(few), expected(few))
    # What one row adds times all rows stays below 2^62 in either part, as the sums promise.
    share, weight = packed.GREATEST_LIMITS[3], packed.GREATEST_LIMITS[1] << 32
    assert (share * (weight >> 32) + (share * (1 << 32) >> 32)) * packed.ROWS_MAXIMUM < 1 << 62


UNUSUAL = [
    (0, 1_000, 100, 20_000, 5),
    (LIMITS[0] + 1, 1_000, 100, 20_000, 5),
    (1_000, 0, 100, 20_000, 5),
    (1_000, LIMITS[1] + 1, 100, 20_000, 5),
    (1_000, 1_000, LIMITS[2] + 1, 20_000, 5),
    (1_000, 1_000, 100, LIMITS[3] + 1, 5),
    (1_000, 1_000, 100, 5, LIMITS[3] + 1),
    (1_000, 1_000, (1 << 32) - 1, 20_000, 5),
]
PLAIN = (1_000, 1_000, 100, 20_000, 5)


@pytest.mark.parametrize("row", UNUSUAL)
@pytest.mark.parametrize("at", [1, 5, packed.CHUNK, packed.CHUNK + 1])
def test_it_stops_at_what_is_not_usual(row: tuple[int, ...], at: int) -> None:
    """The row itself is not in the sums, and neither is anything behind it."""
    rows = [PLAIN] * at + [row] + [PLAIN] * 3
    assert taken(rows) == (at, expected(rows[:at]))


def test_it_stops_where_power_speaks_against_silence() -> None:
    """Silent at both ends of a loud period is for Python; loud at one end only is usual."""
    loud, quiet = (1_000, 1_000, 400_000, 5, 5), (1_000, 1_000, 100, 5, 5)
    assert taken([PLAIN, loud, loud, PLAIN])[0] == 2
    assert taken([PLAIN, loud, quiet, loud])[0] == 4
    never = (*LIMITS[:6], 0, LIMITS[7])
    assert taken([PLAIN, loud, loud, PLAIN], never)[0] == 4


def test_it_stops_at_more_cycles_than_can_be() -> None:
    """Share x clock above its limit; elapsed cycles count as a share of one."""
    limits = (*LIMITS[:4], 1_000 * packed.PPM, *LIMITS[5:])
    assert taken([PLAIN, PLAIN, PLAIN], limits)[0] == 3
    assert taken([PLAIN, (1_000, 1_001, 100, 20_000, 5)], limits)[0] == 1
    assert taken([PLAIN, (1_000, 1_000, 100, packed.PPM + 1, 5)], limits)[0] == 1


def test_it_takes_no_more_time_than_there_is_room_for() -> None:
    """The row that would pass the room is left, to the ns."""
    rows = [PLAIN] * 5
    assert taken(rows, (*LIMITS[:7], 3_000))[0] == 4
    assert taken(rows, (*LIMITS[:7], 2_999))[0] == 3


def test_it_begins_where_it_is_told() -> None:
    """A later first row leaves the earlier ones alone."""
    rows = [PLAIN, (7, 9, 11, 20_000, 0), PLAIN, PLAIN]
    assert taken(rows, first=3) == (4, expected(rows[2:]))


def test_without_power_there_is_no_energy() -> None:
    """Place 0 says that no power was read, and nothing is doubted for it."""
    row, sums = taken([PLAIN, PLAIN, PLAIN], places=(1, 0, 3))
    assert (row, sums[2], len(sums)) == (3, 0, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"first": 0},
        {"places": (1, 2)},
        {"places": (1, 2, 5)},
        {"places": (1, 2, -1)},
        {"limits": LIMITS[:7]},
    ],
)
def test_buffers_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    """Before anything is read."""
    with pytest.raises(IndexError):
        taken([PLAIN, PLAIN], **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", range(packed.LIMITS))
def test_limits_for_which_sums_could_leave_their_type_are_refused(place: int) -> None:
    """Each limit has one of its own."""
    limits = list(LIMITS)
    limits[place] = packed.GREATEST_LIMITS[place]
    with pytest.raises(OverflowError):
        taken([PLAIN, PLAIN], tuple(limits))


def test_short_results_and_long_blocks_are_refused() -> None:
    """Room for each sum and the scratch, and a block of its size."""
    places, limits = array("q", (1, 2, 3)), array("q", LIMITS)
    scratch = array("Q", bytes(8 * packed.CHUNK))
    cells = cells_of([PLAIN, PLAIN])
    with pytest.raises(IndexError):
        packed.usual(cells, 2, 1, places, limits, array("Q", bytes(72)), scratch)
    with pytest.raises(IndexError):
        packed.usual(cells, 2, 1, places, limits, array("Q", bytes(80)), scratch[:-1])
    rows = packed.ROWS_MAXIMUM + 1
    long = memoryview(array("I", bytes(16 * rows)))
    with pytest.raises(OverflowError):
        packed.usual(long, rows, 1, places, limits, array("Q", bytes(80)), scratch)
