"""Processes that no scheduler started: told apart by their cgroup, under a site-keyed hash.

Owns: which of a process' cgroups stands for its user, and the hash.
May touch: nothing; the key is handed in.
Called by allocations.table, last of all sources. docs/allocations.md has the rules.

A cgroup's path may hold a user's number, a unit's or a container's name, so it never leaves the
node as it is.
"""

from __future__ import annotations

from flopmeter_agent.allocations.base import SourceCounters, Statements
from flopmeter_agent.procfs import ProcessFacts
from flopmeter_agent.site_key import SiteKey
from flopmeter_core.allocations import cgroup


class CgroupSource:
    """The cgroup of a process as its user."""

    name = "cgroup"

    def __init__(self, key: SiteKey) -> None:
        """Remember the key."""
        self.counters = SourceCounters()
        self._key = key

    def look(self) -> None:
        """Nothing is said of devices."""

    def statements(self) -> Statements:
        """Nothing."""
        return {}

    def of_process(self, process: ProcessFacts) -> str | None:
        """The hash of the most telling of its cgroups."""
        if not process.cgroups:
            return None
        return cgroup(self._key.hash("cgroup", telling(process.cgroups)))

    def knows(self, process: ProcessFacts) -> bool:
        """Nothing is said that could be older."""
        return True

    def processes_changed(self) -> None:
        """Nothing to do: all of it is seen at each look."""

    def close(self) -> None:
        """Nothing is held."""


def telling(paths: tuple[str, ...]) -> str:
    """Of a process' cgroups the one that says most: the unified one, else the deepest.

    Args:
        paths: at least one; the unified hierarchy's last.
    """
    if paths[-1] not in ("/", "/init.scope"):
        return paths[-1]
    return max(paths, key=lambda path: (path.count("/") if path != "/" else 0, path))
