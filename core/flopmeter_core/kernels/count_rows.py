"""What registers grew by since they were counted last, of many of them in one pass.

Owns: the differences of the usual case, added up by group and by account, and the writing of what
is counted.
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

GROUP, ACCOUNT, FIRST, WIDTH = 0, 1, 2, 20
"""A row that is counted: its group (negative where it is not counted here), its account (negative
where it has none), the components."""

WEIGHTS, LIMITS, TOUCHED, GROUP_WIDTH = 18, 36, 54, 55
"""A group: a sum for each component, its weight, the greatest difference that is taken, and whether
anything was added since somebody cleared that."""

QUIET, COVERED, LOWER, READ, ACCOUNT_WIDTH = 0, 1, 2, 3, 6
"""An account: whether it is enough to write here what it grows by; the time it grew by in ns, the
weighted sum of what it grew by, up to when it was read in ns. What follows is place_rows'."""

TOLD_WIDTH = 2
"""Of each row: the time it grew by in ns, and the weighted sum of what it grew by."""

LEFT, TOLD, DONE = 0, 1, 2
"""What became of a row: nothing; counted, and its account has to be told; counted altogether."""

LIMIT = 1 << 62
"""Components, sums of a group, and the size of what an account grew by are below this."""

GREATEST_DIFFERENCE = 1 << 58
"""Above every limit on a difference, so that five of them are a time below 2^62."""

GREATEST_PRODUCT = 1 << 57
"""Above every difference times the size of its weight, so that 18 of them stay below 2^62."""


def count_rows(
    held: Sequence[int],
    places: Sequence[int],
    read: Sequence[int],
    counted: MutableSequence[int],
    groups: MutableSequence[int],
    accounts: MutableSequence[int],
    touched: MutableSequence[int],
    told: MutableSequence[int],
    marks: MutableSequence[int],
) -> None:
    """Count rows: add what each grew by to its group, and write it over what was counted.

    Args:
        held: the rows that are held, `HELD_WIDTH` int64 each.
        places: of each row to count its number, in `held` and in `counted`.
        read: of each row up to when it was read, in ns; 0 where nobody says.
        counted: what was counted of each row, `WIDTH` int64; a row that is not there is left.
        groups: `GROUP_WIDTH` int64 each; their sums are added to.
        accounts: `ACCOUNT_WIDTH` int64 each; quiet ones are added to.
        touched: gets how many groups were added to for the first time, and their numbers.
        told: gets `TOLD_WIDTH` int64 for each row whose account has to be told.
        marks: gets for each row what became of it (a byte each).

    Raises:
        IndexError: a row, group or account that is not there, or buffers that do not fit together;
            nothing was counted.
    """
    candidates(held, places, read, counted, groups, accounts, touched, told, marks)
    # Looked up once: in compiled form the names are then C integers.
    components, times, limit, count = COMPONENTS, TIMES, LIMIT, len(places)
    held_first, held_width, first, width = HELD_FIRST, HELD_WIDTH, FIRST, WIDTH
    weights, limits, touched_at, group_width = WEIGHTS, LIMITS, TOUCHED, GROUP_WIDTH
    quiet, covered_at, lower_at, read_at = QUIET, COVERED, LOWER, READ
    account_at, account_width, told_width = ACCOUNT, ACCOUNT_WIDTH, TOLD_WIDTH
    row_left, row_told, row_done = LEFT, TOLD, DONE
    touched[0] = 0
    for row in range(count):
        if marks[row] == row_left:
            continue
        marks[row] = row_left
        new, old = places[row] * held_width + held_first, places[row] * width
        group, account = counted[old] * group_width, counted[old + account_at] * account_width
        old += first
        # Negative where a component is, where one fell, or where a difference is too great.
        seen = 0
        for component in range(components):
            seen |= held[new + component] | counted[old + component]
            more = held[new + component] - counted[old + component]
            seen |= more | (groups[group + limits + component] - more)
            seen |= limit - more - groups[group + component]
        if seen < 0:
            continue
        covered = weighed = 0
        for component in range(components):
            more = held[new + component] - counted[old + component]
            weighed += more * groups[group + weights + component]
        for component in range(times, components):
            covered += held[new + component] - counted[old + component]
        if account >= 0 and accounts[account + quiet]:
            covered += accounts[account + covered_at]
            weighed += accounts[account + lower_at]
            if covered >= limit or weighed >= limit or weighed <= -limit:
                continue  # who counts it alone adds both up in Python, and begins anew
            accounts[account + covered_at], accounts[account + lower_at] = covered, weighed
            accounts[account + read_at] = max(accounts[account + read_at], read[row])
            marks[row] = row_done
        else:
            told[row * told_width], told[row * told_width + 1] = covered, weighed
            marks[row] = row_told
        for component in range(components):
            groups[group + component] += held[new + component] - counted[old + component]
            counted[old + component] = held[new + component]
        if not groups[group + touched_at]:
            groups[group + touched_at] = 1
            touched[0] += 1
            touched[touched[0]] = group // group_width


def candidates(
    held: Sequence[int],
    places: Sequence[int],
    read: Sequence[int],
    counted: Sequence[int],
    groups: Sequence[int],
    accounts: Sequence[int],
    touched: Sequence[int],
    told: Sequence[int],
    marks: MutableSequence[int],
) -> int:
    """Mark the rows that are counted here, once every buffer is found to fit; see `count_rows`.

    Args:
        held: the rows that are held.
        places: the numbers of the rows.
        read: of each row up to when it was read.
        counted: what was counted of each row.
        groups: all of them.
        accounts: all of them.
        touched: room for the groups that are added to.
        told: room for what has to be told.
        marks: gets `DONE` for each row that is counted here, else `LEFT`.

    Returns:
        How many are not.

    Raises:
        IndexError: as `count_rows`.
    """
    held_width, width, account_at, count = HELD_WIDTH, WIDTH, ACCOUNT, len(places)
    rows, known = len(held) // held_width, len(counted) // width
    groups_known, accounts_known = len(groups) // GROUP_WIDTH, len(accounts) // ACCOUNT_WIDTH
    row_left, row_done = LEFT, DONE
    if len(marks) < count or len(read) < count or len(touched) <= count:
        raise IndexError("each row to count needs a mark, a time, and room for its group")
    if len(told) < count * TOLD_WIDTH:
        raise IndexError("each row to count needs room for what it grew by")
    left = count
    for row in range(count):
        place = places[row]
        marks[row] = row_left
        if place < 0 or place >= rows:
            raise IndexError("a row names a place that is not held")
        if place >= known or held[place * held_width] < 0 or counted[place * width] < 0:
            continue
        if counted[place * width] >= groups_known:
            raise IndexError("a row names a group that is not there")
        if counted[place * width + account_at] >= accounts_known:
            raise IndexError("a row names an account that is not there")
        marks[row] = row_done
        left -= 1
    return left
