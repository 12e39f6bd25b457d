"""Runs the calibration suite beside a recording, and scores the one by the other.

Owns: the order of a calibration, and the files it leaves.
May touch: the folder it is given, child processes of ``flopmeter record``, and what its runner
touches.
Called by ``flopmeter calibrate`` and by tests, which hand in another runner and recorder.

Recording and work are in two processes, as an agent and a training run are; both use the node's
monotonic clock, so that the truth's times are the recording's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flopmeter.lab import findings
from flopmeter.lab.findings import Finding, Pair
from flopmeter.lab.importers.recording import load_recorded
from flopmeter.lab.recording import Recorded
from flopmeter.lab.rescore import score_truths
from flopmeter.lab.runner import Ran, Runner
from flopmeter.lab.score import ScoreRow
from flopmeter.lab.truths import TimedTruth, truth_text
from flopmeter.lab.workloads.base import CannotRunError, Spec
from flopmeter_core.devices import builtin_parts
from flopmeter_core.errors import DataError, StorageError, UnreachableError
from flopmeter_core.estimate import METHOD_VERSION

RECORDING, TRUTH, SCORE = "recording.fmrec", "truth.toml", "score.json"

HZ = 5.0
"""Readings a second: two refreshes of GPM's samples apart, so that none is taken twice."""

GAP_S = 0.8
"""Idle time around each workload: a reading before and after it that holds nothing of others."""

PAIRS = 4
PAIR_S = 2.0
_NOBODY = 65_534
_START_LIMIT_S = 30.0
_END_LIMIT_S = 20.0

Recording = Callable[[Path, float], AbstractContextManager[object]]
"""(file, readings a second) -> records into the file while it is entered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a calibration found.

    Attributes:
        rows: one for each workload and rung.
        truths: what ran, and what did not and why.
        findings: by their names.
        runner: what ran the work.
        recorded: the recording.
    """

    rows: Sequence[ScoreRow]
    truths: Sequence[TimedTruth]
    findings: dict[str, Finding]
    runner: dict[str, str]
    recorded: Recorded


def calibrate(
    specs: Sequence[Spec],
    runner: Runner,
    folder: Path,
    *,
    seconds: float,
    record: Recording,
    probe_access: Callable[[], Finding],
    tell: Callable[[str], object],
) -> Outcome:
    """Run the suite, score it, and leave recording, truth and score in a folder.

    Args:
        specs: the workloads, in order.
        runner: runs them.
        folder: empty or new; gets the three files.
        seconds: how long each workload runs.
        record: records beside them.
        probe_access: finds out whether an unprivileged user may read the counters.
        tell: takes a line for people as work goes on.

    Raises:
        StorageError: the folder cannot be used.
        UnreachableError: nothing can be recorded.
        DataError: the recording does not enclose its workloads.
    """
    _new_folder(folder)
    found = {"access": probe_access(), "polling": _polling(specs, runner, record, tell)}
    path = folder / RECORDING
    with record(path, HZ):
        truths = [_run(spec, runner, seconds, tell) for spec in specs]
        runner.pause(GAP_S)
    _write(folder / TRUTH, truth_text(truths))
    recorded = only_device(load_recorded(path), runner.description.get("uuid", ""))
    parts = builtin_parts()
    rows = score_truths(recorded, truths, parts, name=str(path))
    found |= findings.of_recording(recorded, truths)
    outcome = Outcome(rows, truths, found, runner.description, recorded)
    _write(folder / SCORE, json.dumps(score_document(outcome), indent=1) + "\n")
    return outcome


def only_device(recorded: Recorded, device: str) -> Recorded:
    """The recording of the device that did the work, where the runner knows which it is.

    Raises:
        DataError: several devices were recorded and which did the work is not known.
    """
    if device in recorded.rows:
        records = [tuple(r for r in each if r.device == device) for each in recorded.records]
        return dataclasses.replace(recorded, records=records, rows={device: recorded.rows[device]})
    if len(recorded.rows) != 1:
        raise DataError(
            f"{len(recorded.rows)} devices were recorded and it is not known which did the work; "
            "show one with CUDA_VISIBLE_DEVICES and an own container, or use a newer PyTorch"
        )
    return recorded


def score_document(outcome: Outcome) -> dict[str, Any]:
    """The content of score.json."""
    header = outcome.recorded.header
    return {
        "schema": 1,
        "method_version": METHOD_VERSION,
        "simulated": header.simulated,
        "driver_version": header.driver_version,
        "runner": outcome.runner,
        "seconds": round(findings.length_s(outcome.recorded), 3),
        "rows": [_row_document(row) for row in outcome.rows],
        "not_run": {t.workload: t.not_run for t in outcome.truths if t.not_run},
        "findings": {name: dataclasses.asdict(each) for name, each in outcome.findings.items()},
    }


def _row_document(row: ScoreRow) -> dict[str, Any]:
    return {
        "workload": row.truth.workload,
        "rung": row.rung,
        "declared": dict(row.declared),
        "flop_model": row.truth.model_flop,
        "flop_issued": row.truth.executed_flop,
        "compute_flop": None if row.interval is None else dataclasses.asdict(row.interval),
        "best_over_true": row.best_over_true,
        "likely_held": row.likely_held,
        "hard_held": row.hard_held,
    }


