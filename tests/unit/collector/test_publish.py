"""A round lets reports go first, and yet keeps ahead of a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

import pytest

from flopmeter_collector import backends, publish, slices
from flopmeter_collector import counted as counted_rows
from flopmeter_collector.commit import Committer
from flopmeter_collector.declarations import RUN_KIND
from flopmeter_collector.judge import Judge
from flopmeter_collector.ledger.base import (
    Batch,
    Declaration,
    Foreign,
    Ledger,
    StoredVector,
    Transition,
)
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_collector.publish import Publisher
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.slices import NEW_KEY_COUNT, QUIET_SLICE, ROWS_SLICE, SLICE
from flopmeter_collector.totals import Totals
from flopmeter_core.errors import StorageError
from flopmeter_core.reports import KeyedVector, LedgerPosition
from flopmeter_core.units import NS_PER_HOUR
from support.totals import AS_OF_NS, busy_vector, h100, key_of, table, thresholds

KEYS = 500


@pytest.mark.parametrize(("longest_s", "slice_size"), [(0.0, SLICE), (1e9, QUIET_SLICE)])
def test_known_registers_are_counted_in_larger_slices_than_new_ones(
    monkeypatch: pytest.MonkeyPatch, longest_s: float, slice_size: int
) -> None:
    """Between two slices a round waits for answers, so its slices decide how much it can count.

    Where answers took all the time they may have, slices are larger: the round has to end.
    """
    monkeypatch.setattr(slices, "LONGEST_WAIT_S", longest_s)

    async def counted() -> list[int]:
        registers, gives_way = RegisterTable(), AsyncMock()
        publisher = Publisher(
            table=registers,
            totals=Totals(table()),
            committer=MagicMock(),
            clock=MagicMock(wall_ns=lambda: AS_OF_NS),
            judge=Judge(thresholds(), horizon_ns=1),
            teller=MagicMock(),
            give_way=gives_way,
        )
        record = h100()
        waits = []
        for sequence in (1, 2):
            for number in range(KEYS):
                keyed = KeyedVector(
                    key_of(record, f"run:r{number}"), sequence, busy_vector(sequence)
                )
                registers.merge(keyed, record)
            gives_way.reset_mock()
            await publisher._slices.count(registers.take_uncounted(), registers.sightings.take())
            waits.append(gives_way.await_count)
        return waits

    monkeypatch.setattr(counted_rows, "COMPILED", True)
    new, known = asyncio.run(counted())
    # The first slice is a small one: nobody has waited yet.
    assert new == pytest.approx(KEYS * NEW_KEY_COUNT / slice_size, abs=2)
    assert known == -(-KEYS // ROWS_SLICE)


# --- whole rounds on a ledger --------------------------------------------------------------------

Scenario = Callable[[Publisher, RegisterTable, AsyncMock], Awaitable[None]]


def play(folder: Path, scenario: Scenario) -> list[str]:
    """Rounds of a collector of simulated readings; gives the states its ledger recorded."""

    async def played() -> list[str]:
        ledger = backends.collect(str(folder / "ledger.db"), simulated=True)
        ledger.lead()
        registers, gives_way = RegisterTable(), AsyncMock()
        committer = Committer(ledger, registers)
        committer.start()
        publisher = Publisher(
            table=registers,
            totals=Totals(table(), simulated=True),
            committer=committer,
            clock=MagicMock(wall_ns=lambda: AS_OF_NS, monotonic_ns=lambda: NS_PER_HOUR),
            judge=Judge(thresholds(), horizon_ns=1),
            teller=MagicMock(),
            give_way=gives_way,
        )
        publisher.restore([])
        try:
            await scenario(publisher, registers, gives_way)
        finally:
            await publisher.finish()
            await committer.stop()
            found = [f"{row.model} {row.after}" for row in ledger.transitions()]
            ledger.close()
        return found

    return asyncio.run(played())


def work(registers: RegisterTable, run: str, sequence: int, seconds: int) -> None:
    """A run's work so far."""
    record = h100(f"GPU-{run}", simulated=True)
    keyed = KeyedVector(key_of(record, f"run:{run}"), sequence, busy_vector(seconds))
    registers.merge(keyed, record)


