"""Whether the place of an SQLite ledger gives what flopmeter promises of it.

Owns: what is asked of the file and of the file system under it.
May touch: the ledger file, read-only, and /proc/mounts.
Called by flopmeter_collector.backends for `flopmeter doctor`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from flopmeter_collector.ledger.base import Finding
from flopmeter_collector.ledger.sqlite.file import Access, connect, storage

MOUNTS = Path("/proc/mounts")

_IN_MEMORY = {"tmpfs", "ramfs"}
_ON_A_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "lustre"}

_FULL = 2
"""PRAGMA synchronous: a commit waits for the disk."""


def examine(path: Path, mounts: str | None = None) -> Iterator[Finding]:
    """Look at a ledger's file, one finding each.

    Args:
        path: the file; it has to exist.
        mounts: text of /proc/mounts; None reads it.

    Raises:
        StorageError, DataError: the file cannot be opened, or is no ledger.
    """
    with contextlib.closing(connect(path, Access.READ)) as connection, storage(path, "read"):
        journal = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        synchronous = int(connection.execute("PRAGMA synchronous").fetchone()[0])
    yield Finding(
        "journal_mode",
        journal,
        journal == "wal",
        "readers and the collector do not hold each other up"
        if journal == "wal"
        else "a reader holds the collector up: start a collector on it once",
    )
    yield Finding(
        "synchronous",
        "full" if synchronous == _FULL else str(synchronous),
        synchronous == _FULL,
        "a commit waits for the disk"
        if synchronous == _FULL
        else "a power cut takes what was acknowledged: report this",
    )
    kind = file_system(path.resolve(), mounts if mounts is not None else MOUNTS.read_text())
    yield _place(kind)
    yield Finding(
        "copies",
        "1",
        None,
        "the file is on one machine: copy it (flopmeter ledger backup), or use PostgreSQL",
    )


def _place(kind: str) -> Finding:
    if kind in _IN_MEMORY:
        told = "the ledger is gone with the next restart of the machine: move it to a disk"
    elif kind in _ON_A_NETWORK:
        told = "locks and syncs of a network file system cannot be relied on: move it to a disk"
    else:
        return Finding("file system", kind, True, "is no memory and no network")
    return Finding("file system", kind, False, told)


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that holds a path, by the text of /proc/mounts."""
    best, kind = "", "not known"
    for line in mounts.splitlines():
        _, point, found, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = f"{path}/".startswith(f"{point.rstrip('/')}/")
        # The last of two mounts on one point hides the other.
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
