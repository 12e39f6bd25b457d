"""The agent's memory on disk: checksummed slots, two written in turn and the one synced last.

Owns: the slot format, and the order of write and sync.
May touch: one file, through the block file it is given.
Called by the loop: `write` after each sample (survives kill -9), `sync` before each report
(survives power loss but for the newest report period); only what was synced is ever sent.
A slot that is torn or garbled fails its checksum and the newest whole one is used. The slot that
was synced last is never written over before another one is: whatever a power cut does to the other
two, what was reported stays.
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Protocol

from flopmeter_core.errors import StorageError

MAGIC = b"FLOPJRN1"
_HEADER = struct.Struct("<8sQQ16s")
"""Magic, write number, payload length, first 16 bytes of the SHA-256 of number and payload."""

SLOTS = 3
SMALLEST_SLOT_BYTES = 256 * 1024
LARGEST_SLOT_BYTES = 64 * 1024 * 1024


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
    """Keeps the newest state in one of two slots."""

    def __init__(self, file: BlockFile) -> None:
        """Read what is there.

        Raises:
            StorageError: the file is not a journal.
        """
        self._file = file
        self._slot_bytes = max(SMALLEST_SLOT_BYTES, file.size() // SLOTS)
        self._write_number = 0
        self._payload: bytes | None = None
        self._newest_slot: int | None = None
        self._synced_slot: int | None = None
        self.damaged_slots = 0
        self._load()

    @property
    def payload(self) -> bytes | None:
        """The newest state that was written whole; None in a new journal."""
        return self._payload

    def write(self, payload: bytes) -> None:
        """Put a state into the slot that does not hold the newest one.

        Raises:
            StorageError: the disk is full or failing; the older state is still there.
        """
        number = self._write_number + 1
        slot = self._free_slot()
        try:
            if _HEADER.size + len(payload) > self._slot_bytes or self._file.size() == 0:
                self._rewrite(slot, number, payload)
            else:
                self._file.write(slot * self._slot_bytes, _slot(number, payload))
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
        try:
            self._file.sync()
        except OSError:
            try:
                self._rewrite(self._newest_slot, self._write_number, self._payload or b"")
            except OSError as error:
                raise StorageError(
                    f"the journal cannot be made durable ({error.strerror}); "
                    "replace the disk of the state folder"
                ) from error
        self._synced_slot = self._newest_slot

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _load(self) -> None:
        slots = [self._read_slot(slot * self._slot_bytes) for slot in range(SLOTS)]
        whole = [(*read, slot) for slot, read in enumerate(slots) if read is not None]
        if whole:
            # What a new process can read has survived whatever ended the one before.
            self._write_number, self._payload, self._newest_slot = max(whole)
            self._synced_slot = self._newest_slot
        elif self.damaged_slots:
            raise StorageError(
                "every slot of the journal is damaged; move the state folder away and start "
                "again: closed work that was acknowledged is safe in the collector's ledger"
            )

    def _read_slot(self, offset: int) -> tuple[int, bytes] | None:
        head = self._file.read(offset, _HEADER.size)
        if not head.strip(b"\0"):
            return None
        if len(head) == _HEADER.size:
            magic, number, length, digest = _HEADER.unpack(head)
            if magic == MAGIC and length <= self._slot_bytes - _HEADER.size:
                payload = self._file.read(offset + _HEADER.size, length)
                if digest == _digest(number, payload):
                    return number, payload
        self.damaged_slots += 1
        return None

    def _free_slot(self) -> int:
        """A slot that holds neither the newest state nor the one synced last."""
        taken = (self._newest_slot, self._synced_slot)
        return next(slot for slot in range(SLOTS) if slot not in taken)

    def _rewrite(self, slot: int, number: int, payload: bytes) -> None:
        """Go on in a new, durable file whose slots are large enough for this state."""
        slot_bytes = self._slot_bytes
        while slot_bytes < _HEADER.size + len(payload):
            slot_bytes *= 2
        if slot_bytes > LARGEST_SLOT_BYTES:
            raise StorageError("the journal would pass 64 MiB a slot: too many allocations at once")
        self._file.rewrite(SLOTS * slot_bytes, slot * slot_bytes, _slot(number, payload))
        self._slot_bytes = slot_bytes
        self._synced_slot = slot


def _slot(number: int, payload: bytes) -> bytes:
    return _HEADER.pack(MAGIC, number, len(payload), _digest(number, payload)) + payload


def _digest(number: int, payload: bytes) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "little") + payload).digest()[:16]
