"""The file of an SQLite ledger: connecting, the collector's lock, and what its errors mean.

Owns: the connection's settings, the lock beside the file, and one sentence for each failure.
May touch: the ledger file and its `.lock`.
Called by the other modules of this package.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flopmeter_collector.ledger.base import LedgerBusyError
from flopmeter_core.errors import BusyError, DataError, StorageError

BUSY_TIMEOUT_S = 10.0
"""How long to wait for another process' short write (a declaration) before giving up."""


class Access(enum.Enum):
    """What a ledger is opened for."""

    COLLECT = "collect"
    DECLARE = "declare"
    READ = "read"


def connect(path: Path, access: Access) -> sqlite3.Connection:
    """Connect with the settings every use needs."""
    mode = {Access.COLLECT: "rwc", Access.DECLARE: "rw", Access.READ: "ro"}[access]
    if access is Access.COLLECT:
        # What stands in the way otherwise is SQLite's to say.
        with contextlib.suppress(OSError):
            create_private(path)
    with storage(path, "open"):
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            # Used by one thread at a time, but not always the one that opened it.
            check_same_thread=False,
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def create_private(path: Path) -> None:
    """Make a new file its owner's alone; SQLite gives its journal the rights of the file.

    Raises:
        OSError: it exists, or cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A new file beside a target, its owner's alone; the block gives it the name, or it goes.

    Until then it has a name that nobody else has: what a killed process left is in nobody's way.

    Raises:
        StorageError: the disk refuses.
    """
    partial = None
    try:
        opened, name = tempfile.mkstemp(prefix=f"{target.name}.partial-", dir=target.parent)
        os.close(opened)
        partial = Path(name)
        yield partial
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written: {error.strerror}; check its folder and its disk"
        ) from error
    finally:
        if partial is not None:
            for left in (partial, Path(f"{partial}-wal"), Path(f"{partial}-shm")):
                left.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file or a folder durable.

    Raises:
        OSError: the disk refuses.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def lock_for_collecting(path: Path) -> int:
    """Take the collector's lock; readers and writers of declarations do not need it.

    Raises:
        BusyError: another collector has it; one whose disk hangs in the kernel is killed without
            ending, and has it until it ends.
        StorageError: the lock cannot be opened.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(
            f"the lock {path}.lock cannot be opened: {error.strerror}; check the folder's rights "
            "and its disk"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise BusyError(
            f"the ledger {path} is held by another collector; stop that one, or name another ledger"
        ) from error
    return lock


def handle(path: Path) -> int:
    """A descriptor that tells whether a file still has a name.

    Nothing can be read by it, and that is meant: whoever closes an ordinary one of a file that
    SQLite has open takes SQLite's own locks away.

    Raises:
        StorageError: it has none by now.
    """
    try:
        return os.open(path, os.O_PATH)
    except OSError as error:
        raise StorageError(
            f"the ledger {path} cannot be opened: {error.strerror}; check its folder and start "
            "again"
        ) from error


_HINTS = {
    "SQLITE_FULL": "free space on its disk and start again",
    "SQLITE_BUSY": "another process holds it for long; find and stop that process",
    "SQLITE_READONLY": "give this user the right to write it and its folder",
    "SQLITE_CANTOPEN": "check that its folder exists and that this user may use it",
    "SQLITE_PERM": "check that this user may use it",
}


@contextlib.contextmanager
def storage(path: Path, operation: str, *, full: Path | None = None) -> Iterator[None]:
    """Turn SQLite's errors into ours, once and here.

    Args:
        path: the file.
        operation: what cannot be done with it, for the sentence.
        full: the file whose disk is full where one is; `path` where None.
    """
    try:
        yield
    except sqlite3.Error as error:
        # "SQLITE_IOERR_WRITE" is a kind of "SQLITE_IOERR".
        name = getattr(error, "sqlite_errorname", "")
        kind = "_".join(name.split("_")[:2])
        if kind == "SQLITE_NOTADB":
            raise DataError(f"{path} is no ledger (not an SQLite database)") from error
        if kind == "SQLITE_CORRUPT":
            raise DataError(f"the ledger {path} is damaged; restore it from a backup") from error
        hint = _HINTS.get(kind, "check its disk and start again")
        if kind == "SQLITE_FULL" and full is not None:
            hint = f"free space on the disk of {full} and start again"
        family = LedgerBusyError if kind == "SQLITE_BUSY" else StorageError
        raise family(f"the ledger {path} cannot {operation}: {error}; {hint}") from error
