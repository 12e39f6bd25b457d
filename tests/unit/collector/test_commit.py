"""Group commit: who waits is answered after its own commit, or never as if it had one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from flopmeter_collector import commit, crowd
from flopmeter_collector.commit import Committer
from flopmeter_collector.intake import Intake
from flopmeter_collector.ledger.base import Batch, Ledger, LedgerBusyError, LedgerWentBackError
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.errors import StorageError
from flopmeter_core.registers import covered_ns
from flopmeter_core.reports import KeyedVector, LedgerPosition
from support.ingest import RECORD, key, vector
from support.manual_clock import ManualClock


class Recording:
    """A ledger that keeps the batches it was given, and waits or fails when told."""

    def __init__(self) -> None:
        """Start without a commit."""
        self.batches: list[Batch] = []
        self.let = threading.Event()
        self.let.set()
        self.error: Exception | None = None
        self.unsettled = False
        self.settled_after: list[int] = []

    def settle(self) -> None:
        """Note after which commit it was asked to."""
        self.unsettled = False
        self.settled_after.append(len(self.batches))

    def commit(self, batch: Batch) -> LedgerPosition:
        """Take a batch once it may."""
        self.let.wait()
        if self.error is not None:
            raise self.error
        self.batches.append(batch)
        return LedgerPosition("ledger", 1, len(self.batches))


def started() -> tuple[Recording, RegisterTable, Committer]:
    """A committer at work on a recording ledger."""
    ledger, table = Recording(), RegisterTable()
    committer = Committer(cast(Ledger, cast(Any, ledger)), table)
    committer.start()
    return ledger, table, committer


def merge(table: RegisterTable, sequence: int) -> None:
    """Merge one vector of the test's key."""
    table.merge(KeyedVector(key(), sequence, vector(sequence)), RECORD)


def sequences(batch: Batch) -> list[int]:
    """The sequences of the vectors of a batch."""
    return [stored.sequence for stored in batch.vectors]


def test_groups() -> None:
    """What comes while a commit is under way waits for the next one, which takes it all."""

    async def scenario() -> None:
        ledger, table, committer = started()
        ledger.let.clear()
        merge(table, 1)
        first = committer.durable()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        merge(table, 2)
        second = committer.durable()
        merge(table, 3)
        third = committer.durable()
        assert not first.done()
        ledger.let.set()
        assert (await first).commit_number == 1
        assert (await second) == (await third) == LedgerPosition("ledger", 1, 2)
        await committer.stop()
        assert [sequences(batch) for batch in ledger.batches] == [[1], [3]]

    asyncio.run(scenario())


def test_a_device_is_enrolled_by_the_commit_of_its_first_registers() -> None:
    """A collector that dies after it must not take a node that never comes back for an idle one."""

    async def scenario() -> None:
        ledger, table, committer = started()
        clock = ManualClock()
        intake = Intake(table, committer, clock, simulated=False, ledger_id="here")
        for sequence in (1, 2):
            keyed = KeyedVector(key(), sequence, vector(sequence))
            intake.merge(keyed, RECORD, boot_ns=None, refused={}, quarantined={})
            await committer.durable()
        await committer.stop()
        first, second = ledger.batches
        (row,) = first.coverage
        assert (row.incarnation, row.device) == (key().incarnation, key().device)
        assert (row.first_seen_ns, row.first_covered_ns) == (clock.wall_ns(), covered_ns(vector(1)))
        assert second.vectors and not second.coverage
        # The round has the same row, and puts no later one beside it.
        assert table.sightings.take().enrolled == (row,)

    asyncio.run(scenario())


def test_failure() -> None:
    """After a failed commit every waiter fails, later ones too, and nothing more is tried."""

    async def scenario() -> None:
        ledger, table, committer = started()
        ledger.error = StorageError("the disk is full")
        merge(table, 1)
        waiting = committer.durable()
        with pytest.raises(StorageError, match="full"):
            await waiting
        ledger.error = None
        with pytest.raises(StorageError, match="full"):
            await committer.durable()
        assert committer.failed is not None
        assert committer.failure is await committer.failed
        await committer.stop()
        assert ledger.batches == []

    asyncio.run(scenario())


def test_unforeseen_failure() -> None:
    """A fault of the program in a commit is a failed commit too: nobody waits for ever."""

    async def scenario() -> None:
        ledger, table, committer = started()
        ledger.error = ZeroDivisionError("no such thing")
        merge(table, 1)
        with pytest.raises(StorageError, match="report this"):
            await committer.durable()
        await committer.stop()

    asyncio.run(scenario())


