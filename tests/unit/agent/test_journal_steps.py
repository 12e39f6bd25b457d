"""The journal's single steps: what is not done twice, and what a failed step leaves."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import StorageError

SLOT = 4_096


class StepFile(OsBlockFile):
    """Notes every write, sync and new file; each can be made to fail."""

    def __init__(self, path: Path) -> None:
        """Nothing fails yet."""
        super().__init__(path)
        self.steps: list[str] = []
        self.failing: set[str] = set()

    def _step(self, name: str, call: str) -> None:
        if call in self.failing:
            raise OSError(errno.EIO, "Input/output error")
        self.steps.append(name)

    def read(self, offset: int, length: int) -> bytes:
        """Read or fail."""
        if "read" in self.failing:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(offset, length)

    def write(self, offset: int, content: bytes) -> None:
        """Note the slot, or fail."""
        self._step(f"slot {offset // SLOT}", "write")
        super().write(offset, content)

    def sync(self) -> None:
        """Note it, or fail."""
        self._step("sync", "sync")
        super().sync()

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Note it, or fail."""
        if "rewrite" in self.failing:
            raise OSError(errno.EIO, "Input/output error")
        super().rewrite(length, offset, content)
        self.steps[-1] = f"new file of {length // SLOT}"


def test_a_durable_state_is_not_synced_again(tmp_path: Path) -> None:
    """Where nothing was written since, a report costs no sync."""
    file = StepFile(tmp_path / "journal")
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"one")
    journal.write(b"two")
    journal.sync()
    journal.sync()
    assert file.steps == ["new file of 3", "slot 1", "sync"]
    journal.close()


def test_what_a_new_file_holds_is_not_written_beside_it(tmp_path: Path) -> None:
    """Where nothing was durable, the first new file that can be made holds the state, once."""
    path = tmp_path / "journal"
    earlier = Journal(OsBlockFile(path), slot_bytes=SLOT)
    earlier.write(b"state")
    earlier.close()
    file = StepFile(path)
    file.failing = {"rewrite"}
    journal = Journal(file, slot_bytes=SLOT)
    file.failing = set()
    journal.write(b"next")
    journal.sync()
    assert file.steps == ["new file of 3"]
    journal.close()


def test_an_empty_state_is_one(tmp_path: Path) -> None:
    """In a new file, too, after a sync that failed and in a new process."""
    path = tmp_path / "journal"
    file = StepFile(path)
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"one")
    journal.write(b"")
    file.failing = {"sync"}
    journal.sync()
    journal.close()
    for _ in range(2):
        journal = Journal(OsBlockFile(path), slot_bytes=SLOT)
        assert journal.payload == b""
        journal.close()


def test_another_shape_is_written_once(tmp_path: Path) -> None:
    """The new file holds the state: it is not written into a slot as well."""
    path = tmp_path / "journal"
    earlier = Journal(OsBlockFile(path), slot_bytes=4 * SLOT)
    earlier.write(b"state")
    earlier.close()
    file = StepFile(path)
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"next")
    assert file.steps == ["new file of 12", "new file of 3"]
    journal.close()


def test_a_shape_that_cannot_change_takes_the_state_all_the_same(tmp_path: Path) -> None:
    """What `write` returned for is in the old file: a killed process has it."""
    path = tmp_path / "journal"
    earlier = Journal(OsBlockFile(path), slot_bytes=4 * SLOT)
    earlier.write(b"state")
    earlier.close()
    file = StepFile(path)
    file.failing = {"rewrite"}
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"next")
    journal.close()
    assert Journal(OsBlockFile(path)).payload == b"next"


def test_a_failed_sync_leaves_the_slot_synced_last(tmp_path: Path) -> None:
    """Until another state is durable, a power cut must find the last one that was."""
    file = StepFile(tmp_path / "journal")
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"zero")
    journal.write(b"one")
    journal.sync()
    journal.write(b"two")
    file.failing = {"sync", "rewrite"}
    with pytest.raises(StorageError, match="replace the disk"):
        journal.sync()
    file.steps.clear()
    for number in range(6):
        journal.write(b"later %d" % number)
    assert "slot 1" not in file.steps
    file.failing = set()
    journal.sync()
    assert file.steps[-1] == "new file of 3"
    journal.close()


def test_a_disk_that_fails_and_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """The sentence is that of the sync, not of the look at what it left."""
    file = StepFile(tmp_path / "journal")
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"one")
    journal.write(b"two")
    file.failing = {"sync", "rewrite", "read"}
    with pytest.raises(StorageError, match="replace the disk"):
        journal.sync()
    assert journal.payload == b"two"
    journal.close()


def test_the_bytes_on_the_disk(tmp_path: Path) -> None:
    """The format by hand: what another version wrote has to be read, and this one's by others."""
    path = tmp_path / "journal"
    journal = Journal(OsBlockFile(path), slot_bytes=SLOT)
    journal.write(b"one")
    journal.write(b"two")
    journal.close()
    for slot, (number, payload) in enumerate([(1, b"one"), (2, b"two")]):
        numbered = number.to_bytes(8, "little")
        head = b"FLOPJRN1" + numbered + (3).to_bytes(8, "little")
        head += hashlib.sha256(numbered + payload).digest()[:16]
        assert path.read_bytes()[slot * SLOT :][:43] == head + payload