def test_a_fleet_of_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same totals and states; what was shown before is let go of in slices."""
    for module, name in (
        (publish, "MANY_RUNS"),
        (publish, "LET_GO_AT_ONCE"),
        (publish, "SLICE"),
        (slices, "SLICE"),
        (slices, "QUIET_SLICE"),
    ):
        monkeypatch.setattr(module, name, 1)
    runs = ("a", "b", "c")

    async def scenario(
        publisher: Publisher, registers: RegisterTable, gives_way: AsyncMock
    ) -> None:
        for run in runs:
            work(registers, run, 1, 10)
        first = await publisher.round()
        assert first is not None
        below = {run.run: run.account.figures.total.best for run in first.snapshot.runs}
        del first
        for run in runs:
            work(registers, run, 2, 4_000_000)
        gives_way.reset_mock()
        second = await publisher.round()
        assert second is not None and publisher.published is second
        above = {run.run: run.account.figures.total.best for run in second.snapshot.runs}
        assert all(above[run] > 1_000 * below[run] for run in runs)
        # Three registers counted, three states told, three runs' claims looked at, and the three
        # runs and models that were shown before.
        assert gives_way.await_count >= 15

    states = play(tmp_path, scenario)
    assert sorted(state for state in states if state.endswith(" above")) == [
        f"{run} above" for run in runs
    ]


@pytest.mark.parametrize("lost", [False, True])
def test_leadership_lost_and_won_back_between_two_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """What another collector recorded meanwhile is known, and what a failover lost comes again.

    A broken connection is mended by the next commit, so no round need ever have failed.
    """
    terms = [1]
    monkeypatch.setattr(SqliteLedger, "lead", lambda self: terms[-1])

    async def scenario(publisher: Publisher, registers: RegisterTable, _: AsyncMock) -> None:
        work(registers, "a", 1, 10)
        await publisher.round()
        if lost:
            work(registers, "a", 2, 4_000_000)
            await publisher.round()
            await publisher._committer.read(forget)
        else:
            above = Transition(0, "a", "demo-line", "below", "above", True, AS_OF_NS, 0)
            await publisher._committer.alone(Batch(transitions=(above,)))
            work(registers, "a", 2, 4_000_000)
        terms.append(2)
        await publisher.round()

    def forget(ledger: Ledger) -> None:
        """As a standby that lacked the newest commit."""
        assert isinstance(ledger, SqliteLedger)
        ledger._connection.execute("DROP TRIGGER transition_is_not_removed")
        ledger._connection.execute("DELETE FROM transition WHERE state_after = 'above'")

    states = play(tmp_path, scenario)
    assert [state for state in states if state.endswith(" above")] == ["a above"]


def test_what_others_committed_is_not_lost_with_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that goes away while its hours are held against it cancels the question.

    The ledger tells each row once, and it is counted in the next round.
    """
    record = h100(simulated=True)
    stored = StoredVector(key_of(record, "run:a"), 0, 1, busy_vector(10))
    told = [Foreign(LedgerPosition("l", 1, 2), {record.record_id: record}, (stored,))]
    asked, go_on = threading.Event(), threading.Event()

    def foreign(_: SqliteLedger) -> Foreign:
        asked.set()
        go_on.wait(30)
        return told.pop() if told else Foreign(LedgerPosition("l", 1, 3))

    monkeypatch.setattr(SqliteLedger, "shared", True)
    monkeypatch.setattr(SqliteLedger, "foreign", foreign)
    found: list[str] = []

    async def scenario(publisher: Publisher, registers: RegisterTable, _: AsyncMock) -> None:
        question = asyncio.create_task(publisher.catch_up())
        await asyncio.to_thread(asked.wait, 30)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        go_on.set()
        published = await publisher.round()
        assert published is not None
        found.extend(run.run for run in published.snapshot.runs)

    play(tmp_path, scenario)
    assert found == ["a"]