def _run(spec: Spec, runner: Runner, seconds: float, tell: Callable[[str], object]) -> TimedTruth:
    """One workload with idle time before it; what cannot run is noted with its reason."""
    bare = TimedTruth(spec.name, spec.family, declared=dict(spec.declared))
    try:
        prepared = runner.prepare(spec)
        runner.pause(GAP_S)
        ran = runner.measure(prepared, seconds)
        runner.pause(GAP_S)
    except CannotRunError as error:
        tell(f"{spec.name}: not run: {error}")
        return dataclasses.replace(bare, not_run=str(error))
    except Exception as error:  # one workload that fails must not cost the others
        tell(f"{spec.name}: failed: {error}")
        return dataclasses.replace(bare, not_run=f"{type(error).__name__}: {error}")
    finally:
        runner.release()
    tell(f"{spec.name}: {ran.steps} steps in {_seconds(ran):.2f} s")
    return dataclasses.replace(
        bare,
        start_ns=ran.start_ns,
        stop_ns=ran.stop_ns,
        steps=ran.steps,
        flop_model=ran.steps * prepared.flop_model,
        flop_issued=ran.steps * prepared.flop_issued,
        integer_operations=ran.steps * prepared.integer_operations,
        source=prepared.source,
    )


def _polling(
    specs: Sequence[Spec], runner: Runner, record: Recording, tell: Callable[[str], object]
) -> Finding:
    """Time a matrix product alone and beside a 1 Hz recorder, in pairs of alternating order."""
    product = next((spec for spec in specs if spec.name == "bf16-8192"), None)
    if product is None:
        return findings.polling([])
    try:
        prepared = runner.prepare(product)
    except CannotRunError as error:
        tell(f"polling: not measured: {error}")
        return findings.polling([])
    pairs = []
    with tempfile.TemporaryDirectory(prefix="flopmeter-polling-") as folder:
        for number in range(PAIRS):

            def polled(number: int = number) -> float:
                with record(Path(folder) / f"{number}.fmrec", 1.0):
                    return _steps_per_s(runner.measure(prepared, PAIR_S))

            def alone() -> float:
                return _steps_per_s(runner.measure(prepared, PAIR_S))

            if number % 2:
                beside, by_itself = polled(), alone()
            else:
                by_itself, beside = alone(), polled()
            pairs.append(Pair(by_itself, beside))
    runner.release()
    found = findings.polling(pairs)
    tell(f"polling: {found.answer}")
    return found


def _steps_per_s(ran: Ran) -> float:
    return ran.steps / _seconds(ran)


def _seconds(ran: Ran) -> float:
    return (ran.stop_ns - ran.start_ns) / 1e9


# --- children and files --------------------------------------------------------------------------


def _record_words(path: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "flopmeter", "record", "--out", str(path), *more]


@contextlib.contextmanager
def recorder_process(path: Path, hz: float) -> Iterator[None]:
    """Record in a process of its own until the block ends.

    Raises:
        UnreachableError: it cannot record; its own sentence says why.
    """
    child = subprocess.Popen(
        _record_words(path, "--hz", str(hz)), stderr=subprocess.PIPE, text=True
    )
    try:
        _await_first_block(child, path)
        yield
    finally:
        if child.poll() is None:
            child.terminate()
        try:
            _, said = child.communicate(timeout=_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            _, said = child.communicate()
    if child.returncode:
        raise UnreachableError(f"the recorder failed: {_last_line(said)}")


def _await_first_block(child: subprocess.Popen[str], path: Path) -> None:
    """Wait until the recording has its header, devices and a first block of rounds."""
    waited_s = 0.0
    while waited_s < _START_LIMIT_S:
        try:
            child.wait(0.1)
        except subprocess.TimeoutExpired:
            waited_s += 0.1
            if path.exists() and _has_rounds(path):
                return
            continue
        said = child.stderr.read() if child.stderr is not None else ""
        raise UnreachableError(f"nothing can be recorded: {_last_line(said)}")
    raise UnreachableError(f"the recorder wrote nothing within {_START_LIMIT_S:.0f} s")


def _has_rounds(path: Path) -> bool:
    from flopmeter.lab.recording import decode

    try:
        with path.open("rb") as stream:
            return bool(decode(stream, name=str(path)).rounds)
    except DataError:
        return False


def probe_access() -> Finding:
    """Read the counters as a user without privilege: as nobody, where this process is root."""
    uid = os.geteuid()
    if uid != 0:
        return findings.access(uid, works=True, detail="the whole calibration ran as this user")
    with tempfile.TemporaryDirectory(prefix="flopmeter-access-") as folder:
        os.chown(folder, _NOBODY, _NOBODY)
        path = Path(folder) / "probe.fmrec"
        try:
            ended = subprocess.run(
                _record_words(path, "--seconds", "1.5"),
                user=_NOBODY,
                group=_NOBODY,
                extra_groups=[],
                capture_output=True,
                text=True,
                cwd=folder,
                timeout=_START_LIMIT_S,
            )
            said = _last_line(ended.stderr)
            if ended.returncode == 0:
                return _access_of(load_recorded(path))
        except (OSError, subprocess.SubprocessError, DataError) as error:
            said = str(error)
    # The program itself may be out of nobody's reach: that says nothing of the driver.
    refused = "refuses it to this user" in said
    return findings.access(_NOBODY, works=False if refused else None, detail=said)


def _access_of(recorded: Recorded) -> Finding:
    gpm = sum(
        "gpm_return.5" in row and row["gpm_return.5"] == 0
        for rows in recorded.rows.values()
        for row in rows
    )
    count = sum(map(len, recorded.rows.values()))
    detail = f"{gpm} of {count} readings have GPM's tensor activity"
    return findings.access(_NOBODY, works=gpm > 0, detail=detail)


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("flopmeter: ") if lines else "it said nothing"


def _new_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StorageError(f"{folder} is not empty; name a new or empty folder with --out")
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror or error}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
