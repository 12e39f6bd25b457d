"""Columns of readings: the exact sums over them, and which rows are the usual case.

Owns: sums of products in integers of any size, and the marks of rows that Python has to judge.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by core.columns (docs/adr/0031-kernels-compiled-by-the-block.md).

A column is a contiguous run of int64 (`array('q')` or a memoryview of format q), one entry a
reading of one device; row 0 is the reading before the first period, and row i ends the period that
row i - 1 begins. `doubts` has a byte for each row: 1 where the row is not the usual case. Such a
row is decided by the same Python as a reading that comes alone, so nothing here may guess: in
doubt a row is marked. No sum or product may leave int64 in silence: a value for which it could is
in doubt, or raises OverflowError in both forms.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

GREATEST = (1 << 62) - 1
"""The greatest stamp or count that is not in doubt: differences and sums of such fit."""

LONGEST_NS = 1 << 38
"""The longest usual period (275 s)."""

GREATEST_CLOCK_KHZ = (1 << 24) - 1
"""The fastest usual clock (16.8 GHz): a clock times a period is below 2^62."""

GREATEST_MW = 1 << 33
"""A greatest power is below this: times the longest period in us it is below 2^62."""

GREATEST_STEP_MJ = 1 << 40
"""The largest usual step of an energy counter: times 10^6 it is below 2^62."""

WORD = (1 << 64) - 1
"""The lower 64 bits of an integer."""


def dot(first: Sequence[int], second: Sequence[int], words: MutableSequence[int]) -> None:
    """Add up the products of two columns, exactly.

    Args:
        first: int64; looked at where `second` is not 0, and not negative there.
        second: int64, none negative, as many.
        words: gets the sum as three words of 64 bits (`array('Q')`), the lowest first.

    Raises:
        IndexError: the columns are not equally long, or there is no room for three words.
        OverflowError: a negative entry that was looked at.
    """
    word = WORD
    low = high = signs = 0
    if len(first) != len(second) or len(words) < 3:
        raise IndexError("columns of a sum are equally long, and it has three words")
    for row in range(len(first)):
        if second[row] == 0:
            continue
        one = first[row]
        other = second[row]
        signs |= first[row] | second[row]
        product = one * other
        # A product has up to 126 bits: its two words are added up apart, so no sum can pass 128.
        low += product & word
        high += product >> 64
    if signs < 0:
        raise OverflowError("a column of a sum has no negative entries")
    high += low >> 64
    words[0] = low & word
    words[1] = high & word
    words[2] = high >> 64


def spans(
    monotonic: Sequence[int],
    boottime: Sequence[int],
    longest: int,
    elapsed: MutableSequence[int],
    doubts: MutableSequence[int],
) -> None:
    """The time of each period, in ns, and a doubt about each that is empty or long.

    Args:
        monotonic: time stamps in ns.
        boottime: time stamps in ns that go on while the node sleeps.
        longest: the longest usual period in ns, below 2^62.
        elapsed: gets the time of each period: the shorter of the two clocks' differences.
        doubts: gets the marks.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(monotonic)
    greatest = GREATEST
    if len(boottime) != count or len(elapsed) < count or len(doubts) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(1, count):
        elapsed[row] = 0
        seen = monotonic[row] | monotonic[row - 1] | boottime[row] | boottime[row - 1]
        if seen < 0 or seen > greatest:
            doubts[row] = 1
            continue
        span = monotonic[row] - monotonic[row - 1]
        boot = boottime[row] - boottime[row - 1]
        if boot < span:
            span = boot
        if span <= 0 or span > longest:
            doubts[row] = 1
        else:
            elapsed[row] = span


def within(column: Sequence[int], least: int, greatest: int, doubts: MutableSequence[int]) -> None:
    """A doubt about each period with an end outside `least` .. `greatest`.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(column)
    if len(doubts) < count:
        raise IndexError("columns of readings are equally long")
    before = least
    if count:
        before = column[0]
    for row in range(1, count):
        after = column[row]
        if before < least or before > greatest or after < least or after > greatest:
            doubts[row] = 1
        before = after


def raise_to(column: Sequence[int], loudest: MutableSequence[int]) -> None:
    """Raise each entry of `loudest` to that of a column, where that is greater.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(column)
    if len(loudest) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        entry = column[row]
        if entry > loudest[row]:
            loudest[row] = entry


