"""`flopmeter calibrate`: its lines and its JSON, on a runner and a driver whose work is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab import calibrate, runner
from flopmeter.lab.findings import Finding
from support.scripted_runner import Script, ScriptedRunner, tensor_flop_per_s

SCRIPTS = {
    "idle": Script(),
    "bf16-8192": Script({2: 99, 5: 80, 7: 80}, 700, tensor_flop_per_s(80, 4096)),
}
"""What the node can do; the rest of the quick suite cannot run on it."""


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedRunner:
    """The runner in place of PyTorch, and its recorder in place of a process."""
    made = ScriptedRunner(tmp_path, SCRIPTS)
    monkeypatch.setattr(runner, "load_torch", object)
    monkeypatch.setattr(runner, "TorchRunner", lambda *_: made)
    monkeypatch.setattr(calibrate, "recorder_process", made.record)
    monkeypatch.setattr(calibrate, "probe_access", lambda: Finding("may anybody read", "yes"))
    return made


def test_lines(
    scripted: ScriptedRunner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both tables, a line a question, what was not run and why, and where the files are."""
    out = tmp_path / "out"
    words = ["calibrate", "--suite", "quick", "--seconds-per-kernel", "1", "--out", str(out)]
    assert main(words) == 0
    told, said = capsys.readouterr()
    lines = told.splitlines()
    assert any(line.startswith("| bf16-8192") for line in lines)
    assert "may anybody read: yes" in lines
    assert any(line.endswith(" was not run: there is no script of it") for line in lines)
    assert lines[-1] == f"written to {out}"
    assert "bf16-8192: " in said, "progress is told beside the result"
    assert {path.name for path in out.iterdir()} == {"recording.fmrec", "truth.toml", "score.json"}


def test_json(scripted: ScriptedRunner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON is what score.json has, and a second calibration does not write over the first."""
    out = tmp_path / "out"
    words = ["calibrate", "--suite", "quick", "--seconds-per-kernel", "1", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    document: Any = json.loads(capsys.readouterr().out)
    kept = json.loads((out / "score.json").read_text())
    assert document["rows"] == kept["rows"] and document["not_run"] == kept["not_run"]
    assert main(words) == 74
    assert "is not empty" in capsys.readouterr().err
