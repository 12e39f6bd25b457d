"""What outlives an agent but not its boot, and does not lie in its state folder.

Owns: three numbers, of how far an agent had come when something left, kept beside the boot.
May touch: one small file in a folder that is emptied at a boot.
Called by the loop: before a report leaves, and at a start.
Explained in docs/adr/0026-a-full-room.md and docs/adr/0030-two-writers-of-one-incarnation.md.

A state folder that is put back from a copy in the same boot does not know what left since. The
numbers in its journals are then behind these, or these are gone; what it says was never sent is
not believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

FOLDERS = (Path("/run/flopmeter"), Path("/dev/shm"))
"""Both lie in memory; the first that can be written."""

Shown = tuple[int, int, int]
"""How often the state and the closed registers noted that something new may leave, and the up time
of the host in the newest state (ns, added up over boots)."""


class Witness(Protocol):
    """Keeps the numbers of one state folder as long as the boot lasts."""

    def shown(self) -> Shown | None:
        """What an earlier process of this boot left; None where none did, or it is gone."""

    def show(self, shown: Shown) -> None:
        """Keep the numbers; where that fails, none may be left that are behind."""


class MemoryWitness:
    """For agents that live in one process; whoever boots a node makes another one."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._shown: Shown | None = None

    def shown(self) -> Shown | None:
        """What was kept."""
        return self._shown

    def show(self, shown: Shown) -> None:
        """Keep the numbers."""
        self._shown = shown


class FileWitness:
    """A file beside the boot, for a state folder of this host."""

    def __init__(self, state: Path, boot_id: str, folders: Sequence[Path] = FOLDERS) -> None:
        """Choose a place; nothing is written yet.

        Args:
            state: the state folder; another folder has another file.
            boot_id: the present boot.
            folders: where the file may lie.
        """
        self._boot_id = boot_id
        name = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:16]
        places = [folder for folder in folders if os.access(folder, os.W_OK | os.X_OK)]
        self._path = places[0] / f"flopmeter-agent-{name}" if places else None

    def shown(self) -> Shown | None:
        """What an earlier process of this boot and user left."""
        if self._path is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # A folder that everybody may write can hold somebody else's.
                if os.fstat(descriptor).st_uid == os.geteuid():
                    boot_id, state, closed, up_ns = os.read(descriptor, 200).decode().split()
                    if boot_id == self._boot_id:
                        return int(state), int(closed), int(up_ns)
            finally:
                os.close(descriptor)
        return None

    def show(self, shown: Shown) -> None:
        """Write the numbers; a file that cannot be written is removed."""
        if self._path is None:
            return
        text = " ".join((self._boot_id, *map(str, shown))).encode() + b"\n"
        try:
            fresh = self._path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(fresh, flags, 0o600)
            try:
                os.write(descriptor, text)
            finally:
                os.close(descriptor)
            fresh.rename(self._path)
        except OSError as error:
            logger.warning(
                "nothing outside the state folder remembers what was sent",
                extra=fields(path=self._path, reason=error.strerror),
            )
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def stands(witness: Witness, kept: Shown, *, new: bool) -> bool:
    """Whether a state folder stands where the last agent of this boot left it.

    Args:
        witness: what lies outside of it.
        kept: the numbers in its journals.
        new: whether there was nothing in it.
    """
    seen = witness.shown()
    if seen is None:
        return new
    return all(ours >= theirs for ours, theirs in zip(kept, seen, strict=True))
