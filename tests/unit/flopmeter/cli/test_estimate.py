"""`flopmeter estimate`: flags and files come to the same JSON, bad input to one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flopmeter.cli import main
from support.requirements import ROOT

FILE = str(ROOT / "tests/data/published-runs/runs.csv")


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """A list, one entry a row in order, whole numbers with decimal twins, ordered."""
    assert main(["estimate", "--csv", FILE, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(entries) == 61
    for entry in entries:
        for name in ("hardware", "architecture", "energy", "reconciled"):
            bounds = entry[name]
            if bounds is not None:
                assert 0 <= bounds["lower"] <= bounds["best"] <= bounds["upper"]
                assert entry[f"{name}_str"] == {key: str(flop) for key, flop in bounds.items()}
        assert entry["method"] and isinstance(entry["warnings"], list)
    gpt3 = next(entry for entry in entries if entry["model"] == "GPT-3 175B")
    assert gpt3["architecture"]["best"] == 6 * 174_600_000_000 * 300_000_000_000


@pytest.mark.parametrize("columns", ["80", "112", "140"])
def test_no_figure_is_cut(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every range the JSON has stands whole in the table, however narrow the terminal is."""
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["estimate", "--csv", FILE]) == 0
    shown = capsys.readouterr().out
    table = shown[: shown.index("model FLOP: best")]
    assert "\u2026" not in table
    assert max(map(len, table.splitlines())) <= int(columns)
    assert main(["estimate", "--csv", FILE, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    for way in ("hardware", "architecture", "energy", "reconciled"):
        assert way in table
    figures = [entry[way] for entry in entries for way in ("hardware", "architecture", "energy")]
    reconciled = [entry["reconciled"] for entry in entries]
    assert table.count("[") == sum(bounds is not None for bounds in figures + reconciled)
    assert table.count("[") == len(re.findall(r"\S+e\d+ \[\S+e\d+\.\.\S+e\d+\]", table))


def test_annex_can_be_redone(capsys: pytest.CaptureFixture[str]) -> None:
    """N, L, H and U stand beside the hardware-based figure and multiply to it."""
    flags = ["--accelerator", "H100 SXM", "--count", "8", "--hours", "10", "--format", "bf16"]
    assert main(["estimate", *flags, "--utilization", "0.4", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    factors = dict(part.split(" = ") for part in entry["annex"][0].split(":")[0].split(", "))
    n, length, peak, share = (float(factors[name].split()[0]) for name in ("N", "L", "H", "U"))
    assert (n, length, peak) == (8, 36_000, 989.42976e12)
    assert entry["hardware"]["best"] == pytest.approx(n * length * peak * share, rel=1e-6)
    assert main(["estimate", "--parameters", "1e9", "--tokens", "1e11", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["annex"] is None


def test_flags_are_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row of flags is the same row in a file."""
    flags = ["--accelerator", "H100", "--count", "8", "--hours", "10", "--utilization", "38-43%"]
    flags += ["--parameters", "1e9", "--tokens", "1.8e10", "--format", "bf16"]
    assert main(["estimate", *flags, "--json"]) == 0
    by_flags = json.loads(capsys.readouterr().out)
    table = tmp_path / "t.csv"
    table.write_text(
        "model,accelerator,accelerator_count,wall_hours,mfu,params_active,tokens,precision\n"
        "this run,H100,8,10,0.38-0.43,1e9,1.8e10,bf16\n"
    )
    assert main(["estimate", "--csv", str(table), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == by_flags
    assert by_flags[0]["method"] == "architecture"


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """People see two figures, a range, and what has to be said."""
    assert main(["estimate", "--parameters", "1e9", "--tokens", "1e11"]) == 0
    out = capsys.readouterr().out
    assert "6.0e20 [5.4e20..7.2e20]" in out
    assert "recomputation is not counted" in out


def test_one_run_can_be_redone_by_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """People see N, L, H and U of a single run, not only in the JSON."""
    monkeypatch.setenv("COLUMNS", "150")
    flags = ["--count", "8", "--hours", "100", "--utilization", "0.4", "--format", "bf16"]
    assert main(["estimate", "--accelerator", "H100 SXM5", *flags]) == 0
    assert "N = 8 units, L = 360000 s, H = 9.8942976e+14 FLOP/s, U = " in capsys.readouterr().out


def test_unread_columns_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of a file is passed over in silence."""
    table = tmp_path / "t.csv"
    table.write_text("model,params_active,tokens,colour\nx,1e9,1e11,red\n")
    assert main(["estimate", "--csv", str(table), "--json"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "columns not used: colour" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 64, "say what to estimate"),
        (["--csv", FILE, "--tokens", "1"], 64, "exclude each other"),
        (["--accelerator", "H100"], 64, "nothing to estimate from"),
        (["--accelerator", "H2000", "--gpu-hours", "1"], 65, "does not know"),
        (["--accelerator", "A100", "--gpu-hours", "1", "--format", "fp8"], 65, "no fp8"),
        (["--accelerator", "A100", "--gpu-hours", "-1"], 65, "cannot be negative"),
        (["--accelerator", "A100", "--gpu-hours", "1", "--utilization", "nan"], 65, "no quantity"),
        (["--csv", "/nowhere/none.csv"], 64, "cannot be read"),
    ],
)
def test_bad_input(
    arguments: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence and the documented exit code; nothing on standard output."""
    assert main(["estimate", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
