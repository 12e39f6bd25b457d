"""`flopmeter demo`: what is said at its end, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab import demo
from flopmeter.lab.demo import DemoOptions, Outcome
from flopmeter.lab.ledger_totals import empty_totals
from flopmeter_proto.daemon.clock import SystemClock

CROSSING = "small crossed demo-line at about 0:20:00"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[DemoOptions]:
    """What the demo was asked for; it ends at once."""
    found: list[DemoOptions] = []

    def at_once(options: DemoOptions, **_: Any) -> Outcome:
        found.append(options)
        document = empty_totals((), SystemClock())
        kept = tmp_path if options.keep else None
        return Outcome(document, "the scenario has come to its end", (CROSSING,), 2, kept)

    monkeypatch.setattr(demo, "demo", at_once)
    monkeypatch.delenv("DEMO_SECONDS", raising=False)
    return found


def test_text(asked: list[DemoOptions], capsys: pytest.CaptureFixture[str]) -> None:
    """Why it ended, the totals, every crossing, and no folder where none was kept."""
    assert main(["demo", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "the scenario has come to its end; final totals:" in out
    assert out.splitlines()[-1] == CROSSING
    assert (asked[0].seed, asked[0].keep, asked[0].seconds) == (3, False, None)


def test_kept(
    asked: list[DemoOptions],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder that was kept is named last; the environment may say how long."""
    monkeypatch.setenv("DEMO_SECONDS", "20")
    assert main(["demo", "--keep"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"kept in {tmp_path}"
    assert asked[0].seconds == 20


@pytest.mark.parametrize("keep", [True, False])
def test_json(
    keep: bool, asked: list[DemoOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output is the totals and how the demo ended, and nothing else."""
    assert main(["demo", "--json", *(["--keep"] if keep else [])]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs"] == []
    assert document["demo"] == {
        "ended": "the scenario has come to its end",
        "crossings": [CROSSING],
        "restarts": 2,
        "folder": str(tmp_path) if keep else None,
    }


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_time_that_is_none(
    text: str,
    asked: list[DemoOptions],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is refused before anything starts."""
    monkeypatch.setenv("DEMO_SECONDS", text)
    assert main(["demo"]) == 64
    assert f"must be a number of seconds above 0, not {text!r}" in capsys.readouterr().err
    assert asked == []
