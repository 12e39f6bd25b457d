"""A node's disk: the block files below the agent's journals, with the faults disks have.

Owns: what is written and what is durable of each file, and what a crash or power cut leaves.
May touch: memory only.
Called by the agent's journal through its BlockFile seam; steered by the node and its faults.

A write that was not synced may be gone, whole, or torn at any byte after a power cut, each write
by itself. A killed process loses none that was made, except that the one in hand may be torn.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from flopmeter.lab.simulation.clock import Killed
from flopmeter.lab.simulation.randomness import Randomness


@dataclass(slots=True)
class Content:
    """What one file holds.

    Attributes:
        durable: what a power cut cannot take.
        written: what a reader sees.
        reserved: bytes that were reserved; what was never written of them reads as zeros.
        unsynced: writes since the last sync, as (offset, bytes).
        writes: writes made so far.
        durable_write: the newest of them that is durable.
    """

    durable: bytearray = field(default_factory=bytearray)
    written: bytearray = field(default_factory=bytearray)
    reserved: int = 0
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)
    writes: int = 0
    durable_write: int = 0

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return max(self.reserved, len(self.written))

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`; fewer at the end of the file."""
        found = bytes(self.written[offset : offset + length])
        return found.ljust(max(0, min(length, self.size - offset)), b"\0")

    def is_durable(self, write: int) -> bool:
        """Whether a power cut cannot take a state, by the number of its write from 1.

        A later write holds a later state, which is as good.
        """
        return write <= self.durable_write

    def drop(self) -> None:
        """A sync failed: what it should have written is read from memory until the power goes."""
        self.unsynced.clear()

    def copy(self) -> Content:
        """A copy that shares nothing."""
        return Content(
            bytearray(self.durable),
            bytearray(self.written),
            self.reserved,
            list(self.unsynced),
            self.writes,
            self.durable_write,
        )

    def settle(self) -> None:
        """Everything written becomes durable."""
        for offset, content in self.unsynced:
            _put(self.durable, offset, content)
        if self.unsynced:
            self.durable_write = self.writes
        self.unsynced.clear()


class Disk:
    """The files of one node."""

    def __init__(self, randomness: Randomness, count: Callable[[str], None]) -> None:
        """Begin empty.

        Args:
            randomness: decides what a power cut leaves.
            count: is told the kind of each fault that struck.
        """
        self._random = randomness
        self._count = count
        self.files: dict[str, Content] = {}
        self.full = False
        self.error_share = 0.0
        self.kill_in: int | None = None
        """Operations until the process dies in one; None for not at all."""

    def open(self, name: str, alive: Callable[[], bool]) -> DiskFile:
        """Open or create a file, for as long as the opening process is alive."""
        return DiskFile(self, self.files.setdefault(name, Content()), alive)

    def copy_files(self) -> dict[str, Content]:
        """An image of the disk as it is read now."""
        image = {name: content.copy() for name, content in self.files.items()}
        for content in image.values():
            content.settle()
        return image

    def cut_power(self) -> None:
        """Lose some of what was not synced."""
        for content in self.files.values():
            survived = bytearray(content.durable)
            for offset, piece in content.unsynced:
                fate = self._random.below(3)
                if fate == 0:
                    self._count("lost_write")
                    continue
                if fate == 1:
                    self._count("torn_write")
                    piece = piece[: self._random.below(len(piece) + 1)]
                _put(survived, offset, piece)
            content.written = bytearray(survived)
            content.durable = survived
            content.unsynced.clear()
            content.durable_write = content.writes

    def repair(self) -> None:
        """Be a working disk with room again."""
        self.full = False
        self.error_share = 0.0
        self.kill_in = None

    def operation(self) -> bool:
        """Count one operation; whether the process dies in it."""
        if self.kill_in is None:
            return False
        self.kill_in -= 1
        if self.kill_in >= 0:
            return False
        self.kill_in = None
        return True

    def fault(self) -> None:
        """Fail the operation in hand where the disk is failing.

        Raises:
            OSError: EIO.
        """
        if self.error_share and self._random.chance(self.error_share):
            self._count("io_error")
            raise OSError(errno.EIO, "Input/output error")

    def room(self) -> None:
        """Fail an operation that needs new blocks where the disk is full.

        Raises:
            OSError: ENOSPC.
        """
        if self.full:
            self._count("disk_full")
            raise OSError(errno.ENOSPC, "No space left on device")

    def tear(self, piece: bytes) -> bytes:
        """The part of a write that was made when its process died."""
        return piece[: self._random.below(len(piece) + 1)]


class DiskFile:
    """One file as one process has it open: an implementation of the agent's BlockFile."""

    def __init__(self, disk: Disk, content: Content, alive: Callable[[], bool]) -> None:
        """Take over an open file."""
        self._disk = disk
        self._content = content
        self._alive = alive

    def size(self) -> int:
        """Bytes in the file."""
        return self._content.size

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`."""
        return self._content.read(offset, length)

    def write(self, offset: int, content: bytes) -> None:
        """Write in place; new blocks are needed only beyond the end."""
        self._check()
        if self._disk.operation():
            self._put(offset, self._disk.tear(content))
            raise Killed
        self._disk.fault()
        if offset + len(content) > self.size():
            self._disk.room()
        self._put(offset, content)

    def sync(self) -> None:
        """Make everything written durable."""
        self._check()
        if self._disk.operation():
            raise Killed
        try:
            self._disk.fault()
        except OSError:
            self._content.drop()
            raise
        self._content.settle()

    def rewrite(self, length: int, offset: int, content: bytes) -> None:
        """Take the place of the file with a durable one."""
        self._check()
        if self._disk.operation():
            raise Killed
        self._disk.fault()
        self._disk.room()
        fresh = bytearray(offset) + content
        held = self._content
        held.reserved = length
        held.durable, held.written = fresh, bytearray(fresh)
        held.unsynced.clear()
        held.writes += 1
        held.durable_write = held.writes

    def close(self) -> None:
        """Nothing to release."""

    def _check(self) -> None:
        if not self._alive():
            raise Killed

    def _put(self, offset: int, content: bytes) -> None:
        _put(self._content.written, offset, content)
        self._content.unsynced.append((offset, content))
        self._content.writes += 1


def _put(target: bytearray, offset: int, content: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(content)] = content
