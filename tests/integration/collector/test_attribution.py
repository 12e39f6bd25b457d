"""Work that names no run is attached late, through the command line, while a collector serves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab.ledger_totals import ledger_totals
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.presentation import totals_document
from flopmeter_collector.sums import Account
from flopmeter_core.registers import Vector
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.ingest import RECORD, hourly, key, report, stream, vector
from support.ledgers import KINDS, new_ledger

HOURS = 10
SECONDS = 3_000
"""Busy seconds in each hour."""

JOBS = ("slurm:c1/1", "slurm:c1/2", "slurm:c1/3")


def work(seconds: int) -> Vector:
    """So many busy seconds, half of all cycles in tensor cores."""
    return vector(seconds, HMMA_MEGACYCLES=132 * 1980 * seconds // 2)


async def fed(address: str) -> None:
    """Ten hours of three jobs one after the other, beginning at Unix time 0."""
    async with stream(address) as sender:
        await sender.greet()
        for number, job in enumerate(JOBS):
            rows = [
                hourly(hour, number * HOURS + hour + 1, work((hour + 1) * SECONDS), allocation=job)
                for hour in range(HOURS)
            ]
            keyed = KeyedVector(key(allocation=job), (number + 1) * HOURS, work(HOURS * SECONDS))
            answer = await sender.exchange(
                sender.writer.report(report([keyed], [RECORD], hours=rows))
            )
            assert not [ack.reason for ack in answer.acknowledgements if ack.reason]
        await sender.close()


class Desk:
    """The command line on one ledger."""

    def __init__(self, ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Take the ledger."""
        self._ledger, self._capsys = ledger, capsys

    def __call__(self, *words: str) -> int:
        """Serve one command; what it printed is forgotten."""
        code = main([*words, "--ledger", self._ledger])
        self._capsys.readouterr()
        return code

    def json(self, *words: str) -> Any:
        """What a command answers."""
        assert main([*words, "--ledger", self._ledger, "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)

    def refused(self, *words: str) -> str:
        """The one sentence of a command that is refused."""
        assert main([*words, "--ledger", self._ledger]) in (64, 65, 77)
        said = self._capsys.readouterr().err
        assert said.count("\n") == 1
        return said


async def best(app: CollectorApp) -> dict[str | None, int]:
    """Best FLOP by run in hours of work; None is the remainder."""
    shot = (await app.evaluate_now()).snapshot
    accounts: dict[str | None, Account] = {run.run: run.account for run in shot.runs}
    accounts[None] = shot.unattributed
    found = {run: account.figures.observed.best for run, account in accounts.items()}
    hour = sum(found.values()) // (len(JOBS) * HOURS)
    return {run: flop // hour for run, flop in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_attached_late(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By rule with a preview, by hand, merged and split; restarted, offline and as of before."""
    ledger = new_ledger(kind, tmp_path)
    desk = Desk(ledger, capsys)

    async def say(*words: str) -> None:
        assert await asyncio.to_thread(desk, *words) == 0

    async def scenario() -> None:
        async with running(tmp_path, ledger=ledger) as app:
            await fed(app.grpc_address)
            assert await best(app) == {None: 30}
            seen = desk.json("run", "attach", "alpha", "--match", "slurm:c1/*", "--dry-run")
            assert (seen["allocation_count"], len(seen["changes"])) == (3, 2)
            assert await best(app) == {None: 30}, "a preview writes nothing"
            await say("run", "attach", "alpha", "--allocation", JOBS[0])
            await say("run", "attach", "beta", "--match", "slurm:c1/2")
            until = "1970-01-01T04:00:00Z"
            await say("run", "attach", "gamma", "--allocation", JOBS[2], "--until", until)
            assert await best(app) == {None: 6, "alpha": 10, "beta": 10, "gamma": 4}
            await say("run", "merge", "beta", "--into", "alpha")
            await say("run", "rename", "alpha", "Alpha the first")
            since = "1970-01-01T07:00:00Z"
            await say("run", "split", "Alpha the first", "--into", "tail", "--from", since)
            assert await best(app) == {None: 6, "alpha": 14, "tail": 6, "gamma": 4}
            published = await app.evaluate_now()
            served = totals_document(published.snapshot, app.thresholds, published.legal)
        async with running(tmp_path, ledger=ledger) as again:
            assert again.published is not None
            assert again.published.snapshot.runs == published.snapshot.runs
        offline = ledger_totals(ledger, app.thresholds, SystemClock())
        assert offline["runs"] == served["runs"]
        assert offline["unattributed"] == served["unattributed"]

    asyncio.run(scenario())
    assert desk("ledger", "verify") == 0
    assert desk("ledger", "rebuild") == 0
    before = desk.json("recompute", "--as-of", "3")
    assert [run["run"] for run in before["runs"]] == ["alpha", "beta", "gamma"]
    listed = desk.json("run", "allocations")["allocations"]
    assert [(row["allocation"], row["runs"]) for row in listed] == [
        (JOBS[2], ["gamma"]),
        (JOBS[0], ["alpha", "tail"]),
        (JOBS[1], ["alpha", "tail"]),
    ]


def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is unknown, contradicts or looks like another name: one sentence, nothing written."""

    async def scenario() -> None:
        async with running(tmp_path) as app:
            await fed(app.grpc_address)

    asyncio.run(scenario())
    desk = Desk(str(tmp_path / "ledger.db"), capsys)
    assert desk("run", "attach", "alpha", "--allocation", JOBS[0]) == 0
    early = ("--from", "1969-12-31T00:00:00Z")
    for words, sentence in (
        (("attach", "beta", "--allocation", JOBS[0]), "is attached by hand to run 'alpha'"),
        (("attach", "beta", "--allocation", "slurm:c1/9"), "no device ever reported"),
        (("attach", "\u0430lpha", "--allocation", JOBS[1]), "looks like 'alpha'"),
        (("attach", "x" * 65536, "--allocation", JOBS[1]), "has 1 to 200 characters"),
        (("attach", "a\x07", "--allocation", JOBS[1]), "printable"),
        (("attach", "beta", "--allocation", JOBS[1], *early), "before the first record"),
        (("merge", "nobody", "--into", "alpha"), "no run is named 'nobody'"),
        (("split", "alpha", "--into", "beta"), "needs the part that goes"),
        (("split", "alpha", "--into", "beta", *early), "before the first record"),
        (("rename", "alpha", "alpha\u200b"), "printable"),
        (("detach", "alpha", "--allocation", JOBS[1]), "is not attached"),
    ):
        assert sentence in desk.refused("run", *words)
    assert desk("run", "end", "alpha", "--reason", "done") == 0
    assert "was ended" in desk.refused("run", "detach", "alpha", "--allocation", JOBS[0])
