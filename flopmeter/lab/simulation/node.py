"""One node: its hardware, clocks and disk, and the agent process that lives and dies on it.

Owns: when the agent's process starts, ends, sleeps and starts again.
May touch: the agent's loop, journal and link through their seams; the oracle is told what happens.
Called by the world, and by faults. The agent's code is the production code; only the pace of
sampling is told here, as app.py does it with a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flopmeter.lab.simulation.clock import GROUP, Killed, NodeClock, SimulatedLoop, TaskGroup
from flopmeter.lab.simulation.disk import Content, Disk
from flopmeter.lab.simulation.hardware import FleetSensor, Hardware
from flopmeter.lab.simulation.network import Network
from flopmeter.lab.simulation.oracle import Image, Oracle
from flopmeter.lab.simulation.randomness import Randomness
from flopmeter.lab.simulation.topology import Topology
from flopmeter.lab.simulation.truth import Round
from flopmeter_agent.app import (
    CLOSED_NAME,
    HOURS_NAME,
    JOURNAL_NAME,
    LoopSource,
    note_disk_failure,
)
from flopmeter_agent.closed import open_closed
from flopmeter_agent.display import DisplayEstimate
from flopmeter_agent.hours import Hours, open_hours
from flopmeter_agent.journal import Journal
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.witness import MemoryWitness
from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.errors import FlopmeterError, StorageError
from flopmeter_core.estimate import METHOD_VERSION
from flopmeter_core.readings import Reading
from flopmeter_core.reports import Answer, Hello, Report
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.link import Link

FOR_EVER_NS = 1 << 62
"""Boot time at which no hour is held back any more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an agent samples and reports.

    Attributes:
        sample_ns: the sampling period.
        report_s: the report period.
        longest_backoff_s: longest mean wait between two attempts to connect.
        restart_ns: how long after its end a service manager starts the process again.
    """

    sample_ns: int
    report_s: float
    longest_backoff_s: float
    restart_ns: int


@dataclass(slots=True)
class Surroundings:
    """What all nodes share."""

    loop: SimulatedLoop
    network: Network
    oracle: Oracle
    parts: DeviceTable
    display: DisplayEstimate
    pace: Pace
    trace: Callable[..., None]
    epoch_ns: int
    topology: Topology


@dataclass(frozen=True, slots=True)
class DiskImage:
    """A copy of a node's disk, and what the oracle knows to be on it."""

    files: dict[str, Content]
    states: Image


