"""Runs that name themselves: ``flopmeter exec`` leaves a run file and holds its lock.

Owns: which run files are alive, whose process each is of, and what they say.
May touch: the files of one folder (reading, locking, removing dead ones), /proc/locks.
Called by allocations.table, before all schedulers. docs/allocations.md has the form of a file.

A file speaks for as long as the lock that the process took before it became the command is held,
and for that process and its descendants only: who holds the lock is what the kernel says
(/proc/locks), and its user has to be the file's owner. So nobody can put another user's work
under a run, and a file that was copied, or whose process has ended, says nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flopmeter_agent.allocations.base import SourceCounters, Statements
from flopmeter_agent.procfs import PROC, ProcessFacts
from flopmeter_core.allocations import for_exec
from flopmeter_core.errors import DataError
from flopmeter_core.run_file import RunFile, parse_run_file
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

RUNS_FOLDER = "runs"
SUFFIX = ".run"

MAXIMUM_FILES = 1_024
MAXIMUM_FILES_PER_USER = 256
MAXIMUM_FILE_BYTES = 4_096
_LONGEST_LOCKS = 1 << 20
_ALL_USERS = "4294967295"
_OVERFLOW_USER = 65_534
"""user_namespaces(7): the length of the initial mapping; who stands for unmapped users."""


@dataclass(slots=True)
class LiveRun:
    """A run file whose lock is held.

    Attributes:
        said: what the file says.
        allocation: the run's allocation.
        user: the user id that owns the file.
        pid: the process that holds the lock, in the agent's PID namespace; 0 where not visible.
    """

    said: RunFile
    allocation: str
    user: int
    pid: int
    descriptor: int
    pidfd: int = -1

    def close(self) -> None:
        """Let go of the file and the process."""
        os.close(self.descriptor)
        self.forget_process()

    def forget_process(self) -> None:
        """Its process has ended: its number may be another's from now on."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1


