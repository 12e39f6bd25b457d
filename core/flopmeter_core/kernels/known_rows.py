"""Vectors of known keys that only grew, all of a message in one pass: the usual case of the intake.

Owns: which rows that came win whole and plainly can be true, and their writing over what is held.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by the collector's known rows (collector/known.py).
Explained in docs/adr/0039-registers-in-rows.md.

A buffer is a contiguous run of int64 (`array('q')` or a memoryview of format q). What is usual is
narrower than what is right: a row is marked 1 only where the Python that decides a vector which
comes alone would admit it and let it win; every other row is marked 0, and that Python decides.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

COMPONENTS = 18
"""Of a vector, in the order of `registers.Component`."""

CAME_SEQUENCE, CAME_BOOT, CAME_FIRST, CAME_WIDTH = 0, 1, 2, 20
"""A row that came: sequence, boot time in ns, components."""

SEQUENCE, BOOT, STREAM, CYCLE_RATE, CLOCK_RATE, POWER, FIRST, WIDTH = 0, 1, 2, 3, 4, 5, 6, 24
"""A row that is held: sequence and boot time (ns, negative where not known) of the vector, the
number of the relay's stream it came on (0 for an agent's), then what its device can do at most
(megacycles of all SMs a second, of one clock a second, and W; `admit.greatest_rates`), and the
components."""

SEVERAL = -1
"""Sequence of a row that is not held here: its key has several branches, or none."""

BUSY, ENERGY, TIMES, SUSPENDED = 11, 12, 13, 15
"""Places of components: busy megacycles, energy, the first time, time suspended."""

COUNT_BITS = 40
"""Sequences that differ above these bits are not told apart here."""

LIMIT = 1 << 62
"""A component is below this, so that the difference of two never leaves int64."""

LONGEST_NS = 1 << 56
"""A vector that covers more (2.3 years) is not usual: below it no product here leaves int64."""

GREATEST_RATE = 1 << 26
"""Rates of a row are below this, or 0, with which nothing of it is usual."""

SLACK_NS = 1_000_000_000
"""A vector may cover this much more than the boot time beside it (`admit.BOOT_SLACK_NS`)."""

NS_PER_MS = 1_000_000
MS_PER_S = 1_000


def judge_rows(
    held: Sequence[int],
    places: Sequence[int],
    came: Sequence[int],
    usual: MutableSequence[int],
    stream: int,
) -> int:
    """Mark the rows that win whole and plainly can be true; nothing that is held is changed.

    Args:
        held: the rows that are held, `WIDTH` int64 each.
        places: of each row that came, the number of its row in `held`; each at most once, negative
            where there is none.
        came: the rows that came, `CAME_WIDTH` int64 each.
        usual: gets 1 or 0 for each row (a byte each).
        stream: number of the relay's stream the rows came on: what is held from elsewhere is not
            usual there; 0 for an agent's.

    Returns:
        How many rows are not usual.

    Raises:
        IndexError: a place without a row, or buffers that do not fit together.
    """
    # Looked up once: in compiled form the names are then C integers.
    components, limit, bits, width, came_width = COMPONENTS, LIMIT, COUNT_BITS, WIDTH, CAME_WIDTH
    first, came_first = FIRST, CAME_FIRST
    count = len(places)
    rows = len(held) // width
    unusual = count
    if len(came) < count * came_width or len(usual) < count:
        raise IndexError("each row that came needs its integers and a mark")
    for row in range(count):
        place = places[row]
        usual[row] = 0
        if place < 0:
            continue
        if place >= rows:
            raise IndexError("a row names a place that is not held")
        ours = place * width
        theirs = row * came_width
        newest = held[ours]
        sequence = came[theirs]
        if newest < 1 or sequence <= newest or newest >> bits != sequence >> bits:
            continue
        if stream and held[ours + 2] != stream:
            continue
        # Bits of all values, and of all differences: negative where any one is negative.
        seen = 0
        falls = 0
        for component in range(components):
            new = came[theirs + came_first + component]
            old = held[ours + first + component]
            seen |= new | old
            # A difference that does not fit has a sign bit in `seen`, and is not looked at.
            falls |= new - old
        if seen < 0 or seen >= limit or falls < 0:
            continue
        usual[row] = plausible(held, ours, came, theirs)
        unusual -= usual[row]
    return unusual


def plausible(held: Sequence[int], ours: int, came: Sequence[int], theirs: int) -> int:
    """Whether a row plainly can be true: its time fits its boot, its work its time.

    Args:
        held: the rows that are held.
        ours: where the row's begins.
        came: the rows that came, of this one each component 0 .. 2^62 - 1.
        theirs: where it begins.

    Returns:
        1 where it can; 0 where Python has to say.
    """
    components, busy, energy, times, suspended = COMPONENTS, BUSY, ENERGY, TIMES, SUSPENDED
    longest, slack, per_ms, per_s = LONGEST_NS, SLACK_NS, NS_PER_MS, MS_PER_S
    first = theirs + CAME_FIRST
    boot = came[theirs + 1]
    total = 0
    for component in range(times, components):
        spent = came[first + component]
        if spent >= longest or total >= longest:
            return 0
        total += spent
    if total >= longest or boot < 1 or boot < held[ours + 1] or total - slack > boot:
        return 0
    greatest = 0
    for component in range(busy):
        if came[first + component] > greatest:
            greatest = came[first + component]
    measured_ms = (total - came[first + suspended]) // per_ms
    if greatest > held[ours + 3] * measured_ms // per_s:
        return 0
    if came[first + busy] > held[ours + 4] * measured_ms // per_s:
        return 0
    return 1 if came[first + energy] <= held[ours + 5] * (total // per_ms) else 0


def take_rows(
    held: MutableSequence[int],
    places: Sequence[int],
    came: Sequence[int],
    usual: Sequence[int],
    stream: int,
) -> None:
    """Write the rows that `judge_rows` marked over those that are held.

    Args:
        held: as it was judged.
        places: as they were.
        came: as it was.
        usual: the marks.
        stream: as it was.

    Raises:
        IndexError: as `judge_rows`; nothing of that row was written.
    """
    components, width, came_width = COMPONENTS, WIDTH, CAME_WIDTH
    first, came_first = FIRST, CAME_FIRST
    count = len(places)
    rows = len(held) // width
    if len(came) < count * came_width or len(usual) < count:
        raise IndexError("each row that came needs its integers and a mark")
    for row in range(count):
        if not usual[row]:
            continue
        place = places[row]
        if place < 0 or place >= rows:
            raise IndexError("a row names a place that is not held")
        ours = place * width
        theirs = row * came_width
        held[ours] = came[theirs]
        held[ours + 1] = came[theirs + 1]
        held[ours + 2] = stream
        for component in range(components):
            held[ours + first + component] = came[theirs + came_first + component]
