"""Columns into rows: every entry in its row, in both forms, and what may not stand is told."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.forms import FORMS, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

WIDTH = 3
ENTRY = st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 2)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(ENTRY, max_size=4), st.integers(0, WIDTH - 1), ENTRY, ENTRY)
def test_each_entry_is_in_its_row(
    form: str, column: list[int], place: int, least: int, last: int
) -> None:
    """Nothing else of a row changes, and one entry outside the limits is enough to be told of."""
    rows = array("q", [7] * WIDTH * len(column))
    good = kernel("scatter", form).scatter(array("q", column), rows, place, WIDTH, least, last)
    assert good == all(least <= entry <= last for entry in column)
    assert list(rows[place::WIDTH]) == column
    assert rows.count(7) >= len(column) * (WIDTH - 1)
    assert {*rows[(place + 1) % WIDTH :: WIDTH], *rows[(place + 2) % WIDTH :: WIDTH]} <= {7}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place, count", [(-1, 6), (WIDTH, 6), (0, 5), (0, 9)])
def test_rows_that_do_not_fit(form: str, place: int, count: int) -> None:
    """A place that no row has, or more or fewer rows than entries: nothing is written."""
    rows = array("q", [7] * count)
    with pytest.raises(IndexError, match="one row for each"):
        kernel("scatter", form).scatter(array("q", [1, 2]), rows, place, WIDTH, 0, 9)
    assert set(rows) == {7}
