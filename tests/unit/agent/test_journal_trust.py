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


class OldFileOnly(OsBlockFile):
    """A disk on which no new file can be made, as often as told; the old one takes writes."""

    def __init__(self, path: Path, failures: int) -> None:
        """Open the file."""
        super().__init__(path)
        self.failures = failures
        self.made = 0

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Fail as often as told, then make one."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "cannot make a file")
        super().rewrite(length, offset, content)
        self.made += 1


@pytest.mark.parametrize("slots", [2, 3])
@pytest.mark.parametrize("earlier", range(4))
def test_what_may_be_the_only_durable_state_is_not_written_over(
    tmp_path: Path, slots: int, earlier: int
) -> None:
    """A new process that can make nothing durable spares what it found.

    Its own writes lie beside it, so that a power cut that takes all of them leaves a state.
    """
    path = tmp_path / "journal"
    first = Journal(OsBlockFile(path), slots=slots, slot_bytes=4_096)
    for number in range(earlier):
        first.write(b"earlier %d" % number)
    first.write(b"durable")
    first.close()
    successor = Journal(OldFileOnly(path, failures=99), slots=slots, slot_bytes=4_096)
    for number in range(6):
        successor.write(b"written %d" % number)
        assert b"durable" in path.read_bytes()
    successor.close()
    assert Journal(OsBlockFile(path), slots=slots, slot_bytes=4_096).payload == b"written 5"


def test_the_next_write_makes_durable_what_a_new_process_could_not(tmp_path: Path) -> None:
    """While nothing is known to be durable each write tries a new file first, and then none."""
    path = tmp_path / "journal"
    first = Journal(OsBlockFile(path))
    for number in range(3):
        first.write(b"state %d" % number)
    first.close()
    file = OldFileOnly(path, failures=2)
    successor = Journal(file)
    successor.write(b"in the old file")
    assert (file.failures, file.made) == (0, 0)
    successor.write(b"in a new one")
    successor.write(b"beside it")
    assert file.made == 1
    assert b"in the old file" not in path.read_bytes()
