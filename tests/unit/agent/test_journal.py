"""The journal: what was written whole is read back, whatever happens to the rest."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.journal import SLOT_BYTES, Journal, OsBlockFile
from flopmeter_core.errors import StorageError


def reopen(path: Path) -> Journal:
    """What a new process sees of a journal."""
    return Journal(OsBlockFile(path))


def test_a_new_journal_is_empty(tmp_path: Path) -> None:
    """Nothing was written, so nothing is read."""
    assert reopen(tmp_path / "journal").payload is None


@given(payloads=st.lists(st.binary(min_size=1, max_size=600), min_size=1, max_size=8))
def test_the_newest_write_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]
) -> None:
    """After any number of writes a new process reads the last one, without a sync."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = reopen(path)
    for payload in payloads:
        journal.write(payload)
    journal.close()
    assert reopen(path).payload == payloads[-1]


@pytest.mark.parametrize("at", [0, 8, 20, 39, 40, 45])
def test_a_damaged_newest_slot_falls_back_to_the_older_one(tmp_path: Path, at: int) -> None:
    """A flipped byte anywhere in the newest slot loses one sample, not the journal."""
    path = tmp_path / "journal"
    journal = reopen(path)
    journal.write(b"older state")
    journal.write(b"newer state")
    journal.close()
    content = bytearray(path.read_bytes())
    content[SLOT_BYTES + at] ^= 0x40  # write number 2 lies in the second slot
    path.write_bytes(content)
    damaged = reopen(path)
    assert damaged.payload == b"older state"
    assert damaged.damaged_slots == 1


def test_damaged_slots_are_one_clear_sentence(tmp_path: Path) -> None:
    """With nothing left to trust the agent says what to do."""
    path = tmp_path / "journal"
    journal = reopen(path)
    journal.write(b"one")
    journal.write(b"two")
    journal.close()
    content = bytearray(path.read_bytes())
    content[41] ^= 1
    content[SLOT_BYTES + 41] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="move the state folder away"):
        reopen(path)


def test_a_torn_write_keeps_the_older_state(tmp_path: Path) -> None:
    """A write that stopped half-way is not read as a state."""
    path = tmp_path / "journal"
    file = OsBlockFile(path)
    journal = Journal(file)
    journal.write(b"a" * 1000)
    journal.write(b"b" * 1000)
    half = file.read(SLOT_BYTES, 600)
    journal.write(b"c" * 1000)
    file.write(2 * SLOT_BYTES, half)  # as if write 3 had stopped half-way
    journal.close()
    assert reopen(path).payload == b"b" * 1000


@given(writes=st.integers(1, 9))
def test_a_power_cut_never_takes_what_was_synced(
    tmp_path_factory: pytest.TempPathFactory, writes: int
) -> None:
    """However many unsynced writes a power cut tears, the state synced last is still whole."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = reopen(path)
    for number in range(4):
        journal.write(b"early %d" % number)
    journal.write(b"synced")
    journal.sync()
    synced = path.read_bytes()
    for number in range(writes):
        journal.write(b"unsynced %d" % number)
    journal.close()
    after = bytearray(path.read_bytes())
    # Of every block that changed since the sync, the disk holds half.
    for at in range(0, len(after), 512):
        if after[at : at + 512] != synced[at : at + 512]:
            after[at : at + 8] = b"garbage!"
    path.write_bytes(after)
    assert reopen(path).payload == b"synced"


def test_a_state_that_outgrows_its_slot_moves_to_larger_slots(tmp_path: Path) -> None:
    """Growth keeps the newest state and leaves no half file behind."""
    path = tmp_path / "journal"
    journal = reopen(path)
    journal.write(b"small")
    large = b"x" * (3 * SLOT_BYTES)
    journal.write(large)
    journal.write(large + b"y")
    journal.close()
    assert reopen(path).payload == large + b"y"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["journal"]


class FailingFile(OsBlockFile):
    """A file whose next syncs or rewrites fail."""

    sync_fails = False
    rewrite_fails = False
    write_fails = False

    def sync(self) -> None:
        """Fail once asked to."""
        if self.sync_fails:
            raise OSError(errno.EIO, "Input/output error")
        super().sync()

    def write(self, offset: int, content: bytes) -> None:
        """Fail once asked to."""
        if self.write_fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(offset, content)

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Fail once asked to."""
        if self.rewrite_fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().rewrite(length, offset, content)


def test_a_failed_sync_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """A failed sync is never repeated on the same file: the state is written to a new one."""
    path = tmp_path / "journal"
    file = FailingFile(path)
    journal = Journal(file)
    journal.write(b"first")
    journal.write(b"state")
    inode = path.stat().st_ino
    file.sync_fails = True
    journal.sync()
    assert path.stat().st_ino != inode
    file.sync_fails = False
    journal.write(b"next")
    journal.sync()
    journal.close()
    assert reopen(path).payload == b"next"


def test_a_disk_that_fails_altogether_is_one_clear_sentence(tmp_path: Path) -> None:
    """When the new file fails as well, the agent stops with what to do."""
    file = FailingFile(tmp_path / "journal")
    journal = Journal(file)
    journal.write(b"first")
    journal.write(b"state")
    file.sync_fails = file.rewrite_fails = True
    with pytest.raises(StorageError, match="replace the disk"):
        journal.sync()


def test_a_full_disk_keeps_the_older_state(tmp_path: Path) -> None:
    """A write that finds no space raises, and the state before it is still there."""
    path = tmp_path / "journal"
    file = FailingFile(path)
    journal = Journal(file)
    journal.write(b"state")
    file.write_fails = True
    with pytest.raises(StorageError, match="free space"):
        journal.write(b"more")
    assert journal.payload == b"state"
    journal.close()
    assert reopen(path).payload == b"state"
