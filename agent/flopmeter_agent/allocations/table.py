"""Who uses each device now: the sources in their order, and one answer from all of them.

Owns: the order of the sources, and the rule that makes one allocation of what they say.
May touch: what its sources may; /proc through `Processes`.
Called by the loop: `look` before each reading, `settle` with the processes listed at it.
docs/allocations.md has the rule in words, docs/adr/0024-allocations.md the reasons.

A process that is on the device goes before what was said of the device: it is what works there. A
statement is the answer where no process is listed, or where the process cannot be seen. Several
users at once are one shared allocation; work is never divided by a guess.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from flopmeter_agent.allocations.base import Source, SourceCounters, Statement
from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.procfs import Processes, ProcessFacts
from flopmeter_core.allocations import CGROUP_PREFIX, NONE, shared, user_of
from flopmeter_core.errors import DataError
from flopmeter_core.readings import DeviceProcess
from flopmeter_core.registers import INSTANCE_MARK
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

SOURCES: Mapping[str, str] = {
    "exec": "runs that named themselves with flopmeter exec",
    "slurm": "files of a Slurm prolog, and processes in the cgroups of jobs",
    "kubernetes": "the kubelet's pod resources, and processes in the cgroups of pods",
    "cgroup": "any other process, by a hash of its cgroup",
}
"""What may be asked for, in the order in which it is believed."""

LOOK_PERIOD_NS = 10 * NS_PER_S
"""How long the sources are believed where the kernel tells of changes: it does not tell of all,
such as a right to read a file that was given."""

_MPS_SERVER = "nvidia-cuda-mps"
"""Of /proc/<pid>/comm, cut to 15 characters by the kernel: the server holds the context of all."""


class AllocationTable:
    """The sources of one node. Used by the sampling thread alone.

    Attributes:
        follow: told, after each reading, the descriptors that become readable when a process that
            matters ends.
        news: set, from any thread, by whoever sees that something changed.
        quiet_clock: says when to ask the sources without news; None where nobody looks out for
            news, and they are asked at each reading.
        is_told: whether who looks out for news sees all of it now; else they are asked too.
    """

    def __init__(
        self, sources: Sequence[Source], processes: Processes, explicit: ExplicitSource | None
    ) -> None:
        """Take the sources in the order they are believed; `explicit` is one of them, or None."""
        self._sources = tuple(sources)
        self._processes = processes
        self._explicit = explicit
        self._statements: dict[str, list[Statement]] = {}
        self._users: dict[str, str] = {}
        self._pids: set[int] = set()
        self.follow: Callable[[Iterable[int]], object] = lambda descriptors: None
        self.quiet_clock: Clock | None = None
        self.is_told: Callable[[], bool] = lambda: True
        self.news = threading.Event()
        self._due_ns = 0

    @property
    def users(self) -> Mapping[str, str]:
        """The allocation of each device read last: a copy."""
        return dict(self._users)

    @property
    def counters(self) -> Mapping[str, SourceCounters]:
        """What each source counts."""
        return {source.name: source.counters for source in self._sources}

    @property
    def explicit(self) -> ExplicitSource | None:
        """The source of runs that name themselves, where it is asked."""
        return self._explicit

    def look(self) -> None:
        """Ask every source what is said of devices now, where that may have changed."""
        if self.quiet_clock is not None and self.is_told():
            now_ns = self.quiet_clock.monotonic_ns()
            if now_ns < self._due_ns and not self.news.is_set():
                return
            self._due_ns = now_ns + LOOK_PERIOD_NS
        self.news.clear()
        found: dict[str, list[Statement]] = {}
        for source in self._sources:
            try:
                source.look()
                stated = source.statements()
            except Exception as error:  # a source may never stop the meter
                self._note(source, error)
                self.news.set()
                continue
            for device, statements in stated.items():
                found.setdefault(device, []).extend(statements)
        self._statements = found

    def settle(
        self, devices: Iterable[str], processes: Mapping[str, Sequence[DeviceProcess]]
    ) -> None:
        """Find the allocation of each device, from what was said and who was listed."""
        pids = {each.pid for listed in processes.values() for each in listed}
        self._processes.keep(pids)
        if pids != self._pids:
            self._pids = pids
            self.news.set()
            for source in self._sources:
                source.processes_changed()
        by_gpu: dict[str, list[str]] = {}
        for device in devices:
            by_gpu.setdefault(device.partition(INSTANCE_MARK)[0], []).append(device)
        users: dict[str, str] = {}
        for gpu, units in by_gpu.items():
            listed = self._workers(processes.get(gpu, ()))
            instances = [unit for unit in units if unit != gpu]
            if not instances:
                users[gpu] = shared(self._users_of(self._stated_of(gpu), listed))
                continue
            # Time, energy and ceiling of instances are their GPU's (ADR 9), so users of
            # different instances share it: no share of a ceiling could be proved.
            found = [user for unit in instances for user in self._users_of_instance(unit, listed)]
            busy = [user for user in found if user != NONE]
            users |= dict.fromkeys(units, shared(busy or [NONE]))
        self._users = users
        explicit = self._explicit.descriptors if self._explicit is not None else ()
        self.follow((*explicit, *self._processes.descriptors))

    def of(self, device: str) -> str:
        """The allocation of a device at the reading settled last."""
        return self._users.get(device, NONE)

    def stated(self, device: str) -> str:
        """What was stated of a device that cannot be read; ``none`` where nothing was."""
        return shared(self._claimed(self._stated_of(device)) or [NONE])

    def close(self) -> None:
        """Let go of everything."""
        for source in self._sources:
            source.close()
        self._processes.close()

    # --- inside -----------------------------------------------------------------------------------

    def _stated_of(self, device: str) -> list[Statement]:
        """What is said of a device; of a MIG instance by its own UUID, else by its GPU's."""
        gpu, mark, rest = device.partition(INSTANCE_MARK)
        if mark:
            own = self._statements.get(rest.partition("@")[2])
            if own:
                return own
        return self._statements.get(gpu, [])

    def _users_of_instance(self, unit: str, listed: Sequence[DeviceProcess]) -> list[str]:
        number = unit.partition(INSTANCE_MARK)[2].partition("@")[0]
        mine = [each for each in listed if each.instance is None or str(each.instance) == number]
        return self._users_of(self._stated_of(unit), mine)

    def _workers(self, listed: Sequence[DeviceProcess]) -> list[DeviceProcess]:
        """The processes whose work it is: clients of MPS, not the server that works for them."""
        if not any(each.mps for each in listed):
            return list(listed)
        return [
            each
            for each in listed
            if each.mps
            or (
                self._processes.of(each.pid).visible
                and not self._processes.of(each.pid).name.startswith(_MPS_SERVER)
            )
        ]

    def _users_of(self, stated: Sequence[Statement], listed: Sequence[DeviceProcess]) -> list[str]:
        """Everybody who uses a device, at least one name."""
        by_user: dict[str, int | None] = {}
        for process in listed:
            for user in self._users_of_process(process, stated):
                before = by_user.get(user, 0)
                unknown = process.busy_percent is None or before is None
                by_user[user] = None if unknown else max(before or 0, process.busy_percent or 0)
        if len(by_user) > 1 and None not in by_user.values():
            # Of several users those whose kernels ran since the reading before; all if none did.
            worked = [user for user, percent in by_user.items() if percent]
            return worked or list(by_user)
        return list(by_user) or self._claimed(stated) or [NONE]

    def _users_of_process(self, process: DeviceProcess, stated: Sequence[Statement]) -> list[str]:
        facts = self._processes.of(process.pid)
        if self._explicit is not None:
            run = self._explicit.of_process(facts)
            if run is not None:
                return [run]
        source, seen = self._seen(facts) if facts.visible else (None, None)
        if source is None or seen is None:
            # A process that nobody can tell: whoever was given the device, if anybody was.
            return self._claimed(stated) or [NONE]
        named = user_of(seen)
        for statement in stated:
            if named in statement.aliases:
                return self._claimed([statement], hidden=True)
        if len(stated) == 1 and not stated[0].aliases and _same_kind(seen, stated[0].allocation):
            # Its scheduler cannot say how its processes look, and gave the device to one only: that
            # one's it is, unless the device was given away again since.
            return [stated[0].allocation] if source.knows(facts) else [seen]
        if seen.startswith(CGROUP_PREFIX):
            # No scheduler made its cgroup, such as a container's that a job had a daemon start.
            mine = [each for each in stated if each.user is not None and each.user == facts.user]
            if len(mine) == 1:
                return self._claimed(mine, hidden=True)
        return [seen]

    def _seen(self, facts: ProcessFacts) -> tuple[Source | None, str | None]:
        for source in self._sources:
            if source is self._explicit:
                continue
            try:
                found = source.of_process(facts)
            except DataError as error:
                self._note(source, error)
                continue
            if found is not None:
                return source, found
        return None, None

    def _claimed(self, stated: Sequence[Statement], *, hidden: bool = False) -> list[str]:
        """What was stated, with the runs that the owners' own processes name in its place.

        Args:
            stated: of one device.
            hidden: only runs whose own process cannot be seen; the others' are known by it.
        """
        found: dict[str, None] = {}
        for statement in stated:
            runs: tuple[str, ...] = ()
            if self._explicit is not None:
                runs = self._explicit.of_job(statement.job, statement.user, hidden=hidden)
            found |= dict.fromkeys(runs or (statement.allocation,))
        return list(found)

    def _note(self, source: Source, error: Exception) -> None:
        counters = source.counters
        counters.failures += 1
        counters.problem = str(error)
        if counters.problem not in counters.said and len(counters.said) < 100:
            counters.said.add(counters.problem)
            logger.warning(
                "an allocation source fails; the next one is asked",
                extra=fields(source=source.name, reason=counters.problem),
            )


def _same_kind(one: str, other: str) -> bool:
    return user_of(one).partition(":")[0] == user_of(other).partition(":")[0]
