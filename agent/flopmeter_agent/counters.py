"""What an agent's loop counts of its own work.

Owns: the counters and their names.
May touch: nothing.
Called by the loop (counts) and by exposition (shows them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from flopmeter_agent.suspects import Suspects


@dataclass(slots=True)
class LoopCounters:
    """What the loop counts of its own work, for the agent's metrics."""

    reads: int = 0
    read_failures: int = 0
    read_duration_ns: int = 0
    samples: int = 0
    reports: int = 0
    refused_vectors: int = 0
    second_writers: int = 0
    journal_failures: int = 0
    disk_fails: bool = False
    suspects: Suspects = field(default_factory=Suspects)
    failures: dict[str, str] = field(default_factory=dict)

    def forget(self, device: str) -> None:
        """Let go of what is remembered of a device that is gone; what was counted stays."""
        self.failures.pop(device, None)
        self.suspects.forget(device)


class ClosedSummary(NamedTuple):
    """What is kept of ended incarnations.

    Attributes:
        registers: final vectors.
        waiting: whether one that ended finds no room.
        room_made: what gave way since the start, in registers or periods: vectors the ledger has
            that went before their 90 days, unsent ones added up by user, and users of a device that
            share its overflow.
    """

    registers: int
    waiting: bool
    room_made: dict[str, int]
