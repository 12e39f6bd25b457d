"""The journal: what was written whole is read back, whatever happens to the rest."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.journal import SLOT_BYTES, Journal, OsBlockFile
from flopmeter_core.errors import StorageError

HEADER_BYTES = 40
"""Magic 8, write number 8, length 8, digest 16."""


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


@pytest.mark.parametrize(("at", "bits"), [(slot * SLOT_BYTES + 20, 0xFF) for slot in range(2)])
def test_a_length_beyond_the_slot_is_damage(tmp_path: Path, at: int, bits: int) -> None:
    """A length that cannot be is not followed out of the slot."""
    path = tmp_path / "journal"
    journal = reopen(path)
    journal.write(b"older")
    journal.write(b"newer")
    journal.close()
    content = bytearray(path.read_bytes())
    content[at] ^= bits
    path.write_bytes(content)
    damaged = reopen(path)
    assert damaged.payload == (b"newer" if at < SLOT_BYTES else b"older")
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


# --- room, shape and size -------------------------------------------------------------------------


def test_a_new_file_is_reserved_by_its_first_write(tmp_path: Path) -> None:
    """All slots at once; a state of exactly the room fits, one byte more moves to larger slots."""
    path = tmp_path / "journal"
    journal = Journal(OsBlockFile(path), slots=2, slot_bytes=4_096)
    assert (journal.size, journal.room) == (0, 4_096 - HEADER_BYTES)
    journal.write(b"x" * journal.room)
    assert journal.size == path.stat().st_size == 2 * 4_096
    assert path.stat().st_blocks * 512 >= 2 * 4_096
    inode = path.stat().st_ino
    journal.write(b"y" * journal.room)
    assert path.stat().st_ino == inode
    journal.write(b"z" * (journal.room + 1))
    assert journal.size == 2 * 8_192
    assert journal.room == 8_192 - HEADER_BYTES
    assert path.stat().st_ino != inode
    journal.close()
    assert Journal(OsBlockFile(path), slots=2, slot_bytes=4_096).payload == b"z" * 4_057


def test_a_state_beyond_all_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest slot is a limit, and what was there stays."""
    monkeypatch.setattr("flopmeter_agent.journal.LARGEST_SLOT_BYTES", 8_192)
    journal = Journal(OsBlockFile(tmp_path / "journal"), slot_bytes=4_096)
    journal.write(b"x" * (8_192 - HEADER_BYTES))
    with pytest.raises(StorageError, match="64 MiB a slot"):
        journal.write(b"x" * (8_192 - HEADER_BYTES + 1))
    assert journal.payload == b"x" * (8_192 - HEADER_BYTES)


def test_larger_slots_of_an_earlier_version_shrink(tmp_path: Path) -> None:
    """Once the state fits into the smaller ones; until then they stay."""
    path = tmp_path / "journal"
    earlier = Journal(OsBlockFile(path), slot_bytes=16_384)
    earlier.write(b"state")
    earlier.close()
    journal = Journal(OsBlockFile(path), slot_bytes=4_096)
    assert journal.payload == b"state"
    journal.write(b"x" * 5_000)
    assert journal.size == 3 * 16_384
    journal.write(b"x" * 10)
    assert journal.size == 3 * 4_096
    journal.write(b"y" * 10)
    journal.close()
    assert Journal(OsBlockFile(path), slot_bytes=4_096).payload == b"y" * 10


def test_smaller_slots_of_an_earlier_version_grow(tmp_path: Path) -> None:
    """The room of this version is reserved by the first write."""
    path = tmp_path / "journal"
    earlier = Journal(OsBlockFile(path), slot_bytes=4_096)
    earlier.write(b"older")
    earlier.write(b"state")
    earlier.close()
    journal = Journal(OsBlockFile(path), slot_bytes=16_384)
    assert (journal.payload, journal.room) == (b"state", 4_096 - HEADER_BYTES)
    journal.write(b"next")
    assert journal.size == 3 * 16_384
    journal.close()
    assert reopen(path).payload == b"next"


def test_slots_that_cannot_shrink_stay(tmp_path: Path) -> None:
    """A full disk has no room for the smaller file either: the larger one goes on."""
    path = tmp_path / "journal"
    earlier = Journal(OsBlockFile(path), slot_bytes=16_384)
    earlier.write(b"state")
    earlier.close()
    file = FailingFile(path)
    file.rewrite_fails = True
    journal = Journal(file, slot_bytes=4_096)
    journal.write(b"next")
    assert journal.size == 3 * 16_384
    assert journal.room == 16_384 - HEADER_BYTES
    file.rewrite_fails = False
    journal.write(b"last")
    journal.close()
    assert reopen(path).payload == b"last"


