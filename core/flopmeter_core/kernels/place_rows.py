"""Which running agents' reports place what they classified no better than it is placed.

Owns: that comparison, of many agents and all their accounts in one pass.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by the collector's residual for each round. Explained in docs/adr/0017-residual-time.md.

An account is what one agent classified of one device (count_rows has the rest of its row). Nearly
every report says again where that lies on the collector's clock; who says more is marked, and the
Python that places one account looks at each of its accounts.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

COVERED, READ, BEGAN, ANCHOR, ACCOUNT_WIDTH = 1, 3, 4, 5, 6
"""Of an account: the time it grew by and up to when it was read, as in count_rows; when it began
since its boot plus the time it had before it grew; and when that boot began by the collector's
clock. All in ns."""

UNPLACED = -(1 << 62)
"""Where nobody knows when an account began; below every beginning."""

SMALLEST_STEP_NS = 100_000_000
"""A placing that gets better by less is not written again."""


def place_rows(
    accounts: Sequence[int],
    numbers: Sequence[int],
    counts: Sequence[int],
    boots: Sequence[int],
    anchors: Sequence[int],
    marks: MutableSequence[int],
) -> int:
    """Mark the agents whose report places an account of theirs better, or may.

    Args:
        accounts: `ACCOUNT_WIDTH` int64 each; when one began is of a size below 2^61, when its boot
            did and how much it covers below 2^62.
        numbers: the accounts of one agent after the other's.
        counts: of each agent how many accounts it has.
        boots: of each agent the time since boot of its report, in ns, 0 .. 2^61 - 1.
        anchors: when that boot began by this report, in ns; its size is below 2^62.
        marks: gets 1 for each agent that is to be looked at, else 0 (a byte each).

    Returns:
        How many were marked.

    Raises:
        IndexError: an account that is not there, or buffers that do not fit together.
    """
    covered_at, read_at, began_at, anchor_at = COVERED, READ, BEGAN, ANCHOR
    width, unplaced, step = ACCOUNT_WIDTH, UNPLACED, SMALLEST_STEP_NS
    agents, given, known = len(counts), len(numbers), len(accounts) // width
    if len(boots) < agents or len(anchors) < agents or len(marks) < agents:
        raise IndexError("each agent needs the times of its report, and a mark")
    end = marked = 0
    for agent in range(agents):
        start, end = end, end + counts[agent]
        if end < start or end > given:
            raise IndexError("an agent has more accounts than are named")
        boot, anchor, marks[agent] = boots[agent], anchors[agent], 0
        for place in range(start, end):
            account = numbers[place]
            if account < 0 or account >= known:
                raise IndexError("an agent names an account that is not there")
            account *= width
            began, read = accounts[account + began_at], accounts[account + read_at]
            if read > boot:
                continue  # more was counted since this report
            if read <= 0:
                read = boot
            if (
                began == unplaced
                or accounts[account + anchor_at] - anchor >= step
                or began + (accounts[account + covered_at] - read) >= step
            ):
                marks[agent] = 1
        marked += marks[agent]
    return marked
