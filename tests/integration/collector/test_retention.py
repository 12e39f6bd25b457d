"""Old hours told by the day, by a real collector: totals stay, held and open runs stay."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab.stating import look, state
from flopmeter_collector import backends, retention
from flopmeter_collector.ledger.base import DeclaredSinceError
from flopmeter_collector.publish import Publisher
from flopmeter_core.errors import NotPermittedError
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.ingest import hourly, key, report, stream, vector
from support.ledgers import KINDS, new_ledger

HOURS = range(0, 60, 2)


async def fill(folder: Path) -> None:
    """Report sixty hours of run a, which began in 1970, and let the collector stop."""
    async with running(folder) as app, stream(app.grpc_address) as sender:
        await sender.greet()
        rows = [hourly(hour, hour + 1, vector(hour + 1)) for hour in HOURS]
        newest = KeyedVector(key(), 99, vector(99))
        await sender.exchange(sender.writer.report(report([newest], hours=rows)))


def hours_kept(folder: Path) -> list[tuple[int, int]]:
    """Hour and first hour of each row of the run."""
    with contextlib.closing(backends.read(str(folder / "ledger.db"))) as ledger:
        return [(row.hour, row.first_hour) for row in ledger.hours("run:a")]


def totals(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The run's figures, exact."""
    capsys.readouterr()
    assert main(["totals", "--ledger", str(folder / "ledger.db"), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    return run


def ended(folder: Path) -> None:
    """Declare the run over."""
    arguments = ["run", "end", "a", "--ledger", str(folder / "ledger.db"), "--reason", "done"]
    assert main(arguments) == 0


async def serve(folder: Path, **changes: Any) -> None:
    """Let a collector make a few rounds."""
    async with running(folder, **changes) as app:
        for _ in range(3):
            await app.rounds.one()


def test_an_ended_run_is_thinned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hours become days, in bounded steps, and its totals stay bit for bit."""
    monkeypatch.setattr(retention, "MAXIMUM_DROPPED", 5)
    asyncio.run(fill(tmp_path))
    before = totals(tmp_path, capsys)
    ended(tmp_path)
    asyncio.run(serve(tmp_path))
    assert hours_kept(tmp_path) == [(22, 0), (46, 24), (58, 48)]
    assert totals(tmp_path, capsys) == before
    assert main(["ledger", "verify", "--ledger", str(tmp_path / "ledger.db")]) == 0
    assert main(["ledger", "rebuild", "--ledger", str(tmp_path / "ledger.db")]) == 0


@pytest.mark.parametrize("why", ["open", "held", "reopened", "off", "recent"])
def test_what_is_not_thinned(tmp_path: Path, capsys: pytest.CaptureFixture[str], why: str) -> None:
    """A run still open, on hold or opened again keeps its hours; so does a ledger told to."""
    asyncio.run(fill(tmp_path))
    place = ["--ledger", str(tmp_path / "ledger.db"), "--reason", "x"]
    if why != "open":
        ended(tmp_path)
    if why == "held":
        assert main(["ledger", "hold", "add", "model:a", *place]) == 0
    if why == "reopened":
        assert main(["run", "reopen", "a", *place]) == 0
    days = {"off": 0, "recent": 1_000_000}.get(why, 400)
    asyncio.run(serve(tmp_path, hourly_days=days))
    assert [hour for hour, _ in hours_kept(tmp_path)] == list(HOURS)


@pytest.mark.parametrize("act", [["ledger", "hold", "add", "run:a"], ["run", "reopen", "a"]])
def test_a_word_between_two_rounds_keeps_hours(tmp_path: Path, act: list[str]) -> None:
    """Whoever was told that hours are held finds them, though no round has heard of it yet."""
    asyncio.run(fill(tmp_path))
    ended(tmp_path)
    place = ["--ledger", str(tmp_path / "ledger.db"), "--reason", "x"]

    async def scenario() -> None:
        async with running(tmp_path, hourly_days=0) as app:
            await app.evaluate_now()
            assert await asyncio.to_thread(main, [*act, *place]) == 0
            with pytest.raises(DeclaredSinceError):
                await app._publisher.thin(before_ns=10**18)
            await app.evaluate_now()
            assert await app._publisher.thin(before_ns=10**18) == 0

    asyncio.run(scenario())
    assert [hour for hour, _ in hours_kept(tmp_path)] == list(HOURS)


def test_thinning_goes_on_after_another_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was declared of something else puts it off for a round, not for a day."""
    asyncio.run(fill(tmp_path))
    ended(tmp_path)
    place = ["--ledger", str(tmp_path / "ledger.db"), "--reason", "x"]

    thin = Publisher.thin

    async def late(self: Publisher, *, before_ns: int) -> int:
        monkeypatch.setattr(Publisher, "thin", thin)
        word = ["ledger", "hold", "add", "run:b", *place]
        assert await asyncio.to_thread(main, word) == 0
        return await thin(self, before_ns=before_ns)

    monkeypatch.setattr(Publisher, "thin", late)
    asyncio.run(serve(tmp_path))
    assert hours_kept(tmp_path) == [(22, 0), (46, 24), (58, 48)]


def test_a_cut_keeps_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was declared of a part of the time is worth the same to the FLOP after a thinning."""
    asyncio.run(fill(tmp_path))
    url = str(tmp_path / "ledger.db")
    span = ["--from", "1970-01-01T12:00:05Z", "--format", "fp8=1"]
    assert main(["run", "declare", "a", "--ledger", url, *span]) == 0
    fine = totals(tmp_path, capsys)

    async def scenario() -> Any:
        async with running(tmp_path, hourly_days=0) as app:
            ended(tmp_path)
            await app.evaluate_now()
            # Two rows more than without the cut: its own hour, and what lies before it.
            assert await app._publisher.thin(before_ns=10**18) == len(HOURS) - 3 - 2
            published = await app.evaluate_now()
            (run,) = published.snapshot.runs
            return run.account.figures.total

    live = asyncio.run(scenario())
    told = totals(tmp_path, capsys)
    assert told["split"] == fine["split"] and told["compute_flop_str"] == fine["compute_flop_str"]
    assert str(live.best) == told["compute_flop_str"]["best"]
    assert str(live.upper) == told["compute_flop_str"]["upper"]


def test_two_ended_runs_keep_their_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one run was split off another, no work becomes nobody's by the age of its hours."""
    asyncio.run(fill(tmp_path))
    url = str(tmp_path / "ledger.db")
    stated = ["--ledger", url, "--reason", "two trainings"]
    assert (
        main(["run", "split", "a", "--into", "b", "--from", "1970-01-01T12:00:05Z", *stated]) == 0
    )
    for run in ("a", "b"):
        assert main(["run", "end", run, *stated]) == 0

    def figures() -> Any:
        capsys.readouterr()
        assert main(["totals", "--ledger", url, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        return {run["run"]: run["compute_flop_str"] for run in found["runs"]}

    before = figures()
    asyncio.run(serve(tmp_path))
    assert len(hours_kept(tmp_path)) == 5
    assert figures() == before


def test_an_ended_run_takes_no_declaration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until it is opened again; ending it twice is said."""
    asyncio.run(fill(tmp_path))
    url = str(tmp_path / "ledger.db")
    ended(tmp_path)
    assert main(["run", "declare", "a", "--ledger", url, "--model", "m"]) == 77
    assert "was ended by" in capsys.readouterr().err
    again = ["--ledger", url, "--reason", "late label"]
    assert main(["run", "end", "a", *again]) == 64
    assert main(["run", "reopen", "a", *again]) == 0
    assert main(["run", "declare", "a", "--ledger", url, "--model", "m"]) == 0
    with contextlib.closing(backends.read(url)) as ledger:
        assert [row.action for row in ledger.audit()] == ["run end", "run reopen"]


def test_a_run_nobody_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be declared before its first report; that nobody reported it is said."""
    asyncio.run(fill(tmp_path))
    for name, said in (("a", False), ("typo", True)):
        declared = ["run", "declare", name, "--ledger", str(tmp_path / "ledger.db"), "--model", "m"]
        assert main([*declared, "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["run"] == name
        assert ("no device has reported" in err) == said


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_ended_meanwhile_takes_no_declaration(kind: str, tmp_path: Path) -> None:
    """Also of somebody who looked before it was ended and writes after; other runs take theirs."""
    url = new_ledger(kind, tmp_path)
    backends.collect(url, simulated=False).close()
    clock = SystemClock()
    state(url, "run", "a", {"model": "a"}, site=look(url), author="ada", clock=clock)
    site = look(url)
    assert main(["run", "end", "a", "--ledger", url, "--reason", "done"]) == 0
    with pytest.raises(NotPermittedError, match="run 'a' was ended by"):
        state(url, "run", "a", {"model": "m"}, site=site, author="ada", clock=clock)
    written = state(url, "run", "b", {"model": "m"}, site=site, author="ada", clock=clock)
    assert written.sequence == 3
    assert main(["run", "reopen", "a", "--ledger", url, "--reason", "late label"]) == 0
    written = state(url, "run", "a", {"model": "n"}, site=site, author="ada", clock=clock)
    assert written.sequence == 5