def test_two_slots_spare_the_one_synced_last(tmp_path: Path) -> None:
    """With two, a state that is only written gives way: the synced one is what must stay."""
    path = tmp_path / "journal"
    journal = Journal(OsBlockFile(path), slots=2, slot_bytes=4_096)
    journal.write(b"synced")
    journal.sync()
    for number in range(3):
        journal.write(b"unsynced %d" % number)
        assert b"synced" in path.read_bytes()[:4_096]
    journal.close()
    assert Journal(OsBlockFile(path), slots=2, slot_bytes=4_096).payload == b"unsynced 2"


def test_three_slots_spare_two(tmp_path: Path) -> None:
    """Neither the newest state nor the synced one is ever written over."""
    file = RecordingFile(tmp_path / "journal")
    journal = Journal(file)
    for number in range(8):
        journal.write(b"%d" % number)
        if number == 2:
            journal.sync()
    journal.close()
    # The first write makes the file; of the rest, slot 2 is synced and never written again.
    assert file.slots == [0, 1, 2, 0, 1, 0, 1, 0]


# --- what a process finds -------------------------------------------------------------------------


class RecordingFile(OsBlockFile):
    """Counts the calls."""

    def __init__(self, path: Path) -> None:
        """Nothing was called."""
        super().__init__(path)
        self.syncs = 0
        self.slots: list[int] = []

    def write(self, offset: int, content: bytes) -> None:
        """Note which slot."""
        if offset % SLOT_BYTES == 0 and self.size():
            self.slots.append(offset // SLOT_BYTES)
        super().write(offset, content)

    def sync(self) -> None:
        """Count."""
        self.syncs += 1
        super().sync()


def test_what_a_killed_process_wrote_is_made_durable_first(tmp_path: Path) -> None:
    """It is only in the kernel's memory: without a sync a power cut could take all slots."""
    path = tmp_path / "journal"
    killed = reopen(path)
    killed.write(b"a")
    killed.write(b"b")
    killed.close()
    inode = path.stat().st_ino
    file = RecordingFile(path)
    journal = Journal(file)
    assert path.stat().st_ino != inode  # a new file is durable whole
    file.slots.clear()
    journal.sync()
    assert file.syncs == 0
    for number in range(4):
        journal.write(b"%d" % number)
    assert 1 not in file.slots  # where the state lies that was found
    journal.close()


def test_a_new_journal_has_nothing_to_sync(tmp_path: Path) -> None:
    """Neither at the start nor later."""
    file = RecordingFile(tmp_path / "journal")
    Journal(file).sync()
    assert file.syncs == 0
    file.close()


def test_an_empty_reserved_file_is_a_new_journal(tmp_path: Path) -> None:
    """Zeros are no damage."""
    path = tmp_path / "journal"
    path.write_bytes(bytes(3 * SLOT_BYTES))
    journal = reopen(path)
    assert (journal.payload, journal.damaged_slots) == (None, 0)
    journal.write(b"state")
    journal.close()
    assert reopen(path).payload == b"state"


def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A head that is not whole is damage, and one sentence where nothing else is there."""
    path = tmp_path / "journal"
    path.write_bytes(b"FLOPJRN1")
    with pytest.raises(StorageError, match="every slot"):
        reopen(path)


def test_a_sync_that_fails_at_the_start_is_made_up_for(tmp_path: Path) -> None:
    """The process goes on; before anything leaves the state is in a new, durable file."""
    path = tmp_path / "journal"
    killed = reopen(path)
    killed.write(b"state")
    killed.write(b"newer")
    killed.close()
    file = FailingFile(path)
    file.sync_fails = file.rewrite_fails = True
    journal = Journal(file)
    assert journal.payload == b"newer"
    with pytest.raises(StorageError, match="made durable"):
        journal.sync()
    file.rewrite_fails = False
    inode = path.stat().st_ino
    journal.sync()
    assert path.stat().st_ino != inode
    journal.close()


# --- disks that fail ------------------------------------------------------------------------------


def test_a_failed_sync_is_never_repeated_on_the_same_file(tmp_path: Path) -> None:
    """Even when the second one would say that all is well: the pages may be gone."""
    path = tmp_path / "journal"
    file = FailingFile(path)
    journal = Journal(file)
    journal.write(b"first")
    journal.write(b"state")
    file.sync_fails = file.rewrite_fails = True
    with pytest.raises(StorageError):
        journal.sync()
    file.sync_fails = False
    with pytest.raises(StorageError):
        journal.sync()
    journal.write(b"next")  # survives a kill, and is in no durable file
    with pytest.raises(StorageError):
        journal.sync()
    file.rewrite_fails = False
    inode = path.stat().st_ino
    journal.sync()
    assert path.stat().st_ino != inode
    assert reopen(path).payload == b"next"
    # The new file's syncs count again.
    journal.write(b"last")
    inode = path.stat().st_ino
    journal.sync()
    assert path.stat().st_ino == inode
    journal.close()


def test_a_bad_block_is_left_for_a_new_file(tmp_path: Path) -> None:
    """A write that fails in place goes into a new file, durably."""
    path = tmp_path / "journal"
    file = FailingFile(path)
    journal = Journal(file)
    journal.write(b"first")
    inode = path.stat().st_ino
    file.write_fails = True
    file.rewrite = lambda *of: _plain_rewrite(file, *of)  # type: ignore[method-assign]
    journal.write(b"second")
    assert path.stat().st_ino != inode
    file.write_fails = False
    journal.sync()
    journal.close()
    assert reopen(path).payload == b"second"


def _plain_rewrite(file: FailingFile, length: int, offset: int, content: bytes) -> None:
    file.write_fails = False
    OsBlockFile.rewrite(file, length, offset, content)
    file.write_fails = True


class RenamedFile(OsBlockFile):
    """A file whose folder cannot be synced after the new one has its name."""

    folder_fails = False

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """The new file is there, and nobody knows whether its name is durable."""
        super().rewrite(length, offset, content)
        if self.folder_fails:
            raise OSError(errno.EIO, "Input/output error")


def test_a_new_file_whose_name_may_not_last_is_gone_on_with(tmp_path: Path) -> None:
    """It stands in the old one's place: what it holds is the journal, durable only later."""
    path = tmp_path / "journal"
    file = RenamedFile(path)
    journal = Journal(file, slot_bytes=4_096)
    journal.write(b"small")
    journal.sync()
    file.folder_fails = True
    large = b"x" * 9_000
    with pytest.raises(StorageError):
        journal.write(large)
    assert journal.payload == large
    assert Journal(OsBlockFile(path), slot_bytes=4_096).payload == large
    with pytest.raises(StorageError):
        journal.sync()
    journal.write(b"y" * 9_000)
    file.folder_fails = False
    journal.sync()
    journal.close()
    assert Journal(OsBlockFile(path), slot_bytes=4_096).payload == b"y" * 9_000


def test_a_new_file_that_failed_leaves_the_old_one(tmp_path: Path) -> None:
    """Growth on a full disk: the state before it stays, in place and writable."""
    path = tmp_path / "journal"
    file = FailingFile(path)
    journal = Journal(file, slot_bytes=4_096)
    journal.write(b"one")
    journal.write(b"two")
    journal.sync()
    file.rewrite_fails = True
    with pytest.raises(StorageError, match="free space"):
        journal.write(b"x" * 9_000)
    assert journal.payload == b"two"
    assert journal.room == 4_096 - HEADER_BYTES
    journal.write(b"three")
    journal.sync()
    journal.close()
    assert Journal(OsBlockFile(path), slot_bytes=4_096).payload == b"three"


def test_a_disk_that_cannot_even_be_read_after_a_failure(tmp_path: Path) -> None:
    """The sentence is that of the failure, not of the look at what it left."""
    file = FailingFile(tmp_path / "journal")
    journal = Journal(file, slot_bytes=4_096)
    journal.write(b"one")
    file.rewrite_fails = True

    def unreadable(offset: int, length: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    file.read = unreadable  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="No space left"):
        journal.write(b"x" * 5_000)
    assert journal.payload == b"one"


def test_a_reserved_file_that_cannot_be_written_stays_new(tmp_path: Path) -> None:
    """Nothing is made up of what is not there."""
    path = tmp_path / "journal"
    path.write_bytes(bytes(3 * SLOT_BYTES))
    file = FailingFile(path)
    file.write_fails = file.rewrite_fails = True
    journal = Journal(file)
    with pytest.raises(StorageError):
        journal.write(b"state")
    assert journal.payload is None
    file.write_fails = file.rewrite_fails = False
    journal.write(b"state")
    journal.close()
    assert reopen(path).payload == b"state"
