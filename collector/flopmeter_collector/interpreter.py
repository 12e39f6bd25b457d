"""How Python's interpreter divides itself between answers and everything else.

Owns: how often threads take turns, and how deep the interpreter looks for cycles of garbage.
May touch: settings of the interpreter, which hold for the whole process.
Called by app.run; never where a collector is only a part of a process (tests, the lab).
Explained in docs/adr/0018-hostile-peers.md.
"""

from __future__ import annotations

import gc
import sys

SWITCH_PERIOD_S = 0.0001
"""How long a thread of Python may compute while another one waits: a fiftieth of the default. An
answer changes threads several times (socket, event loop, ledger), and waits so long each time."""

YOUNG = (5_000, 3)
"""Allocations, and searches among the youngest objects, between two searches for cycles: at most
20,000 objects are walked at once, in about 3 ms. What a report makes is gone when its answer is, 20
ms later; every 700 allocations, as Python does, each of its objects was walked before it died."""

NEVER = 2**31 - 1
"""A search among old objects walks every register and run that is held (10,000 runs: 0.1 to 0.2 s)
and stops every thread meanwhile. Registers and totals are trees: they die when nobody names them.
What does make cycles is a call's first microseconds inside gRPC, and those die young."""


def prefer_answers() -> None:
    """Set the interpreter so that who waits for an answer waits shortly."""
    sys.setswitchinterval(SWITCH_PERIOD_S)
    gc.set_threshold(*YOUNG, NEVER)
