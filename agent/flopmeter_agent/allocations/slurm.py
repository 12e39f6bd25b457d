"""Slurm jobs: what a root prolog wrote of a device, and whose job a process is in.

Owns: the form of the prolog's files, and the names Slurm gives to cgroups of jobs.
May touch: the files of one folder, reading; knows no process and no driver by itself.
Called by allocations.table; deploy/slurm has the prolog. docs/allocations.md has the rules.

A file is believed when root or the agent itself owns it and nobody else may write it. Cgroup
names: slurm.schedmd.com/cgroups.html and cgroup_v2.html, cgroup.conf(5) (CgroupSlice,
CgroupJobIdPaths), read 2026-11-30; `slurm_<node>` and `<node>_slurmstepd.scope` are those of
several slurmd on one host.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from flopmeter_agent.allocations.base import SourceCounters, Statement, Statements
from flopmeter_agent.procfs import ProcessFacts, below_common
from flopmeter_core.allocations import slurm, user_of
from flopmeter_core.errors import DataError
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

ALLOC_FOLDER = "alloc"

MAXIMUM_FILES = 256
"""Devices of a node; a GB200 rack's host has 4, an eight-way host in MIG mode 56."""
MAXIMUM_FILE_BYTES = 16 * 1024
MAXIMUM_JOBS = 64
"""Jobs on one device at once; further ones are not told apart."""

_JOB = re.compile(r"job_(\d+)")
_SLUID = re.compile(r"s[0-9A-Z]{13}")
_SCOPE = re.compile(r"(?:[A-Za-z0-9._-]+_)?slurmstepd\.scope")
_V1_ROOT = re.compile(r"slurm(?:_[A-Za-z0-9._-]+)?")
_V1_USER = re.compile(r"uid_\d+")
_DEVICE = re.compile(r"(?:GPU|MIG)-[A-Za-z0-9._-]{1,100}")

_Stamp = tuple[int, int, int]


class _File(NamedTuple):
    stamp: _Stamp
    statements: tuple[Statement, ...]


class SlurmSource:
    """What Slurm says of this node's devices."""

    name = "slurm"

    def __init__(self, folder: Path, cluster: str) -> None:
        """Read nothing yet.

        Args:
            folder: holds the prolog's files, one a device.
            cluster: the cluster's name, for processes and for files that name none.
        """
        self.counters = SourceCounters()
        self._folder = folder
        self._cluster = _cleaned(cluster)
        self._files: dict[str, _File] = {}
        self._statements: Mapping[str, tuple[Statement, ...]] = {}

    def look(self) -> None:
        """Read the files that changed since."""
        found: dict[str, _File] = {}
        try:
            with os.scandir(self._folder) as entries:
                for count, entry in enumerate(entries):
                    if count >= MAXIMUM_FILES:
                        self._doubt("", f"more than {MAXIMUM_FILES} files in {self._folder}")
                        break
                    if _DEVICE.fullmatch(entry.name):
                        found[entry.name] = self._file(entry.name)
        except OSError:  # no prolog has run yet, or the folder is another user's
            found = {}
        if found != self._files:
            self._files = found
            self._statements = {
                device: file.statements for device, file in found.items() if file.statements
            }

    def statements(self) -> Statements:
        """The jobs that hold devices, as their prologs said."""
        return self._statements

    def of_process(self, process: ProcessFacts) -> str | None:
        """The job whose cgroup a process is in."""
        job = job_of(process.cgroups)
        return slurm(self._cluster, job, pids=True) if job else None

    def knows(self, process: ProcessFacts) -> bool:
        """A prolog has written before a process of its job starts."""
        return True

    def processes_changed(self) -> None:
        """Nothing to do: all of it is seen at each look."""

    def close(self) -> None:
        """Nothing is held."""

    def _file(self, name: str) -> _File:
        path = f"{self._folder}/{name}"  # a Path would cost as much as the rest of the look
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # removed meanwhile, or a link
            return _File((0, 0, 0), ())
        try:
            status = os.fstat(descriptor)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._files.get(name)
            if known is not None and known.stamp == stamp:
                return known
            reason = _untrusted(status)
            if reason:
                self._doubt(name, reason)
                return _File(stamp, ())
            text = os.read(descriptor, MAXIMUM_FILE_BYTES).decode("utf-8", "replace")
        except OSError as error:
            self._doubt(name, os.strerror(error.errno or 0))
            return _File((0, 0, 0), ())
        finally:
            os.close(descriptor)
        return _File(stamp, self._parsed(name, text))

    def _parsed(self, name: str, text: str) -> tuple[Statement, ...]:
        statements = []
        for line in text.splitlines()[:MAXIMUM_JOBS]:
            if not line.strip():
                continue
            try:
                statements.append(parse_line(line, cluster=self._cluster))
            except DataError as error:
                self._doubt(name, str(error))
        return tuple(statements)

    def _doubt(self, name: str, reason: str) -> None:
        self.counters.failures += 1
        self.counters.problem = f"{name or self._folder}: {reason}"
        if self.counters.problem not in self.counters.said and len(self.counters.said) < 100:
            self.counters.said.add(self.counters.problem)
            logger.warning("a prolog's file is not taken", extra=fields(file=name, reason=reason))


