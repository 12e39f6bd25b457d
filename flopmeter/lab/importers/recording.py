"""Importer of flopmeter's own recordings, made by ``flopmeter record``.

Owns: what the rows of such a file mean as readings of a run.
May touch: the file it is given, read only.
Called by lab.replay through importers.table; the file itself is read in lab.recording.

The run is what ran between the marks of its command, else the whole recording. A file that was
cut off is read up to the cut, with an error in the log that says so: what came after is unknown.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from flopmeter.lab.importers.base import NodeRecording, Recording
from flopmeter.lab.recorder import COMMAND_ENDED, COMMAND_STARTED
from flopmeter.lab.recording import END, Recorded, Row, decode
from flopmeter.lab.recording_rows import reading_of
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, unreadable
from flopmeter_core.readings import Reading
from flopmeter_proto.daemon.logs import fields

_log = logging.getLogger(__name__)

SUFFIX = ".fmrec"


class RecordingImporter:
    """Reads one file of ``flopmeter record``."""

    @property
    def name(self) -> str:
        """The format's name."""
        return "flopmeter-recording"

    def recognises(self, path: Path) -> bool:
        """Whether `path` is a file of that suffix."""
        return path.suffix == SUFFIX and not path.is_dir()

    def load(self, path: Path) -> Recording:
        """Read a recording.

        Raises:
            DataError: garbled, without a reading, or of devices that changed on the way.
        """
        recorded = load_recorded(path)
        run = path.name.removesuffix(SUFFIX)
        return as_run(recorded, run=run, name=str(path))


def load_recorded(path: Path) -> Recorded:
    """Read a file with everything in it.

    Raises:
        UsageError: it cannot be read.
        DataError: it is garbled.
    """
    try:
        with path.open("rb") as stream:
            recorded = decode(stream, name=str(path))
    except OSError as error:
        raise unreadable(path, error) from error
    if recorded.cut_at_byte is not None:
        _log.error(
            "the recording was cut off; what came after is not in the figures",
            extra=fields(file=path, byte=recorded.cut_at_byte, intact=recorded.survivors),
        )
    return recorded


class NothingRecordedError(DataError):
    """No row of a recording has a reading of the kind asked for."""


def as_run(
    recorded: Recorded,
    *,
    run: str,
    name: str,
    read: Callable[[str, Row], Reading | None] = reading_of,
) -> Recording:
    """A recording as one run on one node.

    Args:
        recorded: the content of the file.
        run: the run's name.
        name: of the file, for errors.
        read: makes a reading of a device's row; None where it has none of the kind wanted.

    Raises:
        DataError: no reading, or devices that changed on the way.
    """
    if not recorded.rounds or not recorded.rows:
        raise DataError(f"{name} holds {recorded.survivors} of a device; record for longer")
    if len(set(recorded.records)) != 1:
        raise DataError(
            f"{name} lists its devices {len(recorded.records)} times and not alike (a driver or "
            "a device changed on the way); record each state by itself"
        )
    header = recorded.header
    simulated = header.simulated or any(each.simulated for each in recorded.records[0])
    # Both clocks count from the header's instant, at which the recording's time is 0.
    start_ns, stop_ns = period = _run_period(recorded)
    allocation = for_run(run)
    readings = []
    for device, rows in recorded.rows.items():
        for row in rows:
            try:
                reading = read(device, row)
            except (KeyError, ValueError) as error:
                raise DataError(
                    f"{name} has a row of {device} that is no reading ({error!r})"
                ) from error
            if reading is not None:
                readings.append(_since_epoch(reading, recorded, allocation, period))
    if not readings:
        raise NothingRecordedError(f"{name} has no reading of this kind")
    readings.sort(key=lambda reading: reading.monotonic_ns)
    return Recording(
        run=run,
        epoch_ns=header.wall_ns,
        start_ns=start_ns,
        stop_ns=stop_ns,
        sample_period_ns=header.period_ns,
        simulated=simulated,
        nodes=(
            NodeRecording(
                node=header.node,
                records=_marked(recorded.records[0], simulated=simulated),
                readings=readings,
                rounds=tuple(row[END] - header.monotonic_ns for row in recorded.rounds),
            ),
        ),
    )


def _marked(records: tuple[DeviceRecord, ...], *, simulated: bool) -> tuple[DeviceRecord, ...]:
    """Device records under the mark of the whole recording; a sensor need not repeat it in each."""
    return tuple(dataclasses.replace(record, simulated=simulated) for record in records)


def _run_period(recorded: Recorded) -> tuple[int, int]:
    """Begin and end of the run, in ns since the header's instant."""
    marks = {mark.what: mark.monotonic_ns for mark in recorded.marks}
    start_ns = marks.get(COMMAND_STARTED, recorded.rounds[0][END])
    stop_ns = marks.get(COMMAND_ENDED, recorded.rounds[-1][END])
    if COMMAND_STARTED not in marks:
        # The first reading is the run's: it is stamped a moment before its round ends.
        start_ns = min(start_ns, *(rows[0]["monotonic_ns"] for rows in recorded.rows.values()))
    return start_ns - recorded.header.monotonic_ns, stop_ns - recorded.header.monotonic_ns


def _since_epoch(
    reading: Reading, recorded: Recorded, allocation: str, period: tuple[int, int]
) -> Reading:
    since_ns = reading.monotonic_ns - recorded.header.monotonic_ns
    return dataclasses.replace(
        reading,
        monotonic_ns=since_ns,
        boottime_ns=reading.boottime_ns - recorded.header.boottime_ns,
        allocation=allocation if period[0] <= since_ns <= period[1] else NONE,
    )