def test_a_state_as_large_as_its_slot_is_found_again(tmp_path: Path) -> None:
    """To the last byte, also where the slots took another shape for it."""
    path = tmp_path / "journal"
    journal = Journal(OsBlockFile(path), slot_bytes=2 * SLOT)
    whole = b"x" * journal.room
    journal.write(whole)
    journal.close()
    assert Journal(OsBlockFile(path), slot_bytes=2 * SLOT).payload == whole
    journal = Journal(OsBlockFile(path), slot_bytes=SLOT)
    smaller = b"y" * (SLOT - 40)
    journal.write(smaller)
    assert journal.size == 3 * SLOT
    journal.close()
    assert Journal(OsBlockFile(path), slot_bytes=SLOT).payload == smaller


@pytest.mark.parametrize("spoiled", [b"X" * SLOT, b"FLOPJRN1" * (SLOT // 8), b"\0X" * (SLOT // 2)])
def test_what_is_neither_empty_nor_whole_is_damaged(tmp_path: Path, spoiled: bytes) -> None:
    """Whatever lies in a slot: it is counted, and the whole one beside it is read."""
    path = tmp_path / "journal"
    journal = Journal(OsBlockFile(path), slot_bytes=SLOT)
    journal.write(b"whole")
    journal.close()
    path.write_bytes(path.read_bytes()[:SLOT] + spoiled + bytes(SLOT))
    journal = Journal(OsBlockFile(path), slot_bytes=SLOT)
    assert (journal.payload, journal.damaged_slots) == (b"whole", 1)
    journal.close()


def test_a_state_that_reaches_into_the_next_slot_is_damaged(tmp_path: Path) -> None:
    """Its checksum may fit: what is written next would take its end."""
    path = tmp_path / "journal"
    numbered, payload = (9).to_bytes(8, "little"), b"x" * (SLOT - 39)
    head = b"FLOPJRN1" + numbered + len(payload).to_bytes(8, "little")
    head += hashlib.sha256(numbered + payload).digest()[:16]
    path.write_bytes((head + payload).ljust(3 * SLOT, b"\0"))
    with pytest.raises(StorageError, match="every slot of the journal is damaged"):
        Journal(OsBlockFile(path), slot_bytes=SLOT)


@pytest.mark.parametrize(
    ("length", "slots"),
    [(1, 1), (SLOT - 40, 1), (SLOT - 39, 2), (2 * SLOT - 40, 2), (2 * SLOT - 39, 4), (4 * SLOT, 8)],
)
def test_slots_double_until_a_state_fits(tmp_path: Path, length: int, slots: int) -> None:
    """A header of 40 bytes included, and no more often than that."""
    journal = Journal(OsBlockFile(tmp_path / "journal"), slot_bytes=SLOT)
    journal.write(bytes(length))
    assert journal.size == 3 * SLOT * slots
    journal.close()


def test_a_reserved_file_is_synced_in_place(tmp_path: Path) -> None:
    """A file without a state has failed no sync: nothing asks for a new one."""
    path = tmp_path / "journal"
    path.write_bytes(bytes(3 * SLOT))
    file = StepFile(path)
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"one")
    journal.sync()
    assert file.steps == ["slot 0", "sync"]
    journal.close()


def test_two_slots_write_over_the_one_not_synced(tmp_path: Path) -> None:
    """Where both are taken, what is only written gives way, whichever slot it is in."""
    file = StepFile(tmp_path / "journal")
    journal = Journal(file, slots=2, slot_bytes=SLOT)
    journal.write(b"zero")
    journal.write(b"one")
    journal.sync()
    file.steps.clear()
    journal.write(b"two")
    journal.write(b"three")
    assert file.steps == ["slot 0", "slot 0"]
    journal.close()


@pytest.mark.parametrize(("number", "steps"), [(errno.ENOSPC, ["sync"]), (errno.EIO, [])])
def test_a_full_disk_has_failed_no_sync(tmp_path: Path, number: int, steps: list[str]) -> None:
    """What a new process finds is synced in place there, and only there."""
    path = tmp_path / "journal"
    Journal(OsBlockFile(path), slot_bytes=SLOT).write(b"state")

    class FullFile(StepFile):
        def rewrite(self, length: int, offset: int, content: bytes) -> None:
            raise OSError(number, "no new file")

    file = FullFile(path)
    Journal(file, slot_bytes=SLOT)
    assert file.steps == steps


def test_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person reads, in whole."""
    path = tmp_path / "journal"
    file = StepFile(path)
    journal = Journal(file, slot_bytes=SLOT)
    journal.write(b"one")
    journal.write(b"two")
    file.failing = {"write", "sync", "rewrite"}
    with pytest.raises(StorageError) as written:
        journal.write(b"three")
    with pytest.raises(StorageError) as synced:
        journal.sync()
    monkeypatch.setattr("flopmeter_agent.journal.LARGEST_SLOT_BYTES", SLOT)
    with pytest.raises(StorageError) as large:
        journal.write(bytes(SLOT))
    journal.close()
    path.write_bytes(b"damaged!" * (3 * SLOT // 8))
    with pytest.raises(StorageError) as damaged:
        Journal(OsBlockFile(path), slot_bytes=SLOT)
    assert [str(each.value) for each in (written, synced, large, damaged)] == [
        "the journal cannot be written (Input/output error); free space on the disk of the state "
        "folder, nothing that was reported is lost",
        "the journal cannot be made durable (Input/output error); replace the disk of the state "
        "folder",
        "the journal would pass 64 MiB a slot: too many devices at once",
        "every slot of the journal is damaged; move the state folder away and start again: closed "
        "work that was acknowledged is safe in the collector's ledger",
    ]
