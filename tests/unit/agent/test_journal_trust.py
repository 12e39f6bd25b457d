"""What a new process finds in its journal is relied on only once it is durable for certain."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import StorageError


class LyingFile(OsBlockFile):
    """A disk whose failed sync drops what it should have written, and whose next one succeeds."""

    def __init__(self, path: Path) -> None:
        """Open the file; durable is what a new file brought."""
        super().__init__(path)
        self.errno: int | None = None
        self.durable = b""

    def sync(self) -> None:
        """Fail where told so; otherwise say that all is well, which is not so."""
        if self.errno is not None:
            raise OSError(self.errno, "cannot sync")

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Bring a durable file, or fail."""
        if self.errno is not None:
            raise OSError(self.errno, "cannot make a file")
        super().rewrite(length, offset, content)
        self.durable = content


def test_a_killed_predecessors_failed_sync_is_not_trusted(tmp_path: Path) -> None:
    """What a new process reads may be in memory only: it is made durable in a new file."""
    path = tmp_path / "journal"
    first = LyingFile(path)
    journal = Journal(first)
    journal.write(b"state 1")
    first.errno = errno.EIO
    journal.write(b"state 2")
    with pytest.raises(StorageError):
        journal.sync()
    second = LyingFile(path)  # the process was killed; the power stayed on
    successor = Journal(second)
    successor.sync()
    assert successor.payload == b"state 2"
    assert second.durable.endswith(b"state 2")


@pytest.mark.parametrize(("number", "trusted"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_new_process_on_a_bad_disk(tmp_path: Path, number: int, trusted: bool) -> None:
    """A full disk must not keep an agent from reporting; a failing one must, until it works."""
    path = tmp_path / "journal"
    Journal(OsBlockFile(path)).write(b"state 1")

    class BadFile(LyingFile):
        def rewrite(self, length: int, offset: int, content: bytes) -> None:
            raise OSError(number, "cannot make a file")

    successor = Journal(BadFile(path))
    if trusted:
        successor.sync()
        return
    with pytest.raises(StorageError, match="cannot be made durable"):
        successor.sync()
