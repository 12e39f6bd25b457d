"""Keeps a second agent away from the same devices and from the same state folder.

Owns: the host-wide locks of a hardware sensor and the lock of a state folder.
May touch: one abstract Unix socket, one lock file in a folder of the system, one in the state.
Called by app before anything is read. All locks go with the process, however it ends, so that a
killed agent never leaves a lock behind. One whose call of the driver hangs in the kernel is killed
without ending, and holds them until it does: so who comes after it ends as one that may try again.
Explained in docs/adr/0055-a-lock-that-only-agents-can-hold.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
from pathlib import Path

from flopmeter_core.errors import BusyError, StorageError
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

HOST_LOCK_NAME = "\0flopmeter-agent"
"""In the abstract socket space; every agent of a host asks for this one."""

HOST_LOCK_FOLDER = Path("/run/flopmeter")
"""The shipped unit makes it; where only the agent may write in it, its lock is here."""

_HELD = (
    "another agent already reads the devices of this host; stop it first, two meters on one device "
    "would count it twice"
)


class HostLock:
    """One holder per host, by a file where only agents can hold one, and by a name elsewhere.

    The name is in the abstract socket space, one of each network namespace: any user can take it,
    and so keep away an agent that has no file of its own to hold.
    """

    def __init__(self, name: str = HOST_LOCK_NAME, folder: Path = HOST_LOCK_FOLDER) -> None:
        """Take the lock.

        It has one name for all hardware sensors: ``none`` becomes ``nvml`` when a driver comes
        back.

        Args:
            name: of the lock; another one only where no device is read.
            folder: where its file lies, if that can be trusted.

        Raises:
            BusyError: another agent reads the same devices.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._descriptor = _file_lock(folder)
        except BusyError:
            self._socket.close()
            raise
        try:
            self._socket.bind(name)
        except OSError as error:
            if self._descriptor is None:
                self._socket.close()
                raise BusyError(_HELD) from error
            # No agent that could hold the file does: it would be anybody's to keep this one away.
            logger.error(
                "the name that keeps other agents away is held by another user's process; if that "
                "is an agent, stop it: two meters on one device would count it twice",
                extra=fields(name=name.lstrip("\0"), reason=error.strerror),
            )

    def release(self) -> None:
        """Let another agent in."""
        self._socket.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class FolderLock:
    """One holder per state folder."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if need be, and take its lock.

        Raises:
            BusyError: another agent uses the folder.
            StorageError: the folder cannot be made or written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(
                folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StorageError(
                f"the state folder {folder} cannot be used ({error.strerror}); "
                "name another with --state"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise BusyError(
                f"another agent uses the state folder {folder}; name another with --state"
            ) from error

    def release(self) -> None:
        """Let another agent in."""
        os.close(self._descriptor)


def _file_lock(folder: Path) -> int | None:
    """The lock of a folder that no user but its owner may write; None where it is another one.

    Raises:
        BusyError: an agent of this user holds it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        found = folder.stat()
        if found.st_mode & 0o022:
            return None
        descriptor = os.open(folder / "agent.lock", flags, 0o600)
        try:
            with contextlib.suppress(OSError):
                # So that what root leaves here is the folder's owner's to hold.
                os.fchown(descriptor, found.st_uid, found.st_gid)
            # Whoever can open a file can lock it, whatever it opened it for.
            if os.fstat(descriptor).st_mode & 0o077:
                os.close(descriptor)
                return None
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno == errno.EWOULDBLOCK:
                raise BusyError(_HELD) from error
            return None
        return descriptor
    return None
