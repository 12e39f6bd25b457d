"""Packed readings: the exact sums over 32-bit columns as they lie in a file.

Owns: the sums of the usual periods of readings that tell activity, and where the first other is.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by core.packed (docs/adr/0036-bulk-telemetry.md).

What is usual is narrower than what is right: the pass stops at the first row that is not, and the
Python that decides a reading which comes alone decides that one.
Sums are kept in two parts, of 2^32 and of 1, each below 2^62, so that 64 bits are enough.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

PPM = 1_000_000

LIMITS = 8
"""Longest period in ns; greatest clock in kHz, power in mW, share in ppm, and share x clock; the
share up to which a device is silent, the power in mW from which it is loud (0: never), and the time
in ns that may be taken in all."""

GREATEST_LIMITS = (1 << 32, 1 << 24, 1 << 30, 1 << 21, 1 << 62, 1 << 62, 1 << 62, 1 << 62)
"""Below these nothing leaves 64 bits: clock x time has 56, and a share x its upper part 45."""

CYCLES, BUSY, ENERGY, TIME, ACTIVITY = 0, 1, 2, 3, 4
"""Places of the sums: clock x time; mean clock x active time; power x time at both ends; active and
all time in ns, in place of the two parts; then share x clock x time of each activity."""

CHUNK = 1_024
"""Rows worked on at a time; as many words of scratch are needed."""

ROWS_MAXIMUM = 1 << 16

LOWER = (1 << 32) - 1
"""The lower part of a number; read into a local before a loop, where it has a C type."""


def usual(
    cells: Sequence[int],
    rows: int,
    first: int,
    places: Sequence[int],
    limits: Sequence[int],
    sums: MutableSequence[int],
    scratch: MutableSequence[int],
) -> int:
    """Add up periods for as long as they are usual.

    Args:
        cells: 32-bit columns one after the other, `rows` each; the first has ns since the row
            before.
        rows: rows of a column, up to `ROWS_MAXIMUM`.
        first: the row that ends the first period, 1 or more.
        places: the columns of the clock, of the power (0: none) and of each activity.
        limits: as `LIMITS` says, each below that of `GREATEST_LIMITS`.
        sums: begins with zeros and gets two parts of each sum (`array('Q')`), the upper first.
        scratch: `CHUNK` words (`array('Q')`).

    Returns:
        The first row that is not usual; `rows` where all were taken.

    Raises:
        IndexError: a buffer that is too short, or a column that is not there.
        OverflowError: limits or rows for which a sum could leave its type.
    """
    kinds = len(places) - 2
    if rows < 1 or first < 1 or kinds < 1 or len(limits) < LIMITS or len(scratch) < CHUNK:
        raise IndexError("a block has rows, limits and at least one activity")
    if len(sums) < 2 * (ACTIVITY + kinds):
        raise IndexError("each sum has two parts")
    for place in places:
        if place < 0 or (place + 1) * rows > len(cells):
            raise IndexError("a column lies outside of its block")
    for place in range(LIMITS):
        if limits[place] < 0 or limits[place] >= GREATEST_LIMITS[place]:
            raise OverflowError("a limit is above what the sums are made for")
    if rows > ROWS_MAXIMUM:
        raise OverflowError("a block has at most 2^16 rows")
    row = first
    while row < rows:
        last = min(row + CHUNK, rows)
        reached = chunk(cells, rows, row, last, places, limits, sums, scratch)
        for kind in range(kinds):
            share(cells, places[kind + 2] * rows, row, reached, scratch, sums, 2 * (4 + kind))
        row = reached
        if row < last:
            break
    return row


def chunk(
    cells: Sequence[int],
    rows: int,
    first: int,
    last: int,
    places: Sequence[int],
    limits: Sequence[int],
    sums: MutableSequence[int],
    scratch: MutableSequence[int],
) -> int:
    """Check rows, add up what no activity is needed for, and leave clock x time in the scratch.

    Returns:
        The first row that is not usual, or `last`.
    """
    longest, fastest, strongest, greatest = limits[0], limits[1], limits[2], limits[3]
    most, silence, loud, room = limits[4], limits[5], limits[6], limits[7]
    clock_at, power_at = places[0] * rows, places[1] * rows
    mask, ppm, stop = LOWER, PPM, len(places)
    upper = lower = busy_upper = busy_lower = energy_upper = energy_lower = 0
    active, total = sums[6], sums[7]
    row = first
    while row < last:
        span, loudest = cells[row], 0
        clock, before = cells[clock_at + row], cells[clock_at + row - 1]
        for kind in range(2, stop):
            seen = cells[places[kind] * rows + row]
            if seen > loudest:
                loudest = seen
        if span < 1 or span > longest or span > room - total or loudest > greatest:
            break
        if clock < 1 or clock > fastest or before < 1 or before > fastest:
            break
        if clock * (loudest if loudest > ppm else ppm) > most:
            break
        if power_at:
            power, earlier = cells[power_at + row], cells[power_at + row - 1]
            if power > strongest or earlier > strongest:
                break
            if loud and loudest <= silence and power >= loud and earlier >= loud:
                break
            weight = (power + earlier) * span
            energy_upper += weight >> 32
            energy_lower += weight & mask
        total += span
        if loudest:
            active += span
            weight = ((clock + before) >> 1) * span
            busy_upper += weight >> 32
            busy_lower += weight & mask
        weight = clock * span
        upper += weight >> 32
        lower += weight & mask
        scratch[row - first] = weight
        row += 1
    sums[0] += upper
    sums[1] += lower
    sums[2] += busy_upper
    sums[3] += busy_lower
    sums[4] += energy_upper
    sums[5] += energy_lower
    sums[6] = active
    sums[7] = total
    return row


def share(
    cells: Sequence[int],
    at: int,
    first: int,
    last: int,
    scratch: Sequence[int],
    sums: MutableSequence[int],
    place: int,
) -> None:
    """Add share x clock x time of one activity over the rows that `chunk` took."""
    mask, count = LOWER, last - first
    upper = lower = 0
    for row in range(count):
        seen = cells[at + first + row]
        weight = scratch[row]
        rest = seen * (weight & mask)
        upper += seen * (weight >> 32) + (rest >> 32)
        lower += rest & mask
    sums[place] += upper
    sums[place + 1] += lower
