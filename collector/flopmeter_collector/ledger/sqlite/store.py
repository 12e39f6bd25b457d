"""Writing the tables of an SQLite ledger.

Owns: the commit, and its statements for keys, vectors, hours and claims.
May touch: the connection it is given.
Called by the collector's committer (one thread at a time) and by queries (read-only).
What every backend does alike is in ledger.tables.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import ChainMap
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import (
    EMPTY,
    Batch,
    HourPage,
    LedgerBusyError,
    Part,
    RelayRows,
    StoredVector,
)
from flopmeter_collector.ledger.packed import NO_ID, PackedVectors, packed_vectors
from flopmeter_collector.ledger.sqlite import relaying
from flopmeter_collector.ledger.sqlite.check import damage
from flopmeter_collector.ledger.sqlite.file import handle, storage
from flopmeter_collector.ledger.sqlite.schema import transaction
from flopmeter_collector.ledger.sqlite.several import insert_keys, write_vectors
from flopmeter_collector.ledger.tables import Connection, SqlTables
from flopmeter_core.claims import Claim
from flopmeter_core.errors import FlopmeterError, StorageError, invariant
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector, LedgerPosition

UNSETTLED_VECTORS = 2_500
"""Vectors after which the log is moved into the file: about 500 pages. SQLite does that by itself
in the commit after which the log has 1,000 pages, and its answers wait for it."""

_IN_ITS_PLACE = (
    "ON CONFLICT (key, branch)"
    " DO UPDATE SET sequence = excluded.sequence, components = excluded.components"
)


class SqliteLedger(SqlTables):
    """Implements `ledger.base.Ledger`; see there for what each call promises."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        """Take over an open file; use one of the `open_` functions."""
        super().__init__(str(path))
        self._path = path
        self._connection = connection
        self._lock = lock
        self._begun: LedgerPosition | None = None
        self._files: tuple[int, ...] = ()
        self._failed = False
        self._unsettled_count = 0
        self._forked: set[int] = set()
        self._identify()

    def begin(self, generation: int) -> None:
        """Begin a generation of the ledger: from now on no commit of an earlier one is taken.

        A file put back from a copy cannot know that it went back, and its commit number soon
        catches up: so every start is a generation of its own, and agents send everything again.
        Newest vectors make that harmless.
        """
        with self._transaction("open") as connection:
            connection.execute("UPDATE meta SET generation = ?", (generation,))
        # Not as it is read now: another collector may have begun meanwhile.
        self._begun = replace(self.position(), generation=generation)
        # The log beside it is there since that transaction, for as long as this connection; on a
        # file system that cannot share memory there is none.
        log = Path(f"{self._path}-wal")
        self._files = tuple(
            handle(each) for each in (self._path, log) if each != log or log.exists()
        )

    def commit(self, batch: Batch) -> LedgerPosition:
        """Make a batch durable, all of it or nothing.

        A batch holds every branch of each key it names; branches it lacks are removed. Records
        of its keys are in it or in the ledger already. Declarations and transitions get the
        next sequence; a transition with commit number 0 gets that of this commit.

        Raises:
            LedgerBusyError: another process holds the file; nothing was stored, try again.
            DeclaredSinceError: nothing was stored, because more was declared than it knows of.
            StorageError: nothing was stored, and this ledger takes no further commit: after a
                failed sync nobody knows what the disk holds, so only a new start may tell. So it
                is where another collector has begun, or the file has no name any more.
        """
        invariant(self._lock is not None, "only the holder of the lock commits")
        if self._failed:
            raise StorageError(
                f"the ledger {self._path} failed before; start the collector again once its disk "
                "works"
            )
        if batch == EMPTY:
            position = self.position()
            self._check_alone(position)
            return position
        try:
            with self._transaction("store a commit") as connection:
                position = self._advance(connection)
                self._check_alone(position)
                self._check_declared(connection, batch)
                records = self._write_records(connection, batch.records)
                vectors = packed_vectors(batch.vectors)
                others = [each.key for each in vectors.forked]
                others += [each.key for each in batch.quarantined]
                single, keys = self._write_named(vectors, others, records)
                forked = self._write_vectors(vectors, single, keys)
                self._drop_hours(batch.dropped_hours)
                self._write_hours(batch.hours, keys)
                self._write_quarantine(connection, batch, ChainMap(keys, self._key_ids))
                self._write_claims(batch.claims)
                self._write_coverage(connection, batch.coverage)
                for declaration in batch.declarations:
                    self._write_declaration(connection, declaration)
                self._write_transitions(connection, batch, position.commit_number)
                self._write_history(connection, batch)
                for row in batch.audit:
                    self._write_audit(connection, row)
                if batch.relay is not None:
                    relaying.write_relay(connection, batch, ChainMap(keys, self._key_ids))
        except LedgerBusyError:
            raise
        except FlopmeterError:
            self._failed = True
            raise
        self._record_ids.update(records)
        self._key_ids.update(keys)
        vectors.ids.note(self, vectors.numbers, single)
        self._forked = forked
        self._unsettled_count += len(batch.vectors)
        return position

    def _check_alone(self, now: LedgerPosition) -> None:
        """Refuse to go on where another collector began, or where nobody will find the file.

        A lock file can be deleted under its holder, the ledger too; the generation is in the
        ledger itself, and is looked at inside the transaction that would store something.
        """
        assert self._begun is not None and self._files
        if now.generation != self._begun.generation:
            raise StorageError(
                f"another collector has begun on the ledger {self._path}, so this one stores and "
                f"acknowledges nothing more: let one go on, and leave {self._path}.lock where it is"
            )
        file, *log = self._files
        if not os.fstat(file).st_nlink:
            raise StorageError(
                f"the ledger {self._path} was deleted, so nothing more is stored or acknowledged: "
                "put a backup in its place and start the collector again"
            )
        if not all(os.fstat(each).st_nlink for each in log):
            raise StorageError(
                f"{self._path}-wal, in which the ledger keeps its newest commits, was deleted, so "
                "nothing more is stored or acknowledged: start the collector again, which writes "
                "them into the ledger as it ends"
            )

    @property
    def unsettled(self) -> bool:
        """Whether the log is about half as long as SQLite lets it become."""
        return self._unsettled_count >= UNSETTLED_VECTORS

    def settle(self) -> None:
        """Move the log into the file, as far as nobody reads in it.

        What cannot be moved now stays in the log, which is synced: SQLite tries again by itself.
        """
        self._unsettled_count = 0
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def vectors(self) -> Sequence[StoredVector]:
        """All branches of all keys, in key order; a collector reads them before it commits."""
        found = super().vectors()
        self._forked = {self._key_ids[stored.key] for stored in found if stored.branch}
        return found

    def _note_part(self, found: Sequence[rows.Row], known: Container[str]) -> Part:
        part = super()._note_part(found, known)
        self._forked |= {self._key_ids[stored.key] for stored in part.vectors if stored.branch}
        return part

    @contextlib.contextmanager
    def consistent(self) -> Iterator[None]:
        """Everything read inside the block is of one commit; no commit goes inside it."""
        if self._connection.in_transaction:
            yield
            return
        with storage(self._path, "read"):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("COMMIT")

    def relay_rows(self) -> RelayRows:
        """What is remembered of forwarding."""
        with self.consistent():
            keys = self._load_keys()
            with self._guard("read") as connection:
                return relaying.read_relay(connection, keys)

    def hours_to_forward(self, limit: int, kept: Set[tuple[Key, int]] = frozenset()) -> HourPage:
        """The next hours to forward."""
        with self._guard("read") as connection:
            return relaying.read_page(connection, limit, kept, self._name)

    def forget_upstream(self) -> None:
        """Nobody forwards this ledger any more."""
        with self._guard("read") as connection:
            if connection.execute("SELECT 1 FROM upstream").fetchone() is None:
                return
        with self._transaction("forget its upstream") as connection:
            relaying.forget(connection)

    def damage(self) -> Sequence[str]:
        """What SQLite's own checks find."""
        with self._guard("read") as connection:
            return damage(connection)

    def close(self) -> None:
        """Release the file and its lock; closing twice does no harm."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        for held in (*self._files, self._lock):
            if held is not None:
                os.close(held)
        self._files, self._lock = (), None

    @contextlib.contextmanager
    def _guard(self, operation: str) -> Iterator[sqlite3.Connection]:
        with storage(self._path, operation):
            yield self._connection

    @contextlib.contextmanager
    def _transaction(self, operation: str) -> Iterator[sqlite3.Connection]:
        with storage(self._path, operation), transaction(self._connection):
            yield self._connection

    def _write_named(
        self, vectors: PackedVectors, others: Sequence[Key], records: Mapping[str, int]
    ) -> tuple[list[int], dict[Key, int]]:
        """Write the keys that a commit names and the ledger lacks.

        Args:
            vectors: of the commit.
            others: what it names beside those that have one branch.
            records: rows of device records that are new.

        Returns:
            The row of each key that has one branch, and the keys that are new.
        """
        single = vectors.ids.known(self, vectors.numbers)
        if NO_ID not in single:
            return single, self._write_keys(others, records)
        added = self._write_keys((*vectors.keys, *others), records)
        known = self._key_ids
        return [known.get(key) or added[key] for key in vectors.keys], added

    def _write_keys(self, keys: Iterable[Key], records: Mapping[str, int]) -> dict[Key, int]:
        known = self._key_ids
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        found = insert_keys(
            self._connection,
            [
                rows.key_row(
                    key,
                    records[key.record]
                    if key.record in records
                    else self._record_row(self._connection, key.record),
                )
                for key in missing
            ],
        )
        return dict(zip(missing, found, strict=True))

    def _write_vectors(
        self, vectors: PackedVectors, single: Sequence[int], added: Mapping[Key, int]
    ) -> set[int]:
        """Write all branches of the named keys; returns the keys that have several.

        Args:
            vectors: what to write.
            single: the rows of keys that have one branch.
            added: those of keys that are new.
        """
        known = self._key_ids
        several = [(known.get(each.key) or added[each.key], each) for each in vectors.forked]
        ids = {*single, *(key for key, _ in several)}
        # Only a key that was forked can have a branch too many.
        for key in self._forked & ids:
            self._connection.execute("DELETE FROM vector WHERE key = ?", (key,))
        write_vectors(
            self._connection, single, vectors.sequences, vectors.components, _IN_ITS_PLACE
        )
        self._connection.executemany(
            f"INSERT INTO vector VALUES (?, ?, ?, ?) {_IN_ITS_PLACE}",
            (
                (key, stored.branch, stored.sequence, rows.pack(stored.vector))
                for key, stored in several
            ),
        )
        return (self._forked - ids) | {key for key, stored in several if stored.branch}

    def _write_hours(self, hours: Sequence[HourlyVector], added: Mapping[Key, int]) -> None:
        self._connection.executemany(
            # A row that comes after one that stands for its hour too may miss those before it.
            "INSERT INTO hour_vector VALUES (?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM hour_vector"
            " WHERE key = ?1 AND hour = ?2) THEN ?3 ELSE min(?3, ifnull((SELECT min(first_hour)"
            " FROM hour_vector WHERE key = ?1 AND hour > ?2 AND first_hour <= ?2), ?3)) END,"
            " ?4, ?5, ?6, ?7)"
            " ON CONFLICT (key, hour) DO UPDATE"
            " SET first_hour = excluded.first_hour, sequence = excluded.sequence,"
            " boot_ns = excluded.boot_ns, wall_ns = excluded.wall_ns,"
            " components = excluded.components"
            # The same row wins in whatever order two of them come.
            " WHERE (excluded.sequence, excluded.components, -excluded.first_hour,"
            " excluded.boot_ns, excluded.wall_ns)"
            " > (sequence, components, -first_hour, boot_ns, wall_ns)",
            [
                (
                    self._key_ids.get(hourly.key) or added[hourly.key],
                    hourly.hour,
                    hourly.first_hour,
                    hourly.sequence,
                    hourly.boot_ns,
                    hourly.wall_ns,
                    rows.pack(hourly.vector),
                )
                for hourly in hours
            ],
        )

    def _drop_hours(self, dropped: Sequence[tuple[Key, int]]) -> None:
        self._connection.executemany(
            "DELETE FROM hour_vector WHERE key = ? AND hour = ?",
            [(self._key_ids[key], hour) for key, hour in dropped if key in self._key_ids],
        )

    def numbered(self) -> Mapping[str, int]:
        """Of each kind of row that is only added, by its table, the last number that was given."""
        with self._guard("read") as connection:
            return dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())

    def _next_audit_sequence(self, connection: Connection) -> int:
        # Not the highest row's: a row that somebody removed has to leave its gap.
        found = connection.execute(
            "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'audit'"
        ).fetchone()
        return int(found[0])

    def _write_claims(self, claims: Sequence[Claim]) -> None:
        """Put the newest counts of claims in the place of older ones."""
        self._connection.executemany(
            f"INSERT INTO claim ({rows.CLAIM_COLUMNS})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET last_step = excluded.last_step,"
            " step_count = excluded.step_count, token_count = excluded.token_count,"
            " compute_flop = excluded.compute_flop, sequence = excluded.sequence",
            [rows.claim_row(claim) for claim in claims],
        )
