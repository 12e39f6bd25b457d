"""A PostgreSQL ledger that several collectors may hold at a time.

Owns: the commit, who leads, and what other collectors committed meanwhile.
May touch: one connection to the server, made anew when it is lost.
Called by the collector's committer (one thread at a time) and by queries.
Explained in docs/adr/0014-postgresql-ledger.md. What every backend does alike is in ledger.tables.

Commits stand in one line: each takes the row lock of `meta` before it reads or writes anything
else. So commit numbers are the order of commits, a merge sees every commit before it, and two
collectors can wait for each other but never in a circle.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import (
    EMPTY,
    Batch,
    DeclaredSinceError,
    Foreign,
    LedgerBusyError,
    LedgerWentBackError,
    NotLeadingError,
    StoredVector,
)
from flopmeter_collector.ledger.postgres import merge
from flopmeter_collector.ledger.postgres.merge import JoinBranches
from flopmeter_collector.ledger.postgres.server import (
    AGAIN,
    AGAIN_BY_HAND,
    FROZEN_S,
    Access,
    Server,
    Statements,
    storage,
)
from flopmeter_collector.ledger.tables import Connection, SqlTables
from flopmeter_core.errors import DataError, NotPermittedError, invariant
from flopmeter_core.reports import HourlyVector, LedgerPosition
from flopmeter_core.units import REGISTER_LIMIT

_LOCK_SPACE = 0x464C4F50
_LEADS, _COLLECTS = 1, 2
"""Advisory locks of a ledger: pairs of a number of its identity and one of these."""


class PostgresLedger(SqlTables):
    """Implements `ledger.base.Ledger`; see there for what each call promises."""

    _QUARANTINE_RULE = (
        " WHERE (excluded.sequence, excluded.components, excluded.released)"
        " > (quarantine.sequence, quarantine.components, quarantine.released)"
    )

    def __init__(
        self,
        server: Server,
        *,
        join_branches: JoinBranches,
        new_id: Callable[[], str],
        check: Callable[[psycopg.Connection[Any]], None],
    ) -> None:
        """Connect to a ledger whose schema is there; use one of the `open_` functions.

        Args:
            server: where it is.
            join_branches: the rule of the merge.
            new_id: draws 32 random hexadecimal digits.
            check: refuses a schema this version does not know, at each connection.
        """
        super().__init__(server.name)
        self._server = server
        self._join_branches = join_branches
        self._new_id = new_id
        self._check = check
        self._connection: Statements | None = None
        self._leading = False
        self._term = 0
        self._uncertain = False
        self._home: tuple[str, str] | None = None
        self._newest = LedgerPosition("", 0, 0)
        self._read_to = 0
        self._own: set[int] = set()
        # The server may lack what this collector saw stored, and nobody stored it again yet.
        self._lost = False
        with self._guard("open"):
            pass

    @property
    def shared(self) -> bool:
        """Several collectors may hold it at a time."""
        return True

    @property
    def unsettled(self) -> bool:
        """A server settles by itself."""
        return False

    @property
    def unsure(self) -> bool:
        """Nobody knows what became of the last commit, or a server lacks earlier ones."""
        return self._uncertain or self._lost

    def settle(self) -> None:
        """Nothing is left to do."""

    # --- collecting ------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> LedgerPosition:
        """Make a batch durable, all of it or nothing, merged with what others committed.

        Raises:
            LedgerBusyError: try the same batch again; where the connection broke during the
                commit, nobody knows whether it happened, and the same again does no harm.
            LedgerWentBackError: try again with everything that is known.
            DeclaredSinceError: nothing was stored, because more was declared than it knows of.
            NotLeadingError: it holds transitions or history, and another collector leads.
            StorageError: it was not stored and will not be.
        """
        invariant(self._server.access is Access.COLLECT, "only a collector commits")
        if batch == EMPTY and not self._uncertain:
            position = self.position()
            if not self._lost:
                self._newest = position
                return position
        with self._transaction("store a commit") as connection:
            if self._lost and not batch.whole:
                raise LedgerWentBackError(
                    f"the ledger {self._name} went back; everything is stored there again"
                )
            if (batch.transitions or batch.history) and not self._leading:
                raise NotLeadingError("another collector leads; nothing was recorded")
            position = self._advance(connection)
            self._check_declared(connection, batch)
            records = self._write_records(connection, batch.records)
            keys, alone = self._merge(connection, batch, records, position.commit_number)
            for declaration in batch.declarations:
                self._write_declaration(connection, declaration)
            self._write_transitions(connection, batch, position.commit_number)
            self._write_history(connection, batch)
            for row in batch.audit:
                self._write_audit(connection, row)
        self._record_ids.update(records)
        self._key_ids.update(keys)
        self._newest = position
        self._uncertain = self._lost = False
        if alone:
            self._own.add(position.commit_number)
        return position

    def vectors(self) -> Sequence[StoredVector]:
        """All branches of all keys, in key order; `foreign` goes on from here."""
        with self.consistent():
            self._go_on_from_here()
            return super().vectors()

    def begin_parts(self) -> int:
        """How many keys there are; `foreign` goes on from here."""
        with self.consistent():
            self._go_on_from_here()
            return super().begin_parts()

    def _go_on_from_here(self) -> None:
        self._newest = self.position()
        self._read_to, self._own = self._newest.commit_number, set()

    def foreign(self) -> Foreign:
        """What other collectors committed since this, `vectors` or `begin_parts` was called."""
        with self.consistent():
            position = self.position()
            news = set(range(self._read_to + 1, position.commit_number + 1)) - self._own
            found = Foreign(position)
            if news:
                with self._guard("read") as connection:
                    found = merge.changed(
                        connection, position, sorted(news), self._key_ids, self._name
                    )
        self._read_to = max(self._read_to, position.commit_number)
        self._own = {number for number in self._own if number > self._read_to}
        return found

    def lead(self) -> int:
        """Whether this collector leads; it does until its connection ends."""
        with self._guard("read") as connection:
            if self._leading:
                connection.execute("SELECT 1")
            else:
                found = connection.execute(
                    "SELECT pg_try_advisory_lock(?, ?)", self._lock(_LEADS)
                ).fetchone()
                self._leading = bool(found and found[0])
                self._term += self._leading
        return self._term if self._leading else 0

    def leader(self) -> str:
        """Who leads: the name its session gave itself, and where it comes from."""
        with self._guard("read") as connection:
            space, number = self._lock(_LEADS)
            found = connection.execute(
                "SELECT a.application_name, coalesce(host(a.client_addr), 'local')"
                " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = ?"
                " AND l.objid::bigint = ?",
                (space, number),
            ).fetchone()
        return f"{found[0]} at {found[1]}" if found else ""

    def start_generation(self) -> None:
        """Begin a generation of the ledger where no other collector holds it.

        A database put back from a copy cannot know that it went back, and its commit number soon
        catches up: then agents have to send everything again.
        """
        with self._guard("open") as connection:
            space_number = self._lock(_COLLECTS)
            found = connection.execute("SELECT pg_try_advisory_lock(?, ?)", space_number).fetchone()
            if found and found[0]:
                self._renew_generation(connection)
            connection.execute("SELECT pg_advisory_lock_shared(?, ?)", space_number)
            if found and found[0]:
                connection.execute("SELECT pg_advisory_unlock(?, ?)", space_number)

    def end_older_sessions(self) -> None:
        """End the sessions of collectors that knew an older schema, after it was stepped forward.

        They connect again, and are then told to be upgraded; what they had not stored their agents
        still have.
        """
        with self._guard("open") as connection, contextlib.suppress(NotPermittedError):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND classid::bigint = ? AND objid::bigint = ? AND pid <> pg_backend_pid()",
                self._lock(_COLLECTS),
            )

    def close(self) -> None:
        """End the session and its locks; closing twice does no harm."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.raw.close()
        self._connection = None
        self._leading = False

    def damage(self) -> Sequence[str]:
        """What the server finds damaged by itself: nothing it tells; its checksums speak."""
        with self._guard("read"):
            return []

    # --- the connection --------------------------------------------------------------------------

    @contextlib.contextmanager
    def consistent(self) -> Iterator[None]:
        """Everything read inside the block is of one commit; no commit goes inside it."""
        with self._guard("read") as connection:
            busy = connection.raw.info.transaction_status
            if busy != psycopg.pq.TransactionStatus.IDLE:
                yield
                return
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Nobody waits for a reader, and what it reads may take long to add up.
            connection.execute("SET LOCAL idle_in_transaction_session_timeout TO 0")
            try:
                yield
            finally:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("COMMIT")

    @contextlib.contextmanager
    def _guard(self, operation: str) -> Iterator[Statements]:
        if self._connection is None:
            self._connect()
        connection = self._connection
        assert connection is not None
        try:
            with storage(self._name, operation, once=self._server.once):
                yield connection
        except LedgerBusyError as error:
            # A server that takes no writes any more is left too: another one does by now.
            if not isinstance(error, NotLeadingError | LedgerWentBackError | DeclaredSinceError):
                self.close()
            raise

    @contextlib.contextmanager
    def _transaction(self, operation: str) -> Iterator[Statements]:
        with self._guard(operation) as connection:
            warnings: list[str] = []

            def note(diagnostic: psycopg.errors.Diagnostic) -> None:
                # Only of the commit itself: what a statement before warns of is not about it.
                if self._uncertain and diagnostic.severity_nonlocalized == "WARNING":
                    warnings.append(diagnostic.message_primary or "a warning")

            connection.raw.add_notice_handler(note)
            try:
                with connection.raw.transaction():
                    yield connection
                    self._uncertain = True
            finally:
                connection.raw.remove_notice_handler(note)
            if warnings:
                # The server says so when somebody cancels its wait for the standbys: the commit
                # is on this server's disk alone, and must not be acknowledged.
                self.close()
                raise LedgerBusyError(
                    f"the ledger {self._name} cannot {operation} safely: {warnings[0]}; "
                    f"{AGAIN_BY_HAND if self._server.once else AGAIN}"
                )
            self._uncertain = False

    def _connect(self) -> None:
        raw = self._server.connect()
        try:
            connection = Statements(raw)
            with storage(self._name, "open", once=self._server.once):
                self._check(raw)
                if self._server.access is Access.COLLECT:
                    self._server.settle(raw, {"idle_session_timeout": f"{FROZEN_S}s"})
                    merge.prepare(connection)
            self._connection, self._leading = connection, False
            if self._ledger_id:
                self._come_back(connection)
            else:
                self._identify()
                self._home = _home(raw)
        except BaseException:
            self._connection = None
            raw.close()
            raise

    def _come_back(self, connection: Statements) -> None:
        """After a lost connection: is it the same ledger, and did it lose anything?"""
        with storage(self._name, "open", once=self._server.once):
            # Another history may have given the same numbers to other keys.
            self._key_ids.clear()
            self._record_ids.clear()
            found = connection.execute(
                "SELECT ledger_id, generation, commit_number FROM meta"
            ).fetchone()
            if found is None or found[0] != self._ledger_id:
                raise DataError(
                    f"another ledger answers at {self._name} now; start the collector again when "
                    "that is meant"
                )
            if self._server.access is not Access.COLLECT:
                return
            home = _home(connection.raw)
            went_back = found[2] < self._newest.commit_number
            if went_back or (home != self._home and found[1] == self._newest.generation):
                # Another server may lack what this one said was stored: agents send it again.
                self._renew_generation(connection, was=found[1])
            now = LedgerPosition(
                self._ledger_id,
                *connection.execute("SELECT generation, commit_number FROM meta").fetchall()[0],
            )
            if self._newest.ledger_id and now.went_back(self._newest):
                self._lost = True
                self._read_to, self._own = 0, set()
                self._newest = now
            self._home = home
            connection.execute("SELECT pg_advisory_lock_shared(?, ?)", self._lock(_COLLECTS))

    def _renew_generation(self, connection: Statements, *, was: int | None = None) -> None:
        generation = int(self._new_id(), 16) % REGISTER_LIMIT
        connection.execute(
            "UPDATE meta SET generation = ? WHERE generation = ?"
            if was is not None
            else "UPDATE meta SET generation = ?",
            (generation,) if was is None else (generation, was),
        )

    def _lock(self, which: int) -> tuple[int, int]:
        """The advisory lock of this ledger; several may lie in one database."""
        return _LOCK_SPACE, (int(self._ledger_id[:7], 16) & 0x0FFFFFF0) | which

    # --- writing ---------------------------------------------------------------------------------

    def _merge(
        self, connection: Statements, batch: Batch, records: dict[str, int], number: int
    ) -> tuple[dict[Any, int], bool]:
        """Merge a batch's rows into the ledger's.

        Returns:
            Ids of keys that are new to this collector, and whether every row became what the
            batch says, so that nothing of another collector's was met.
        """
        named = dict.fromkeys(stored.key for stored in batch.vectors)
        named.update(dict.fromkeys(held.key for held in batch.quarantined))
        named.update(dict.fromkeys(hourly.key for hourly in batch.hours))
        missing = {
            key: self._record_row_of(connection, key.record, records)
            for key in named
            if key not in self._key_ids
        }
        keys = merge.add_keys(connection, missing)
        ids = collections.ChainMap(keys, self._key_ids)
        alone = merge.merge_vectors(
            connection, batch.vectors, ids, number, self._join_branches, self._name
        )
        connection.executemany(
            "DELETE FROM hour_vector WHERE key = ? AND hour = ?",
            [(ids[key], hour) for key, hour in batch.dropped_hours if key in ids],
        )
        merge.merge_hours(connection, _with_ids(batch.hours, ids), number)
        self._write_quarantine(connection, batch, ids)
        merge.mark_quarantine(connection, [ids[held.key] for held in batch.quarantined], number)
        self._write_coverage(connection, batch.coverage)
        merge.mark_coverage(connection, batch.coverage, number)
        alone &= merge.merge_claims(connection, batch.claims, number)
        # Of coverage the least wins, of quarantine the newest, whoever wrote it: what became of it
        # is read back.
        return keys, alone and not batch.coverage and not batch.quarantined

    def _record_row_of(self, connection: Connection, record_id: str, added: dict[str, int]) -> int:
        return added.get(record_id) or self._record_row(connection, record_id)

    def numbered(self) -> Mapping[str, int]:
        """Of each kind of row that is only added, by its table, the last number that was given."""
        with self._guard("read") as connection:
            return dict(connection.execute("SELECT name, value FROM flopmeter_counter").fetchall())

    def _next_audit_sequence(self, connection: Connection) -> int:
        connection.execute("SELECT 1 FROM meta FOR UPDATE")
        found = connection.execute("SELECT flopmeter_next('audit')").fetchone()
        return int(found[0])


def _with_ids(hours: Sequence[HourlyVector], ids: Any) -> list[tuple[Any, ...]]:
    return [
        (
            ids[hourly.key],
            hourly.hour,
            hourly.first_hour,
            hourly.sequence,
            hourly.boot_ns,
            hourly.wall_ns,
            rows.pack(hourly.vector),
        )
        for hourly in hours
    ]


def _home(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    """Which server's history this is: its identity and its timeline; a promotion begins another."""
    try:
        found = connection.execute(
            "SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8)"
            " FROM pg_control_system()"
        ).fetchone()
    except (
        psycopg.errors.UndefinedFunction,
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.FeatureNotSupported,
        # On a standby, which has no log of its own.
        psycopg.errors.ObjectNotInPrerequisiteState,
    ):
        return "", ""
    return (str(found[0]), str(found[1])) if found else ("", "")
