"""The whole collector: what its page and metrics say follows what was committed."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flopmeter_collector import backends
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.commit import Committer
from flopmeter_collector.ledger.base import Batch, Declaration
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_core.catalogue import State
from flopmeter_core.errors import DataError, InvariantError, StorageError, UsageError
from flopmeter_core.reports import KeyedVector, LedgerPosition
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running, settings
from support.ingest import RECORD, SIMULATED_RECORD, key, stream, vector


async def get(app: CollectorApp, path: str) -> tuple[int, str]:
    """Status and body of a path of the collector's HTTP side."""

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{app.http_address}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def shown(app: CollectorApp) -> dict[str, int]:
    """The most likely FLOP of each model, as published."""
    assert app.published is not None
    return {m.model: m.figures.total.best for m in app.published.snapshot.models}


def test_pace(tmp_path: Path) -> None:
    """Without being asked the collector evaluates, takes declarations in, and publishes."""

    async def scenario() -> None:
        changes = {"http_listen": "127.0.0.1:0", "evaluate_period_s": 0.05}
        async with running(tmp_path, **changes) as app, stream(app.grpc_address) as sender:
            assert await get(app, "/readyz") == (200, "ready\n")
            await sender.greet()
            await sender.send(1, vector(100))
            await until(lambda: shown(app).get("a", 0) > 0)
            row = Declaration(0, 1, "person", "cli", "run", "a", {"model": "m"})
            await asyncio.to_thread(backends.declare, str(tmp_path / "ledger.db"), row)
            await until(lambda: list(shown(app)) == ["m"])
            _, metrics = await get(app, "/metrics")
            assert "flopmeter_vectors_acknowledged_total 1" in metrics
            assert 'flopmeter_node_last_report_timestamp_seconds{node="node-1"}' in metrics
            _, totals = await get(app, "/api/v1/totals")
            (model,) = json.loads(totals)["models"]
            assert int(model["compute_flop_str"]["best"]) == shown(app)["m"]

    asyncio.run(scenario())


def test_transitions_are_recorded_once(tmp_path: Path) -> None:
    """A state is recorded when it changes, in the ledger, and not again after a restart."""

    async def scenario() -> list[tuple[str, str, str]]:
        async with running(tmp_path, simulated=True) as app:
            for seconds in (10, 9_000_000):
                keyed = KeyedVector(key(SIMULATED_RECORD), seconds, vector(seconds))
                app.table.merge(keyed, SIMULATED_RECORD)
                for _ in range(3):
                    await app.evaluate_now()
        async with running(tmp_path, simulated=True) as app:
            await app.evaluate_now()
        ledger = backends.read(str(tmp_path / "ledger.db"))
        rows = [(row.threshold, row.before, row.after) for row in ledger.transitions()]
        ledger.close()
        return rows

    assert asyncio.run(scenario()) == [("demo-line", State.UNKNOWN, State.ABOVE)]


def test_only_the_committed_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the commit of a vector is under way no reader sees its figure."""
    may = threading.Event()
    may.set()
    commit = SqliteLedger.commit

    def slow(ledger: SqliteLedger, batch: Batch) -> LedgerPosition:
        if batch.vectors:
            may.wait()
        return commit(ledger, batch)

    async def scenario() -> None:
        monkeypatch.setattr(SqliteLedger, "commit", slow)
        async with running(tmp_path) as app:
            # Merged without anybody waiting: the round itself has to ask for the commit. The
            # first round records the first state, so that the second one changes figures only.
            app.table.merge(KeyedVector(key(), 1, vector(10)), RECORD)
            await app.evaluate_now()
            before = shown(app)
            may.clear()
            app.table.merge(KeyedVector(key(), 2, vector(20)), RECORD)
            evaluated = asyncio.create_task(app.evaluate_now())
            # The only way to see that something does not happen is to give it the time to.
            done, _ = await asyncio.wait({evaluated}, timeout=0.3)
            meanwhile = shown(app)
            may.set()
            assert (done, meanwhile) == (set(), before)
            await evaluated
            assert shown(app)["a"] > before["a"] > 0

    asyncio.run(scenario())


def test_bad_declaration(tmp_path: Path) -> None:
    """A declaration nobody can read is refused by the app, and set aside where it is stored."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(1, vector(10))
            with pytest.raises(DataError):
                await app.declare("a", {"format": "fp3"}, author="person", source="cli")
            row = Declaration(0, 1, "person", "cli", "run", "a", {"format": "fp3"})
            await asyncio.to_thread(backends.declare, str(tmp_path / "ledger.db"), row)
            published = await app.evaluate_now()
            assert [run.run for run in published.snapshot.runs] == ["a"]

    asyncio.run(scenario())


