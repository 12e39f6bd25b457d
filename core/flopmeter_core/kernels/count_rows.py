"""What registers grew by since they were counted last, of many of them in one pass.

Owns: the differences of the usual case, added up by group, and the writing of what is counted.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by the collector's counted rows (collector/counted.py).
Explained in docs/adr/0039-registers-in-rows.md.

A buffer is a contiguous run of int64. A row of which a number here could leave int64 is left to
the Python that counts a register which comes alone, and so is one that did not only grow.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

COMPONENTS = 18
"""Of a vector, in the order of `registers.Component`."""

TIMES = 13
"""Place of the first component that is time."""

HELD_FIRST, HELD_WIDTH = 6, 24
"""A row that is held, as in known_rows; its first integer is negative where it holds no vector."""

GROUP, FIRST, WIDTH = 0, 1, 19
"""A row that is counted: its group (negative where it is not counted here), the components."""

WEIGHTS, LIMITS, GROUP_WIDTH = 18, 36, 54
"""A group: a sum for each component, its weight, and the greatest difference that is taken."""

TOLD_WIDTH = 2
"""Of each row: the time it grew by in ns, and the weighted sum of what it grew by."""

LIMIT = 1 << 62
"""Components, and sums of a group, are below this."""

GREATEST_DIFFERENCE = 1 << 58
"""Above every limit on a difference, so that five of them are a time below 2^62."""

GREATEST_PRODUCT = 1 << 57
"""Above every difference times the size of its weight, so that 18 of them stay below 2^62."""


def count_rows(
    held: Sequence[int],
    places: Sequence[int],
    counted: MutableSequence[int],
    groups: MutableSequence[int],
    told: MutableSequence[int],
    usual: MutableSequence[int],
) -> int:
    """Count rows: add what each grew by to its group, and write it over what was counted.

    Args:
        held: the rows that are held, `HELD_WIDTH` int64 each.
        places: of each row to count its number, in `held` and in `counted`.
        counted: what was counted of each row, `WIDTH` int64; a row that is not there is not usual.
        groups: `GROUP_WIDTH` int64 each; their sums are added to.
        told: gets `TOLD_WIDTH` int64 for each row that is usual.
        usual: gets 1 for each row that was counted, 0 for one that was left (a byte each).

    Returns:
        How many rows were left.

    Raises:
        IndexError: a row or group that is not there, or buffers that do not fit together; rows
            before it were counted.
    """
    components, times, limit = COMPONENTS, TIMES, LIMIT
    held_first, held_width, first, width = HELD_FIRST, HELD_WIDTH, FIRST, WIDTH
    weights, limits, group_width, told_width = WEIGHTS, LIMITS, GROUP_WIDTH, TOLD_WIDTH
    count = len(places)
    rows, known = len(held) // held_width, len(counted) // width
    left = count
    if len(told) < count * told_width or len(usual) < count:
        raise IndexError("each row to count needs room for what it grew by, and a mark")
    for row in range(count):
        place = places[row]
        usual[row] = 0
        if place < 0 or place >= rows:
            raise IndexError("a row names a place that is not held")
        if place >= known:
            continue
        new, old = place * held_width, place * width
        group = counted[old]
        if held[new] < 0 or group < 0:
            continue
        if (group + 1) * group_width > len(groups):
            raise IndexError("a row names a group that is not there")
        sums, new, old = group * group_width, new + held_first, old + first
        # Negative where a component is, where one fell, or where a difference is too great.
        seen = 0
        for component in range(components):
            seen |= held[new + component] | counted[old + component]
            more = held[new + component] - counted[old + component]
            seen |= more | (groups[sums + limits + component] - more)
            seen |= limit - more - groups[sums + component]
        if seen < 0:
            continue
        covered = weighed = 0
        for component in range(components):
            more = held[new + component] - counted[old + component]
            groups[sums + component] += more
            weighed += more * groups[sums + weights + component]
            if component >= times:
                covered += more
            counted[old + component] = held[new + component]
        told[row * told_width] = covered
        told[row * told_width + 1] = weighed
        usual[row] = 1
        left -= 1
    return left
