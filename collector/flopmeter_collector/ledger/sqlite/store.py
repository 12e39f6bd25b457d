"""Reading and writing the tables of an SQLite ledger.

Owns: the rows of each table, and the ids that stand for keys and records in them.
May touch: the connection it is given.
Called by the collector's committer (one thread at a time) and by queries (read-only).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flopmeter_collector.ledger.base import (
    AuditRow,
    Batch,
    Declaration,
    LedgerBusyError,
    QuarantinedVector,
    StoredVector,
    Transition,
)
from flopmeter_collector.ledger.sqlite import operations
from flopmeter_collector.ledger.sqlite.claims import read_claims, write_claims
from flopmeter_collector.ledger.sqlite.file import storage
from flopmeter_collector.ledger.sqlite.schema import transaction
from flopmeter_core.claims import Claim
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, FlopmeterError, StorageError, UsageError, invariant
from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key, Vector
from flopmeter_core.reports import HourlyVector, LedgerPosition


class SqliteLedger:
    """Implements `ledger.base.Ledger`; see there for what each call promises."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        """Take over an open file; use one of the `open_` functions."""
        self._path = path
        self._connection = connection
        self._lock = lock
        self._failed = False
        self._key_ids: dict[Key, int] = {}
        self._record_ids: dict[str, int] = {}
        self._forked: set[int] = set()
        with storage(path, "read"):
            row = connection.execute("SELECT ledger_id, simulated FROM meta").fetchone()
        if row is None:
            raise DataError(f"the ledger {path} has no identity; restore it from a backup")
        self._ledger_id, self._simulated = str(row[0]), bool(row[1])

    @property
    def simulated(self) -> bool:
        """Whether this ledger keeps simulated readings."""
        return self._simulated

    def position(self) -> LedgerPosition:
        """Identity, generation and number of the last commit."""
        with self._read() as connection:
            generation, number = connection.execute(
                "SELECT generation, commit_number FROM meta"
            ).fetchone()
        return LedgerPosition(self._ledger_id, generation, number)

    def commit(self, batch: Batch) -> LedgerPosition:
        """Make a batch durable, all of it or nothing.

        A batch holds every branch of each key it names; branches it lacks are removed. Records
        of its keys are in it or in the ledger already. Declarations and transitions get the
        next sequence; a transition with commit number 0 gets that of this commit.

        Raises:
            LedgerBusyError: another process holds the file; nothing was stored, try again.
            StorageError: nothing was stored, and this ledger takes no further commit: after a
                failed sync nobody knows what the disk holds, so only a new start may tell.
        """
        invariant(self._lock is not None, "only the holder of the lock commits")
        if self._failed:
            raise StorageError(
                f"the ledger {self._path} failed before; start the collector again once its disk "
                "works"
            )
        if batch == Batch():
            return self.position()
        try:
            with storage(self._path, "store a commit"), transaction(self._connection):
                position = self._advance()
                records = self._write_records(batch.records)
                keys = self._write_keys((*batch.vectors, *batch.quarantined), records)
                forked = self._write_vectors(batch.vectors, keys)
                self._drop_hours(batch.dropped_hours)
                self._write_hours(batch.hours, keys)
                self._write_quarantine(batch, keys)
                write_claims(self._connection, batch.claims)
                for declaration in batch.declarations:
                    self._write_declaration(declaration)
                self._write_transitions(batch, position.commit_number)
        except LedgerBusyError:
            raise
        except FlopmeterError:
            self._failed = True
            raise
        self._record_ids.update(records)
        self._key_ids.update(keys)
        self._forked = forked
        return position

    def append_declaration(
        self, declaration: Declaration, *, audit: AuditRow | None = None
    ) -> Declaration:
        """Add one declaration; any process may, while a collector runs.

        Args:
            declaration: its sequence is given here.
            audit: a row for the audit log that stands or falls with it.

        Returns:
            The declaration with the sequence it got.
        """
        with storage(self._path, "store a declaration"), transaction(self._connection):
            self._advance()
            sequence = self._write_declaration(declaration)
            if audit is not None:
                operations.write_audit(self._connection, audit)
        return dataclasses.replace(declaration, sequence=sequence)

    def append_audit(self, row: AuditRow) -> AuditRow:
        """Add one row to the audit log; the ledger's position stays, for no figure changes.

        Returns:
            The row with the sequence it got.
        """
        with storage(self._path, "record an audit row"), transaction(self._connection):
            return operations.write_audit(self._connection, row)

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

    def records(self) -> Mapping[str, DeviceRecord]:
        """All device records by id."""
        with self._read() as connection:
            rows = connection.execute("SELECT id, record_id, content FROM record").fetchall()
        records = {}
        for row_id, record_id, content in rows:
            self._record_ids[record_id] = row_id
            records[record_id] = DeviceRecord.from_json(self._object(content))
        return records

    def vectors(self) -> Iterable[StoredVector]:
        """All branches of all keys, in key order."""
        # A key of a later commit than the keys just read must not turn up among the vectors.
        with self.consistent():
            keys = self._load_keys()
            with self._read() as connection:
                rows = connection.execute(
                    "SELECT key, branch, sequence, components FROM vector ORDER BY key, branch"
                ).fetchall()
        self._forked = {key for key, branch, _, _ in rows if branch}
        return [
            StoredVector(keys[key], branch, sequence, self._unpack(components))
            for key, branch, sequence, components in rows
        ]

    def hours(self, allocation: str) -> Iterable[HourlyVector]:
        """Vectors at the ends of hours of all keys of an allocation, by key, oldest first."""
        with self.consistent():
            keys = self._load_keys(allocation)
            with self._read() as connection:
                # Row by row: a long run has more hours than fit into memory.
                for row_id, key in keys.items():
                    rows = connection.execute(
                        "SELECT sequence, first_hour, boot_ns, wall_ns, components"
                        " FROM hour_vector WHERE key = ? ORDER BY hour",
                        (row_id,),
                    )
                    for sequence, first_hour, boot_ns, wall_ns, components in rows:
                        vector = self._unpack(components)
                        yield HourlyVector(key, sequence, vector, first_hour, boot_ns, wall_ns)

    def allocations(self) -> Iterable[str]:
        """Every allocation that any key names, in order."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT DISTINCT allocation FROM register_key ORDER BY allocation"
            ).fetchall()
        return [allocation for (allocation,) in rows]

    def quarantined(self) -> Iterable[QuarantinedVector]:
        """Every quarantined vector, in key order; released ones too."""
        with self.consistent():
            keys = self._load_keys()
            with self._read() as connection:
                return operations.read_quarantine(connection, keys, self._unpack)

    def claims(self) -> Iterable[Claim]:
        """All claim registers, in key order."""
        with self._read() as connection:
            return read_claims(connection)

    def declarations(self, *, after: int = 0) -> Iterable[Declaration]:
        """Declarations with a sequence above `after`, oldest first."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT sequence, declared_at_ns, author, source, kind, subject, body"
                " FROM declaration WHERE sequence > ? ORDER BY sequence",
                (after,),
            ).fetchall()
        return [
            Declaration(sequence, at_ns, author, source, kind, subject, self._texts(body))
            for sequence, at_ns, author, source, kind, subject, body in rows
        ]

    def audit(self) -> Iterable[AuditRow]:
        """The audit log, oldest first."""
        with self._read() as connection:
            return list(operations.read_audit(connection))

    def transitions(self) -> Iterable[Transition]:
        """All recorded transitions, oldest first."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT sequence, model, threshold, state_before, state_after, decided,"
                " occurred_at_ns, commit_number, figures, delivered"
                " FROM transition ORDER BY sequence"
            ).fetchall()
        return [self._transition(row) for row in rows]

    def damage(self) -> Iterable[str]:
        """What SQLite's own checks find."""
        with self._read() as connection:
            return operations.damage(connection)

    def close(self) -> None:
        """Release the file and its lock; closing twice does no harm."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- writing ---------------------------------------------------------------------------------

    def _advance(self) -> LedgerPosition:
        rows = self._connection.execute(
            "UPDATE meta SET commit_number = commit_number + 1 RETURNING generation, commit_number"
        ).fetchall()
        return LedgerPosition(self._ledger_id, *rows[0])

    def _write_records(self, records: Mapping[str, DeviceRecord]) -> dict[str, int]:
        added = {}
        for record_id, record in records.items():
            if record_id not in self._record_ids:
                content = json.dumps(record.to_json(), sort_keys=True)
                self._connection.execute(
                    "INSERT INTO record (record_id, content) VALUES (?, ?)"
                    " ON CONFLICT (record_id) DO NOTHING",
                    (record_id, content),
                )
                added[record_id] = self._record_row(record_id)
        return added

    def _write_keys(
        self, vectors: Sequence[StoredVector | QuarantinedVector], records: Mapping[str, int]
    ) -> dict[Key, int]:
        added: dict[Key, int] = {}
        for stored in vectors:
            key = stored.key
            if key in self._key_ids or key in added:
                continue
            record = records.get(key.record) or self._record_row(key.record)
            row = _key_row(key, record)
            cursor = self._connection.execute(
                "INSERT INTO register_key"
                " (incarnation, device, allocation, phase, evidence, record)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET phase = excluded.phase"
                " RETURNING id",
                row,
            )
            added[key] = cursor.fetchall()[0][0]
        return added

    def _write_vectors(self, vectors: Sequence[StoredVector], added: Mapping[Key, int]) -> set[int]:
        """Write all branches of the named keys; returns the keys that have several."""
        ids = [self._key_ids.get(stored.key) or added[stored.key] for stored in vectors]
        forked = {key for key, stored in zip(ids, vectors, strict=True) if stored.branch}
        # Only a key that was forked can have a branch too many.
        for key in self._forked.intersection(ids):
            self._connection.execute("DELETE FROM vector WHERE key = ?", (key,))
        self._connection.executemany(
            "INSERT INTO vector VALUES (?, ?, ?, ?) ON CONFLICT (key, branch)"
            " DO UPDATE SET sequence = excluded.sequence, components = excluded.components",
            [
                (key, stored.branch, stored.sequence, _PACKER.pack(*stored.vector))
                for key, stored in zip(ids, vectors, strict=True)
            ],
        )
        return (self._forked - set(ids)) | forked

    def _write_hours(self, hours: Sequence[HourlyVector], added: Mapping[Key, int]) -> None:
        self._connection.executemany(
            "INSERT INTO hour_vector VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key, hour) DO UPDATE"
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
                    _PACKER.pack(*hourly.vector),
                )
                for hourly in hours
            ],
        )

    def _drop_hours(self, dropped: Sequence[tuple[Key, int]]) -> None:
        self._connection.executemany(
            "DELETE FROM hour_vector WHERE key = ? AND hour = ?",
            [(self._key_ids[key], hour) for key, hour in dropped if key in self._key_ids],
        )

    def _write_quarantine(self, batch: Batch, added: Mapping[Key, int]) -> None:
        gone = [self._key_ids[key] for key in batch.dropped_quarantine if key in self._key_ids]
        operations.drop_quarantine(self._connection, gone)
        operations.write_quarantine(
            self._connection,
            batch.quarantined,
            lambda key: self._key_ids.get(key) or added[key],
            lambda vector: _PACKER.pack(*vector),
        )

    def _write_declaration(self, declaration: Declaration) -> int:
        cursor = self._connection.execute(
            "INSERT INTO declaration (declared_at_ns, author, source, kind, subject, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                declaration.declared_at_ns,
                declaration.author,
                declaration.source,
                declaration.kind,
                declaration.subject,
                json.dumps(dict(declaration.body), sort_keys=True),
            ),
        )
        return int(cursor.lastrowid or 0)

    def _write_transitions(self, batch: Batch, commit_number: int) -> None:
        self._connection.executemany(
            "INSERT INTO transition (model, threshold, state_before, state_after, decided,"
            " occurred_at_ns, commit_number, figures, delivered)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    transition.model,
                    transition.threshold,
                    transition.before,
                    transition.after,
                    int(transition.decided),
                    transition.occurred_at_ns,
                    transition.commit_number or commit_number,
                    json.dumps(dict(transition.figures), sort_keys=True),
                    int(transition.delivered),
                )
                for transition in batch.transitions
            ],
        )
        self._connection.executemany(
            "UPDATE transition SET delivered = 1 WHERE sequence = ?",
            [(sequence,) for sequence in batch.delivered_transitions],
        )

    # --- reading ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with storage(self._path, "read"):
            yield self._connection

    def _record_row(self, record_id: str) -> int:
        known = self._record_ids.get(record_id)
        if known is not None:
            return known
        row = self._connection.execute(
            "SELECT id FROM record WHERE record_id = ?", (record_id,)
        ).fetchone()
        invariant(row is not None, f"a key's record {record_id} comes with or before the key")
        return int(row[0])

    def _load_keys(self, only: str | None = None) -> dict[int, Key]:
        """Keys by id, all of them or those of one allocation."""
        keys = {}
        with self._read() as connection:
            rows = connection.execute(
                "SELECT k.id, k.device, k.incarnation, k.allocation, k.phase, k.evidence,"
                " r.record_id FROM register_key AS k JOIN record AS r ON r.id = k.record"
                + ("" if only is None else " WHERE k.allocation = ?"),
                () if only is None else (only,),
            )
            for row_id, device, incarnation, allocation, phase, evidence, record_id in rows:
                key = Key(
                    device=device,
                    incarnation=incarnation.hex(),
                    allocation=allocation,
                    phase=phase,
                    evidence=Evidence(evidence),
                    record=record_id,
                )
                keys[row_id] = key
                self._key_ids[key] = row_id
        return keys

    def _transition(self, row: tuple[Any, ...]) -> Transition:
        sequence, model, threshold, before, after, decided, at_ns, number, figures, delivered = row
        return Transition(
            sequence=sequence,
            model=model,
            threshold=threshold,
            before=before,
            after=after,
            decided=bool(decided),
            occurred_at_ns=at_ns,
            commit_number=number,
            figures=self._texts(figures),
            delivered=bool(delivered),
        )

    def _unpack(self, components: bytes) -> Vector:
        count = len(components) // 8
        if count > COMPONENT_COUNT:
            raise UsageError(
                f"the ledger {self._path} holds vectors of {count} components, this flopmeter "
                f"knows {COMPONENT_COUNT}: upgrade flopmeter"
            )
        values = struct.unpack(f"<{count}q", components)
        return values + (0,) * (COMPONENT_COUNT - count)

    def _object(self, text: str) -> dict[str, object]:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise DataError(
                f"the ledger {self._path} holds text that is not JSON; restore it from a backup"
            ) from error
        if not isinstance(content, dict):
            raise DataError(f"the ledger {self._path} is damaged; restore it from a backup")
        return content

    def _texts(self, text: str) -> dict[str, str]:
        return {name: str(content) for name, content in self._object(text).items()}


_PACKER = struct.Struct(f"<{COMPONENT_COUNT}q")


def _key_row(key: Key, record: int) -> tuple[bytes, str, str, int, int, int]:
    return (
        bytes.fromhex(key.incarnation),
        key.device,
        key.allocation,
        key.phase,
        int(key.evidence),
        record,
    )
