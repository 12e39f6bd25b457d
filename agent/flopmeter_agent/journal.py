"""One state on disk: checksummed slots, written in turn, of which the one synced last is spared.

Owns: the slot format, and the order of write and sync.
May touch: one file, through the block file it is given.
Called by the keepers of an agent's memory (loop, closed, hours, claims): `write` survives kill -9,
`sync` survives power loss; only what was synced is ever sent.
A slot that is torn or garbled fails its checksum and the newest whole one is used. The slot that
was synced last is never written over before another one is: whatever a power cut does to the
others, what was reported stays. A new process knows of no slot that it was synced: until something
is durable for certain, it writes to new files where it can, and spares the newest state it found,
which may have been synced, and the one that was synced before, which a mark behind each state says.
All slots are reserved when the file is made, so that a disk that fills up later takes nothing from
them.
Explained in docs/adr/0005-delivery-and-durability.md and docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
from pathlib import Path
from typing import Protocol

from flopmeter_agent.faults import START_AGAIN
from flopmeter_core.errors import StorageError

MAGIC = b"FLOPJRN1"
_HEADER = struct.Struct("<8sQQ16s")
"""Magic, write number, payload length, first 16 bytes of the SHA-256 of number and payload."""

_MARK = struct.Struct("<8sQQ16s")
"""Behind a state: magic, the numbers of two states that a successor has to spare, first 16 bytes of
a SHA-256 of all three numbers. An earlier version does not look there; a state that leaves no room
for it goes without."""

MARK = b"FLOPSPR1"

SLOTS = 3
"""Two written in turn and the one synced last; two are enough where each write is synced."""

SLOT_BYTES = 64 * 1024
LARGEST_SLOT_BYTES = 64 * 1024 * 1024

_DAMAGED = (-1, b"")
"""What is read of a slot that is neither empty nor whole."""


class BlockFile(Protocol):
    """The few calls the journal makes to storage; the simulator has one of its own."""

    def size(self) -> int:
        """Bytes in the file."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`; fewer at the end of the file."""

    def write(self, offset: int, content: bytes) -> None:
        """Write all of `content` at `offset`."""

    def sync(self) -> None:
        """Return only when everything written is durable."""

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Take the place of the file with a new, durable one of `length` bytes.

        All of its blocks are reserved, so that later writes cannot find the disk full; it holds
        `content` at `offset` before the old file goes.
        """

    def close(self) -> None:
        """Release the file."""


class OsBlockFile:
    """A file of the operating system."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, for its owner only."""
        self._path = path
        self._descriptor = self._open(path)

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`."""
        return os.pread(self._descriptor, length, offset)

    def write(self, offset: int, content: bytes) -> None:
        """Write all of `content`; a short write goes on where it stopped."""
        view = memoryview(content)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def sync(self) -> None:
        """Flush data and size to the device."""
        os.fdatasync(self._descriptor)

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Write a new file beside the old one, make it durable, then rename it over."""
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        old, self._descriptor = self._descriptor, self._open(fresh)
        try:
            os.posix_fallocate(self._descriptor, 0, length)
            self.write(offset, content)
            os.fsync(self._descriptor)
            os.rename(fresh, self._path)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = old
            raise
        os.close(old)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Journal:
    """Keeps the newest state in one of a few slots."""

    def __init__(
        self, file: BlockFile, *, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES
    ) -> None:
        """Read what is there, and make it durable: a killed process leaves it unsynced.

        Args:
            file: holds this journal and nothing else.
            slots: 2 or more; always the same for one file.
            slot_bytes: of a new file; one that an other version made takes this shape when the
                state fits.

        Raises:
            StorageError: the file holds no whole state.
            OSError: the file cannot be read.
        """
        self._file = file
        self._slots = slots
        self._wanted_slot_bytes = slot_bytes
        self._slot_bytes = file.size() // slots or slot_bytes
        self._write_number = 0
        self._payload: bytes | None = None
        self._newest_slot: int | None = None
        self._synced_slot: int | None = None
        # Where nothing is known to be synced: what a predecessor left may be all there is.
        self._found_slots: tuple[int, ...] = ()
        self._found_numbers = (0, 0)
        self._durable_number = 0
        # A sync of this file has failed: another one on it would prove nothing.
        self._sync_spent = False
        self.damaged_slots: int
        self._load()
        self._secure()

    @property
    def payload(self) -> bytes | None:
        """The newest state that was written whole; None in a new journal."""
        return self._payload

    @property
    def room(self) -> int:
        """Bytes of the largest state that fits into the slots as they are."""
        return self._slot_bytes - _HEADER.size

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size()

    def write(self, payload: bytes) -> None:
        """Put a state into a slot that does not hold the newest one.

        What does not go into the old file (a bad block, or slots that are too small) goes whole
        into a new one.

        Raises:
            StorageError: the disk is full or failing; the older state is still there.
        """
        number = self._write_number + 1
        free = self._free_slot()
        slot = free or 0  # of a new file any will do
        length = _HEADER.size + len(payload)
        try:
            if length > self._slot_bytes or self._file.size() == 0:
                self._rewrite(slot, number, payload)
            elif not self._in_a_new_file(slot, number, payload):
                if free is None:
                    raise StorageError(
                        "the journal cannot be written: no new file can be made, and what the old "
                        "one holds may be all that is durable; mend the disk of the state folder"
                    )
                self._write_slot(slot, number, payload)
        except OSError as error:
            raise StorageError(
                f"the journal cannot be written ({error.strerror}); free space on the disk of "
                "the state folder, nothing that was reported is lost"
            ) from error
        self._write_number = number
        self._newest_slot = slot
        self._payload = payload

    def sync(self) -> None:
        """Make the newest state durable; nothing to do when it is.

        A failed sync is never repeated on the same file (the kernel may have dropped the
        pages): the state goes whole into a new file.

        Raises:
            StorageError: the new file failed as well.
        """
        if self._newest_slot is None or self._newest_slot == self._synced_slot:
            return
        if not self._synced_in_place():
            try:
                self._rewrite(self._newest_slot, self._write_number, self._payload or b"")
            except OSError as error:
                raise StorageError(
                    f"the journal cannot be made durable ({error.strerror}); "
                    "replace the disk of the state folder"
                ) from error
        self._synced_slot, self._durable_number = self._newest_slot, self._write_number

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _load(self) -> None:
        found = [self._read_slot(slot, self._slot_bytes) for slot in range(self._slots)]
        self.damaged_slots = found.count(_DAMAGED)
        whole = [(*read, slot) for slot, read in enumerate(found) if read not in (None, _DAMAGED)]
        if whole:
            self._write_number, self._payload, newest = max(whole)
            self._newest_slot = newest
            self._found_numbers = self._read_mark(newest)
            spared = tuple(slot for number, _, slot in whole if number in self._found_numbers)
            self._found_slots = spared or (newest,)
        elif self.damaged_slots:
            raise StorageError(f"every slot of the journal is damaged; {START_AGAIN}")

    def _secure(self) -> None:
        """Make what was read durable, as far as that is possible now.

        A predecessor may have ended because a sync had failed: what is read here is then only in
        memory, and a sync of this file would succeed all the same. So it goes into a new file. A
        full disk has not failed a sync, and there the old file is synced.
        """
        if self._newest_slot is None:
            return
        try:
            self._rewrite(self._newest_slot, self._write_number, self._payload or b"")
        except OSError as error:
            self._sync_spent = error.errno not in (errno.ENOSPC, errno.EDQUOT)
            if not self._sync_spent:
                with contextlib.suppress(StorageError):  # tried again before a report
                    self.sync()

    def _read_slot(self, slot: int, slot_bytes: int) -> tuple[int, bytes] | None:
        """Number and state of a slot; None of an empty one, _DAMAGED of a torn one."""
        offset = slot * slot_bytes
        head = self._file.read(offset, _HEADER.size)
        if not head.strip(b"\0"):
            return None
        if len(head) == _HEADER.size:
            magic, number, length, digest = _HEADER.unpack(head)
            if magic == MAGIC and length <= slot_bytes - _HEADER.size:
                payload = self._file.read(offset + _HEADER.size, length)
                if digest == _digest(number, payload):
                    return number, payload
        return _DAMAGED

    def _read_mark(self, slot: int) -> tuple[int, int]:
        """Which states the newest one says are to be spared: itself, where it says nothing."""
        offset, number = slot * self._slot_bytes, self._write_number
        length = _HEADER.unpack(self._file.read(offset, _HEADER.size))[2]
        if _HEADER.size + length + _MARK.size <= self._slot_bytes:
            # The slot was read whole, so the file has all of it.
            content = self._file.read(offset + _HEADER.size + length, _MARK.size)
            _, older, newer, _ = _MARK.unpack(content)
            if content == _mark(number, (older, newer)):
                return older, newer
        return number, number

    def _free_slot(self) -> int | None:
        """A slot that is not spared, and not the newest where there is another; None of none.

        What is only written gives way: a power cut may take it anyway.
        """
        spared = self._found_slots if self._synced_slot is None else (self._synced_slot,)
        free = [slot for slot in range(self._slots) if slot not in spared]
        return next((slot for slot in free if slot != self._newest_slot), free[0] if free else None)

    def _write_slot(self, slot: int, number: int, payload: bytes) -> None:
        try:
            # What is written before anything is durable cannot be synced in place: it goes first.
            found = self._synced_slot is None
            spared = self._found_numbers if found else (self._durable_number, number)
            content = _slot(number, payload, spared, self._slot_bytes)
            self._file.write(slot * self._slot_bytes, content)
        except OSError:
            self._rewrite(slot, number, payload)

    def _in_a_new_file(self, slot: int, number: int, payload: bytes) -> bool:
        """Write to a new file where the old one has another shape or proves nothing; whether so."""
        if self._reshaped(slot, number, payload):
            return True
        if self._synced_slot is not None or self._newest_slot is None:
            return False
        try:
            self._rewrite(slot, number, payload)
        except OSError:
            return False
        return True

    def _reshaped(self, slot: int, number: int, payload: bytes) -> bool:
        """Move to slots of the wanted size where the file has others; whether it did."""
        fits = _HEADER.size + len(payload) <= self._wanted_slot_bytes
        if self._slot_bytes == self._wanted_slot_bytes or not fits:
            return False
        present, self._slot_bytes = self._slot_bytes, self._wanted_slot_bytes
        try:
            self._rewrite(slot, number, payload)
        except OSError:
            self._slot_bytes = self._wanted_slot_bytes = present
            return False
        return True

    def _synced_in_place(self) -> bool:
        """Sync this file; whether that proves anything: after one that failed none does."""
        if self._sync_spent:
            return False
        try:
            self._file.sync()
        except OSError:
            self._sync_spent = True
            return False
        return True

    def _rewrite(self, slot: int, number: int, payload: bytes) -> None:
        """Go on in a new, durable file whose slots are large enough for this state."""
        # Doubled as often as it takes.
        times = (_HEADER.size + len(payload) - 1) // self._slot_bytes
        slot_bytes = self._slot_bytes << times.bit_length()
        if slot_bytes > LARGEST_SLOT_BYTES:
            raise StorageError("the journal would pass 64 MiB a slot: too many devices at once")
        content = _slot(number, payload, (number, number), slot_bytes)
        try:
            self._file.rewrite(self._slots * slot_bytes, slot * slot_bytes, content)
        except OSError:
            self._look_again(slot, slot_bytes, number)
            raise
        self._slot_bytes = slot_bytes
        self._synced_slot, self._durable_number = slot, number
        self._sync_spent = False

    def _look_again(self, slot: int, slot_bytes: int, number: int) -> None:
        """After a new file failed: it may stand in the old one's place, though not durably."""
        with contextlib.suppress(OSError):
            others = [each for each in range(self._slots) if each != slot]
            if self._file.size() != self._slots * slot_bytes or any(
                self._read_slot(each, slot_bytes) for each in others
            ):
                return
            read = self._read_slot(slot, slot_bytes)
            if read is not None and read[0] == number:
                self._slot_bytes, self._newest_slot, self._synced_slot = slot_bytes, slot, None
                self._found_slots, self._found_numbers = (slot,), (number, number)
                self._write_number, self._payload = read
                self._sync_spent = True


def _slot(number: int, payload: bytes, spared: tuple[int, int], slot_bytes: int) -> bytes:
    """A state as it lies in a slot of so many bytes, with the mark behind it where it fits."""
    state = _HEADER.pack(MAGIC, number, len(payload), _digest(number, payload)) + payload
    fits = len(state) + _MARK.size <= slot_bytes
    return state + _mark(number, spared) if fits else state


def _mark(number: int, spared: tuple[int, int]) -> bytes:
    digest = _digest(number, struct.pack("<8sQQ", MARK, *spared))
    return _MARK.pack(MARK, *spared, digest)


def _digest(number: int, payload: bytes) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "little") + payload).digest()[:16]
