"""`flopmeter replay`: a recording's totals for people and as JSON, without the daemons' chatter."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab import replay
from flopmeter.lab.ledger_totals import empty_totals
from flopmeter_proto.daemon.clock import SystemClock


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is replayed; the replay itself warns and has nothing."""
    found: list[dict[str, Any]] = []

    def nothing(path: Path, **words: Any) -> dict[str, object]:
        found.append({"path": path, **words})
        logging.getLogger("flopmeter_agent").warning("a device was lost")
        logging.getLogger("flopmeter_agent").error("the ledger is full")
        return empty_totals((), SystemClock())

    monkeypatch.setattr(replay, "replay", nothing)
    # What an earlier test left there would log too.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    return found


def test_text(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """Totals are shown; of what the daemons log only errors are."""
    handlers = list(logging.getLogger().handlers)
    words = ["--run", "a", "--model", "m", "--format", "bf16=1", "--workload", "dense-transformer"]
    assert main(["replay", "recording", *words]) == 0
    out, err = capsys.readouterr()
    assert "unattributed" in out
    assert "the ledger is full" in err and "a device was lost" not in err
    (said,) = asked
    assert said["path"] == Path("recording")
    assert (said["run"], said["model"], said["formats"]) == ("a", "m", "bf16=1")
    assert said["workload"] == "dense-transformer"
    assert logging.getLogger().handlers == handlers, "nothing of it stays"


def test_json(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """The document is the totals'."""
    assert main(["replay", "recording", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == []


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that holds no recording is named in one sentence."""
    assert main(["replay", str(tmp_path / "none")]) != 0
    err = capsys.readouterr().err
    assert "none" in err and err.count("\n") == 1
