"""A column of integers into rows, and whether each is one that may stand there.

Owns: the copy of one column, and its look at every entry.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by wire.columns for each column of a relay's batch; docs/adr/0039-registers-in-rows.md.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence


def scatter(
    column: Sequence[int], rows: MutableSequence[int], place: int, width: int, least: int, last: int
) -> bool:
    """Write a column into rows.

    Args:
        column: an int64 a row.
        rows: as many rows of `width` int64.
        place: of the column in a row.
        width: of a row.
        least: no entry may be below it.
        last: no entry may be above it.

    Returns:
        Whether every entry lies between; where one does not, its row has it all the same.

    Raises:
        IndexError: the rows are not as many as the column has entries, or have no such place.
    """
    count = len(column)
    if place < 0 or place >= width or len(rows) != count * width:
        raise IndexError("a column needs one row for each of its entries")
    good = True
    at = place
    for row in range(count):
        entry = column[row]
        if entry < least or entry > last:
            good = False
        rows[at] = entry
        at += width
    return good