def test_stop_commits_what_waits() -> None:
    """What was merged before the stop is durable after it; what asks later is sent away."""

    async def scenario() -> None:
        ledger, table, committer = started()
        merge(table, 1)
        waiting = committer.durable()
        merge(table, 2)
        await committer.stop()
        assert (await waiting).commit_number == 1
        assert sequences(ledger.batches[0]) == [2]
        with pytest.raises(StorageError, match="stopping"):
            await committer.durable()

    asyncio.run(scenario())


def test_stop_while_committing() -> None:
    """Who asked while another commit was under way is answered although a stop came."""

    async def scenario() -> None:
        ledger, table, committer = started()
        ledger.let.clear()
        merge(table, 1)
        first = committer.durable()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        merge(table, 2)
        second = committer.durable()
        stopping = asyncio.create_task(committer.stop())
        await asyncio.sleep(0)
        ledger.let.set()
        await stopping
        assert first.done() and second.done()
        assert [sequences(batch) for batch in ledger.batches] == [[1], [2]]

    asyncio.run(scenario())


def test_waiter_that_left() -> None:
    """A stream that ended while it waited disturbs nobody else's answer."""

    async def scenario() -> None:
        _ledger, table, committer = started()
        merge(table, 1)
        left, stayed = committer.durable(), committer.durable()
        left.cancel()
        assert (await stayed).commit_number == 1
        await committer.stop()

    asyncio.run(scenario())


def test_reading_between_commits() -> None:
    """A query runs on the ledger's thread and gives what it read."""

    async def scenario() -> None:
        _ledger, _table, committer = started()
        thread = await committer.read(lambda ledger: threading.current_thread().name)
        assert thread.startswith("ledger")
        await committer.stop()

    asyncio.run(scenario())


def test_a_ledger_that_is_busy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried until it is free; that it waits, and for how long, is told meanwhile, once."""
    monkeypatch.setattr("flopmeter_collector.commit.RETRY_S", 0.001)

    async def scenario() -> None:
        ledger, table, committer = started()
        assert committer.under_way_s == 0
        ledger.error = LedgerBusyError("another process holds it")
        merge(table, 1)
        waiting = committer.durable()
        while committer.waiting is None or committer.under_way_s < 0.01:
            await asyncio.sleep(0.001)
        assert "another process holds it" in str(committer.waiting)
        ledger.error = None
        assert (await waiting).commit_number == 1
        assert committer.waiting is None and committer.failure is None
        await committer.stop()
        assert committer.under_way_s == 0

    asyncio.run(scenario())
    assert [row.message for row in caplog.records].count("commits wait for the ledger") == 1


def test_a_stop_ends_the_wait_for_a_busy_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited is told; whoever left meanwhile is not."""
    monkeypatch.setattr("flopmeter_collector.commit.RETRY_S", 0.001)

    async def scenario() -> None:
        ledger, table, committer = started()
        ledger.error = LedgerBusyError("another process holds it")
        merge(table, 1)
        left, stayed = committer.durable(), committer.durable()
        while committer.waiting is None:
            await asyncio.sleep(0.001)
        left.cancel()
        await committer.stop()
        with pytest.raises(LedgerBusyError):
            await stayed

    asyncio.run(scenario())


def test_a_ledger_that_went_back(caplog: pytest.LogCaptureFixture) -> None:
    """Everything that is known is stored again before anybody is told that it is durable."""

    async def scenario() -> None:
        ledger, table, committer = started()
        merge(table, 1)
        await committer.durable()
        table.merge(KeyedVector(key(phase=1), 1, vector(1)), RECORD)
        ledger.error = LedgerWentBackError("the server lost commits")
        waiting = committer.durable()
        while not any("stored again" in row.message for row in caplog.records):
            await asyncio.sleep(0.001)
        ledger.error = None
        await waiting
        await committer.stop()
        last = ledger.batches[-1]
        assert last.whole and {stored.key.phase for stored in last.vectors} == {0, 1}

    asyncio.run(scenario())


def test_one_that_never_began() -> None:
    """It stops at once, and takes nothing any more."""

    async def scenario() -> None:
        ledger, table = Recording(), RegisterTable()
        committer = Committer(cast(Ledger, cast(Any, ledger)), table)
        await committer.stop()
        with pytest.raises(StorageError, match="stopping"):
            await committer.durable()

    asyncio.run(scenario())


