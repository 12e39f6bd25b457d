"""What an incarnation classified of a device: rows of integers, and what leaves them."""

from __future__ import annotations

import pytest

from flopmeter_collector.classified import TIME_LIMIT_NS, Classified, ClassifiedRows
from flopmeter_collector.ledger.base import Coverage
from flopmeter_core.kernels.count_rows import ACCOUNT_WIDTH, READ
from flopmeter_core.kernels.place_rows import BEGAN, UNPLACED


def placed(since_ns: int | None, anchor_ns: int | None) -> Coverage:
    """When an incarnation began, as far as anybody said."""
    return Coverage("0" * 32, "GPU-1", "n", "b", since_ns, anchor_ns, 1, 1)


def test_what_was_read_last_is_kept_however_large_it_is() -> None:
    """A time that a row has no room for lies beside it, and such an account is never quiet."""
    rows = ClassifiedRows()
    rows.open()
    writer = Classified(rows, rows.open())
    writer.row, writer.quiet = placed(5, 7), True
    at = writer.number * ACCOUNT_WIDTH
    assert (writer.quiet, rows.block[at + BEGAN]) == (True, 5)
    writer.read(100)
    writer.read(99)
    assert writer.read_ns == rows.block[at + READ] == 100
    writer.read(TIME_LIMIT_NS)
    assert writer.read_ns == TIME_LIMIT_NS
    assert not writer.quiet
    assert rows.block[at + BEGAN] == UNPLACED, "a kernel would place it by the row's time"
    writer.quiet = True
    assert not writer.quiet
    writer.read(TIME_LIMIT_NS - 1)
    assert writer.read_ns == TIME_LIMIT_NS
    assert not any(rows.block[: ACCOUNT_WIDTH - 2]), "the row of another one"


@pytest.mark.parametrize(
    ("since_ns", "anchor_ns", "began_ns"),
    [
        (None, None, UNPLACED),
        (3, None, UNPLACED),
        (TIME_LIMIT_NS - 8, 7, TIME_LIMIT_NS - 1),
        (TIME_LIMIT_NS - 7, 7, UNPLACED),
        (3, 2 * TIME_LIMIT_NS - 1, 10),
        (3, 2 * TIME_LIMIT_NS, UNPLACED),
    ],
)
def test_a_place_that_a_row_has_no_room_for(
    since_ns: int | None, anchor_ns: int | None, began_ns: int
) -> None:
    """The kernel finds no place there, so its report is looked at in Python."""
    rows = ClassifiedRows()
    writer = Classified(rows, rows.open())
    writer.grow(7, 11)
    writer.row = placed(since_ns, anchor_ns)
    assert rows.block[BEGAN] == began_ns
    assert (writer.covered_ns, writer.lower_flop) == (7, 11)
