"""Calibrations that go wrong: the recorder, the folder, the probe; each is said in one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from flopmeter.lab import calibrate as module
from flopmeter.lab.calibrate import calibrate, probe_access, recorder_process
from flopmeter.lab.findings import NOT_ANSWERED, Finding
from flopmeter.lab.recording import Recorded
from flopmeter.lab.workloads.table import SUITE
from flopmeter_core.errors import StorageError, UnreachableError
from support.scripted_runner import Script, ScriptedRunner, tensor_flop_per_s

SPEC_OF = {spec.name: spec for spec in SUITE}
PRODUCT = "bf16-8192"


def program(text: str) -> Any:
    """A recorder in place of ours."""
    return lambda path, *_: [sys.executable, "-S", "-c", text, str(path)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys; sys.exit('flopmeter: no driver')", "nothing can be recorded: no driver"),
        ("import sys; sys.exit(3)", "nothing can be recorded: it said nothing"),
        ("import time; time.sleep(60)", "the recorder wrote nothing within 0 s"),
    ],
)
def test_a_recorder_that_does_not_begin(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own last line is told; one that hangs is ended; the block is never entered."""
    monkeypatch.setattr(module, "_record_words", program(text))
    monkeypatch.setattr(module, "_START_LIMIT_S", 0.4 if "sleep" in text else 30.0)
    with (
        pytest.raises(UnreachableError, match=sentence),
        recorder_process(tmp_path / "r.fmrec", 1.0),
    ):
        pytest.fail("there is no recording")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import signal, sys\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit('flopmeter: disk full'))\n"
            "open(sys.argv[1], 'w').close()\nsignal.pause()",
            "the recorder failed: disk full",
        ),
        (
            "import signal, sys\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "open(sys.argv[1], 'w').close()\nwhile True: signal.pause()",
            "the recorder failed: it said nothing",
        ),
    ],
)
def test_a_recorder_that_does_not_end_well(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure at the end costs the calibration, and one that does not end is killed."""
    monkeypatch.setattr(module, "_record_words", program(text))
    monkeypatch.setattr(module, "_has_rounds", Path.exists)
    monkeypatch.setattr(module, "_END_LIMIT_S", 0.2 if "SIG_IGN" in text else 20.0)
    with pytest.raises(UnreachableError, match=sentence), recorder_process(tmp_path / "r", 1.0):
        pass


def test_a_recording_that_has_not_begun(tmp_path: Path) -> None:
    """A file that is still empty or cut in its header has no rounds yet."""
    (tmp_path / "r").write_bytes(b"")
    assert not module._has_rounds(tmp_path / "r")


def test_the_folder(tmp_path: Path) -> None:
    """What is no folder is named before anything runs, and so is a file that cannot be written."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used: "):
        module._new_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        module._write(tmp_path, "x")


@pytest.mark.parametrize(
    ("names", "scripted", "said"),
    [(("idle",), ("idle",), ""), ((PRODUCT,), (), "polling: not measured: there is no script")],
)
def test_polling_is_not_measured(
    names: tuple[str, ...], scripted: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """Without a matrix product, or where it cannot run, what polling costs is not answered."""
    scripts = dict.fromkeys(scripted, Script({2: 90}, 700, tensor_flop_per_s(80, 4096)))
    runner = ScriptedRunner(tmp_path, scripts)
    told: list[str] = []
    specs = [SPEC_OF[name] for name in names]
    found = module._polling(specs, runner, runner.record, told.append)
    runner.driver.close()
    assert found.answer == NOT_ANSWERED
    assert "".join(told).startswith(said) and bool(told) is bool(said)


# --- whether anybody may read the counters -------------------------------------------------------


def test_probe_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not root has shown it by calibrating."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    found = probe_access()
    assert found.answer == "yes"
    assert "the whole calibration ran as this user" in str(found)


def as_root(monkeypatch: pytest.MonkeyPatch, code: int, said: str) -> Finding:
    """Probe where root asks nobody, whose recorder ends like this."""

    class Ended:
        returncode, stderr = code, said

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: Ended)
    return probe_access()


def test_probe_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that refuses answers no; any other failure answers nothing."""
    refused = "flopmeter: the driver refuses it to this user; ask the administrator"
    assert as_root(monkeypatch, 1, refused).answer == "no"
    assert as_root(monkeypatch, 1, "flopmeter: no module").answer == NOT_ANSWERED


@pytest.mark.parametrize(("returned", "answer"), [(0, "yes"), (3, "no")])
def test_probe_that_reads(returned: int, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings with tensor activity answer yes; a recording without any answers no."""

    class Read:
        rows = {"GPU-0": [{"gpm_return.5": returned}, {}]}

    def load(_: Path) -> Recorded:
        return Read  # type: ignore[return-value]

    monkeypatch.setattr(module, "load_recorded", load)
    found = as_root(monkeypatch, 0, "")
    assert found.answer == answer
    assert f"{int(returned == 0)} of 2 readings have GPM's tensor activity" in str(found)


def test_a_calibration_in_a_folder_in_use(tmp_path: Path) -> None:
    """Nothing is probed or run where an earlier calibration lies."""
    (tmp_path / "score.json").write_text("{}")
    with pytest.raises(StorageError, match="is not empty"):
        calibrate(
            [],
            None,  # type: ignore[arg-type]
            tmp_path,
            seconds=1.0,
            record=lambda *_: pytest.fail("nothing is recorded"),
            probe_access=lambda: pytest.fail("nothing is probed"),
            tell=print,
        )
