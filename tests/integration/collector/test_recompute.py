"""`flopmeter recompute`: the past comes out again, old and new are kept, nothing is rewritten."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab.ledger_totals import ledger_totals
from flopmeter_collector import backends
from flopmeter_core.estimate import METHOD_VERSION
from flopmeter_core.registers import Vector
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.ingest import RECORD, hourly, key, report, stream, vector


def work(seconds: int) -> Vector:
    """So many busy seconds, half of all cycles in tensor cores."""
    return vector(seconds, HMMA_MEGACYCLES=132 * 1980 * seconds // 2)


def feed(folder: Path, hours: int) -> str:
    """A ledger with so many hours of one device, beginning at Unix time 0."""

    async def send() -> None:
        async with running(folder) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            keyed = KeyedVector(key(), hours, work(hours * 3_000))
            rows = [hourly(hour, hour + 1, work((hour + 1) * 3_000)) for hour in range(hours)]
            await sender.exchange(sender.writer.report(report([keyed], [RECORD], hours=rows)))
            await sender.close()

    asyncio.run(send())
    return str(folder / "ledger.db")


def declare(ledger: str, *words: str) -> None:
    """Declare something of the run."""
    assert main(["run", "declare", "a", *words, "--ledger", ledger]) == 0


def recompute(ledger: str, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What the command prints."""
    capsys.readouterr()
    assert main(["recompute", "--ledger", ledger, "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def audit_count(ledger: str) -> int:
    """Rows of the audit log."""
    opened = backends.read(ledger)
    try:
        return len(list(opened.audit()))
    finally:
        opened.close()


def test_old_and_new_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Late declarations give new figures beside the old ones; each answer comes out again."""
    ledger = feed(tmp_path, 10)
    first = recompute(ledger, capsys)
    (run,) = first["runs"]
    assert (first["audit"], first["before"]["audit"], first["reproduces"]) == (1, None, [])
    assert (run["changed"], run["before"]) == (False, run["after"])
    declare(ledger, "--format", "bf16=1", "--until", "1970-01-01T04:30:00Z")
    declare(ledger, "--format", "fp8=1", "--from", "1970-01-01T04:30:00Z")
    second = recompute(ledger, capsys, "--reason", "the format log was found", "--author", "ada")
    (changed,) = second["runs"]
    assert (second["audit"], second["before"]["audit"], second["reproduces"]) == (2, 1, [])
    assert (changed["changed"], changed["before"]) == (True, run["after"])
    assert 0 < changed["after"]["straddling_share"] < 0.2
    document: Any = ledger_totals(ledger, (), SystemClock())
    (served,) = document["runs"]
    assert changed["after"]["compute_flop_str"] == served["compute_flop_str"]
    again = recompute(ledger, capsys, "--as-of", "0", "--method-version", METHOD_VERSION)
    assert (again["reproduces"], again["runs"][0]["after"]) == ([1], run["after"])
    assert again["runs"][0]["before"] == changed["after"]
    half = recompute(ledger, capsys, "--as-of", "1")
    assert half["reproduces"] == []
    assert half["runs"][0]["after"] not in (run["after"], changed["after"])
    assert recompute(ledger, capsys)["reproduces"] == [2]
    opened = backends.read(ledger)
    rows = list(opened.audit())
    opened.close()
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert (rows[1].author, rows[1].reason) == ("ada", "the format log was found")
    kept = json.loads(rows[1].content)
    assert kept["before"]["runs"]["a"] == run["after"]
    assert kept["after"]["runs"]["a"] == changed["after"]


def test_grown_registers_are_another_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More work is no reproduction, and the hash says so; the old answer stays in the log."""
    ledger = feed(tmp_path, 3)
    first = recompute(ledger, capsys)
    feed(tmp_path, 4)
    second = recompute(ledger, capsys)
    assert second["reproduces"] == []
    assert second["registers_sha256"] != first["registers_sha256"]
    assert second["runs"][0]["before"] == first["runs"][0]["after"]


def test_another_declaration_is_another_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures on another ground are not called a reproduction."""
    ledger = feed(tmp_path, 1)
    recompute(ledger, capsys)
    declare(ledger, "--model", "atlas")
    document = recompute(ledger, capsys)
    assert (document["reproduces"], document["runs"][0]["changed"]) == ([], False)


def test_an_hour_more_is_another_ground(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hours of a run that a declaration splits are part of what an answer rests on."""
    ledger = feed(tmp_path, 3)
    declare(ledger, "--format", "fp8=1", "--from", "1970-01-01T02:00:00Z")
    first = recompute(ledger, capsys)
    writer = sqlite3.connect(ledger)
    with writer:
        writer.execute("DELETE FROM hour_vector WHERE hour = 1")
    writer.close()
    assert recompute(ledger, capsys)["registers_sha256"] != first["registers_sha256"]


def test_first_recompute_compares_with_no_declaration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an earlier answer the old figure is the undeclared one, and it is said so."""
    ledger = feed(tmp_path, 3)
    declare(ledger, "--format", "bf16=1")
    document = recompute(ledger, capsys)
    assert document["before"] == {
        "audit": None,
        "as_of_declaration": 0,
        "method_version": METHOD_VERSION,
    }
    (run,) = document["runs"]
    assert run["before"]["declared"]["format"] is None
    assert int(run["before"]["compute_flop_str"]["upper"]) > int(
        run["after"]["compute_flop_str"]["upper"]
    )
    assert main(["recompute", "--ledger", ledger]) == 0
    text = capsys.readouterr().out
    assert "before is of audit 1" in text
    assert run["after"]["compute_flop_str"]["best"] in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--as-of", "2"], "declarations 1 to 1 and none with sequence 2"),
        (["--as-of", "-1"], "none with sequence -1"),
        (["--as-of", "x"], "not a valid integer"),
        (["--method-version", "0"], "method version '0' is not in this flopmeter; it has "),
    ],
)
def test_refused(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be repeated is refused in one sentence, and nothing is written."""
    ledger = feed(tmp_path, 1)
    declare(ledger, "--format", "bf16=1")
    capsys.readouterr()
    assert main(["recompute", "--ledger", ledger, *words]) == 64
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert audit_count(ledger) == 0


def test_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recomputing never creates a ledger."""
    assert main(["recompute", "--ledger", str(tmp_path / "none.db")]) == 64
    assert "there is no ledger" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("statement", ["UPDATE audit SET reason = 'x'", "DELETE FROM audit"])
def test_the_log_is_append_only(
    statement: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The database itself refuses to change or remove a row."""
    ledger = feed(tmp_path, 1)
    recompute(ledger, capsys)
    connection = sqlite3.connect(ledger)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
