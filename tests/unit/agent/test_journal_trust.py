"""What a new process finds in its journal is relied on only once it is durable for certain."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    assert b"state 2" in second.durable


@pytest.mark.parametrize(
    ("number", "trusted"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)]
)
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
    # Of two slots that both hold something none may be given up.
    refused = pytest.raises(StorageError, match="may be all that is durable")
    full = slots == 2 and earlier > 0
    for number in range(6):
        with refused if full else contextlib.nullcontext():
            successor.write(b"written %d" % number)
        assert b"durable" in path.read_bytes()
    successor.close()
    newest = b"durable" if full else b"written 5"
    assert Journal(OsBlockFile(path), slots=slots, slot_bytes=4_096).payload == newest


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("slots", [2, 3])
@given(steps=st.lists(st.sampled_from(["write", "write", "sync"]), max_size=9))
@settings(max_examples=20)
def test_the_state_synced_last_is_spared_by_whoever_comes_after(
    slots: int, processes: int, steps: list[str]
) -> None:
    """However a killed process left the slots, its successors keep all that may be durable.

    A power cut before the first sync takes what was only written: the state that was synced last
    must be there still, in a slot that nobody wrote since. What was written last must be too,
    because it may have been synced as well.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        first = Journal(OsBlockFile(path), slots=slots, slot_bytes=4_096)
        first.write(b"state 0.")
        durable = newest = b"state 0."
        for number, step in enumerate(steps, start=1):
            if step == "write":
                newest = b"state %d." % number
                first.write(newest)
            else:
                first.sync()
                durable = newest
        first.close()
        for _ in range(processes):
            successor = Journal(OldFileOnly(path, failures=99), slots=slots, slot_bytes=4_096)
            for number in range(4):
                with contextlib.suppress(StorageError):
                    successor.write(b"later %d." % number)
            successor.close()
        left = path.read_bytes()
        assert durable in left
        assert newest in left


def spared(path: Path, garble: int | None = None) -> bool:
    """Whether a successor on a bad disk spares what was synced before the newest write.

    The file at `path` has three slots of 4,096 bytes, of which the last one written is the third.
    """
    if garble is not None:
        content = bytearray(path.read_bytes())
        content[garble] ^= 1
        path.write_bytes(content)
    successor = Journal(OldFileOnly(path, failures=99), slots=3, slot_bytes=4_096)
    for number in range(3):
        successor.write(b"later %d" % number)
    successor.close()
    return b"synced" in path.read_bytes()


def synced_and_written(path: Path, last: bytes) -> int:
    """A process that synced one state and wrote two more; gives where the last slot begins."""
    first = Journal(OsBlockFile(path), slots=3, slot_bytes=4_096)
    first.write(b"synced")
    first.sync()
    first.write(b"another")
    first.write(last)
    first.close()
    return path.read_bytes().index(last) - 40


def test_a_mark_that_is_garbled_says_nothing(tmp_path: Path) -> None:
    """Every byte of it counts; without a mark the newest state alone is spared, as before marks."""
    path = tmp_path / "journal"
    synced_and_written(path, b"newest")
    assert spared(path)
    for each in range(40):
        path.unlink()
        begin = synced_and_written(path, b"newest")
        assert not spared(path, garble=begin + 40 + len(b"newest") + each), each


@pytest.mark.parametrize("room", [0, 39, 40])
def test_a_state_that_leaves_no_room_for_a_mark(tmp_path: Path, room: int) -> None:
    """It is kept whole, and the mark is there as soon as its 40 bytes fit."""
    path = tmp_path / "journal"
    newest = b"n" * (4_096 - 40 - room)
    synced_and_written(path, newest)
    assert Journal(OsBlockFile(path), slots=3, slot_bytes=4_096).payload == newest
    path.unlink()
    synced_and_written(path, newest)
    assert spared(path) == (room == 40)


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
