"""What every importer offers: of recorded telemetry, and of a training's own log.

Owns: the protocols Importer and LogImporter, and the recording or log each returns.
May touch: nothing; definitions only.
Called by lab.replay and lab.training_log; implemented by one module a format, listed in
importers.table and importers.log_table.
An importer states what was recorded and nothing else: no estimate, no filled hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from flopmeter_core.architecture.conventions import PrintedRate
from flopmeter_core.architecture.parse import Setup
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


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """What a log says of one or more steps of a training.

    Attributes:
        number: of the last of them.
        steps: how many, 1 or more.
        tokens: seen in all of them, over all devices; padding included.
        elapsed_s: time of all of them, or None where the log has none.
        stated: the rates that the log prints of them.
    """

    number: int
    steps: int
    tokens: int
    elapsed_s: Fraction | None
    stated: tuple[PrintedRate, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """What a training program printed of itself: throughput, no telemetry.

    Attributes:
        name: of the run.
        setup: the architecture, and as much of devices and batch as is known.
        steps: at least one.
        remarks: what a reader has to know of the log; sentences.
    """

    name: str
    setup: Setup
    steps: Sequence[LoggedStep]
    remarks: tuple[str, ...] = ()


class LogImporter(Protocol):
    """Reads one format of training logs."""

    @property
    def name(self) -> str:
        """The format's name, for messages and docs."""

    def recognises(self, text: str) -> bool:
        """Whether a text looks like this format; logs have no names of their own."""

    def load(self, text: str, *, name: str, setup: Setup | None) -> tuple[TrainingLog, ...]:
        """Read the log of a run, or a table of several.

        Args:
            text: the file's content.
            name: of the file, for errors and for the run's name.
            setup: the architecture where a file beside the log gives it.

        Raises:
            DataError: truncated, garbled or contradictory, or without an architecture; the
                sentence names file and line.
        """
