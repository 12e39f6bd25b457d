"""The ledger in one SQLite file.

Owns: the ways to open the file: to collect, to declare, to read; and its copies.
May touch: the ledger file, its -wal and -shm, its `.lock` and backups beside it.
Called by flopmeter_collector.backends; the rest knows `ledger.base` only.
Explained in docs/adr/0005-delivery-and-durability.md.

Synchronous is FULL: with WAL that is one sync a commit, and anything weaker would acknowledge
what a power cut can still take away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from flopmeter_collector.ledger import migrations
from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.ledger.sqlite.copies import Copy as Copy
from flopmeter_collector.ledger.sqlite.copies import back_up as back_up
from flopmeter_collector.ledger.sqlite.copies import restore as restore
from flopmeter_collector.ledger.sqlite.file import Access, connect, lock_for_collecting, storage
from flopmeter_collector.ledger.sqlite.schema import (
    bring_up,
    check_library,
    check_not_newer,
    schema_version,
)
from flopmeter_collector.ledger.sqlite.settings import examine as examine
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_core.errors import NotPermittedError, UsageError
from flopmeter_core.units import REGISTER_LIMIT


def open_for_collecting(
    path: Path,
    *,
    simulated: bool,
    new_ledger_id: Callable[[], str],
    steps: Sequence[Migration] | None = None,
) -> SqliteLedger:
    """Open a ledger as the one collector that writes to it; create it when it does not exist.

    Args:
        path: the ledger's file.
        simulated: the kind of readings it has to keep.
        new_ledger_id: draws 32 random hexadecimal digits: the identity of a new ledger, and
            the generation of this start.
        steps: the schema's steps; for tests of a migration.

    Raises:
        BusyError: another collector holds it.
        NotPermittedError: it keeps the other kind.
        UsageError: a folder that does not exist, or a file of a newer flopmeter.
        DataError: the file is no ledger.
        StorageError: the disk refuses.
    """
    check_library()
    path = path.resolve()
    if not path.parent.is_dir():
        raise UsageError(
            f"the folder {path.parent} of the ledger does not exist; create it, or name another "
            "file"
        )
    steps = steps or migrations.load()
    lock = lock_for_collecting(path)
    try:
        connection = connect(path, Access.COLLECT)
        try:
            with storage(path, "open"):
                # A foreign or newer file is refused before anything in it is changed.
                check_not_newer(schema_version(connection, path), steps[-1].version, path)
                connection.execute("PRAGMA journal_mode = WAL")
                bring_up(
                    connection,
                    path,
                    steps,
                    ledger_id=new_ledger_id(),
                    simulated=simulated,
                )
            ledger = SqliteLedger(path, connection, lock)
            _check_kind(ledger, path, simulated=simulated)
            ledger.begin(int(new_ledger_id(), 16) % REGISTER_LIMIT)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        os.close(lock)
        raise
    return ledger


def open_for_declaring(path: Path) -> SqliteLedger:
    """Open an existing ledger to add declarations, while a collector may be running.

    Raises:
        UsageError: there is no ledger, or its schema is another version's.
        DataError: the file is no ledger.
    """
    return _open_existing(path, Access.DECLARE)


def open_for_reading(path: Path) -> SqliteLedger:
    """Open an existing ledger for queries; nothing in it can be changed.

    Raises:
        UsageError: there is no ledger, or its schema is another version's.
        DataError: the file is no ledger.
    """
    return _open_existing(path, Access.READ)


def _open_existing(path: Path, access: Access) -> SqliteLedger:
    check_library()
    path = path.resolve()
    if not path.exists():
        raise UsageError(
            f"there is no ledger at {path}; a collector creates it (flopmeter collector --ledger)"
        )
    connection = connect(path, access)
    newest = migrations.load()[-1].version
    try:
        with storage(path, "open"):
            version = schema_version(connection, path)
        check_not_newer(version, newest, path)
        if version < newest:
            raise UsageError(
                f"the ledger {path} has the older schema {version}: start a collector of this "
                "version on it once, which brings it up to date"
            )
        return SqliteLedger(path, connection, None)
    except BaseException:
        connection.close()
        raise


def _check_kind(ledger: SqliteLedger, path: Path, *, simulated: bool) -> None:
    if ledger.simulated == simulated:
        return
    kept, asked = ("simulated", "real") if ledger.simulated else ("real", "simulated")
    hint = "add" if ledger.simulated else "leave out"
    raise NotPermittedError(
        f"the ledger {path} was created for {kept} readings and never takes {asked} ones; name "
        f"another ledger, or {hint} --simulated"
    )
