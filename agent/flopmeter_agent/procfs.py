"""What the kernel says of a process: its cgroups, its ancestors, its user.

Owns: reading /proc/<pid>, the memory of what was read, and when it is forgotten.
May touch: /proc/<pid>/cgroup, stat, status and comm; one pidfd a process. No environment and no
command line is read: they are private, and another user's need a privilege.
Called by allocations.table, once a sample; docs/allocations.md says what each file needs.

A process is looked at once. Its pidfd says when it ends, so that a pid that is used again is never
taken for the process before; where none can be had (a seccomp filter, no descriptor left), when it
began is looked at each time. A process that cannot be seen (hidepid, another PID namespace) is
looked for again after a while.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

PROC = Path("/proc")

MAXIMUM_PROCESSES = 1_024
"""Processes remembered at once; an H100 in MIG mode with MPS has at most 7 x 48 clients
(NVIDIA Multi-Process Service guide, client limit of 48 a GPU instance from Volta on)."""

MAXIMUM_ANCESTORS = 64
REFRESH_NS = 60 * NS_PER_S
"""How long what was read is believed of a process that lives: one may be moved between cgroups."""

_LONGEST_READ = 64 * 1024
_PARENT_FIELD, _START_FIELD = 1, 19
"""Of /proc/<pid>/stat behind the name in parentheses: fields 4 and 22 of proc_pid_stat(5)."""


class ProcessFacts(NamedTuple):
    """One process as the kernel shows it.

    Attributes:
        pid: in the agent's PID namespace.
        cgroups: the paths of /proc/<pid>/cgroup, unified hierarchy last; empty where not visible.
        lineage: the process itself and its ancestors, the nearest first; the process alone where
            they are not visible.
        name: what the kernel calls it (comm); empty where not visible. It leaves no node.
        user: its real user id; None where not visible. It leaves no node.
    """

    pid: int
    cgroups: tuple[str, ...] = ()
    lineage: tuple[int, ...] = ()
    name: str = ""
    user: int | None = None

    @property
    def visible(self) -> bool:
        """Whether anything but its number is known."""
        return bool(self.cgroups)


@dataclass(slots=True)
class _Known:
    facts: ProcessFacts
    until_ns: int
    descriptor: int
    started: str


class Processes:
    """The processes that hold devices, each read once. Not thread-safe."""

    def __init__(self, clock: Clock, proc: Path = PROC) -> None:
        """Read nothing yet.

        Args:
            clock: says when to look again.
            proc: where procfs is; another place in tests.
        """
        self._clock = clock
        self._proc = proc
        self._known: dict[int, _Known] = {}
        self._poll = select.poll()

    def close(self) -> None:
        """Let go of every process."""
        for pid in list(self._known):
            self._forget(pid)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """A descriptor a live process; readable when it has ended."""
        return tuple(k.descriptor for k in self._known.values() if k.descriptor >= 0)

    def keep(self, pids: Iterable[int]) -> None:
        """Forget every process but these, and those of these that have ended since."""
        wanted = set(pids)
        gone = {descriptor for descriptor, _ in self._poll.poll(0)} if self._known else set()
        for pid, known in list(self._known.items()):
            if pid not in wanted or known.descriptor in gone:
                self._forget(pid)

    def of(self, pid: int) -> ProcessFacts:
        """What is known of a process now."""
        known = self._known.get(pid)
        now_ns = self._clock.monotonic_ns()
        if known is not None and now_ns < known.until_ns and self._lives(pid, known):
            return known.facts
        if known is not None:
            self._forget(pid)
        if len(self._known) >= MAXIMUM_PROCESSES:
            return ProcessFacts(pid, lineage=(pid,))
        descriptor = self._open(pid)
        started = started_at(self._read(pid, "stat"))
        facts = ProcessFacts(
            pid,
            cgroup_paths(self._read(pid, "cgroup")),
            lineage_of(pid, lambda each: parent_of(self._read(each, "stat"))),
            self._read(pid, "comm").strip()[:64],
            self.user_of(pid),
        )
        self._known[pid] = _Known(facts, now_ns + REFRESH_NS, descriptor, started)
        return facts

    def user_of(self, pid: int) -> int | None:
        """The real user id of a process; None where not visible."""
        for line in self._read(pid, "status").splitlines():
            if line.startswith("Uid:"):
                fields = line.split()
                return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None
        return None

    def _lives(self, pid: int, known: _Known) -> bool:
        """Whether it is still that process: its descriptor tells, else when it began."""
        return known.descriptor >= 0 or started_at(self._read(pid, "stat")) == known.started

    def _open(self, pid: int) -> int:
        if self._proc != PROC:  # a recorded tree: its numbers are nobody's here
            return -1
        try:
            descriptor = os.pidfd_open(pid)
        except (OSError, OverflowError):
            # Ended, of another PID namespace, no descriptor left; or a number no process can have.
            return -1
        self._poll.register(descriptor, select.POLLIN)
        return descriptor

    def _forget(self, pid: int) -> None:
        known = self._known.pop(pid)
        if known.descriptor >= 0:
            self._poll.unregister(known.descriptor)
            os.close(known.descriptor)

    def _read(self, pid: int, name: str) -> str:
        try:
            descriptor = os.open(f"{self._proc}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return os.read(descriptor, _LONGEST_READ).decode("utf-8", "replace")
        except OSError:
            return ""
        finally:
            os.close(descriptor)


def cgroup_paths(text: str) -> tuple[str, ...]:
    """The paths of a /proc/<pid>/cgroup, without repetition; the unified hierarchy's last.

    A path that begins with ``/..`` is of a process outside the agent's cgroup namespace: how far
    outside, `below_common` leaves out.
    """
    paths: dict[str, None] = {}
    unified = ""
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        _, separator, path = rest.partition(":")
        if not separator or not path.startswith("/"):
            continue
        if hierarchy == "0":
            unified = path
        else:
            paths[path] = None
    paths.pop(unified, None)
    return (*paths, unified) if unified else tuple(paths)


def below_common(path: str) -> tuple[list[str], bool]:
    """The parts of a cgroup's path, without the way up to what it has in common with the agent's.

    Returns:
        The parts, and whether they begin at the root of all cgroups; else at an ancestor of the
        agent's own, which the kernel does not name (cgroup_namespaces(7)).
    """
    parts = path.strip("/").split("/")
    place = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    return parts[place:], not place


def started_at(stat: str) -> str:
    """When a process began, in the kernel's ticks, of the text of a /proc/<pid>/stat."""
    fields = stat.rpartition(")")[2].split()
    return fields[_START_FIELD] if len(fields) > _START_FIELD else ""


def parent_of(stat: str) -> int:
    """The parent in the text of a /proc/<pid>/stat; 0 where there is none."""
    fields = stat.rpartition(")")[2].split()
    text = fields[_PARENT_FIELD] if len(fields) > _PARENT_FIELD else ""
    return int(text) if text.isdigit() else 0


def lineage_of(pid: int, parent: Callable[[int], int]) -> tuple[int, ...]:
    """A process and its ancestors, the nearest first, up to `MAXIMUM_ANCESTORS`."""
    found = [pid]
    while len(found) < MAXIMUM_ANCESTORS:
        above = parent(found[-1])
        if above <= 0 or above in found:
            break
        found.append(above)
    return tuple(found)
