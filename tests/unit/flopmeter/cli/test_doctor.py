"""`flopmeter doctor`: which things are looked at together, and what is said of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_agent import privileges
from flopmeter_agent.allocations.base import Finding as SourceFinding
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Finding
from support.small_ledger import Spoken, small_ledger


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Spoken:
    """Commands of any ledger."""
    return Spoken(capsys)


@pytest.mark.parametrize(
    "words",
    [
        ("--agent", "--ledger", "x.db"),
        ("--agent", "--patroni", "http://127.0.0.1:1"),
        ("--agent", "--state-folder", "."),
        ("--state-folder", ".", "--ledger", "x.db"),
        ("--state-folder", ".", "--config", "x.toml"),
    ],
)
def test_one_thing_in_a_call(words: tuple[str, ...], say: Spoken) -> None:
    """Two things at once are refused, and the sentence says how to ask."""
    assert "is looked at alone; ask for the" in say.refused("doctor", *words)


def test_the_collectors_own_ledger(tmp_path: Path, say: Spoken) -> None:
    """Without a ledger it is that of the collector's settings."""
    url = small_ledger(tmp_path, {})
    (tmp_path / "collector.toml").write_text(f'ledger = "{url}"\n')
    # The test's folder may lie in memory, which falls short.
    code = main(["doctor", "--config", str(tmp_path / "collector.toml"), "--json"])
    document: Any = json.loads(say._capsys.readouterr().out)
    assert document["ledger"] == url
    assert document["good"] is (code == 0)


def test_lines_of_a_ledger(say: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good, short and unknown are told apart; one that is short makes the exit code 1."""
    found = [
        Finding("fsync", "on", True, "kept"),
        Finding("ttl", "20", None, "not told"),
        Finding("wal_level", "minimal", False, "no standby"),
    ]
    monkeypatch.setattr(backends, "examine", lambda url, patroni: found)
    assert say("doctor", "--ledger", "x", code=1).splitlines() == [
        "good  fsync = on: kept",
        "?     ttl = 20: not told",
        "SHORT wal_level = minimal: no standby",
    ]
    found.pop()
    assert len(say("doctor", "--ledger", "x").splitlines()) == 2


def test_lines_of_an_agent(say: Spoken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source is told with what it needs; what would be lost is told where it is not there."""
    found = [
        SourceFinding("exec", "a folder", True, "there", "runs"),
        SourceFinding("slurm", "a prolog", None, "none here", "jobs"),
        SourceFinding("kubernetes", "a socket", False, "refused", "pods"),
    ]
    monkeypatch.setattr(privileges, "findings", lambda config: found)
    (tmp_path / "agent.toml").write_text("")
    words = ("doctor", "--agent", "--config", str(tmp_path / "agent.toml"))
    assert say(*words, code=1).splitlines() == [
        "good  exec: there",
        "      needs a folder",
        "-     slurm: none here",
        "      needs a prolog",
        "      without it jobs",
        "SHORT kubernetes: refused",
        "      needs a socket",
        "      without it pods",
    ]
    document = say.document(*words, code=1)
    assert [(row["source"], row["has"]) for row in document["findings"]] == [
        ("exec", True),
        ("slurm", None),
        ("kubernetes", False),
    ]
    found.pop()
    assert say.document(*words)["good"] is True
