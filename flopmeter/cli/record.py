"""`flopmeter record`: write down what the sensor reads, for a later replay.

Owns: the command's arguments, and the file it makes.
May touch: the NVIDIA driver (through the sensor), the file of ``--out``, one child command.
Called by the command line; lab.recorder does the work, docs/calibration.md has the file.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from flopmeter.cli.output import json_option, print_json
from flopmeter_core.errors import StorageError, UsageError

if TYPE_CHECKING:
    from flopmeter.lab.recorder import RecordedSensor

HZ_LEAST, HZ_MOST = 0.1, 10.0
"""GPM refreshes its samples every 100 ms (NVML API reference), so faster readings say nothing."""

SECONDS_MOST = 7 * 86_400.0
"""A week at 10 Hz is some 500 MB; longer is the agent's work."""


@click.command("record")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("flopmeter.fmrec"),
    show_default=True,
    help="The file to make; it must not exist.",
)
@click.option(
    "--hz", type=float, default=10.0, show_default=True, help="Readings a second, 0.1 to 10."
)
@click.option("--seconds", type=float, help="Stop after this long; else at Ctrl-C.")
@json_option
@click.argument("command_words", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    out: Path, hz: float, seconds: float | None, as_json: bool, command_words: tuple[str, ...]
) -> None:
    """Write down what the sensor reads, for a later replay.

    With a command, recording lasts as long as the command, whose exit code it ends with.
    """
    if not HZ_LEAST <= hz <= HZ_MOST:
        raise UsageError(f"--hz {hz:g} is not from {HZ_LEAST:g} to {HZ_MOST:g} readings a second")
    if seconds is not None and not 0 < seconds <= SECONDS_MOST:
        raise UsageError(
            f"--seconds {seconds:g} is no length of a recording; give a number above 0, up to "
            f"{SECONDS_MOST:g}"
        )
    from flopmeter.lab.importers.recording import SUFFIX

    if out.suffix != SUFFIX:
        raise UsageError(f"--out {out} does not end in {SUFFIX}, by which replay knows the format")
    code = _record(out, round(1e9 / hz), seconds, command_words, as_json=as_json)
    if code:
        sys.exit(code)


def _record(
    out: Path, period_ns: int, seconds: float | None, words: tuple[str, ...], *, as_json: bool
) -> int:
    from flopmeter.lab.recorder import RecordedSensor, Recorder, record_command
    from flopmeter_agent.sensors.nvml.raw import RawNvmlSensor
    from flopmeter_proto.daemon.clock import SystemClock
    from flopmeter_proto.daemon.signals import stop_event

    clock = SystemClock()
    node = platform.node() or "node"
    sensor = RawNvmlSensor(node, clock)
    sensor.devices()  # before the file: without a device there is nothing to make
    with _new_file(out) as stream, stop_event() as stop:
        recorded = RecordedSensor(
            sensor, clock, stream, node=node, period_ns=period_ns, reason="flopmeter record"
        )
        recorder = Recorder(recorded, clock, period_ns=period_ns)
        try:
            code = 0
            if words:
                code = record_command(recorder, recorded, words, stop, seconds=seconds)
            else:
                recorder.until(stop, seconds=seconds)
        except OSError as error:
            raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error
        finally:
            _close(recorded, out)
    _say(out, recorder.rounds, recorder.failures, as_json=as_json)
    return code


def _new_file(out: Path) -> BinaryIO:
    try:
        return out.open("xb")
    except FileExistsError as error:
        raise UsageError(f"{out} exists; name another file with --out, or remove it") from error
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error.strerror or error}") from error


def _close(recorded: RecordedSensor, out: Path) -> None:
    try:
        recorded.close()
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error


def _say(out: Path, rounds: int, failures: dict[str, str], *, as_json: bool) -> None:
    size_bytes = out.stat().st_size
    if as_json:
        print_json(
            {
                "schema": 1,
                "file": str(out),
                "rounds": rounds,
                "size_bytes": size_bytes,
                "failures": failures,
            }
        )
        return
    click.echo(f"{out}: {rounds} rounds of readings, {size_bytes} bytes", err=True)
    for device, reason in failures.items():
        click.echo(f"{device}: {reason}", err=True)
