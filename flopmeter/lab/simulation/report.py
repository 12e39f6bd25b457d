"""What a simulation says at its end, and the trace that tells two runs apart.

Owns: the outcome's shape as users read it, and the digest over every event.
May touch: nothing.
Called by the world and by `flopmeter simulate`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flopmeter.lab.simulation.clones import Forks
from flopmeter_core.registers import Component


class Trace:
    """A digest over everything that happened, in order; keeps the newest lines for a reader."""

    def __init__(self, now_ns: Callable[[], int], *, keep: bool) -> None:
        """Begin.

        Args:
            now_ns: simulated time.
            keep: whether to keep the lines, or only their digest.
        """
        self._now_ns = now_ns
        self._digest = hashlib.sha256()
        self.lines: list[str] | None = [] if keep else None

    def __call__(self, *event: object) -> None:
        """Note one event."""
        line = " ".join(map(str, (self._now_ns(), *event)))
        self._digest.update(line.encode() + b"\n")
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """SHA-256 over all events so far."""
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one simulation.

    Attributes:
        seed: what decided everything.
        truth, ledger: units by component (docs/glossary.md: register).
        equal: whether both agree key by key and nothing else was found wrong.
        in_flight_lost_ns: device time that a kill or a power cut took: of readings that were
            journaled and not synced, and of work that no reading covered yet and none came to.
        reverted_ns: device time that went with a disk that was put back.
        acknowledged_lost: acknowledged vectors that the ledger lacks.
        double_counted: units in the ledger beyond the truth.
        forks: keys that two live clones wrote, and whether the ledger shows it.
        virtual_s, wall_s: simulated and real time.
        processor_s: processor time of this process, which other load does not stretch as much.
        faults: how often each fault struck.
        violations: sentences on broken promises.
        trace: digest of all events.
        lines: all events, where they were kept.
        command: replays this simulation.
    """

    seed: int
    truth: dict[str, int]
    ledger: dict[str, int]
    equal: bool
    in_flight_lost_ns: int
    reverted_ns: int
    acknowledged_lost: int
    double_counted: int
    forks: Forks
    virtual_s: float
    wall_s: float
    processor_s: float
    faults: Counter[str]
    violations: tuple[str, ...]
    trace: str
    lines: tuple[str, ...]
    command: str

    def to_text(self) -> list[str]:
        """The lines `flopmeter simulate` prints."""
        speed = self.virtual_s / self.wall_s if self.wall_s else 0
        core_speed = self.virtual_s / self.processor_s if self.processor_s else 0
        lost_s, reverted_s = self.in_flight_lost_ns / 1e9, self.reverted_ns / 1e9
        struck = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        lines = [
            f"SIMULATED: seed {self.seed}, {self.virtual_s / 3600:.2f} h in {self.wall_s:.2f} s "
            f"({speed:,.0f} times real time, {core_speed:,.0f} by processor time)",
            f"faults: {struck or 'none'}",
            f"ledger = truth: {'yes, every component of every key' if self.equal else 'NO'}",
            f"acknowledged and lost: {self.acknowledged_lost}; counted twice: "
            f"{self.double_counted}; lost in flight: {lost_s:.1f} s of device time; "
            f"with disks put back: {reverted_s:.1f} s",
            *(f"broken: {sentence}" for sentence in self.violations),
        ]
        return [*lines, f"replay: {self.command}"]

    def to_json(self) -> dict[str, Any]:
        """The object `flopmeter simulate --json` prints."""
        return {
            "seed": self.seed,
            "truth": self.truth,
            "ledger": self.ledger,
            "equal": self.equal,
            "in_flight_lost": self.in_flight_lost_ns,
            "acked_lost": self.acknowledged_lost,
            "double_counted": self.double_counted,
            "virtual_seconds": round(self.virtual_s, 3),
            "wall_seconds": round(self.wall_s, 3),
            "processor_seconds": round(self.processor_s, 3),
            "faults": dict(sorted(self.faults.items())),
            "reverted": self.reverted_ns,
            "forks_raised": self.forks.raised,
            "forks_hidden": self.forks.hidden,
        }


def named(units: tuple[int, ...]) -> dict[str, int]:
    """Units by the name of their component."""
    return {component.name.lower(): units[component] for component in Component}
