"""A made-up /proc: processes with cgroups, parents and users, and the locks they hold.

Owns: the files that the agent reads of a process.
May touch: the folder it is given.
Called by tests of allocation sources. The cgroup texts are those of tests/data/cgroups.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.requirements import ROOT

LAYOUTS = ROOT / "tests/data/cgroups"


def layout(name: str) -> str:
    """The text of /proc/PID/cgroup in a layout."""
    return (LAYOUTS / name).read_text()


class ProcTree:
    """Processes that come and go."""

    def __init__(self, folder: Path) -> None:
        """Begin with none."""
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._locks: list[str] = []
        self._started = 0
        self._write_locks()

    def start(
        self,
        pid: int,
        cgroup: str = "0::/user.slice/user-1001.slice/session-7.scope\n",
        *,
        parent: int = 1,
        user: int = 1001,
        name: str = "python",
    ) -> None:
        """Let a process be there, or be another one."""
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        (place / "cgroup").write_text(cgroup)
        # A name may hold anything, parentheses and spaces included: proc_pid_stat(5).
        self._started += 1
        rest = " ".join(["0"] * 17)
        (place / "stat").write_text(f"{pid} ({name}) ) S {parent} {rest} {self._started} 0\n")
        (place / "status").write_text(f"Name:\t{name}\nUid:\t{user}\t{user}\t{user}\t{user}\n")
        (place / "comm").write_text(f"{name[:15]}\n")

    def end(self, pid: int) -> None:
        """Let a process be gone."""
        place = self.folder / str(pid)
        for file in place.iterdir():
            file.unlink()
        place.rmdir()

    def hold(self, path: Path, pid: int) -> None:
        """Let a process hold the lock of a file, as /proc/locks shows it."""
        status = path.stat()
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        self._locks.append(f"FLOCK  ADVISORY  WRITE {pid} {place} 0 EOF")
        self._write_locks()

    def _write_locks(self) -> None:
        numbered = [f"{place}: {line}\n" for place, line in enumerate(self._locks, start=1)]
        (self.folder / "locks").write_text(
            "1: POSIX  ADVISORY  READ 1 00:1b:9 0 9\n" + "".join(numbered)
        )
