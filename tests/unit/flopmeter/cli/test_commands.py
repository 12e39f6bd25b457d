"""Printing commands: JSON with exact integers, origins of settings, tables with the right words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON a command prints."""
    return json.loads(printed(capsys, *arguments))


def test_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Built-in rows carry exact values; the site's own rows join them."""
    nothing = tmp_path / "none"
    nothing.mkdir()
    rows = document(capsys, "thresholds", "--json", "--thresholds-dir", str(nothing))["thresholds"]
    by_id = {row["id"]: row for row in rows}
    assert by_id["eu-ai-act-51-2"]["value_flop"] == 10**25
    assert by_id["eu-ai-act-51-2"]["value_flop_str"] == "1" + "0" * 25
    assert all(row["source"] for row in rows)
    own = (Path("core/flopmeter_core/data/thresholds/demo-line.toml")).read_text()
    (tmp_path / "own.toml").write_text(own.replace('"demo-line"', '"own-line"'))
    more = document(capsys, "thresholds", "--json", "--thresholds-dir", str(tmp_path))
    assert len(more["thresholds"]) == len(rows) + 1
    text = printed(capsys, "thresholds", "--thresholds-dir", str(tmp_path))
    assert "own-line" in text
    assert "above 1e25 FLOP" in text


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("bad.toml", b"id = 1\n", 65), ("bad.toml", b"\xff", 65)],
)
def test_wrong_site_threshold(
    tmp_path: Path, name: str, content: bytes, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A site's own row that cannot be read is named."""
    (tmp_path / name).write_bytes(content)
    assert main(["thresholds", "--thresholds-dir", str(tmp_path)]) == code
    assert str(tmp_path) in capsys.readouterr().err


def test_device_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Every part has a source and a standing; peaks are exact integers."""
    parts = {part["id"]: part for part in document(capsys, "device", "list", "--json")["parts"]}
    h100 = parts["h100-sxm5-80gb"]
    assert h100["pci_device_ids"] == ["0x2330"]
    assert h100["peak_flop_per_s"]["bf16"] == 132 * 1830 * 10**6 * 4096
    assert all(part["source"] and part["standing"] for part in parts.values())
    assert "h100-sxm5-80gb" in printed(capsys, "device", "list")


def test_config_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each value is printed with the layer it came from."""
    file = tmp_path / "agent.toml"
    file.write_text('collector = "c.example:8425"\nallow_plaintext = true\n')
    monkeypatch.setenv("FLOPMETER_CLUSTER", "east")
    settings = document(
        capsys, "config", "print", "--json", "agent",
        "--config", str(file), "--sample-period-s", "2",
    )["settings"]  # fmt: skip
    assert settings["collector"] == {"setting": "c.example:8425", "origin": f"file {file}"}
    assert settings["cluster"] == {"setting": "east", "origin": "environment FLOPMETER_CLUSTER"}
    assert settings["sample_period_s"] == {"setting": 2.0, "origin": "flag --sample-period-s"}
    assert settings["report_period_s"]["origin"] == "default"
    text = printed(capsys, "config", "print", "agent", "--config", str(file))
    assert "environment FLOPMETER_CLUSTER" in text


@pytest.mark.parametrize("daemon", ["agent", "collector"])
def test_config_print_refuses_unknown_keys(
    daemon: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt key in a daemon's file is found before the daemon is started."""
    file = tmp_path / "x.toml"
    file.write_text("log_levl = 'info'\n")
    assert main(["config", "print", daemon, "--config", str(file)]) == 64
    assert capsys.readouterr().err == (
        f"flopmeter: {file} has an unknown key 'log_levl'; did you mean 'log_level'?\n"
    )


def test_totals_without_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger that does not exist is not created by a question."""
    path = tmp_path / "no.db"
    assert main(["totals", "--ledger", str(path)]) == 64
    assert "there is no ledger" in capsys.readouterr().err
    assert not path.exists()


def test_replay_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path without a recording is a wrong command."""
    assert main(["replay", str(tmp_path / "no")]) == 64
    assert "cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["soon", "-1", "0", "nan", "inf"])
def test_demo_seconds(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time limit that is no time is refused before anything starts."""
    monkeypatch.setenv("DEMO_SECONDS", seconds)
    assert main(["demo"]) == 64
    assert "DEMO_SECONDS must be a number of seconds above 0" in capsys.readouterr().err


def test_demo_in_a_used_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo writes only to an empty folder."""
    (tmp_path / "mine").write_text("x")
    assert main(["demo", "--state", str(tmp_path)]) == 64
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "x"


def test_demo_with_wrong_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario that is missing or says unknown things is refused before anything starts."""
    path = tmp_path / "s.toml"
    assert main(["demo", "--scenario", str(path)]) == 64
    path.write_text("seed = 1\nsped = 2\n")
    assert main(["demo", "--scenario", str(path)]) == 65
    captured = capsys.readouterr().err
    assert "cannot be read: No such file" in captured
    assert "unknown keys: sped" in captured
