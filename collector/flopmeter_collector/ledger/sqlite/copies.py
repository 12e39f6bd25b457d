"""Copies of an SQLite ledger: a backup while a collector serves, and putting one back.

Owns: the backup file, the checksum beside it, and the rule that nothing is ever written over.
May touch: the ledger file (reading), the copy and its `.sha256`; the lock of a ledger put back.
Called by flopmeter_collector.backends.
Explained in docs/adr/0013-operating-a-ledger.md.

A copy is made by SQLite's own online copy, checked page by page, synced, and only then given its
name: a file that has the name is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flopmeter_collector.ledger import migrations
from flopmeter_collector.ledger.base import AuditRow
from flopmeter_collector.ledger.sqlite.check import damage
from flopmeter_collector.ledger.sqlite.file import (
    Access,
    connect,
    lock_for_collecting,
    new_file,
    storage,
    sync,
)
from flopmeter_collector.ledger.sqlite.schema import (
    check_library,
    check_not_newer,
    schema_version,
    step_forward,
    transaction,
)
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_core.errors import DataError, UsageError, unreadable
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.units import REGISTER_LIMIT


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy that was made and checked.

    Attributes:
        path: where it lies.
        size_bytes: its size.
        sha256: 64 hexadecimal digits.
        schema: version of its schema.
        position: where the ledger stood that it holds.
        checksum_was_given: whether a restored file had a checksum beside it.
    """

    path: Path
    size_bytes: int
    sha256: str
    schema: int
    position: LedgerPosition
    checksum_was_given: bool = True


def checksum_path(path: Path) -> Path:
    """The file that holds a copy's SHA-256, in the form of `sha256sum`."""
    return path.with_name(f"{path.name}.sha256")


def back_up(path: Path, target: Path) -> Copy:
    """Copy a ledger to a new file, while a collector may be writing to it.

    Raises:
        UsageError: there is no such ledger, or the target exists.
        DataError: the file is no ledger, or the copy is damaged.
        StorageError: the disk refuses; no file is left under the target's name.
    """
    check_library()
    path, target = path.resolve(), target.resolve()
    if not path.exists():
        raise UsageError(f"there is no ledger at {path}; name one that exists")
    for taken in (target, checksum_path(target)):
        if taken.exists():
            raise UsageError(f"{taken} exists and is not written over; name another file")
    with contextlib.closing(connect(path, Access.READ)) as source:
        with storage(path, "be copied"):
            check_not_newer(schema_version(source, path), migrations.load()[-1].version, path)
        with _placed(target) as partial:
            _copy(source, path, partial, target)
            schema, position = _checked(partial)
            digest = _sha256(partial)
            size_bytes = partial.stat().st_size
    text = f"{digest}  {target.name}\n".encode()
    with _placed(checksum_path(target)) as partial, partial.open("wb") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    return Copy(target, size_bytes, digest, schema, position)


def restore(
    source: Path, path: Path, *, new_generation: Callable[[], str], audit: AuditRow
) -> Copy:
    """Put a backup in the place of a ledger that is gone.

    Args:
        source: the backup; its `.sha256` is held against it where there is one.
        path: the ledger's file; it may not exist.
        new_generation: draws 32 random hexadecimal digits: under another generation agents send
            everything they have again.
        audit: the row that says who put it back.

    Raises:
        UsageError: no backup, one of a newer flopmeter, or a ledger that exists.
        DataError: the backup is damaged, or is not the file its checksum was made of.
        StorageError: the disk refuses; no ledger is left under the path.
    """
    check_library()
    source, path = source.resolve(), path.resolve()
    if not source.exists():
        raise UsageError(f"there is no backup at {source}; name one that exists")
    if source.is_dir():
        raise UsageError(f"{source} is a folder and no backup; name the file in it")
    for taken in (path, Path(f"{path}-wal")):
        if taken.exists():
            raise UsageError(
                f"{taken} exists and is not written over; move it away first if it has to go"
            )
    given = _check_sum(source)
    lock = lock_for_collecting(path)
    try:
        with contextlib.closing(connect(source, Access.READ)) as opened:
            with storage(source, "be read"):
                version = schema_version(opened, source)
            if version == 0:
                raise DataError(f"{source} is an empty file and no backup of a ledger")
            check_not_newer(version, migrations.load()[-1].version, source)
            with _placed(path) as partial:
                _copy(opened, source, partial, path)
                _checked(partial)
                _enter(partial, version, new_generation, audit)
                schema, position = _checked(partial)
                digest, size_bytes = _sha256(partial), partial.stat().st_size
    finally:
        os.close(lock)
    return Copy(path, size_bytes, digest, schema, position, checksum_was_given=given)


def _enter(partial: Path, version: int, new_generation: Callable[[], str], audit: AuditRow) -> None:
    """Make a copy the ledger: the present schema, a generation of its own, and who did it."""
    connection = connect(partial, Access.COLLECT)
    try:
        with storage(partial, "be restored"):
            step_forward(connection, version, migrations.load())
            generation = int(new_generation(), 16) % REGISTER_LIMIT
            with transaction(connection):
                connection.execute("UPDATE meta SET generation = ?", (generation,))
            SqliteLedger(partial, connection, None).append_audit(audit)
            # Everything has to lie in the one file that gets the name.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
    sync(partial)


def _copy(source: sqlite3.Connection, path: Path, partial: Path, target: Path) -> None:
    with (
        storage(path, "be copied", full=target),
        contextlib.closing(sqlite3.connect(partial)) as copy,
    ):
        source.backup(copy)
        # The copy of a ledger in WAL mode has the mode; a single file needs no journal beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
    sync(partial)


def _checked(partial: Path) -> tuple[int, LedgerPosition]:
    """Check a copy's pages and links; returns its schema and where its ledger stood."""
    with contextlib.closing(connect(partial, Access.READ)) as copy, storage(partial, "be checked"):
        found = damage(copy)
        if found:
            raise DataError(f"the copy is damaged: {found[0]}")
        row = copy.execute("SELECT ledger_id, generation, commit_number FROM meta").fetchone()
        return schema_version(copy, partial), LedgerPosition(*row)


def _check_sum(source: Path) -> bool:
    """Hold a backup against its checksum; returns whether it has one."""
    try:
        given = checksum_path(source).read_bytes().split()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(checksum_path(source), error) from error
    if given[:1] != [_sha256(source).encode()]:
        raise DataError(
            f"{source} is not the file its checksum was made of; take another backup, or the "
            "right checksum"
        )
    return True


@contextlib.contextmanager
def _placed(target: Path) -> Iterator[Path]:
    """A file that gets its name when the block ends well, and only if nobody has the name."""
    with new_file(target) as partial:
        yield partial
        try:
            os.link(partial, target)
        except FileExistsError as error:
            raise UsageError(
                f"{target} exists and is not written over; name another file"
            ) from error
        sync(target.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.sha256).hexdigest()
