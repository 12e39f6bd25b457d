"""What every allocation source offers, and what the loop asks of all of them together.

Owns: the protocols of a source and of the users of devices, and the shape of a statement and of a
privilege that doctor shows.
May touch: nothing; definitions only.
Called by allocations.table; implemented by one module a source, listed there.
A source never calls the driver and never waits: what may block it does in a thread of its own,
and answers what it knew last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from flopmeter_agent.procfs import ProcessFacts
from flopmeter_core.readings import DeviceProcess


class Statement(NamedTuple):
    """What somebody who gives devices away says of one device.

    Attributes:
        allocation: the name of who has it.
        aliases: under which names the same user is seen by its processes, as `user_of` spells
            them; none where processes cannot tell.
        job: the job's number in its scheduler's words; empty where it has none.
        user: user id of the job's owner; None where nobody said. It leaves no node.
    """

    allocation: str
    aliases: frozenset[str] = frozenset()
    job: str = ""
    user: int | None = None


Statements = Mapping[str, Sequence[Statement]]
"""GPU UUID, MIG UUID or PCI-free device name -> who was given it."""


class Finding(NamedTuple):
    """One line of ``flopmeter doctor --agent``.

    Attributes:
        source: the source's name.
        needs: the privilege it needs, in one clause.
        has: whether it is here; None where it is not used here.
        found: what was found.
        lost: what is not told apart without it.
    """

    source: str
    needs: str
    has: bool | None
    found: str
    lost: str


@dataclass(slots=True)
class SourceCounters:
    """What a source counts of its own work, for the agent's metrics.

    Attributes:
        failures: times it could not be asked or what it read was refused.
        problem: the newest reason; empty while it works.
    """

    failures: int = 0
    problem: str = ""
    said: set[str] = field(default_factory=set)


class Source(Protocol):
    """One way of knowing who uses a device."""

    name: str
    counters: SourceCounters

    def look(self) -> None:
        """Take in what is said of devices now; once before each reading, in well under 1 ms."""

    def statements(self) -> Statements:
        """What the last `look` found, by device."""

    def of_process(self, process: ProcessFacts) -> str | None:
        """The allocation of a process that can be seen; None where it is none of this source."""

    def knows(self, process: ProcessFacts) -> bool:
        """Whether what is said of devices is new enough to be said of this process."""

    def processes_changed(self) -> None:
        """Take note that a process came to a device or left one."""

    def close(self) -> None:
        """Let go of what it holds."""


class Users(Protocol):
    """Who uses devices, as the loop asks it."""

    def look(self) -> None:
        """Take in what is said of devices; called before a reading."""

    def settle(
        self, devices: Iterable[str], processes: Mapping[str, Sequence[DeviceProcess]]
    ) -> None:
        """Take in which devices were read, and the processes the driver listed on each GPU."""

    def of(self, device: str) -> str:
        """The allocation of a device at the reading settled last."""

    def stated(self, device: str) -> str:
        """What was stated of a device that cannot be read; ``none`` where nothing was."""
