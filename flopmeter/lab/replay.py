"""Feeds a recording through real agents, real gRPC and a real ledger, as fast as it can.

Owns: the replayed node (a sensor and a clock driven by the recording) and the run of all nodes.
May touch: a temporary folder, loopback sockets.
Called by ``flopmeter replay`` and by tests. Nothing is estimated here: the totals are the
collector's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flopmeter.lab.bulk.importing import replay_series
from flopmeter.lab.bulk.load import Progress, is_series
from flopmeter.lab.importers.base import NodeRecording, Recording
from flopmeter.lab.importers.table import load_recording
from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.base import Readout
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.presentation import totals_document
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord, builtin_parts
from flopmeter_core.errors import UsageError
from flopmeter_core.estimate import METHOD_VERSION
from flopmeter_core.reports import Answer, Report
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.link import Link

READINGS_PER_REPORT = 100
"""Readings a replayed agent takes between two reports; any number gives the same totals."""


class ReplayClock:
    """A recording's own time: it stands where the replay has come to."""

    def __init__(self, recording: Recording) -> None:
        """Start at the recording's time 0."""
        self._epoch_ns = recording.epoch_ns
        self.now_ns = 0

    @property
    def boot_id(self) -> str:
        """One recording is one boot."""
        return f"recording-{self._epoch_ns}"

    def monotonic_ns(self) -> int:
        """Recording time in ns."""
        return self.now_ns

    def boottime_ns(self) -> int:
        """Recording time in ns."""
        return self.now_ns

    def wall_ns(self) -> int:
        """Unix time of the recording in ns."""
        return self._epoch_ns + self.now_ns


class ReplaySensor:
    """Gives the readings of one recorded node, one instant a round."""

    name = "replay"

    def __init__(self, node: NodeRecording, clock: ReplayClock, *, simulated: bool) -> None:
        """Stand before the first reading."""
        self.simulated = simulated
        self._node = node
        self._clock = clock
        self._next = 0
        self._rounds = iter(node.rounds)
        self._round_ns = next(self._rounds, None)

    @property
    def ended(self) -> bool:
        """Whether every reading and every round was given."""
        if self._node.rounds:
            return self._round_ns is None
        return self._next >= len(self._node.readings)

    def devices(self) -> Sequence[DeviceRecord]:
        """The recorded devices."""
        return self._node.records

    def advance(self) -> None:
        """Move the clock to the next instant: a round's end, else a reading."""
        if self._round_ns is not None:
            self._clock.now_ns, self._round_ns = self._round_ns, next(self._rounds, None)
        else:
            self._clock.now_ns = self._node.readings[self._next].monotonic_ns

    def read(self) -> Readout:
        """All readings of the instant the clock stands at."""
        first = self._next
        readings = self._node.readings
        while self._next < len(readings) and (
            readings[self._next].monotonic_ns <= self._clock.now_ns
        ):
            self._next += 1
        return Readout(tuple(readings[first : self._next]))

    def close(self) -> None:
        """Nothing to release."""


class ReplayedNode:
    """One recorded node with an agent of its own."""

    def __init__(self, recording: Recording, node: NodeRecording, folder: Path) -> None:
        """Build the agent and begin its devices' time.

        The time of a device begins with the run, or with its first reading when the recording
        began before; it ends with the run, or with its last reading when that is later. Where
        the recording knows its rounds, it begins as it did for the agent: with the first one.
        """
        folder.mkdir(parents=True)
        self._recording = recording
        self._clock = ReplayClock(recording)
        self._sensor = ReplaySensor(node, self._clock, simulated=recording.simulated)
        self._journal = Journal(OsBlockFile(folder / "journal"))
        self._closed = open_closed(OsBlockFile(folder / "closed"))
        # Where rounds are known, silence is seen inside the run, and is the run's.
        silence_of = for_run(recording.run) if node.rounds else NONE
        version = importlib.metadata.version("flopmeter")
        parts = builtin_parts()
        self.loop = AgentLoop(
            self._sensor,
            self._journal,
            self._clock,
            Identity(node=node.node, agent_version=version, allocation=silence_of),
            closed=self._closed,
            incarnation=secrets.token_hex(16),
            new_incarnation=lambda: secrets.token_hex(16),
            period_ns=recording.sample_period_ns,
            sensor_reason="a recording is replayed",
            rated_power_w=lambda record: parts.recognise(record).power_w,
        )
        first_ns = node.readings[0].monotonic_ns if node.readings else recording.start_ns
        begin_ns = min(recording.start_ns, first_ns)
        for record in () if node.rounds else node.records:
            self.loop.start_device(
                record,
                allocation=for_run(recording.run) if begin_ns == recording.start_ns else NONE,
                monotonic_ns=begin_ns,
                boottime_ns=begin_ns,
            )

    def step(self) -> bool:
        """Take some readings; False when the recording is over and its tail accounted for."""
        for _ in range(READINGS_PER_REPORT):
            if self._sensor.ended:
                self._close_tail()
                return False
            self._sensor.advance()
            self.loop.sample()
        return True

    def close(self) -> None:
        """Release the journals."""
        self._journal.close()
        self._closed.close()

    def _close_tail(self) -> None:
        """Time from the last reading to the end of the run was observed by nobody."""
        stop_ns = self._recording.stop_ns
        if self._clock.now_ns < stop_ns:
            self._clock.now_ns = stop_ns
            self.loop.end_devices(for_run(self._recording.run))
        self.loop.close_hour()


