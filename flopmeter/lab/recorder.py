"""Writes what the production sensor reads into a recording.

Owns: the recorded sensor, and the recorder's loop and its child command.
May touch: the sensor, clock and stream it is given; one child process.
Called by ``flopmeter record``, by lab.calibrate and by tests; the format is lab.recording's.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Protocol

from flopmeter.lab.recording import FailureNote, Header, Mark, RecordingWriter, Row
from flopmeter.lab.recording_rows import row_of
from flopmeter_agent.listing import DEVICES_REFRESH_NS
from flopmeter_agent.sensors.base import Failure, Readout, Sensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

COMMAND_STARTED, COMMAND_ENDED = "command_started", "command_ended"
"""Marks around the child command: the run of the recording."""

EXIT_BY_SIGNAL = 128
"""What a shell adds to the number of the signal that ended a command."""

_STOP_PATIENCE_S = 10.0


class RawSensor(Sensor, Protocol):
    """A sensor that also gives what it was told beside its readings."""

    @property
    def driver_version(self) -> str:
        """Of the driver; empty before it was opened."""

    def told(self) -> Mapping[str, Row]:
        """Device -> column -> what was said at the last reading."""


class RecordedSensor:
    """A sensor whose every round is written down; used in its place."""

    def __init__(
        self,
        sensor: RawSensor,
        clock: Clock,
        stream: BinaryIO,
        *,
        node: str,
        period_ns: int,
        reason: str,
    ) -> None:
        """List the devices and begin the recording.

        Raises:
            SensorError: no device can be listed.
        """
        self.name = sensor.name
        self.simulated = sensor.simulated
        self._sensor = sensor
        self._clock = clock
        self._failing: dict[str, str] = {}
        records = sensor.devices()
        self._writer = RecordingWriter(
            stream,
            Header(
                node=node,
                boot_id=clock.boot_id,
                wall_ns=clock.wall_ns(),
                monotonic_ns=clock.monotonic_ns(),
                boottime_ns=clock.boottime_ns(),
                period_ns=period_ns,
                sensor=sensor.name,
                sensor_reason=reason,
                driver_version=sensor.driver_version,
                simulated=sensor.simulated,
                software=importlib.metadata.version("flopmeter"),
            ),
            rounds_per_block=max(1, NS_PER_S // period_ns),
        )
        self._writer.devices(records)

    def devices(self) -> Sequence[DeviceRecord]:
        """The sensor's devices, written where they changed.

        Raises:
            SensorError: no device can be listed.
        """
        records = self._sensor.devices()
        self._writer.devices(records)
        return records

    def read(self) -> Readout:
        """One round of readings, written down.

        Raises:
            SensorError: nothing can be read; the round is written without a row.
        """
        begin_ns = self._clock.monotonic_ns()
        try:
            readout = self._sensor.read()
        except SensorError as error:
            self._note((Failure(self.name, str(error)),))
            self._writer.round(begin_ns, self._clock.monotonic_ns(), {})
            raise
        end_ns = self._clock.monotonic_ns()
        told = self._sensor.told()
        rows = {
            reading.device: {**row_of(reading), **told.get(reading.device, {})}
            for reading in readout.readings
        }
        self._note(readout.failures)
        self._writer.round(begin_ns, end_ns, rows)
        return readout

    def mark(self, what: str, detail: str = "") -> None:
        """Write a mark at this instant."""
        self._writer.mark(Mark(self._clock.monotonic_ns(), what, detail))

    def close(self) -> None:
        """End the recording and release the driver."""
        self._writer.end()
        self._sensor.close()

    def _note(self, failures: Sequence[Failure]) -> None:
        failing = {failure.device: failure.reason for failure in failures}
        for device in sorted(failing.keys() | self._failing.keys()):
            reason = failing.get(device, "")
            if reason != self._failing.get(device, ""):
                self._writer.failure(FailureNote(self._clock.monotonic_ns(), device, reason))
        self._failing = failing


class Recorder:
    """Reads a recorded sensor at a steady pace; a late round is late and never made up for."""

    def __init__(self, sensor: RecordedSensor, clock: Clock, *, period_ns: int) -> None:
        """Begin; nothing is read yet."""
        self._sensor = sensor
        self._clock = clock
        self._period_ns = period_ns
        self._listed_ns: int | None = None
        self.rounds = 0
        self.failures: dict[str, str] = {}

    def step(self) -> None:
        """Read once; devices are listed anew as the agent's loop does it."""
        now_ns = self._clock.monotonic_ns()
        try:
            if self._listed_ns is None or now_ns - self._listed_ns >= DEVICES_REFRESH_NS:
                self._sensor.devices()
                self._listed_ns = now_ns
            readout = self._sensor.read()
            failures = {failure.device: failure.reason for failure in readout.failures}
        except SensorError as error:
            failures = {self._sensor.name: str(error)}
        if failures:
            self._listed_ns = None
        self.failures |= failures
        self.rounds += 1

    def until(self, stop: threading.Event, *, seconds: float | None = None) -> None:
        """Read until told to stop, or for some time."""
        begin_ns = self._clock.monotonic_ns()
        end_ns = None if seconds is None else begin_ns + round(seconds * NS_PER_S)
        due_ns = begin_ns
        while not stop.is_set():
            self.step()
            now_ns = self._clock.monotonic_ns()
            if end_ns is not None and now_ns >= end_ns:
                return
            due_ns += self._period_ns * (1 + max(0, now_ns - due_ns) // self._period_ns)
            wake_ns = due_ns if end_ns is None else min(due_ns, end_ns)
            stop.wait(max(0, wake_ns - now_ns) / NS_PER_S)


def record_command(
    recorder: Recorder,
    sensor: RecordedSensor,
    command: Sequence[str],
    stop: threading.Event,
    *,
    seconds: float | None = None,
) -> int:
    """Record while a command is running.

    The command keeps its own standard streams; of it only begin, end and exit code are written.

    Returns:
        The command's exit code, as a shell would give it.

    Raises:
        UsageError: the command cannot be started.
    """
    recorder.step()  # so that the command's first work has a reading before it
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        problem = error.strerror or str(error)
        raise UsageError(f"the command {command[0]} cannot be started: {problem}") from error
    sensor.mark(COMMAND_STARTED)
    ended = threading.Event()

    def watch() -> None:
        child.wait()
        ended.set()
        wake.set()

    wake = _Either(stop, ended)
    threading.Thread(target=watch, name="flopmeter-command", daemon=True).start()
    recorder.until(wake, seconds=seconds)
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    code = child.wait()
    sensor.mark(COMMAND_ENDED, str(code))
    recorder.step()
    return code if code >= 0 else EXIT_BY_SIGNAL - code


class _Either(threading.Event):
    """An event that is also set when one of two others is."""

    def __init__(self, *others: threading.Event) -> None:
        super().__init__()
        self._others = others

    def is_set(self) -> bool:
        """Whether this event or one of the others is set."""
        return super().is_set() or any(other.is_set() for other in self._others)
