"""Group commit: everything that waits becomes durable in one transaction.

Owns: what waits for the next commit, the thread that writes, and who is told of its end.
May touch: the ledger, from one thread of its own; the event loop's futures.
Called by the service (vectors), the evaluation (transitions) and the app.
Explained in docs/adr/0005-delivery-and-durability.md.

Whoever waits is answered only after the commit that holds what was pending when it asked. When
a commit fails, every waiter fails and nothing is committed any more: after a failed sync nobody
knows what the disk holds, so the process has to end without acknowledging. A ledger that is busy,
or a server that is away, is no failure: the same batch is tried until it is taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeVar

from flopmeter_collector.crowd import Crowd
from flopmeter_collector.ledger.base import (
    EMPTY,
    Batch,
    Coverage,
    Declaration,
    Delivery,
    Ledger,
    LedgerBusyError,
    LedgerWentBackError,
    RelayChanges,
)
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.errors import FlopmeterError, StorageError, invariant
from flopmeter_core.reports import LedgerPosition
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = 1.0
"""Pause before a commit that the ledger could not take just now is tried again."""

GATHER_S = 0.015
"""From one commit of a crowd to the next. A commit costs as much as six reports in it do, and one
lasts about 4 ms: 45 of 3,000 reports a second share one so, in place of 12."""


class Committer:
    """Commits the register table's changes and whatever else it is given."""

    def __init__(
        self,
        ledger: Ledger,
        table: RegisterTable,
        *,
        undisturbed: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Prepare; `start` begins to commit.

        Args:
            ledger: where to.
            table: whose changes are committed.
            undisturbed: lasts while the ledger writes, which asks for the interpreter at each of
                its steps: whatever computes for long meanwhile would be waited for as often.
        """
        self._undisturbed = undisturbed
        self._ledger = ledger
        self._table = table
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._wanted = asyncio.Event()
        self._waiters: list[asyncio.Future[LedgerPosition]] = []
        self._declarations: list[Declaration] = []
        self._delivered: list[int] = []
        self._deliveries: list[Delivery] = []
        self._coverage: list[Coverage] = []
        self._relay: RelayChanges | None = None
        self.known_coverage: Callable[[], Sequence[Coverage]] = tuple
        """All rows of coverage that are known, for a ledger that lost some of them."""
        self.forwarded = False
        """Whether the ledger is forwarded: each new hour is then put down for that."""
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._failure: FlopmeterError | None = None
        self.waiting: LedgerBusyError | None = None
        """Why the commit under way is tried again and again; None while none is."""
        self._begun_s: float | None = None
        self._crowd = Crowd()
        self._rested_count = 0
        self.failed: asyncio.Future[FlopmeterError] | None = None
        self.commit_count = 0

    @property
    def failure(self) -> FlopmeterError | None:
        """Why nothing is committed any more; None while all is well."""
        return self._failure

    @property
    def under_way_s(self) -> float:
        """For how long the commit under way has been, in s; 0 while none is."""
        if self._begun_s is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._begun_s

    @property
    def at_rest(self) -> bool:
        """Whether all that was merged or asked for is durable: `durable` waits for nothing."""
        return not (
            self._failure
            or self._closed
            or self._begun_s is not None
            or self._waiters
            or self._declarations
            or self._delivered
            or self._deliveries
            or self._coverage
            or self._relay
            or self._table.uncommitted
        )

    def start(self) -> None:
        """Begin to commit, on the running event loop."""
        invariant(self._task is None, "a committer is started once")
        self.failed = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="commit")

    async def stop(self) -> None:
        """Commit what waits, then end the thread."""
        self._closed = True
        self._wanted.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    def durable(
        self,
        *,
        declarations: Sequence[Declaration] = (),
        delivered: Sequence[int] = (),
        deliveries: Sequence[Delivery] = (),
        coverage: Sequence[Coverage] = (),
        relay: RelayChanges | None = None,
        rested: int = 0,
    ) -> asyncio.Future[LedgerPosition]:
        """Ask for a commit of everything merged so far, and of what is given.

        Args:
            declarations: to be committed.
            delivered: transitions whose alerts were accepted.
            deliveries: alerts that were accepted.
            coverage: rows of it.
            relay: what is remembered of forwarding.
            rested: reports it is asked for whose agents had been silent (`Crowd.came`).

        Returns:
            A future of the ledger's position once all of it is durable; it fails with
            StorageError when the commit does, and when the committer has stopped.
        """
        future: asyncio.Future[LedgerPosition] = asyncio.get_running_loop().create_future()
        if self._failure is not None or self._closed:
            future.set_exception(
                self._failure or StorageError("the collector is stopping; send again later")
            )
            return future
        self._declarations += declarations
        self._delivered += delivered
        self._deliveries += deliveries
        self._coverage += coverage
        if relay is not None:
            invariant(self._relay is None, "a forwarder waits for each of its commits")
            self._relay = relay
        self._rested_count += rested
        self._waiters.append(future)
        self._wanted.set()
        return future

    async def read(self, query: Callable[[Ledger], T]) -> T:
        """Run a query on the ledger's thread, between two commits.

        Args:
            query: reads everything it needs; what it returns must not read on.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, query, self._ledger)

    async def alone(self, batch: Batch) -> LedgerPosition:
        """Commit a batch by itself, now and once.

        Raises:
            LedgerBusyError: it was not stored, or nobody knows: read the ledger before more.
            StorageError: it was not stored, and nothing will be.
        """
        return await self.read(lambda ledger: ledger.commit(batch))

    async def _commit(self, batch: Batch) -> LedgerPosition:
        """Commit a batch, as often as it takes."""
        loop = asyncio.get_running_loop()
        self._begun_s = loop.time()
        while True:
            try:
                with self._undisturbed():
                    position = await loop.run_in_executor(self._thread, self._ledger.commit, batch)
            except LedgerWentBackError as error:
                # Who sends again what is held here already must not be told that it is durable.
                logger.warning("all registers are stored again", extra=fields(reason=str(error)))
                batch = self._whole(batch)
                continue
            except LedgerBusyError as error:
                if self._closed:
                    raise
                if self.waiting is None:
                    logger.warning("commits wait for the ledger", extra=fields(reason=str(error)))
                self.waiting = error
                await asyncio.sleep(RETRY_S)
                continue
            if self.waiting is not None:
                logger.info("the ledger takes commits again")
            self.waiting = self._begun_s = None
            self.commit_count += 1
            return position

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiters, self._waiters = self._waiters, []
            try:
                await self._commit_for(waiters)
            except Exception as error:
                # The edge of the loop: without an answer the waiters would hang for ever.
                self._fail(_as_failure(error), waiters)
                return
            if self._closed and not self._waiters:
                return

    async def _commit_for(self, waiters: list[asyncio.Future[LedgerPosition]]) -> None:
        """Commit everything that is pending, tell who waits, and let a crowd gather."""
        batch = self._take()
        if not waiters and batch == EMPTY:
            return
        began_s = asyncio.get_running_loop().time()
        rested_count, self._rested_count = self._rested_count, 0
        crowd = self._crowd.came(len(waiters), rested_count, began_s)
        _resolve(waiters, await self._commit(batch))
        if crowd and not self._closed:
            await self._rest(began_s + GATHER_S)

    async def _rest(self, until_s: float) -> None:
        """Let a crowd gather; what its answers need not wait for is done meanwhile."""
        if self._ledger.unsettled:
            await self.read(lambda ledger: ledger.settle())
        await asyncio.sleep(until_s - asyncio.get_running_loop().time())

    def _take(self) -> Batch:
        changes = self._table.take_uncommitted()
        batch = Batch(
            records=changes.records,
            vectors=changes.vectors or (),
            declarations=tuple(self._declarations),
            delivered_transitions=tuple(self._delivered),
            deliveries=tuple(self._deliveries),
            hours=tuple(changes.hours),
            claims=self._table.claims.take_uncommitted(),
            quarantined=self._table.quarantine.take_uncommitted(),
            coverage=(*changes.coverage, *self._coverage),
            relay=self._relay or (RelayChanges() if self.forwarded and changes.hours else None),
        )
        self._declarations, self._delivered, self._deliveries = [], [], []
        self._coverage, self._relay = [], None
        return batch

    def _whole(self, batch: Batch) -> Batch:
        """The batch with every register held; what it has of them is among those or followed.

        Rows of coverage are merged number by number: the batch's may be newer than those known.
        """
        held = self._table.everything()
        return replace(
            batch,
            records=held.records,
            vectors=held.vectors,
            claims=tuple(self._table.claims.all()),
            quarantined=self._table.quarantine.all(),
            coverage=(*self.known_coverage(), *batch.coverage),
            whole=True,
        )

    def _fail(self, error: FlopmeterError, waiters: list[asyncio.Future[LedgerPosition]]) -> None:
        self._failure = error
        for waiter in [*waiters, *self._waiters]:
            if not waiter.done():
                waiter.set_exception(error)
                # A waiter that has gone away must not make the loop complain.
                waiter.exception()
        self._waiters = []
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(error)


def _as_failure(error: Exception) -> FlopmeterError:
    if isinstance(error, FlopmeterError):
        return error
    logger.error("the commit failed in an unforeseen way", exc_info=error)
    return StorageError(f"a commit failed ({error}); nothing of it was acknowledged: report this")


def _resolve(waiters: list[asyncio.Future[LedgerPosition]], position: LedgerPosition) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(position)