def fast(
    clock: Sequence[int], loudest: Sequence[int], limit: int, doubts: MutableSequence[int]
) -> None:
    """A doubt about each row whose clock and activity make more cycles than the device can.

    Args:
        clock: in kHz; one of 2^31 or more is in doubt.
        loudest: the greatest activity of each row in ppm; likewise.
        limit: the greatest product.
        doubts: gets the marks.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(clock)
    if len(loudest) < count or len(doubts) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(1, count):
        if (clock[row] | loudest[row]) >> 31 or clock[row] * loudest[row] > limit:
            doubts[row] = 1


def loud_in_silence(
    column: Sequence[int],
    level: int,
    loudest: Sequence[int],
    silence: int,
    doubts: MutableSequence[int],
) -> None:
    """A doubt about each period without activity at both ends of which a column is loud.

    Args:
        column: power or utilisation.
        level: from here on it is loud.
        loudest: the greatest activity of each row.
        silence: activity up to here is none.
        doubts: gets the marks.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(column)
    if len(loudest) < count or len(doubts) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(1, count):
        if loudest[row] <= silence and column[row] >= level and column[row - 1] >= level:
            doubts[row] = 1


def energy_steps(
    energy: Sequence[int],
    elapsed: Sequence[int],
    greatest_mw: int,
    loud_mw: int,
    loudest: Sequence[int],
    silence: int,
    doubts: MutableSequence[int],
) -> None:
    """A doubt about each period whose energy stands, falls, jumps, or is loud without activity.

    Args:
        energy: cumulative, in mJ.
        elapsed: the time of each period in ns.
        greatest_mw: the greatest mean power, in mW.
        loud_mw: from here on a mean power is loud, in mW; 0 where that is not known.
        loudest: the greatest activity of each row.
        silence: activity up to here is none.
        doubts: gets the marks.

    Raises:
        IndexError: the columns are not equally long.
        OverflowError: a power that is too great to be held against anything.
    """
    count = len(energy)
    greatest, step_limit, span_limit = GREATEST, GREATEST_STEP_MJ, LONGEST_NS
    if not (0 <= greatest_mw < GREATEST_MW and 0 <= loud_mw < GREATEST_MW):
        raise OverflowError("a power to hold an energy counter against is 0 .. 2^33 - 1 mW")
    if len(elapsed) < count or len(loudest) < count or len(doubts) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(1, count):
        seen = energy[row] | energy[row - 1]
        span = elapsed[row]
        if seen < 0 or seen > greatest or span <= 0 or span > span_limit:
            doubts[row] = 1
            continue
        step = energy[row] - energy[row - 1]
        if step <= 0 or step > step_limit:
            doubts[row] = 1
            continue
        # mW x us = 10^-6 mJ, and the span is cut to whole us: a mean is never told too low. A
        # counter may stand for a second and make up for it, so a jump is allowed that much more.
        span_us = span // 1_000
        jumps = step * 1_000_000 > greatest_mw * (span_us + 1_000_000)
        loud = loud_mw > 0 and step * 1_000_000 >= loud_mw * span_us
        if jumps or (loud and loudest[row] <= silence):
            doubts[row] = 1


