"""What an agent's loop counts of its own work.

Owns: the counters and their names.
May touch: nothing.
Called by the loop (counts) and by exposition (shows them).
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
    suspects: Suspects = field(default_factory=Suspects)
    failures: dict[str, str] = field(default_factory=dict)
