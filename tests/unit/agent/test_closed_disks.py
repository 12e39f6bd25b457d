"""Closed registers on disks that fail: nothing is taken over in part, or shown before it lasts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from flopmeter_agent.closed import SLOTS, ClosedRegisters
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import StorageError
from support.closed_registers import POSITION, Small, incarnation, stored


class Failing(OsBlockFile):
    """A disk that fails when told to."""

    write_fails = sync_fails = rewrite_fails = False

    def write(self, offset: int, content: bytes) -> None:
        """Fail once asked to."""
        if self.write_fails:
            raise OSError(errno.EIO, "Input/output error")
        super().write(offset, content)

    def sync(self) -> None:
        """Fail once asked to."""
        if self.sync_fails:
            raise OSError(errno.EIO, "Input/output error")
        super().sync()

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Fail once asked to."""
        if self.rewrite_fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().rewrite(length, offset, content)


@pytest.fixture
def failing(tmp_path: Path) -> Small:
    """One on a disk that can fail; incarnation 1 is closed."""
    small = Small(tmp_path)
    small.file = Failing(small.path)
    small.journal = Journal(small.file, slots=SLOTS, slot_bytes=small.slot_bytes)
    small.closed = ClosedRegisters(small.journal)
    small.absorb(1)
    return small


def test_a_mark_that_could_not_be_kept_is_written_by_the_next_offer(failing: Small) -> None:
    """Without it a restart would take what was shown for unsent, and add it up anew."""
    failing.absorb(2)
    file = failing.file
    assert isinstance(file, Failing)
    file.write_fails = file.rewrite_fails = True
    with pytest.raises(StorageError):
        failing.closed.offer([stored(2).key])
    file.write_fails = file.rewrite_fails = False
    failing.closed.offer([stored(2).key])
    assert failing.open()._rows[stored(2).key].sent


def test_a_write_that_fails_closes_nothing(failing: Small) -> None:
    """Nothing is taken over in part."""
    file = failing.file
    assert isinstance(file, Failing)
    file.write_fails = file.rewrite_fails = True
    with pytest.raises(StorageError):
        failing.absorb(2)
    assert not failing.closed.holds(incarnation(2))
    assert set(failing.closed) == {stored(1).key}
    with pytest.raises(StorageError):
        failing.closed.offer([stored(1).key])
    failing.acknowledge()
    failing.closed.save(POSITION)
    file.write_fails = file.rewrite_fails = False
    failing.closed.save(POSITION)
    assert failing.open().at_root(stored(1).key) == 5


def test_what_is_written_but_not_durable_is_said_before_anything_leaves(failing: Small) -> None:
    """A failed sync takes nothing back that a kill leaves; `sync` tells, until it is durable."""
    file = failing.file
    assert isinstance(file, Failing)
    file.sync_fails = file.rewrite_fails = True
    assert failing.absorb(2) == ()
    assert failing.closed.holds(incarnation(2))
    with pytest.raises(StorageError):
        failing.closed.sync()
    with pytest.raises(StorageError):
        failing.absorb(3)
    with pytest.raises(StorageError):
        failing.closed.offer([stored(2).key])
    file.rewrite_fails = False
    failing.closed.sync()
    file.sync_fails = False
    assert failing.absorb(3) == ()
    assert len(failing.open()) == 3


class NamelessFile(OsBlockFile):
    """A file whose folder cannot be synced once the new one has its name."""

    folder_fails = False

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """The new file is there, and nobody knows whether its name is durable."""
        super().rewrite(length, offset, content)
        if self.folder_fails:
            raise OSError(errno.EIO, "Input/output error")


def test_a_new_file_whose_name_may_not_last_holds_what_was_closed(tmp_path: Path) -> None:
    """It is in the journal that is read next, so it is not closed a second time."""
    small = Small(tmp_path)
    small.journal.close()
    file = NamelessFile(small.path)
    small.closed = ClosedRegisters(Journal(file, slots=SLOTS, slot_bytes=small.slot_bytes))
    file.folder_fails = True
    many = [stored(2, device=number) for number in range(100)]
    assert small.absorb(2, many) == ()
    assert small.absorb(2, many) == ()
    with pytest.raises(StorageError):
        small.closed.sync()
    file.folder_fails = False
    small.closed.sync()
    before = small.closed.held()
    assert len(before) == 100
    small.closed.close()
    assert small.open().held() == before
