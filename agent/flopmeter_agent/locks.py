"""Keeps a second agent away from the same devices and from the same state folder.

Owns: the host-wide lock of a hardware sensor and the lock of a state folder.
May touch: one abstract Unix socket, one lock file.
Called by app before anything is read. Both locks go with the process, however it ends, so that a
killed agent never leaves a lock behind. One whose call of the driver hangs in the kernel is killed
without ending, and holds them until it does: so who comes after it ends as one that may try again.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from flopmeter_core.errors import BusyError, StorageError

HOST_LOCK_NAME = "\0flopmeter-agent"
"""In the abstract socket space; every agent of a host asks for this one."""


class HostLock:
    """One holder per host (per network namespace), by a name in the abstract socket space."""

    def __init__(self, name: str = HOST_LOCK_NAME) -> None:
        """Take the lock.

        It has one name for all hardware sensors: ``none`` becomes ``nvml`` when a driver comes
        back.

        Args:
            name: of the lock; another one only where no device is read.

        Raises:
            BusyError: another agent reads the same devices.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(name)
        except OSError as error:
            self._socket.close()
            raise BusyError(
                "another agent already reads the devices of this host; stop it first, "
                "two meters on one device would count it twice"
            ) from error

    def release(self) -> None:
        """Let another agent in."""
        self._socket.close()


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
