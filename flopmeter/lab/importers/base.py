"""What every importer of recorded telemetry offers.

Owns: the Importer protocol and the recording it returns.
May touch: nothing; definitions only.
Called by lab.replay; implemented by one module a format, listed in importers.table.
An importer states what was recorded and nothing else: no estimate, no filled hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.readings import Reading


@dataclass(frozen=True, slots=True)
class NodeRecording:
    """What one node recorded.

    Attributes:
        node: the node's name.
        records: its devices (one of scope ``node`` for a whole server).
        readings: in time order; `monotonic_ns` and `boottime_ns` both count from the
            recording's `epoch_ns`. Readings before `start_ns` or after `stop_ns` have the
            allocation ``none``, the others that of the run.
        rounds: when each round of readings ended, in ns since the epoch, in order; a round may
            hold no reading. Empty where the recording knows its readings only.
    """

    node: str
    records: tuple[DeviceRecord, ...]
    readings: Sequence[Reading]
    rounds: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """One run as it was recorded.

    Attributes:
        run: the run's name.
        epoch_ns: Unix time in ns of the recording's time 0.
        start_ns, stop_ns: begin and end of the run, in ns since `epoch_ns`.
        sample_period_ns: the period the readings were taken at.
        simulated: whether the recording itself is of made-up readings.
        nodes: the nodes of the run.
    """

    run: str
    epoch_ns: int
    start_ns: int
    stop_ns: int
    sample_period_ns: int
    simulated: bool
    nodes: tuple[NodeRecording, ...]


class Importer(Protocol):
    """Reads one recording format."""

    @property
    def name(self) -> str:
        """The format's name, for messages and docs."""

    def recognises(self, path: Path) -> bool:
        """Whether `path` looks like this format; looks at names only, reads no content."""

    def load(self, path: Path) -> Recording:
        """Read a recording.

        Raises:
            DataError: truncated, garbled or contradictory; the sentence names file and line.
        """