@dataclass(slots=True)
class NodeSource:
    """A replayed node as its link sees it."""

    node: ReplayedNode

    async def next_report(self) -> Report | None:
        """The newest vectors, synced."""
        return self.node.loop.report()

    async def acknowledge(self, answer: Answer) -> None:
        """Hand an answer to the agent."""
        self.node.loop.acknowledge(answer)


def replay(
    path: Path,
    *,
    run: str | None = None,
    model: str | None = None,
    formats: str | None = None,
    workload: str | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Replay a recording and give the totals.

    Args:
        path: the recording, in a format `importers.table` lists, or series (`lab.bulk`).
        run: name for the run in place of the recording's own.
        model: the model the run belongs to; a model of one when None.
        formats: declared number-format mix.
        workload: declared workload class.
        progress: told how far the replay of series is.

    Returns:
        The object of ``flopmeter totals --json``.

    Raises:
        FlopmeterError: the recording or a declaration is not usable.
    """
    declared = {"model": model, "format": formats, "workload": workload}
    body = {name: text for name, text in declared.items() if text is not None}
    if is_series(path):
        if run is not None:
            raise UsageError(f"--run is for a recording of one run; {path} names its runs itself")
        return replay_series([path], body, clock=SystemClock(), progress=progress)
    recording = load_recording(path)
    if run is not None:
        recording = renamed(recording, run)
    with tempfile.TemporaryDirectory(prefix="flopmeter-replay-") as folder:
        return asyncio.run(_replay(recording, body, Path(folder)))


def renamed(recording: Recording, run: str) -> Recording:
    """The same recording under another run name."""
    own, wanted = for_run(recording.run), for_run(run)
    nodes = tuple(
        dataclasses.replace(
            node,
            readings=[
                dataclasses.replace(reading, allocation=wanted)
                if reading.allocation == own
                else reading
                for reading in node.readings
            ],
        )
        for node in recording.nodes
    )
    return dataclasses.replace(recording, run=run, nodes=nodes)


async def _replay(recording: Recording, body: dict[str, str], folder: Path) -> dict[str, Any]:
    async with replayed(recording, body, folder) as collector:
        return await totals_of(collector)


@contextlib.asynccontextmanager
async def replayed(
    recording: Recording, body: dict[str, str], folder: Path
) -> AsyncIterator[CollectorApp]:
    """Replay a recording; yields the collector that has taken all of it.

    Args:
        recording: what to replay.
        body: what is declared of its run beforehand; empty where nothing is.
        folder: gets the ledger and the agents' states.
    """
    config = CollectorConfig(
        ledger=str(folder / "ledger.sqlite"),
        simulated=recording.simulated,
        grpc_listen="127.0.0.1:0",
        http_listen="",
    )
    collector = CollectorApp(config, SystemClock())
    await collector.start()
    try:
        if body:
            await collector.declare(recording.run, body, author="replay", source="recording")
        nodes = [
            ReplayedNode(recording, node, folder / "agents" / str(number))
            for number, node in enumerate(recording.nodes)
        ]
        for node in nodes:
            await _send(node, collector.grpc_address)
            node.close()
        yield collector
    finally:
        await collector.stop()


async def totals_of(collector: CollectorApp) -> dict[str, Any]:
    """The object of ``flopmeter totals --json``, evaluated now."""
    published = await collector.evaluate_now()
    return totals_document(published.snapshot, collector.thresholds)


async def _send(node: ReplayedNode, address: str) -> None:
    """Replay one node over one stream, from its first reading to its last acknowledgement."""
    link = Link(address, lambda: node.loop.hello(METHOD_VERSION), NodeSource(node))
    async with link.connect() as stream:
        while node.step():
            await stream.exchange()
        while await stream.exchange():
            pass
