"""Brings an SQLite file to the present schema: creates it, or steps it forward.

Owns: recognising the file, the backup before a step, and running steps in one transaction each.
May touch: the connection it is given, and a backup file beside the ledger.
Called by the open functions of this package; docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

import contextlib
import glob
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.ledger.sqlite.check import damage
from flopmeter_collector.ledger.sqlite.file import new_file, storage, sync
from flopmeter_core.errors import DataError, UsageError

APPLICATION_ID = 0x464C4F50
"""SQLite's mark of the program a file belongs to: the letters FLOP."""

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables came with SQLite 3.37.0 (2021-11-27)."""


def check_library(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Refuse an SQLite library that is too old.

    Raises:
        UsageError: with the version that is needed.
    """
    if version < OLDEST_SQLITE:
        raise UsageError(
            f"this Python uses SQLite {'.'.join(map(str, version))}; flopmeter needs "
            f"{'.'.join(map(str, OLDEST_SQLITE))} or newer: install a newer Python"
        )


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a file; 0 when it is new and empty.

    Raises:
        DataError: the file belongs to another program.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application == APPLICATION_ID:
        return version
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application or version or tables:
        raise DataError(
            f"{path} is an SQLite database of another program; name another file for the ledger"
        )
    return 0


def check_not_newer(version: int, newest: int, path: Path) -> None:
    """Refuse a schema this version does not know.

    Raises:
        UsageError: the file was written by a newer flopmeter.
    """
    if version > newest:
        raise UsageError(
            f"the ledger {path} was written by a newer flopmeter (schema {version}, this one "
            f"knows {newest}): upgrade flopmeter"
        )


def bring_up(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Migration],
    *,
    ledger_id: str,
    simulated: bool,
) -> None:
    """Create the schema, or step it forward after a backup.

    A killed process leaves the file at the step before: each step is one transaction, and the
    creation with its identity is one too.

    Args:
        connection: to the file.
        path: its name.
        migrations: the steps, oldest first; the file's schema is none above them.
        ledger_id: identity of a new ledger.
        simulated: kind of a new ledger.

    Raises:
        DataError: the file belongs to another program, or the copy turned out damaged.
        StorageError: the copy cannot be written.
    """
    version = schema_version(connection, path)
    if version == 0:
        with transaction(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for migration in migrations:
                _run(connection, migration)
            connection.execute(
                "INSERT INTO meta VALUES (1, ?, 1, 0, ?)", (ledger_id, int(simulated))
            )
        return
    if version < migrations[-1].version:
        _back_up(connection, path, path.with_name(f"{path.name}.schema-{version}.bak"))
        step_forward(connection, version, migrations)


def step_forward(
    connection: sqlite3.Connection, version: int, migrations: Sequence[Migration]
) -> None:
    """Run the steps above a version, each as one transaction."""
    for migration in migrations:
        if migration.version > version:
            with transaction(connection):
                _run(connection, migration)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing; the lock is taken at once, so that no step fails half way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a failed write SQLite may have rolled back by itself; the first error matters.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _run(connection: sqlite3.Connection, migration: Migration) -> None:
    # Not executescript: that one commits first.
    for statement in _statements(migration.sql):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {migration.version}")


def _statements(sql: str) -> Iterator[str]:
    """Part a script at the semicolons that end a statement (those of a trigger do not)."""
    statement = ""
    for piece in sql.split(";")[:-1]:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _back_up(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    """Copy the whole ledger beside itself; a copy that is whole takes the place of an earlier."""
    # The ledger is locked, so nobody writes to these: a start that is killed again and again must
    # not fill the disk with pieces.
    for left in target.parent.glob(f"{glob.escape(target.name)}.partial-*"):
        left.unlink(missing_ok=True)
    with new_file(target) as partial:
        with (
            storage(path, "be copied before its upgrade", full=target),
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            connection.backup(copy)
            found = damage(copy)
        if found:
            raise DataError(
                f"the ledger was not upgraded, because its copy {target} is damaged: {found[0]}"
            )
        sync(partial)
        partial.replace(target)
        sync(target.parent)
