"""The part of a ledger that is the same SQL on every backend: reading, and adding rows.

Owns: the ids that stand for keys and records, the queries, and the rows that are only added.
May touch: the connection its backend hands it.
Called through `ledger.base.Ledger`; the backends inherit it and own how vectors are merged.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from flopmeter_collector.ledger import parts, rows
from flopmeter_collector.ledger.base import (
    AuditRow,
    Batch,
    Coverage,
    Declaration,
    DeclaredSinceError,
    Delivery,
    Foreign,
    HistoryRow,
    Part,
    QuarantinedVector,
    StoredVector,
    Transition,
    audit_link,
)
from flopmeter_core.claims import Claim
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, invariant
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector, LedgerPosition


class Cursor(Protocol):
    """The rows of one statement."""

    def fetchall(self) -> list[Any]:
        """All rows."""

    def fetchone(self) -> Any:
        """The next row, or None."""


class Connection(Protocol):
    """What a database module has to offer; parameters are written ``?``."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Run one statement."""

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run one statement with each of several rows."""


class SqlTables(abc.ABC):
    """Reading and adding, over whatever connection the backend has; see `ledger.base.Ledger`."""

    _QUARANTINE_RULE = ""
    """When a row takes the place of another, in SQL: always, where one collector writes."""

    def __init__(self, name: str) -> None:
        """Prepare; the backend calls `_identify` once it is connected.

        Args:
            name: the ledger in words of a message, without a password.
        """
        self._name = name
        self._ledger_id = ""
        self._simulated = False
        self._key_ids: dict[Key, int] = {}
        self._record_ids: dict[str, int] = {}

    @abc.abstractmethod
    def _guard(self, operation: str) -> contextlib.AbstractContextManager[Connection]:
        """The connection; inside the block its errors become flopmeter's."""

    @abc.abstractmethod
    def _transaction(self, operation: str) -> contextlib.AbstractContextManager[Connection]:
        """The connection; all of the block becomes durable, or nothing."""

    @abc.abstractmethod
    def consistent(self) -> contextlib.AbstractContextManager[None]:
        """Everything read inside the block is of one commit; no commit goes inside it."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the storage; closing twice does no harm."""

    @abc.abstractmethod
    def numbered(self) -> Mapping[str, int]:
        """Of each kind of row that is only added, by its table, the last number that was given."""

    @abc.abstractmethod
    def _next_audit_sequence(self, connection: Connection) -> int:
        """The sequence of the next audit row; nobody else gets the same one."""

    # --- reading ---------------------------------------------------------------------------------

    @property
    def simulated(self) -> bool:
        """Whether this ledger keeps simulated readings."""
        return self._simulated

    @property
    def shared(self) -> bool:
        """Whether several collectors may hold this ledger at a time."""
        return False

    @property
    def unsure(self) -> bool:
        """A file has what it said it has."""
        return False

    def lead(self) -> int:
        """The only collector of a ledger leads, from its start to its end."""
        return 1

    def leader(self) -> str:
        """The only collector of a ledger leads."""
        return "this collector"

    def foreign(self) -> Foreign:
        """The only collector of a ledger knows everything."""
        return Foreign(self.position())

    def position(self) -> LedgerPosition:
        """Identity, generation and number of the last commit."""
        with self._guard("read") as connection:
            generation, number = connection.execute(
                "SELECT generation, commit_number FROM meta"
            ).fetchone()
        return LedgerPosition(self._ledger_id, generation, number)

    def records(self) -> Mapping[str, DeviceRecord]:
        """All device records by id."""
        with self._guard("read") as connection:
            found = connection.execute("SELECT id, record_id, content FROM record").fetchall()
        records = {}
        for row_id, record_id, content in found:
            self._record_ids[record_id] = row_id
            records[record_id] = rows.record_of(content, self._name)
        return records

    def vectors(self) -> Sequence[StoredVector]:
        """All branches of all keys, in key order."""
        # A key of a later commit than the keys just read must not turn up among the vectors.
        with self.consistent():
            keys = self._load_keys()
            with self._guard("read") as connection:
                found = connection.execute(
                    "SELECT key, branch, sequence, components FROM vector ORDER BY key, branch"
                ).fetchall()
        return [
            StoredVector(keys[key], branch, sequence, rows.unpack(components, self._name))
            for key, branch, sequence, components in found
        ]

    def begin_parts(self) -> int:
        """How many keys there are."""
        with self._guard("read") as connection:
            (count,) = connection.execute("SELECT count(*) FROM register_key").fetchone()
        return int(count)

    def part(self, *, after: int, limit: int, known: Container[str]) -> Part:
        """The registers of the next keys by number."""
        with self._guard("read") as connection:
            found = connection.execute(parts.NEXT_KEYS, (after, limit)).fetchall()
        return self._note_part(found, known)

    def part_of(self, nodes: Iterable[str], known: Container[str]) -> Part:
        """All registers of these nodes."""
        found = []
        with self._guard("read") as connection:
            for node in nodes:
                found += connection.execute(parts.KEYS_OF_NODE, (node,)).fetchall()
        return self._note_part(found, known)

    def _note_part(self, found: Sequence[rows.Row], known: Container[str]) -> Part:
        read = parts.found_of(found, known, self._name)
        self._key_ids.update(read.key_ids)
        self._record_ids.update(read.record_ids)
        return read.part

    def quarantined_nodes(self) -> Sequence[str]:
        """The nodes of which any vector is or was quarantined."""
        with self._guard("read") as connection:
            found = connection.execute(parts.QUARANTINED_NODES).fetchall()
        return sorted(node for (node,) in found)

    def hours(self, allocation: str) -> Iterable[HourlyVector]:
        """Vectors at the ends of hours of all keys of an allocation, by key, oldest first."""
        with self.consistent():
            # Key by key: a long run has more hours than fit into memory.
            for row_id, key in self._load_keys("k.allocation = ?", allocation).items():
                with self._guard("read") as connection:
                    found = connection.execute(
                        "SELECT sequence, first_hour, boot_ns, wall_ns, components"
                        " FROM hour_vector WHERE key = ? ORDER BY hour",
                        (row_id,),
                    ).fetchall()
                for sequence, first_hour, boot_ns, wall_ns, components in found:
                    vector = rows.unpack(components, self._name)
                    yield HourlyVector(key, sequence, vector, first_hour, boot_ns, wall_ns)

    def hour_count(self, record_ids: Iterable[str]) -> int:
        """How many hourly vectors there are of keys that name these device records."""
        count = 0
        with self._guard("read") as connection:
            for record_id in record_ids:
                (found,) = connection.execute(
                    "SELECT count(*) FROM hour_vector WHERE key IN (SELECT id FROM register_key"
                    " WHERE record = (SELECT id FROM record WHERE record_id = ?))",
                    (record_id,),
                ).fetchone()
                count += found
        return count

    def allocations(self) -> Iterable[str]:
        """Every allocation that any key names, in order."""
        with self._guard("read") as connection:
            found = connection.execute("SELECT DISTINCT allocation FROM register_key").fetchall()
        return sorted(allocation for (allocation,) in found)

    def quarantined(self) -> Iterable[QuarantinedVector]:
        """Every quarantined vector, in key order; released ones too."""
        with self.consistent():
            keys = self._load_keys("k.id IN (SELECT key FROM quarantine)")
            with self._guard("read") as connection:
                found = connection.execute(
                    f"SELECT key, {rows.QUARANTINE_COLUMNS} FROM quarantine ORDER BY key"
                ).fetchall()
        return [rows.quarantined_of(keys[key], row, self._name) for key, *row in found]

    def claims(self) -> Iterable[Claim]:
        """All claim registers, in the order of their keys' columns."""
        with self._guard("read") as connection:
            found = connection.execute(f"SELECT {rows.CLAIM_COLUMNS} FROM claim").fetchall()
        # Here and not in SQL: a server sorts texts by its own language.
        return [rows.claim_of(row) for row in sorted(found, key=lambda row: row[:10])]

    def coverage(self) -> Iterable[Coverage]:
        """When each incarnation began to classify each device, by incarnation and device."""
        with self._guard("read") as connection:
            found = connection.execute(f"SELECT {rows.COVERAGE_COLUMNS} FROM coverage").fetchall()
        # Sorted here: a server sorts texts by its own language.
        return [rows.coverage_of(row) for row in sorted(found, key=lambda row: tuple(row[:2]))]

    def coverage_part(self, *, after: tuple[str, str] | None, limit: int) -> Sequence[Coverage]:
        """The next rows by incarnation and device."""
        incarnation, device = after or ("", "")
        with self._guard("read") as connection:
            found = connection.execute(
                f"SELECT {rows.COVERAGE_COLUMNS} FROM coverage WHERE (incarnation, device) > (?, ?)"
                " ORDER BY incarnation, device LIMIT ?",
                (bytes.fromhex(incarnation), device, limit),
            ).fetchall()
        return [rows.coverage_of(row) for row in found]

    def declarations(self, *, after: int = 0) -> Iterable[Declaration]:
        """Declarations with a sequence above `after`, oldest first."""
        with self._guard("read") as connection:
            return self._read_declarations(connection, after)

    def audit(self) -> Iterable[AuditRow]:
        """The audit log, oldest first."""
        with self._guard("read") as connection:
            return self._read_audit(connection)

    def newest_audit(self, author: str, action: str) -> AuditRow | None:
        """The newest row of the audit log that an author wrote of an action; None of none."""
        with self._guard("read") as connection:
            found = connection.execute(
                f"SELECT {rows.AUDIT_COLUMNS} FROM audit WHERE author = ? AND action = ?"
                " ORDER BY sequence DESC LIMIT 1",
                (author, action),
            ).fetchone()
        return None if found is None else AuditRow(*found)

    def transitions(self, *, after: int = 0) -> Iterable[Transition]:
        """Recorded transitions with a sequence above `after`, oldest first."""
        with self._guard("read") as connection:
            found = connection.execute(
                f"SELECT sequence, {rows.TRANSITION_COLUMNS} FROM transition"
                " WHERE sequence > ? ORDER BY sequence",
                (after,),
            ).fetchall()
        return [rows.transition_of(row, self._name) for row in found]

    def history(self, *, since_ns: int = 0) -> Iterable[HistoryRow]:
        """Published totals of models from a time on, oldest first."""
        with self._guard("read") as connection:
            found = connection.execute(
                f"SELECT {rows.HISTORY_COLUMNS} FROM total_history WHERE at_ns >= ?"
                " ORDER BY at_ns, revalued, model",
                (since_ns,),
            ).fetchall()
        return [rows.history_of(row, self._name) for row in found]

    def deliveries(self) -> Iterable[Delivery]:
        """Everything a receiver accepted."""
        with self._guard("read") as connection:
            found = connection.execute(
                "SELECT event, receiver, accepted_at_ns FROM alert_delivery"
            ).fetchall()
        return [Delivery(*row) for row in found]

    # --- adding ----------------------------------------------------------------------------------

    def append_declaration(
        self,
        declaration: Declaration,
        *,
        audit: AuditRow | None = None,
        since: int = 0,
        check: Callable[[Iterable[Declaration]], None] | None = None,
    ) -> Declaration:
        """Add one declaration; any process may, while a collector runs.

        Args:
            declaration: its sequence is given here.
            audit: a row for the audit log that stands or falls with it.
            since: sequence of the last declaration that its author knew of.
            check: given those after it, while nobody can add another one; what it raises leaves
                the ledger as it was.

        Returns:
            The declaration with the sequence it got.
        """
        with self._transaction("store a declaration") as connection:
            self._advance(connection)
            if check is not None:
                check(self._read_declarations(connection, since))
            sequence = self._write_declaration(connection, declaration)
            if audit is not None:
                self._write_audit(connection, audit)
        return dataclasses.replace(declaration, sequence=sequence)

    def append_audit(self, row: AuditRow) -> AuditRow:
        """Add one row to the audit log; the ledger's position stays, for no figure changes.

        Returns:
            The row with the sequence it got.
        """
        with self._transaction("record an audit row") as connection:
            return self._write_audit(connection, row)

    # --- for the backends ------------------------------------------------------------------------

    def _identify(self) -> None:
        """Learn which ledger this is.

        Raises:
            DataError: it has no identity.
        """
        with self._guard("read") as connection:
            row = connection.execute("SELECT ledger_id, simulated FROM meta").fetchone()
        if row is None:
            raise DataError(f"the ledger {self._name} has no identity; restore it from a backup")
        self._ledger_id, self._simulated = str(row[0]), bool(row[1])

    def _advance(self, connection: Connection) -> LedgerPosition:
        """Take the next commit number; on a server this row's lock puts commits in their order."""
        found = connection.execute(
            "UPDATE meta SET commit_number = commit_number + 1 RETURNING generation, commit_number"
        ).fetchall()
        return LedgerPosition(self._ledger_id, *found[0])

    def _check_declared(self, connection: Connection, batch: Batch) -> None:
        """Refuse to drop hours that something was declared of since: under the lock of commits."""
        if batch.declared_to is None:
            invariant(not batch.dropped_hours, "hours are dropped by what was declared")
            return
        (newest,) = connection.execute(
            "SELECT coalesce(max(sequence), 0) FROM declaration"
        ).fetchone()
        if newest > batch.declared_to:
            raise DeclaredSinceError(
                f"declaration {newest} came while old hours were looked through; they are looked "
                "through again"
            )

    def _write_declaration(self, connection: Connection, declaration: Declaration) -> int:
        added = connection.execute(
            f"INSERT INTO declaration ({rows.DECLARATION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
            " RETURNING sequence",
            rows.declaration_row(declaration),
        ).fetchall()
        return int(added[0][0])

    def _write_audit(self, connection: Connection, row: AuditRow) -> AuditRow:
        """Add one row and chain it to those before it; returns it with its sequence and link."""
        # First: on a server it takes the lock under which nobody else adds a row meanwhile.
        sequence = self._next_audit_sequence(connection)
        newest = connection.execute(
            "SELECT link FROM audit ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        before: str = newest[0] if newest else ""
        if not before:
            for earlier in self._read_audit(connection):
                before = audit_link(before, earlier)
        row = dataclasses.replace(row, sequence=sequence)
        row = dataclasses.replace(row, link=audit_link(before, row))
        connection.execute(
            f"INSERT INTO audit ({rows.AUDIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            dataclasses.astuple(row),
        )
        return row

    def _read_declarations(self, connection: Connection, after: int) -> list[Declaration]:
        found = connection.execute(
            f"SELECT sequence, {rows.DECLARATION_COLUMNS} FROM declaration"
            " WHERE sequence > ? ORDER BY sequence",
            (after,),
        ).fetchall()
        return [rows.declaration_of(row, self._name) for row in found]

    def _read_audit(self, connection: Connection) -> list[AuditRow]:
        found = connection.execute(f"SELECT {rows.AUDIT_COLUMNS} FROM audit ORDER BY sequence")
        return [AuditRow(*row) for row in found.fetchall()]

    def _write_quarantine(
        self, connection: Connection, batch: Batch, ids: Mapping[Key, int]
    ) -> None:
        """Put a batch's rows in the place of older ones of the same keys."""
        connection.executemany(
            f"INSERT INTO quarantine (key, {rows.QUARANTINE_COLUMNS})"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " sequence = excluded.sequence, components = excluded.components,"
            " boot_ns = excluded.boot_ns, reason = excluded.reason,"
            " quarantined_at_ns = excluded.quarantined_at_ns, released = excluded.released"
            + self._QUARANTINE_RULE,
            [(ids[held.key], *rows.quarantine_row(held)) for held in batch.quarantined],
        )

    def _write_coverage(self, connection: Connection, coverage: Iterable[Coverage]) -> None:
        """Keep the least of each number, whoever writes it: the collectors may be several."""
        connection.executemany(
            f"INSERT INTO coverage ({rows.COVERAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (incarnation, device) DO UPDATE SET node = excluded.node, boot_id ="
            " CASE WHEN excluded.boot_id = '' THEN coverage.boot_id ELSE excluded.boot_id END,"
            f" since_ns = {_least('since_ns')}, anchor_ns = {_least('anchor_ns')},"
            f" first_seen_ns = {_least('first_seen_ns')},"
            f" first_covered_ns = {_least('first_covered_ns')}",
            [
                rows.coverage_row(row)
                for row in sorted(coverage, key=lambda row: (row.incarnation, row.device))
            ],
        )

    def _write_transitions(self, connection: Connection, batch: Batch, commit_number: int) -> None:
        connection.executemany(
            f"INSERT INTO transition ({rows.TRANSITION_COLUMNS})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [rows.transition_row(transition, commit_number) for transition in batch.transitions],
        )
        connection.executemany(
            "UPDATE transition SET delivered = 1 WHERE sequence = ?",
            [(sequence,) for sequence in batch.delivered_transitions],
        )

    def _write_history(self, connection: Connection, batch: Batch) -> None:
        """Add what models stood at, and what receivers accepted."""
        connection.executemany(
            f"INSERT INTO total_history ({rows.HISTORY_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            [rows.history_row(row) for row in batch.history],
        )
        connection.executemany(
            "INSERT INTO alert_delivery (event, receiver, accepted_at_ns) VALUES (?, ?, ?)"
            " ON CONFLICT (event, receiver) DO NOTHING",
            [(row.event, row.receiver, row.accepted_at_ns) for row in batch.deliveries],
        )

    def _write_records(
        self, connection: Connection, records: Mapping[str, DeviceRecord]
    ) -> dict[str, int]:
        """Add records that are new; returns their rows, to be remembered after the commit."""
        added = {}
        # In their own order: two collectors that add the same ones never wait for each other.
        for record_id, record in sorted(records.items()):
            if record_id not in self._record_ids:
                connection.execute(
                    "INSERT INTO record (record_id, content, node) VALUES (?, ?, ?)"
                    " ON CONFLICT (record_id) DO NOTHING",
                    (record_id, rows.record_text(record), record.node),
                )
                added[record_id] = self._record_row(connection, record_id)
        return added

    def _record_row(self, connection: Connection, record_id: str) -> int:
        known = self._record_ids.get(record_id)
        if known is not None:
            return known
        row = connection.execute(
            "SELECT id FROM record WHERE record_id = ?", (record_id,)
        ).fetchone()
        invariant(row is not None, f"a key's record {record_id} comes with or before the key")
        return int(row[0])

    def _load_keys(self, where: str = "", *of: object) -> dict[int, Key]:
        """Keys by id, all of them or those that a condition in SQL names."""
        keys = {}
        with self._guard("read") as connection:
            found = connection.execute(
                "SELECT k.id, k.incarnation, k.device, k.allocation, k.phase, k.evidence,"
                " r.record_id FROM register_key AS k JOIN record AS r ON r.id = k.record"
                + (f" WHERE {where}" if where else "")
                + " ORDER BY k.id",
                of,
            ).fetchall()
        for row_id, *columns in found:
            key = keys[row_id] = rows.key_of(columns)
            self._key_ids[key] = row_id
        return keys


def _least(column: str) -> str:
    """SQL for the lesser of a stored number and a new one; a missing one is no number."""
    stored, new = f"coverage.{column}", f"excluded.{column}"
    return f"CASE WHEN {stored} IS NULL OR {new} < {stored} THEN {new} ELSE {stored} END"
