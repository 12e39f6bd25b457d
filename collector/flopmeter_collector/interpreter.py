"""How Python's interpreter divides itself between answers and everything else.

Owns: how often threads take turns, and when and how deep the interpreter looks for cycles of
garbage.
May touch: settings of the interpreter, which hold for the whole process.
Called by process; never where a collector is only a part of a process (tests, the lab).
Explained in docs/adr/0018-hostile-peers.md.
"""

from __future__ import annotations

import asyncio
import gc
import sys

SWITCH_PERIOD_S = 0.0001
"""How long a thread of Python may compute while another one waits: a fiftieth of the default. An
answer changes threads several times (socket, event loop, ledger), and waits so long each time."""

YOUNG = (20_000, 3)
"""Allocations, and searches among the youngest objects, between two searches for cycles, where so
much is made within `PERIOD_S`. What a report makes is gone when its answer is, 20 ms later; every
700 allocations, as Python does, each of its objects was walked before it died."""

NEVER = 2**31 - 1
"""A search among old objects walks every register and run that is held (10,000 runs: 0.1 to 0.2 s)
and stops every thread meanwhile. Registers and totals are trees: they die when nobody names them.
What does make cycles is a call's first microseconds inside gRPC, and those die young."""

PERIOD_S = 0.025
"""After so long what lives is no longer young. Python counts allocations less what died, and of a
fleet that reports steadily as much dies as is made: the count stays where it is, while 20 objects
of each of 10,000 waiting calls gather among the young, and the next search walked them in one
piece, 100 ms of processor time."""


def prefer_answers() -> None:
    """Set the interpreter so that who waits for an answer waits shortly."""
    sys.setswitchinterval(SWITCH_PERIOD_S)
    gc.set_threshold(*YOUNG, NEVER)


class Cycles:
    """Searches for cycles where some were made, and keeps all else out of every search.

    A search walks what was made since the last one and still lives, 2 us an object where a fleet
    has emptied the caches; to declare all of it old costs nothing. Only the opening of a call makes
    cycles, five objects that are dead when it is open; tests count what anything else leaves.
    """

    def __init__(self) -> None:
        """Start with none made."""
        self._made = False

    def made(self) -> None:
        """Note that a cycle was made, which is dead before the event loop turns."""
        self._made = True

    def settle(self) -> None:
        """Search what is young if there is reason to; all of it is old then."""
        if self._made:
            self._made = False
            gc.collect(0)
        gc.freeze()

    async def watch(self, period_s: float = PERIOD_S) -> None:
        """Settle again and again, on the event loop that serves."""
        while True:
            await asyncio.sleep(period_s)
            self.settle()