def parse_line(line: str, *, cluster: str) -> Statement:
    """Read what a prolog wrote of one job: ``slurm job=42 restart=1 cluster=c1 uid=1000``.

    Args:
        line: words ``key=value`` behind the word ``slurm``; unknown keys are left alone.
        cluster: the cluster where the line names none, and of jobs seen by their processes.

    Raises:
        DataError: no job, or a value that Slurm does not make.
    """
    scheduler, *words = line.split()
    if scheduler != "slurm":
        raise DataError(
            f"a line begins with the scheduler's name, slurm; this one with {scheduler[:40]!r}"
        )
    said = dict(word.partition("=")[::2] for word in words)
    job = said.get("job", "")
    if not job.isascii() or not job.isdigit() or len(job) > 20:
        raise DataError(f"a line of a prolog has job=NUMBER; this one says {job[:40]!r}")
    restart, user, sluid = said.get("restart", ""), said.get("uid", ""), said.get("sluid", "")
    for text in (restart, user):
        if text and not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise DataError(f"restart and uid are numbers; a line says {text[:40]!r}")
    allocation = slurm(said.get("cluster") or cluster, job, restart if restart != "0" else "")
    seen_as = {slurm(cluster, job)}
    if _SLUID.fullmatch(sluid):
        seen_as.add(slurm(cluster, sluid))
    return Statement(
        allocation,
        frozenset({user_of(allocation), *seen_as}),
        job=job,
        user=int(user) if user else None,
    )


def job_of(cgroups: Iterable[str]) -> str:
    """The job id or SLUID in the cgroup paths of a process; empty where Slurm made none.

    Only where Slurm makes them: below ``/slurm`` (version 1) or below the scope of its step
    daemons in a chain of slices (version 2). A user may name a cgroup of their own alike, but
    not there.
    """
    for path in cgroups:
        parts, _ = below_common(path)
        if not parts:
            continue
        if _V1_ROOT.fullmatch(parts[0]):
            if len(parts) >= 3 and _V1_USER.fullmatch(parts[1]):
                job = _JOB.fullmatch(parts[2])
                if job:
                    return job[1]
            continue
        place = next((i for i, part in enumerate(parts) if not part.endswith(".slice")), 0)
        if parts[0] == "user.slice" or len(parts) < place + 2 or not _SCOPE.fullmatch(parts[place]):
            continue
        job = _JOB.fullmatch(parts[place + 1])
        if job:
            return job[1]
        if _SLUID.fullmatch(parts[place + 1]):
            return parts[place + 1]
    return ""


def _untrusted(status: os.stat_result) -> str:
    """Why a file is not believed; empty where it is."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_uid not in (0, os.geteuid()):
        return f"user {status.st_uid} owns it; a prolog runs as root"
    if status.st_mode & 0o022:
        return "others may write it; take that right away (chmod 644)"
    if status.st_size > MAXIMUM_FILE_BYTES:
        return f"it has more than {MAXIMUM_FILE_BYTES} bytes"
    return ""


def _cleaned(cluster: str) -> str:
    """A cluster's name as a part of an allocation's; what has no room in one is left out."""
    return "".join(c for c in cluster if c.isascii() and (c.isalnum() or c in "-_."))[:100]