def test_fault_in_the_totals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When totals cannot be made, reports are still committed and readiness says what is wrong."""

    def broken(*_: Any) -> None:
        raise InvariantError("internal rule broken: planted")

    async def scenario() -> None:
        changes = {"http_listen": "127.0.0.1:0", "evaluate_period_s": 0.05}
        async with running(tmp_path, **changes) as app, stream(app.grpc_address) as sender:
            monkeypatch.setattr("flopmeter_collector.totals.Totals.update", broken)
            await sender.greet()
            await sender.send(1, vector(1))
            async with asyncio.timeout(20):
                while (await get(app, "/readyz"))[0] == 200:
                    await asyncio.sleep(0.01)
            assert "planted" in (await get(app, "/readyz"))[1]
            answer = await sender.send(2, vector(2))
            assert answer.acknowledgements[0].sequence == 2
            assert [row.sequence for row in app.table.branches(key())] == [2]

    asyncio.run(scenario())


def test_the_committer_knows_the_coverage(tmp_path: Path) -> None:
    """A ledger that lost rows of it is told all that the running collector knows."""

    async def scenario() -> None:
        changes = {"evaluate_period_s": 0.05}
        async with running(tmp_path, **changes) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(1, vector(60))
            await until(lambda: len(app._committer.known_coverage()) == 1)
            (row,) = app._committer.known_coverage()
            assert (row.device, row.node, row.since_ns is not None) == ("GPU-1", "node-1", True)

    asyncio.run(scenario())


def test_a_ledger_that_fails_in_a_round_ends_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a failure is told which, and no further round is tried."""

    async def scenario() -> int:
        async with running(tmp_path, evaluate_period_s=0.05) as app:
            rounds = 0

            async def fails() -> None:
                nonlocal rounds
                rounds += 1
                raise StorageError("the ledger cannot be read: disk I/O error")

            monkeypatch.setattr(app._publisher, "round", fails)
            failure = await asyncio.wait_for(app.wait_failed(), 20)
            assert "disk I/O error" in str(failure)
            await asyncio.sleep(0.3)
            return rounds

    assert asyncio.run(scenario()) == 1


def test_a_commit_that_hangs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness tells for how long, and where to look."""

    async def scenario() -> None:
        async with running(tmp_path, http_listen="127.0.0.1:0", evaluate_period_s=60) as app:
            assert (await get(app, "/readyz"))[0] == 200
            monkeypatch.setattr(Committer, "under_way_s", 42.0)
            status, text = await get(app, "/readyz")
            assert status == 503
            assert "a commit has been waiting for 42 s" in text and "see the server" in text

    asyncio.run(scenario())


def test_totals_of_a_shared_ledger_need_a_short_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who exports them has to be seen alive; it is said before anything is served."""
    monkeypatch.setattr(SqliteLedger, "shared", True)
    app = CollectorApp(settings(tmp_path, evaluate_period_s=3_600), SystemClock())
    with pytest.raises(UsageError, match="evaluate_period_s is 3600"):
        asyncio.run(app.start())
    assert app.grpc_address == ""
