"""A format declared late for a part of a run: a serving collector applies it, to the hour."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter.lab.ledger_totals import ledger_totals
from flopmeter_collector.presentation import totals_document
from flopmeter_core.registers import Vector
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.ingest import RECORD, hourly, key, report, stream, vector

HOURS = 10
SECONDS = 3_000
"""Busy seconds in each hour."""


def work(seconds: int) -> Vector:
    """So many busy seconds, half of all cycles in tensor cores."""
    return vector(seconds, HMMA_MEGACYCLES=132 * 1980 * seconds // 2)


async def fed(sender_address: str) -> None:
    """Ten hours of one device, beginning at Unix time 0, all of them closed."""
    async with stream(sender_address) as sender:
        await sender.greet()
        keyed = KeyedVector(key(), HOURS, work(HOURS * SECONDS))
        rows = [hourly(hour, hour + 1, work((hour + 1) * SECONDS)) for hour in range(HOURS)]
        answer = await sender.exchange(sender.writer.report(report([keyed], [RECORD], hours=rows)))
        assert not [ack.reason for ack in answer.hourly_acknowledgements if ack.reason]
        await sender.close()


def declare(folder: Path, *words: str) -> int:
    """Declare something of the run, from another process' point of view."""
    return main(["run", "declare", "a", *words, "--ledger", str(folder / "ledger.db")])


def test_late_declaration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Declared after the work, while the collector serves; the same after a restart and offline."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            await fed(app.grpc_address)
            before = (await app.evaluate_now()).snapshot.runs[0].account
            for words in (
                ("--format", "bf16=1", "--until", "1970-01-01T04:30:00Z"),
                ("--format", "fp8=1", "--from", "1970-01-01T04:30:00Z"),
            ):
                assert await asyncio.to_thread(declare, tmp_path, *words) == 0
            published = await app.evaluate_now()
            (run,) = published.snapshot.runs
            assert run.account.figures.observed.lower > before.figures.observed.lower
            assert run.account.busy_ns == before.busy_ns
            served = totals_document(published.snapshot, app.thresholds, published.legal)
        async with running(tmp_path) as again:
            assert again.published is not None
            assert again.published.snapshot.runs == published.snapshot.runs
        offline = ledger_totals(str(tmp_path / "ledger.db"), app.thresholds, SystemClock())
        assert offline["runs"] == served["runs"]
        split = json.loads(json.dumps(offline["runs"]))[0]["split"]
        first, second = split["spans"]
        best = {n: int(p["compute_flop_str"]["best"]) for n, p in enumerate(split["spans"])}
        assert (first["until"], second["from"]) == ("1970-01-01T04:30:00Z",) * 2
        # 4 hours in bf16 and 5 in fp8, which is twice as fast; the hour of the cut in between.
        assert best[1] * 4 == best[0] * 2 * 5
        assert split["straddling_share"] == pytest.approx(1.5 / (4 + 10 + 1.5))

    asyncio.run(scenario())
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from", "1970-01-01T03:00:00Z"], "overlaps the declared span"),
        (["--until", "1970-01-01T01:00:00Z", "--from", "1970-01-01T02:00:00Z"], "does not lie"),
        (
            ["--from", "1969-12-31T23:00:00Z", "--until", "1970-01-01T01:00:00Z"],
            "lies before the first record",
        ),
        (["--until", "1969-12-31T23:00:00Z"], "lies before the first record"),
        (["--phase", "2147483648"], "is no number from 0"),
        (["--from", "noon"], "is no time"),
        (["--from", "1970-01-01T07:00:00Z", "--format", "fp9"], "unknown number format"),
    ],
)
def test_bad_span_changes_nothing(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be is refused in one sentence, and the ledger is as it was."""

    async def prepare() -> None:
        async with running(tmp_path) as app:
            await fed(app.grpc_address)

    asyncio.run(prepare())
    span = ["--from", "1970-01-01T02:00:00Z", "--until", "1970-01-01T04:00:00Z"]
    assert declare(tmp_path, "--format", "fp8", *span) == 0
    capsys.readouterr()
    ledger = str(tmp_path / "ledger.db")
    before = ledger_totals(ledger, (), SystemClock())
    extra = [] if "--format" in words else ["--format", "bf16=1"]
    assert declare(tmp_path, *words, *extra) == 65
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    after = ledger_totals(ledger, (), SystemClock())
    assert (after["runs"], after["ledger"]) == (before["runs"], before["ledger"])


def test_no_hour_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of which no hour is recorded cannot be cut; a phase of it can be declared."""

    async def prepare() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(1, vector(1))
            await sender.close()

    asyncio.run(prepare())
    assert declare(tmp_path, "--format", "fp8", "--from", "2026-11-22T00:00:00Z") == 65
    assert "no hour of run 'a' is recorded yet" in capsys.readouterr().err
    assert declare(tmp_path, "--format", "fp8", "--phase", "3") == 0