class Node:
    """One node with its agent."""

    def __init__(
        self,
        name: str,
        device_count: int,
        around: Surroundings,
        randomness: Randomness,
        count: Callable[[str], None],
        *,
        sampled: bool = False,
        says: str = "",
    ) -> None:
        """Be switched on, without an agent yet.

        Args:
            name: of the node in this world.
            device_count: accelerators in it.
            around: what all nodes share.
            randomness: of this node.
            count: is told each fault that struck.
            sampled: whether its sensor samples.
            says: the name its agent gives, and its accelerators carry: a clone's is another's.
        """
        self.name = name
        self.says = says or name
        self.next_incarnation = ""
        """Where it is not drawn anew: what the copy of a machine in the middle of its start has."""
        self.disk = Disk(randomness.stream("disk"), count)
        self.clock = NodeClock(around.loop, epoch_ns=around.epoch_ns)
        self.hardware = Hardware(
            self.says,
            device_count,
            lambda: around.loop.now_ns,
            randomness.stream("hardware"),
            sampled=sampled,
        )
        self.agent: AgentLoop | None = None
        self.group: TaskGroup | None = None
        self.powered = True
        self.stopping = False
        self._once_more = False
        self.sensor: FleetSensor | None = None
        self._around = around
        self._random = randomness.stream("process")
        self._seen = Round()
        self._settled: bool | None = None
        self._hours = Hours()
        self._awake: asyncio.Event | None = None
        self.boot(before_ns=self._random.between(60, 86_400) * NS_PER_S)

    @property
    def alive(self) -> bool:
        """Whether an agent's process is there."""
        return self.group is not None and not self.group.dead

    @property
    def asleep(self) -> bool:
        """Whether the node is suspended."""
        return self._awake is not None

    @property
    def settled(self) -> bool:
        """Whether everything the agent holds is acknowledged.

        Asked at every instant of the drain. While nothing happens to the agent its answer stays,
        unless it waits for a time: with hours to tell, or beside another writer.
        """
        if not self.alive or self.agent is None:
            return False
        if self._settled is None or self._waits_for_a_time(self.agent):
            self._settled = self.agent.report() is None
        return self._settled

    def _waits_for_a_time(self, agent: AgentLoop) -> bool:
        return bool(agent.counters.second_writers or self._hours.unsent(FOR_EVER_NS))

    def boot(self, *, before_ns: int = 0) -> None:
        """Begin a new boot: counters start at 0."""
        self.powered = True
        self._witness = MemoryWitness()
        self.clock.boot(boot_id=self._random.hexadecimal(32), before_ns=before_ns)
        self.hardware.go_on()
        self.hardware.reset()

    def start(self) -> None:
        """Start the agent's process."""
        if self.alive or not self.powered:
            return
        self.group = TaskGroup(self.name, self._died)
        self._around.trace("start", self.name)
        context = contextvars.copy_context()
        context.run(GROUP.set, self.group)
        context.run(self._begin, self.group)

    def kill(self) -> None:
        """End the agent's process as SIGKILL does."""
        self._around.trace("kill", self.name)
        self._end(None, noticed=True)

    def cut_power(self) -> None:
        """The node loses its power: what is not durable may be gone."""
        self._around.trace("power_cut", self.name)
        self.hardware.stop()
        self._end(self.disk.files.get(JOURNAL_NAME), noticed=False)
        self.disk.cut_power()
        self.powered = False
        self.wake()

    def image(self) -> DiskImage:
        """A copy of the disk as it is read now."""
        return DiskImage(self.disk.copy_files(), self._around.oracle.imaged(self.name))

    def revert(self, image: DiskImage) -> None:
        """Lose the power, and have an image in the place of the disk."""
        self.cut_power()
        self._around.trace("revert", self.name)
        self.disk.files = image.files
        self._around.oracle.reverted(self.name, image.states)

    def suspend(self, length_ns: int) -> None:
        """Put the whole node to sleep for a while."""
        if self.asleep or not self.powered:
            return
        self._around.trace("suspend", self.name, length_ns)
        self.hardware.stop()
        self._awake = asyncio.Event()
        began_ns = self._around.loop.now_ns
        self._around.loop.after(length_ns, self._wake_up, began_ns, self._awake)

    def wake(self) -> None:
        """Forget a sleep that a power cut or a boot has ended."""
        if self._awake is not None:
            self._awake.set()
            self._awake = None

    def once_more(self) -> None:
        """Take one more sample, although no more are taken."""
        self._once_more = True

    def close(self) -> None:
        """End the process, whatever it is at."""
        self.wake()
        self._end(None, noticed=False)

    async def awake(self) -> None:
        """Wait until the node does not sleep."""
        while self._awake is not None:
            await self._awake.wait()

    # --- the process ------------------------------------------------------------------------------

    def _begin(self, group: TaskGroup) -> None:
        self._around.loop.create_task(self._live(group)).add_done_callback(self._ended)

    def _died(self) -> None:
        self._around.trace("killed", self.name)
        self._end(None, noticed=True)

    def _wake_up(self, began_ns: int, awake: asyncio.Event) -> None:
        if self._awake is awake:
            self._around.trace("resume", self.name)
            self.clock.suspend(self._around.loop.now_ns - began_ns)
            self.hardware.go_on()
            self.wake()

    def _end(self, content: Content | None, *, noticed: bool) -> None:
        if self.group is None or self.group.dead:
            if content is not None:  # what a killed process wrote may go all the same
                self._around.oracle.crashed(self.name, content, self.clock.monotonic_ns())
            return
        self.group.dead = True
        self._around.oracle.crashed(self.name, content, self.clock.monotonic_ns())
        self._around.network.node_gone(self.name, noticed=noticed)
        self.group.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The process is over, by whatever cause: a service manager starts the next one."""
        group = self.group
        if group is not None and not group.dead:
            self._end(None, noticed=True)
        if not self.stopping:
            self._around.loop.after(self._around.pace.restart_ns, self.start)

    async def _live(self, group: TaskGroup) -> None:
        await self.awake()
        try:
            loop, link = self._build(group)
        except FlopmeterError as error:
            self._around.trace("no_start", self.name, str(error))
            return
        self.agent, self._settled = loop, None
        self._around.oracle.started(self.name, loop, self.clock.boot_id)
        stop = asyncio.Event()
        sampler = asyncio.ensure_future(self._sample(loop, link))
        sender = asyncio.ensure_future(link.run(wait=self._until_next_report, stop=stop))
        both = asyncio.gather(sampler, sender)
        try:
            await both
        except FlopmeterError as error:
            self._around.trace("failed", self.name, str(error))
        except Killed:
            self._around.trace("killed", self.name)

    def _build(self, group: TaskGroup) -> tuple[AgentLoop, Link]:
        around = self._around

        def alive() -> bool:
            return not group.dead

        self._seen = Round()
        incarnation, self.next_incarnation = self.next_incarnation, ""
        self.sensor = FleetSensor(
            self.hardware, self.clock, seen=self._note_readings, listed=self._note_listed
        )
        journal = Journal(self.disk.open(JOURNAL_NAME, alive))
        loop = AgentLoop(
            self.sensor,
            journal,
            self.clock,
            Identity(node=self.says, cluster="simulated", agent_version="simulated"),
            closed=open_closed(self.disk.open(CLOSED_NAME, alive)),
            incarnation=incarnation or self._random.hexadecimal(32),
            new_incarnation=lambda: self._random.hexadecimal(32),
            period_ns=around.pace.sample_ns,
            sensor_reason="simulated",
            rated_power_w=lambda record: around.parts.recognise(record).power_w,
            display=around.display,
            hours=(hours := open_hours(self.disk.open(HOURS_NAME, alive))),
            witness=self._witness,
        )
        self._hours = hours
        link = Link(
            "simulated",
            lambda: self._greets(loop),
            _Source(self, loop),
            jitter=self._random.share,
            longest_backoff_s=around.pace.longest_backoff_s,
            dial=lambda: around.network.dial(self.name, group, around.topology.home(self.name)),
        )
        return loop, link

    def _greets(self, loop: AgentLoop) -> Hello:
        """A stream begins; what a relay said on another one is forgotten."""
        self._settled = None
        return loop.hello(METHOD_VERSION)

    async def _until_next_report(self) -> None:
        await asyncio.sleep(self._around.pace.report_s)
        await self.awake()

    @staticmethod
    def _try(loop: AgentLoop, step: Callable[[], None]) -> bool:
        """Do what needs the disk; whether it worked. Without it the registers go on in memory."""
        try:
            step()
        except StorageError as error:
            note_disk_failure(loop, error)
            return False
        return True

    async def _sample(self, loop: AgentLoop, link: Link) -> None:
        pace = self._around.pace
        per_report = max(1, round(pace.report_s * NS_PER_S / pace.sample_ns))
        content = self.disk.files[JOURNAL_NAME]
        while True:
            if not self.stopping or loop.counters.samples == 0 or self._once_more:
                self._once_more = False
                self._seen.readings = []
                self._seen.monotonic_ns = self.clock.monotonic_ns()
                self._seen.boottime_ns = self.clock.boottime_ns()
                before, written = loop.counters.samples, content.writes
                self._settled = None
                try:
                    kept = self._try(loop, loop.sample)
                except Killed:
                    if loop.counters.samples > before and content.writes > written:
                        self._show(loop, content.writes, certain=False)
                    raise
                self._around.trace("sample", self.name, content.writes)
                if loop.counters.samples > before:
                    self._show(loop, content.writes if kept else None)
                if loop.unsynced_samples >= per_report + link.state.connected:
                    self._try(loop, loop.sync)
            await asyncio.sleep(pace.sample_ns / NS_PER_S)
            await self.awake()

    def _show(self, loop: AgentLoop, kept: int | None, *, certain: bool = True) -> None:
        """Show the oracle a round, and the write of the journal that holds it."""
        self._around.oracle.sampled(
            self.name, loop, self._seen, kept=kept, boot_id=self.clock.boot_id, certain=certain
        )

    def _note_readings(self, readings: Sequence[Reading]) -> None:
        self._seen.readings.extend(readings)

    def _note_listed(self, records: Sequence[DeviceRecord]) -> None:
        self._seen.listed = {record.device: record for record in records}

    def sends(self, report: Report) -> None:
        """Show the oracle what is about to leave."""
        files = self.disk.files
        self._around.oracle.sends(
            self.name, report, journal=files[JOURNAL_NAME], closed=files[CLOSED_NAME]
        )

    def answered(self, answer: Answer) -> None:
        """Show the oracle what has come back."""
        self._settled = None
        by, index = self._around.network.answered[self.name]
        ledger = self._around.topology.ledger(by)
        self._around.oracle.answered(self.name, answer, ledger, index)


class _Source(LoopSource):
    """The loop as the link sees it; a node that sleeps does nothing, and the oracle looks on."""

    def __init__(self, node: Node, loop: AgentLoop) -> None:
        super().__init__(loop)
        self._node = node

    async def next_report(self) -> Report | None:
        """Sync the journal and collect what is not acknowledged."""
        await self._node.awake()
        report = await super().next_report()
        await self._node.awake()
        if report is not None:
            self._node.sends(report)
        return report

    async def acknowledge(self, answer: Answer) -> None:
        """Hand an answer to the loop."""
        await self._node.awake()
        self._node.answered(answer)
        await super().acknowledge(answer)