def test_a_crowd_shares_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a commit that many waited for the next one waits for more; after few it does not."""
    monkeypatch.setattr(commit, "GATHER_S", 0.5)
    monkeypatch.setattr(crowd, "MANY_PER_S", 0)  # however slow this machine is

    async def scenario() -> None:
        ledger, table, committer = started()
        for sequence, waiting in ((1, crowd.MANY - 1), (2, crowd.MANY)):
            merge(table, sequence)
            await asyncio.gather(*(committer.durable() for _ in range(waiting)))
        merge(table, 3)
        late = committer.durable()
        await asyncio.sleep(0.05)
        assert not late.done()
        assert [sequences(batch) for batch in ledger.batches] == [[1], [2]]
        await committer.stop()
        assert (await late).commit_number == 3

    asyncio.run(scenario())


def test_what_answers_need_not_wait_for_is_done_while_a_crowd_gathers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ledger settles after the answers of a crowd and before its next commit, where it asks."""
    monkeypatch.setattr(commit, "GATHER_S", 0.5)
    monkeypatch.setattr(crowd, "MANY_PER_S", 0)  # however slow this machine is

    async def scenario() -> None:
        ledger, table, committer = started()
        for sequence, unsettled in ((1, False), (2, True)):
            assert ledger.settled_after == []
            ledger.unsettled = unsettled
            merge(table, sequence)
            await asyncio.gather(*(committer.durable() for _ in range(crowd.MANY)))
        merge(table, 3)
        late = committer.durable()
        async with asyncio.timeout(10):
            while not ledger.settled_after:
                await asyncio.sleep(0.005)
        assert (ledger.settled_after, late.done()) == ([2], False)
        assert (await late).commit_number == 3
        await committer.stop()
        assert ledger.settled_after == [2]

    asyncio.run(scenario())


def test_a_fault_between_two_commits_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the ledger cannot settle nothing is committed any more, and each who waits is told."""
    monkeypatch.setattr(crowd, "MANY_PER_S", 0)  # however slow this machine is

    class Unsettling(Recording):
        def settle(self) -> None:
            self.let.wait()
            raise ZeroDivisionError("no such thing")

    async def scenario() -> None:
        ledger, table = Unsettling(), RegisterTable()
        committer = Committer(cast(Ledger, cast(Any, ledger)), table)
        committer.start()
        ledger.unsettled = True
        merge(table, 1)
        await asyncio.gather(*(committer.durable() for _ in range(crowd.MANY)))
        merge(table, 2)
        late = committer.durable()
        async with asyncio.timeout(30):
            with pytest.raises(StorageError, match="report this"):
                await late
            await committer.stop()
        assert (committer.failure is None, len(ledger.batches)) == (False, 1)

    asyncio.run(scenario())


def test_few_that_send_without_end_share_no_commit() -> None:
    """Many waited for the last commit, but over a long time: the next one begins at once."""

    async def scenario() -> None:
        ledger, table, committer = started()
        await committer.durable()
        await asyncio.sleep(10 * crowd.MANY / crowd.MANY_PER_S)
        ledger.unsettled = True
        merge(table, 1)
        await asyncio.gather(*(committer.durable() for _ in range(crowd.MANY)))
        merge(table, 2)
        await committer.durable()
        assert ledger.settled_after == []
        await committer.stop()

    asyncio.run(scenario())


def test_long_work_is_kept_away_while_the_ledger_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit is undisturbed from its beginning to its end, and a wait for the next try not."""
    said: list[str] = []

    @contextlib.contextmanager
    def undisturbed() -> Iterator[None]:
        said.append("begins")
        try:
            yield
        finally:
            said.append("ends")

    monkeypatch.setattr(commit, "RETRY_S", 0.0)

    class Busy(Recording):
        def commit(self, batch: Batch) -> LedgerPosition:
            said.append("writes")
            if said.count("writes") == 1:
                raise LedgerBusyError("another one writes")
            return super().commit(batch)

    async def scenario() -> None:
        ledger, table = Busy(), RegisterTable()
        committer = Committer(cast(Any, ledger), table, undisturbed=undisturbed)
        committer.start()
        merge(table, 1)
        await committer.durable()
        await committer.stop()

    asyncio.run(scenario())
    assert said == ["begins", "writes", "ends"] * 2
