"""What people do about forecasts, alerts and reviews at the command line, on a real ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, HistoryRow, StoredVector, Transition
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.daemon.clock import SystemClock
from support.ingest import RECORD, key, vector

EARLIEST, DUE = "2026-11-30T10:00:00Z", "2026-12-14T23:00:00Z"
FIGURES = {
    "floor": "0",
    "lower": "9",
    "best": "12",
    "upper": "13",
    "ceiling": "99",
    "threshold_value": "10",
    "method_version": "3",
    "review_earliest": EARLIEST,
    "review_due": DUE,
    "review_due_on": "2026-12-14 (Europe/Brussels)",
}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A ledger with one crossing, and two days of a run that grows."""
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "ledger.db"
    now_ns = SystemClock().wall_ns()
    hour_flop = 2 * 10**22
    history = [
        HistoryRow("a", now_ns - (48 - n) * NS_PER_HOUR, {"": n * hour_flop}) for n in range(48)
    ]
    row = Transition(0, "m", "eu-ai-act-51-2", "unknown", "above", True, now_ns, 0, FIGURES)
    with contextlib.closing(backends.collect(str(path), simulated=False)) as opened:
        opened.commit(
            Batch(
                records={RECORD.record_id: RECORD},
                vectors=(StoredVector(key(), 0, 1, vector(100)),),
                transitions=(row,),
                history=tuple(history),
            )
        )
    yield str(path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints, once it has ended with this code."""
    capsys.readouterr()
    found = main(list(arguments))
    told = capsys.readouterr()
    assert found == code, told
    return told.err if code > 1 else told.out


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON a command prints."""
    return json.loads(said(capsys, *arguments, "--json", code=code))


def audit(url: str) -> list[tuple[str, str, str]]:
    """Who did what, and why."""
    with contextlib.closing(backends.read(url)) as opened:
        return [(row.author, row.action, row.reason) for row in opened.audit()]


def test_an_alert_is_acknowledged(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is listed as firing with exit code 1, then acknowledged, once, with an audit row."""
    who = ("--ledger", ledger, "--author", "ada", "--reason", "seen")
    (row,) = document(capsys, "alert", "list", "--ledger", ledger, code=1)["alerts"]
    assert (row["number"], row["status"], row["model"]) == (1, "firing", "m")
    assert "FlopmeterThresholdCrossed" in said(capsys, "alert", "list", "--ledger", ledger, code=1)
    assert "alert 1: acknowledge" in said(capsys, "alert", "acknowledge", "1", *who)
    (row,) = document(capsys, "alert", "list", "--ledger", ledger)["alerts"]
    assert (row["status"], row["why"]) == ("acknowledged", "acknowledged by ada: seen")
    assert "nothing is left to resolve" in said(capsys, "alert", "resolve", "1", *who, code=64)
    assert audit(ledger) == [("ada", "alert acknowledge", "seen")]


def test_a_review_is_determined(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A named person's determination with its evidence is shown, ends the alert and is audited."""
    memo = tmp_path / "memo.pdf"
    memo.write_bytes(b"counted")
    (row,) = document(capsys, "review", "list", "--ledger", ledger, code=1)["reviews"]
    assert (row["earliest_arguable"], row["due"]) == (EARLIEST, DUE)
    assert row["threshold"] in said(capsys, "review", "list", "--ledger", ledger, code=1)
    assert "2026-12-14 (Europe/Brussels)" in said(capsys, "review", "show", "1", "--ledger", ledger)
    assert (
        document(capsys, "review", "show", "1", "--ledger", ledger)["threshold"]
        == (row["threshold"])
    )
    told = said(
        capsys,
        *("review", "determine", "1", "--determination", "met", "--date", "2026-11-30"),
        *("--reason", "counted by Annex A.1", "--evidence", str(memo)),
        *("--author", "Ada Lovelace", "--ledger", ledger),
    )
    assert "is determined met on 2026-11-30 by Ada Lovelace" in told
    assert document(capsys, "review", "list", "--ledger", ledger)["reviews"] == []
    (row,) = document(capsys, "review", "list", "--all", "--ledger", ledger)["reviews"]
    digest = hashlib.sha256(b"counted").hexdigest()
    assert row["determination"]["evidence"] == f"memo.pdf sha256:{digest}"
    assert document(capsys, "alert", "list", "--ledger", ledger)["alerts"][0]["status"] == (
        "determined"
    )
    assert audit(ledger) == [("Ada Lovelace", "review determine", "counted by Annex A.1")]
    assert said(capsys, "ledger", "verify", "--ledger", ledger) == "the ledger is whole\n"


def test_a_foreseen_crossing_is_no_damage(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A forecast before a crossing and its end after it leave the ledger whole."""
    with contextlib.closing(backends.collect(ledger, simulated=False)) as opened:
        (above,) = opened.transitions()
        foreseen = dataclasses.replace(above, before="not_foreseen", after="foreseen")
        gone = dataclasses.replace(above, before="foreseen", after="not_foreseen")
        below = dataclasses.replace(above, before="above", after="below")
        opened.commit(Batch(transitions=(foreseen, below, gone)))
    assert said(capsys, "ledger", "verify", "--ledger", ledger) == "the ledger is whole\n"


_DETERMINE = ("review", "determine", "1", "--reason", "x")


def test_a_forecast_from_a_ledger(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Dates come out of the history a ledger keeps, without a collector."""
    (model,) = document(capsys, "forecast", "a", "--ledger", ledger)["models"]
    rows = {row["id"]: row["forecast"] for row in model["thresholds"]}
    assert rows["eu-ai-act-51-2"]["pace"]["history_hours"] >= 47
    assert "earliest" in said(capsys, "forecast", "--ledger", ledger)
    assert "there is no model 'x'" in said(capsys, "forecast", "x", "--ledger", ledger, code=64)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("alert", "acknowledge", "7", "--reason", "x"), 64, "there is no alert 7"),
        (("alert", "acknowledge", "one", "--reason", "x"), 65, "is no number"),
        (("alert", "resolve", "1", "--reason", " "), 65, "the reason has 1 to"),
        (("alert", "resolve", "1", "--reason", "x" * 65_536), 65, "the reason has 1 to"),
        (("alert", "resolve", "1", "--reason", "a\x1b[2Jb"), 65, "printable"),
        (("alert", "silence", "1", "--until", "soon", "--reason", "x"), 65, "until"),
        (
            ("alert", "silence", "1", "--until", "2020-01-01T00:00:00Z", "--reason", "x"),
            65,
            "ends before it begins",
        ),
        (("review", "show", "7"), 64, "there is no review 7"),
        (
            (
                "review",
                "determine",
                "7",
                "--determination",
                "met",
                "--date",
                "2026-11-30",
                "--reason",
                "x",
            ),
            64,
            "there is no review 7",
        ),
        *(
            (
                (*_DETERMINE, "--determination", finding, "--date", day, *more),
                code,
                sentence,
            )
            for finding, day, more, code, sentence in (
                ("met", "1850-01-01", (), 65, "lies before 2012-01-01"),
                ("not_met", "2099-01-01", (), 65, "lies ahead"),
                ("will_be_met", "9999-01-01", (), 65, "is no day on which a line could be met"),
                ("met", "2026-11-29", ("--evidence", "/nowhere/x.pdf"), 64, "cannot be read"),
                ("met", "2026-11-29", ("--evidence", "words"), 64, "say it in --reason"),
            )
        ),
        (
            (
                "review",
                "determine",
                "1",
                "--determination",
                "illegal",
                "--date",
                "2026-11-30",
                "--reason",
                "x",
            ),
            65,
            "is no determination",
        ),
        (
            (
                "review",
                "determine",
                "1",
                "--determination",
                "met",
                "--date",
                "30.11.",
                "--reason",
                "x",
            ),
            65,
            "is no date",
        ),
        (
            (
                "review",
                "determine",
                "1",
                "--determination",
                "met",
                "--date",
                "2026-11-30",
                "--reason",
                "x",
                "--author",
                "\u202eada",
            ),
            65,
            "the name of a person",
        ),
    ],
)
def test_bad_input_changes_nothing(
    ledger: str,
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One clear sentence, and the ledger is as it was."""
    told = said(capsys, *arguments, "--ledger", ledger, code=code)
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    with contextlib.closing(backends.read(ledger)) as opened:
        assert list(opened.declarations()) == []
        assert list(opened.audit()) == []