class ExplicitSource:
    """The runs of ``flopmeter exec`` on this node.

    Attributes:
        started: is told what a run file says when it is first seen.
    """

    name = "exec"

    def __init__(
        self,
        folder: Path,
        user_of: Callable[[int], int | None],
        *,
        proc: Path = PROC,
    ) -> None:
        """Read nothing yet.

        Args:
            folder: holds the run files.
            user_of: the user id of a process; None where not visible.
            proc: where procfs is.
        """
        self.counters = SourceCounters()
        self._folder = folder
        self._user_of = user_of
        self.started: Callable[[RunFile], object] = lambda said: None
        self._locks = proc / "locks"
        self._nobody = _user_of_strangers(proc)
        self._live: dict[str, LiveRun] = {}
        self._refused: dict[str, int] = {}

    def look(self) -> None:
        """See which files are new and which have ended."""
        for name, run in list(self._live.items()):
            if _unlocked(run.descriptor):
                self._end(name, run)
            elif run.pidfd >= 0 and _ended(run.pidfd):
                run.forget_process()  # what it left the lock to goes on
        names = self._names()
        for name, run in list(self._live.items()):
            # Not named is not gone: no more than so many files are looked at, and anybody may make
            # that many.
            if name not in names and not self._is_there(name, run):
                self._end(name, run)
        self._refused = {n: i for n, i in self._refused.items() if names.get(n) == i}
        new = names.keys() - self._live.keys() - self._refused.keys()
        if new:
            holders = self._holders()
            for name in sorted(new):
                self._take(name, names[name], holders)

    def statements(self) -> Statements:
        """Nothing is said of devices: a run names its process, and the driver lists that."""
        return {}

    def of_process(self, process: ProcessFacts) -> str | None:
        """The run of a process, or of the nearest of its ancestors that named one."""
        if not self._live:
            return None
        by_pid = {run.pid: run.allocation for run in self._live.values() if run.pid}
        return next((by_pid[pid] for pid in process.lineage if pid in by_pid), None)

    def of_job(self, job: str, user: int | None, *, hidden: bool = False) -> tuple[str, ...]:
        """The runs that name a job of their own user, where no process shows which device is whose.

        Args:
            job: the job's number, as its prolog wrote it.
            user: whose job that is, as its prolog wrote it; None where it did not.
            hidden: only runs whose process cannot be seen.
        """
        if not job or user is None:
            return ()
        found = [
            run.allocation
            for run in self._live.values()
            if run.said.job == job and run.user == user and not (hidden and run.pid)
        ]
        return tuple(sorted(set(found)))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """A descriptor a process that holds a lock and can be seen; readable when it has ended."""
        return tuple(run.pidfd for run in self._live.values() if run.pidfd >= 0)

    def knows(self, process: ProcessFacts) -> bool:
        """Nothing is said of devices."""
        return True

    def processes_changed(self) -> None:
        """Nothing to do: all of it is seen at each look."""

    def close(self) -> None:
        """Let go of the files; they stay."""
        for run in self._live.values():
            run.close()
        self._live.clear()

    # --- inside -----------------------------------------------------------------------------------

    def _names(self) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            with os.scandir(self._folder) as entries:
                for count, entry in enumerate(entries):
                    if count >= MAXIMUM_FILES:
                        self._doubt(f"more than {MAXIMUM_FILES} files in {self._folder}")
                        break
                    if entry.name.endswith(SUFFIX):
                        found[entry.name] = entry.inode()
        except OSError:
            pass  # nobody has made the folder
        return found

    def _is_there(self, name: str, run: LiveRun) -> bool:
        """Whether a run's file still lies where it was found."""
        with contextlib.suppress(OSError):
            found, own = os.lstat(self._folder / name), os.fstat(run.descriptor)
            return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
        return False

    def _take(self, name: str, inode: int, holders: dict[tuple[int, int, int], int]) -> None:
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._refuse(name, inode, os.strerror(error.errno or 0))
            return
        try:
            run = self._opened(descriptor, holders)
        except (DataError, OSError) as error:
            os.close(descriptor)
            self._refuse(name, inode, str(error))
            return
        if run is None:
            os.close(descriptor)
            self._remove(path)
            return
        self._live[name] = run
        logger.info(
            "a process names its run",
            extra=fields(run=run.said.run, user=run.user, pid=run.pid),
        )
        self.started(run.said)

    def _opened(self, descriptor: int, holders: dict[tuple[int, int, int], int]) -> LiveRun | None:
        """What an open file says; None where its lock is free.

        Raises:
            DataError: it is none of ours, or its owner is not who holds its lock.
            OSError: it cannot be read.
        """
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAXIMUM_FILE_BYTES:
            raise DataError(f"a run file is a regular file of at most {MAXIMUM_FILE_BYTES} bytes")
        user = status.st_uid
        if sum(run.user == user for run in self._live.values()) >= MAXIMUM_FILES_PER_USER:
            raise DataError(f"user {user} has {MAXIMUM_FILES_PER_USER} run files already")
        if _unlocked(descriptor):
            return None
        place = (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
        pid = holders.get(place, 0)
        holder = self._user_of(pid) if pid else None
        if holder is not None and holder != user:
            raise DataError(f"user {user} owns the file, and a process of user {holder} holds it")
        said = parse_run_file(os.read(descriptor, MAXIMUM_FILE_BYTES).decode("utf-8", "replace"))
        # Where its user cannot be seen, nobody's processes are taken for its.
        pidfd = -1 if holder in (None, self._nobody) else _pidfd(pid)
        return LiveRun(said, for_exec(said.run), user, pid if pidfd >= 0 else 0, descriptor, pidfd)

    def _holders(self) -> dict[tuple[int, int, int], int]:
        """The holder of each flock: (major, minor, inode) -> pid; 0 and below is not visible."""
        try:
            with self._locks.open("rb") as file:
                text = file.read(_LONGEST_LOCKS).decode("ascii", "replace")
        except OSError:
            return {}
        return flock_holders(text)

    def _end(self, name: str, run: LiveRun) -> None:
        del self._live[name]
        run.close()
        self._remove(self._folder / name)
        logger.info("a run's process has ended", extra=fields(run=run.said.run, user=run.user))

    @staticmethod
    def _remove(path: Path) -> None:
        # Its owner may, and so may who made the folder; elsewhere it stays and says nothing.
        with contextlib.suppress(OSError):
            path.unlink()

    def _refuse(self, name: str, inode: int, reason: str) -> None:
        self._refused[name] = inode
        self._doubt(reason)

    def _doubt(self, reason: str) -> None:
        self.counters.failures += 1
        self.counters.problem = reason
        if reason not in self.counters.said and len(self.counters.said) < 100:
            self.counters.said.add(reason)
            logger.warning("a run file is not taken", extra=fields(reason=reason))


def flock_holders(text: str) -> dict[tuple[int, int, int], int]:
    """Read /proc/locks: of each file that flock(2) locks for writing, the holder.

    Returns:
        (major, minor, inode) -> pid.
    """
    found: dict[tuple[int, int, int], int] = {}
    for line in text.splitlines():
        words = line.split()
        # "1: FLOCK ADVISORY WRITE 4711 00:1b:386 0 EOF"; a waiter has "->" in the second place.
        if len(words) < 6 or words[1] != "FLOCK" or words[3] != "WRITE":
            continue
        try:
            major, minor, inode = words[5].split(":")
            place = (int(major, 16), int(minor, 16), int(inode))
            pid = int(words[4])
        except ValueError:
            continue
        if pid > 0:
            found[place] = pid
    return found


def _user_of_strangers(proc: Path) -> int | None:
    """What stands for every user unknown in here; None where all users are known.

    In a user namespace all users that are not mapped look alike, so two that do are no proof.
    """
    try:
        ranges = [line.split() for line in (proc / "self/uid_map").read_text().splitlines()]
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1] == "0" and ranges[0][2] == _ALL_USERS:
            return None
        return int((proc / "sys/kernel/overflowuid").read_text())
    except (OSError, ValueError, IndexError):
        return None if proc != PROC else _OVERFLOW_USER


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (OSError, OverflowError):  # ended meanwhile, or nobody's number
        return -1


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _unlocked(descriptor: int) -> bool:
    """Whether nobody holds the lock: its process has ended, and all it left it to."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