def settle(
    elapsed: MutableSequence[int],
    loudest: Sequence[int],
    doubts: Sequence[int],
    busy: MutableSequence[int],
) -> None:
    """Take the time of each row in doubt out, and put the busy time beside that of the others.

    Args:
        elapsed: the time of each period in ns; becomes 0 where in doubt, and in row 0.
        loudest: activity of each row; a period without any is idle.
        doubts: the marks.
        busy: gets the busy time of each period in ns.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(elapsed)
    if len(doubts) < count or len(loudest) < count or len(busy) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        if row == 0 or doubts[row]:
            elapsed[row] = 0
        span = elapsed[row]
        if loudest[row] <= 0:
            span = 0
        busy[row] = span


def share_of(
    elapsed: Sequence[int], share: Sequence[int], whole: int, busy: MutableSequence[int]
) -> None:
    """The busy time of each period where utilisation says it: rounded down, in ns.

    Args:
        elapsed: the time of each period in ns.
        share: utilisation in parts of `whole`; more than that is all of it.
        whole: parts of the whole.
        busy: gets the busy time of each period in ns.

    Raises:
        IndexError: the columns are not equally long.
        OverflowError: a period above LONGEST_NS or below 0, or a whole that is not 1 .. 2^24 - 1.
    """
    count = len(elapsed)
    span_limit = LONGEST_NS
    if not 0 < whole < 1 << 24:
        raise OverflowError("a whole has 1 to 2^24 - 1 parts")
    if len(share) < count or len(busy) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        span = elapsed[row]
        if span < 0 or span > span_limit:
            raise OverflowError("a period is 0 .. 2^38 ns")
        part = share[row]
        if part > whole:
            part = whole
        if part < 0:
            part = 0
        busy[row] = span * part // whole


def means(column: Sequence[int], mean: MutableSequence[int]) -> None:
    """The mean of both ends of each period, rounded down; 0 for row 0 and for values below 0.

    Args:
        column: values below 2^62.
        mean: gets the means.

    Raises:
        IndexError: the columns are not equally long.
    """
    count = len(column)
    if len(mean) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        mean[row] = 0
        if row and column[row] >= 0 and column[row - 1] >= 0:
            # Halved apart, so that no sum is needed; the odd ones give one more together.
            halves = (column[row] >> 1) + (column[row - 1] >> 1)
            mean[row] = halves + (column[row] & column[row - 1] & 1)


def weights(elapsed: Sequence[int], clock: Sequence[int], weight: MutableSequence[int]) -> None:
    """Multiply clock and time of each period: kHz x ns, 10^-6 cycles.

    Args:
        elapsed: the time of each period in ns.
        clock: in kHz; looked at where there is time only.
        weight: gets the products.

    Raises:
        IndexError: the columns are not equally long.
        OverflowError: a period outside 0 .. LONGEST_NS, or one with a clock outside
            0 .. GREATEST_CLOCK_KHZ.
    """
    count = len(elapsed)
    span_limit, clock_limit = LONGEST_NS, GREATEST_CLOCK_KHZ
    if len(clock) < count or len(weight) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        span = elapsed[row]
        weight[row] = 0
        if span:
            if span < 0 or span > span_limit or clock[row] < 0 or clock[row] > clock_limit:
                raise OverflowError("a period is 0 .. 2^38 ns and a clock 0 .. 2^24 - 1 kHz")
            weight[row] = clock[row] * span


def kept_steps(column: Sequence[int], doubts: Sequence[int]) -> int:
    """The sum of a cumulative column's steps over the rows that are not in doubt.

    Args:
        column: cumulative, in 0 .. GREATEST at both ends of those rows.
        doubts: the marks.

    Raises:
        IndexError: the columns are not equally long.
        OverflowError: another entry, or a step below 0 or above GREATEST_STEP_MJ.
    """
    count = len(column)
    total = 0
    greatest, step_limit = GREATEST, GREATEST_STEP_MJ
    if len(doubts) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(1, count):
        if doubts[row] == 0:
            seen = column[row] | column[row - 1]
            if seen < 0 or seen > greatest:
                raise OverflowError("a cumulative count is 0 .. 2^62 - 1")
            step = column[row] - column[row - 1]
            if step < 0 or step > step_limit or total > greatest - step_limit:
                raise OverflowError("a step of a cumulative count is 0 .. 2^40")
            total += step
    return total


def total_of(column: Sequence[int]) -> int:
    """The sum of a column of spans, each 0 .. LONGEST_NS.

    Raises:
        OverflowError: another entry, or a sum that could pass 2^62.
    """
    total = 0
    greatest, span_limit = GREATEST, LONGEST_NS
    for row in range(len(column)):
        span = column[row]
        if span < 0 or span > span_limit or total > greatest - span_limit:
            raise OverflowError("a period is 0 .. 2^38 ns, and all together are below 2^62")
        total += span
    return total


def widen(packed: Sequence[int], scale: int, column: MutableSequence[int]) -> None:
    """Write 32-bit entries, each times `scale` (0 .. 2^30), as a column.

    Raises:
        IndexError: the column is shorter.
        OverflowError: another scale.
    """
    count = len(packed)
    if not 0 <= scale <= 1 << 30:
        raise OverflowError("a scale is 0 .. 2^30")
    if len(column) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        column[row] = packed[row] * scale


def running(packed: Sequence[int], start: int, column: MutableSequence[int]) -> None:
    """Write the running sum of 32-bit entries as a column; `start` comes before the first.

    Raises:
        IndexError: the column is shorter.
        OverflowError: a start outside 0 .. GREATEST, or more than 2^29 entries.
    """
    count = len(packed)
    total = start
    if not 0 <= start <= GREATEST or count > 1 << 29:
        raise OverflowError("a running sum starts at 0 .. 2^62 - 1")
    if len(column) < count:
        raise IndexError("columns of readings are equally long")
    for row in range(count):
        total += packed[row]
        column[row] = total
