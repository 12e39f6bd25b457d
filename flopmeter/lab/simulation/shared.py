"""A ledger on a server that several collectors share, as ledger.postgres lets them share one.

Owns: the server's state, its sessions, who leads, and what a failover to a standby takes away.
May touch: one SQLite file that stands for the database; the oracle is told of each commit.
Called by site, which opens a session for its collector; steered by faults.

No PostgreSQL can be simulated: it is another program with threads, clocks and disks of its own.
What its collectors see of it can: commits in one line that merge with what others committed, a
feed of those, one leader, a connection that breaks in the middle of a commit, and a server that
comes back without the newest commits. The code of the collectors is production code; the merging
server here is the simulator's own, and tests/contract holds the real backend to the same rules.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flopmeter_collector import backends
from flopmeter_collector.branches import join_branches
from flopmeter_collector.held_rows import Branches
from flopmeter_collector.ledger.base import (
    EMPTY,
    Batch,
    Coverage,
    Declaration,
    Foreign,
    Ledger,
    LedgerBusyError,
    LedgerUnreachableError,
    LedgerWentBackError,
    NotLeadingError,
    StoredVector,
)
from flopmeter_core.registers import Key
from flopmeter_core.reports import LedgerPosition


@dataclass(frozen=True, slots=True)
class _Commit:
    """One commit as the feed tells it, and the session that made it alone."""

    number: int
    batch: Batch
    by: object


class SharedServer:
    """The server and its database."""

    def __init__(
        self,
        folder: Path,
        new_id: Callable[[], str],
        *,
        committed: Callable[[Iterable[StoredVector]], None],
        put_back: Callable[[Iterable[StoredVector]], None],
    ) -> None:
        """Prepare an empty database.

        Args:
            folder: for its files.
            new_id: draws 32 hexadecimal digits.
            committed: is told the vectors of each commit.
            put_back: is told what is there after a failover.
        """
        self.away = False
        self.loses_answer = False
        """Whether the next commit is stored and its connection breaks before it says so."""
        self.leader: Session | None = None
        self.position = LedgerPosition("", 0, 0)
        """Of the database; nobody writes it but `commit`, so it need not be asked."""
        self.history = 0
        """Grows with each failover: a session of an earlier one is broken."""
        self._folder = folder
        self._new_id = new_id
        self._committed = committed
        self._put_back = put_back
        self._copies = 0
        self._standby: Path | None = None
        self._live = folder / "0"
        self._live.mkdir(parents=True)
        self._open()

    def _open(self) -> None:
        self.ledger: Ledger = backends.collect(
            str(self._live / "ledger.db"), simulated=True, new_ledger_id=self._new_id
        )
        self.branches: dict[Key, Branches] = {}
        for stored in self.ledger.vectors():
            self.branches[stored.key] = (*self.branches.get(stored.key, ()), stored)
        self.records = dict(self.ledger.records())
        self.coverage = {(each.incarnation, each.device): each for each in self.ledger.coverage()}
        self.position = self.ledger.position()
        self.declarations = tuple(self.ledger.declarations())
        self.feed: list[_Commit] = []

    def replicate(self) -> None:
        """Let the standby have everything up to here, and nothing after it."""
        self._copies += 1
        self._standby = _copy(self._live, self._folder / str(self._copies))

    def fail_over(self, *, lossy: bool) -> int:
        """Let the standby take over; returns how many commits it lacks.

        Args:
            lossy: whether it lacks what was committed since `replicate`: an asynchronous one may.
        """
        before = self.position.commit_number
        if not lossy or self._standby is None:
            self.replicate()
        assert self._standby is not None
        self.ledger.close()
        shutil.rmtree(self._live)
        self._live, self._standby = self._standby, None
        self._open()
        self.history += 1
        self.leader = None
        self._put_back([stored for held in self.branches.values() for stored in held])
        return before - self.position.commit_number

    def commit(self, batch: Batch, by: object) -> LedgerPosition:
        """Store a batch, joined to what is there."""
        coming = tuple(batch.vectors)
        merged = self.merged(batch, coming)
        alone = merged.vectors == coming
        position = self.position = self.ledger.commit(merged)
        self.records |= merged.records
        if merged.declarations:
            self.declarations = tuple(self.ledger.declarations())
        self.feed.append(_Commit(position.commit_number, merged, by if alone else None))
        self._committed(merged.vectors)
        return position

    def merged(self, batch: Batch, vectors: Iterable[StoredVector]) -> Batch:
        """A batch with everything, its vectors too, joined to what the database holds."""
        coming: dict[Key, Branches] = {}
        for stored in vectors:
            coming[stored.key] = (*coming.get(stored.key, ()), stored)
        joined = {
            key: join_branches(self.branches.get(key, ()), branches)
            for key, branches in coming.items()
        }
        self.branches |= joined
        rows = [self._least(row) for row in batch.coverage]
        return replace(
            batch,
            vectors=tuple(stored for branches in joined.values() for stored in branches),
            coverage=tuple(rows),
            whole=False,
        )

    def close(self) -> None:
        """Close the database."""
        self.ledger.close()

    def _least(self, row: Coverage) -> Coverage:
        held = self.coverage.get((row.incarnation, row.device))
        if held is not None:
            row = replace(
                row,
                boot_id=row.boot_id or held.boot_id,
                since_ns=_least(row.since_ns, held.since_ns),
                anchor_ns=_least(row.anchor_ns, held.anchor_ns),
                first_seen_ns=min(row.first_seen_ns, held.first_seen_ns),
                first_covered_ns=min(row.first_covered_ns, held.first_covered_ns),
            )
        self.coverage[row.incarnation, row.device] = row
        return row


class Session:
    """One collector's connection: an implementation of `ledger.base.Ledger` that is shared."""

    shared = True

    def __init__(self, server: SharedServer, name: str) -> None:
        """Connect; `name` is the collector's.

        Raises:
            LedgerUnreachableError: no server answers.
        """
        self._server = server
        self._name = name
        self._term = 0
        self._history = server.history
        self._newest = LedgerPosition("", 0, 0)
        self._went_back = False
        self._read_to = 0
        self._reach()

    def __getattr__(self, name: str) -> Any:
        """Everything that reads is the database's own."""
        self._reach()
        return getattr(self._server.ledger, name)

    @property
    def unsure(self) -> bool:
        """Whether the server came back without what was committed, and nobody stored it again."""
        return self._went_back

    @contextlib.contextmanager
    def consistent(self) -> Iterator[None]:
        """Nothing happens between two questions that are asked in one step."""
        self._reach()
        yield

    def commit(self, batch: Batch) -> LedgerPosition:
        """Commit, merged with what others committed.

        Raises:
            LedgerBusyError: try again; nobody knows whether it happened.
            LedgerWentBackError: try again with everything that is known.
            NotLeadingError: it holds transitions, and another collector leads.
        """
        self._reach()
        server = self._server
        if batch == EMPTY and not self._went_back:
            self._newest = server.position
            return self._newest
        if self._went_back and not batch.whole:
            raise LedgerWentBackError("the simulated server went back")
        if (batch.transitions or batch.history) and server.leader is not self:
            raise NotLeadingError("another collector leads; nothing was recorded")
        position = server.commit(batch, self)
        if server.loses_answer:
            server.loses_answer = False
            self._break()
            raise LedgerBusyError("the connection broke during a commit (simulated)")
        self._went_back = False
        self._newest = position
        return position

    def vectors(self) -> Iterable[StoredVector]:
        """All branches of all keys; `foreign` goes on from here."""
        self._reach()
        self._go_on_from_here()
        return self._server.ledger.vectors()

    def begin_parts(self) -> int:
        """How many keys there are; `foreign` goes on from here."""
        self._reach()
        self._go_on_from_here()
        return self._server.ledger.begin_parts()

    def _go_on_from_here(self) -> None:
        self._newest = self._server.position
        self._read_to = self._newest.commit_number

    def declarations(self, *, after: int = 0) -> Iterable[Declaration]:
        """Declarations with a sequence above `after`, oldest first."""
        self._reach()
        return [each for each in self._server.declarations if each.sequence > after]

    def foreign(self) -> Foreign:
        """What other collectors committed since this was last called, or since `vectors`."""
        self._reach()
        position, feed = self._server.position, self._server.feed
        news: list[Batch] = []
        for commit in reversed(feed):
            if commit.number <= self._read_to:
                break
            if commit.by is not self:
                news.append(commit.batch)
        news.reverse()
        self._read_to = max(self._read_to, position.commit_number)
        keys = {stored.key: None for batch in news for stored in batch.vectors}
        return Foreign(
            position,
            records=dict(self._server.records) if news else {},
            vectors=tuple(stored for key in keys for stored in self._server.branches[key]),
            hours=tuple(hour for batch in news for hour in batch.hours),
            coverage=tuple(row for batch in news for row in batch.coverage),
        )

    def lead(self) -> int:
        """Whether this collector leads, and for which time."""
        self._reach()
        if self._server.leader is None:
            self._server.leader = self
            self._term += 1
        return self._term if self._server.leader is self else 0

    def leader(self) -> str:
        """Who leads."""
        self._reach()
        leader = self._server.leader
        return leader._name if leader is not None else ""

    def close(self) -> None:
        """End the session and its lock."""
        self._break()

    def _break(self) -> None:
        if self._server.leader is self:
            self._server.leader = None

    def _reach(self) -> None:
        """Be connected, to whatever server answers now."""
        server = self._server
        if server.away:
            self._break()
            raise LedgerUnreachableError("no server answers (simulated)")
        if self._history == server.history:
            return
        self._history = server.history
        now = server.position
        if self._newest.ledger_id and now.went_back(self._newest):
            self._went_back = True
            self._read_to = 0
            self._newest = now
        raise LedgerBusyError("the connection to the server was lost (simulated)")


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    return target


def _least(one: int | None, two: int | None) -> int | None:
    known = [each for each in (one, two) if each is not None]
    return min(known) if known else None
