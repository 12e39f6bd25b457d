"""`flopmeter import-log`: JSON for machines, a table for people, one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flopmeter.cli import main
from support.requirements import ROOT

DATA = ROOT / "tests/data/training-logs"
BLOOM = str(DATA / "bigscience/bloom-176b-iteration-lines.log")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One entry a run, the printed rates with their errors, and a summary."""
    assert main(["import-log", str(DATA / "llm-foundry/tables.md"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1 and len(told["logs"]) == 148
    assert told["summary"]["stated"] == told["summary"]["reproduced"] == 444
    assert 0 < told["summary"]["worst_relative_error"] < 0.01
    first = told["logs"][0]
    assert {each["stands_for"] for each in first["stated"]} == {"model", "executed"}
    assert first["model_flop"] < first["executed_flop"]["lower"]


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """People see model and executed FLOP, the shares of peak, and the annex's four factors."""
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["import-log", BLOOM]) == 0
    out = capsys.readouterr().out
    assert "8.53e+19 1.14e+20 1.34" in " ".join(out.split())
    assert "14 of 14 within 2%, the worst 0.04% off" in out
    assert "N = 384 units, L = 2044.11 s" in out


def test_six_pd_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where 6PD does not hold people are told which of its assumptions fails."""
    monkeypatch.setenv("COLUMNS", "200")
    small = DATA / "modded-nanogpt/124M_2024-10-14_ModernArch_dabaaddd.txt"
    assert main(["import-log", str(small)]) == 0
    assert "6PD does not hold here: " in capsys.readouterr().out
    assert main(["import-log", BLOOM]) == 0
    assert "6PD does not hold" not in capsys.readouterr().out


def test_architecture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file elsewhere describes a log as one beside it does."""
    alone = tmp_path / "bloom.log"
    alone.write_text(Path(BLOOM).read_text())
    assert main(["import-log", str(alone), "--architecture", BLOOM + ".toml", "--json"]) == 0
    moved = json.loads(capsys.readouterr().out)["logs"][0]
    assert main(["import-log", BLOOM, "--json"]) == 0
    beside = json.loads(capsys.readouterr().out)["logs"][0]
    assert moved["model_flop"] == beside["model_flop"]


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No architecture is bad data, no file is a storage failure: exit codes and one sentence."""
    alone = tmp_path / "bloom.log"
    alone.write_text(Path(BLOOM).read_text())
    assert main(["import-log", str(alone)]) == 65
    error = capsys.readouterr().err
    assert error.startswith("flopmeter: bloom.log has no argument dump") and error.count("\n") == 1
    assert main(["import-log", str(tmp_path / "missing")]) == 64


def test_a_table_of_many_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many runs are a line each; what holds for one alone is not said of them."""
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["import-log", str(DATA / "llm-foundry/tables.md")]) == 0
    out = capsys.readouterr().out
    assert "444 of 444 within 2%" in out
    assert "N = " not in out and "6PD does not hold here" not in out
