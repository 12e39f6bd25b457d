"""Whether so many wait for commits that the next one should wait for more of them.

Owns: how many came lately, and how many of those had been silent before.
May touch: memory only; the time comes with each question.
Called by commit before each commit. Explained in docs/adr/0005-delivery-and-durability.md.

A commit costs as much as six reports in it do, so a large fleet shares them. Many agents that each
report now and then come as fast however long they wait; a few that send without end come the
slower, and must not make all others wait with them. So of the former fewer are a crowd.
"""

from __future__ import annotations

from collections import deque

MANY = 8
"""Where so many waited for a commit, more come, and share the next one, if they come so fast:"""

MANY_PER_S = 2_000
"""A collector at half of what a core can do, whoever sends."""

RESTED_PER_S = 600
"""Of agents that were silent before, nine of which come while a commit gathers (`GATHER_S`)."""

LOOK_S = 0.1
"""Over how long these are counted: 60 of them, so that no chance makes a crowd of half as many."""


class Crowd:
    """What came for the last commits. One thread."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._taken_s = 0.0
        self._rested: deque[tuple[float, int]] = deque()
        self._rested_count = 0

    def came(self, waiter_count: int, rested_count: int, now_s: float) -> bool:
        """Whether the commit after this one waits for more.

        Args:
            waiter_count: who waits for this one.
            rested_count: reports that came for it after a silence of their agents.
            now_s: time of the event loop in s.
        """
        gathered_s, self._taken_s = now_s - self._taken_s, now_s
        self._rested.append((now_s, rested_count))
        self._rested_count += rested_count
        while self._rested[0][0] <= now_s - LOOK_S:
            self._rested_count -= self._rested.popleft()[1]
        if self._rested_count >= RESTED_PER_S * LOOK_S:
            return True
        return waiter_count >= max(MANY, MANY_PER_S * gathered_s)