def test_a_round_that_is_cancelled_records_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cancels it does not cut the commit from its note."""

    async def scenario(publisher: Publisher, registers: RegisterTable, _: AsyncMock) -> None:
        work(registers, "a", 1, 4_000_000)
        committed = asyncio.Event()
        alone = publisher._committer.alone

        async def slowly(batch: Batch) -> LedgerPosition:
            position = await alone(batch)
            committed.set()
            await asyncio.sleep(0.01)
            return position

        with monkeypatch.context() as slow:
            slow.setattr(publisher._committer, "alone", slowly)
            task = asyncio.create_task(publisher.round())
            await committed.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await publisher.finish()
        await publisher.round()

    states = play(tmp_path, scenario)
    assert states.count("a above") == 1


def test_a_round_places_reports_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reported when is looked at a few incarnations at a time, and all of it is committed."""
    monkeypatch.setattr(slices, "SIGHTED_SLICE", 1)
    rows: list[str] = []

    async def scenario(
        publisher: Publisher, registers: RegisterTable, gives_way: AsyncMock
    ) -> None:
        for run in ("a", "b", "c"):
            work(registers, run, 1, 10)
            key = registers.rows.keys[-1]
            registers.sightings.note(key, 0)
            registers.sightings.note_live(key.incarnation, Sighting("n0", "b", 10**12, AS_OF_NS))
        await publisher._slices.count(registers.take_uncounted(), Sightings())
        gives_way.reset_mock()
        placed = await publisher._slices.place(registers.sightings.take())
        rows.extend(row.device for row in placed if row.since_ns is not None)
        # Three vectors that were taken, and the one incarnation of all of them.
        assert gives_way.await_count >= 4

    play(tmp_path, scenario)
    assert sorted(rows) == ["GPU-a", "GPU-b", "GPU-c"]


def test_a_clock_that_goes_back_is_seen_over_all_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several boots decide, in whichever slices their reports are looked at."""
    monkeypatch.setattr(slices, "SIGHTED_SLICE", 1)
    placed: list[int] = []

    async def scenario(publisher: Publisher, registers: RegisterTable, _: AsyncMock) -> None:
        for received_ns in (AS_OF_NS, AS_OF_NS - 12 * NS_PER_HOUR):
            for number in range(3):
                record = h100(f"GPU-{number}", node=f"n{number}", simulated=True)
                key = replace(key_of(record, "run:a"), incarnation=f"{number:032x}")
                registers.merge(KeyedVector(key, 1, busy_vector(10)), record)
                registers.sightings.note(key, 0)
                registers.sightings.note_live(
                    key.incarnation, Sighting(record.node, f"b{number}", 10**14, received_ns)
                )
            await publisher._slices.count(registers.take_uncounted(), Sightings())
            placed.append(
                sum(
                    row.since_ns is not None
                    for row in await publisher._slices.place(registers.sightings.take())
                )
            )

    play(tmp_path, scenario)
    assert placed == [3, 0]


@pytest.mark.parametrize("again", [(), ("gamma",), ("gamma", "delta")])
def test_a_ledger_that_lost_declarations_ends_the_collector(
    tmp_path: Path, again: tuple[str, ...]
) -> None:
    """A failover may take what was declared last, and its number is given again: none is mixed up.

    What this collector alone knows is in the ledger again before it ends.
    """
    path = tmp_path / "ledger.db"

    def say(model: str) -> None:
        row = Declaration(0, AS_OF_NS, "ada", "cli", RUN_KIND, "a", {"model": model})
        backends.declare(str(path), row)

    async def scenario(
        publisher: Publisher, registers: RegisterTable, gives_way: AsyncMock
    ) -> None:
        work(registers, "a", 1, 10)
        say("alpha")
        say("beta")
        assert await publisher.round() is not None
        assert await publisher.round() is not None
        with contextlib.closing(sqlite3.connect(path)) as outside, outside:
            # No trigger comes along with a standby that never had the row.
            outside.execute("DROP TRIGGER declaration_is_not_removed")
            outside.execute("DELETE FROM declaration WHERE sequence = 2")
            outside.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'declaration'")
        for model in again:
            say(model)
        work(registers, "a", 2, 20)
        with pytest.raises(StorageError, match="does not hold declaration 2 any more"):
            await publisher.round()
        with contextlib.closing(backends.read(str(path))) as ledger:
            assert [stored.sequence for stored in ledger.vectors()] == [2]

    play(tmp_path, scenario)
