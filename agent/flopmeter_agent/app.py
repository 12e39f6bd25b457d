"""The agent as a process: builds the parts, runs them, takes them down in reverse order.

Owns: the sampling thread, the event loop of the link, and the order of start and stop.
May touch: everything an agent may: the state folder, the driver through a sensor, one channel.
Called by the command line (`run`) and by tests.
One thread samples at its own pace and is never held up by the network; the event loop sends.
Explained in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flopmeter_agent.claim_report import claiming, socket_path
from flopmeter_agent.claims import ClaimBook
from flopmeter_agent.closed import ClosedRegisters, open_closed
from flopmeter_agent.config import SHORTEST_PERIOD_S, AgentConfig
from flopmeter_agent.display import DisplayEstimate
from flopmeter_agent.faults import naming
from flopmeter_agent.hours import Hours, open_hours
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.locks import FolderLock, HostLock
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.pacing import Pacing
from flopmeter_agent.phases import PhaseBook
from flopmeter_agent.sensors.base import Sensor
from flopmeter_agent.sensors.table import DcgmSource, choose
from flopmeter_agent.volatile import volatility
from flopmeter_agent.witness import FileWitness
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import builtin_parts
from flopmeter_core.errors import (
    FlopmeterError,
    InvariantError,
    NotPermittedError,
    StorageError,
    not_text,
    unreadable,
)
from flopmeter_core.estimate import METHOD_VERSION
from flopmeter_core.reports import Answer, Report
from flopmeter_core.units import NS_PER_S
from flopmeter_core.values import value_class
from flopmeter_proto.daemon import logs, signals
from flopmeter_proto.daemon.clock import Clock, SystemClock
from flopmeter_proto.daemon.credentials import channel_credentials
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.daemon.version import version
from flopmeter_proto.link import Link, ReportSource

if TYPE_CHECKING:
    from flopmeter_agent.allocations.table import AllocationTable

logger = logging.getLogger(__name__)

JOURNAL_NAME = "journal"
CLOSED_NAME = "closed"
HOURS_NAME = "hours"
STATE_NAMES = (JOURNAL_NAME, CLOSED_NAME, HOURS_NAME)

DESCRIPTORS = 8_192
"""More than it can come to hold: 512 connections of claims, two for each of 1,024 run files, one
for each of 1,024 processes. Two users of a node could use up the usual limit of 1,024."""

LAST_REPORT_DEADLINE_S = 5.0
"""How long a stopping agent tries to hand over its last readings; the journal keeps them anyway."""


@value_class(frozen=True, slots=True)
class Chosen:
    """A sensor with the clock its readings are stamped with."""

    sensor: Sensor
    clock: Clock
    reason: str
    period_ns: int


class LoopSource:
    """The loop as the link sees it; what may block on the disk runs in a thread."""

    def __init__(self, loop: AgentLoop) -> None:
        """Wrap a loop."""
        self._loop = loop

    async def next_report(self) -> Report | None:
        """Sync the journal and collect what is not acknowledged; None while the disk fails.

        What is not durable does not leave; the registers in memory go on, and the collector sees
        a node that is silent.
        """
        try:
            return await asyncio.to_thread(self._loop.report)
        except StorageError as error:
            note_disk_failure(self._loop, error)
            return None

    async def acknowledge(self, answer: Answer) -> None:
        """Hand an answer to the loop."""
        self._loop.acknowledge(answer)


def _jitter() -> float:
    """A random number in 0..1."""
    return secrets.randbelow(1_000) / 1_000


def note_disk_failure(loop: AgentLoop, error: StorageError) -> None:
    """Count it, and say it where the disk worked until now."""
    if not loop.counters.disk_fails:
        logger.error(
            "the state cannot be kept; metering goes on in memory and nothing is sent",
            extra=fields(reason=str(error)),
        )
    loop.counters.disk_fails = True
    loop.counters.journal_failures += 1


class AgentApp:
    """One agent."""

    def __init__(self, config: AgentConfig, clock: Clock) -> None:
        """Build everything; nothing is read or sent yet.

        Raises:
            FlopmeterError: a setting, the state folder, the sensor or a certificate is wrong.
        """
        self._config = config
        self._clock = clock
        self._teardown = contextlib.ExitStack()
        self._stop_sampling = threading.Event()
        self._sample_now = threading.Event()
        self.failure: FlopmeterError | None = None
        try:
            self._build(config, clock)
        except BaseException:
            self._teardown.close()
            raise

    def _build(self, config: AgentConfig, clock: Clock) -> None:
        credentials = channel_credentials(
            config.collector,
            ca=config.tls_ca,
            certificate=config.tls_cert,
            key=config.tls_key,
            allow_plaintext=config.allow_plaintext,
        )
        folder_lock = FolderLock(config.state)
        self._teardown.callback(folder_lock.release)
        chosen = choose_sensor(config, clock)
        self._teardown.callback(chosen.sensor.close)
        if not chosen.sensor.simulated:
            host_lock = HostLock()
            self._teardown.callback(host_lock.release)
        journal, closed, hours = self._open_memory(config.state)
        parts = builtin_parts()
        phases = PhaseBook(self._sample_now.set)
        users = self._allocating(config, clock, simulated=chosen.sensor.simulated)
        with naming(config.state / JOURNAL_NAME):
            self.loop = AgentLoop(
                chosen.sensor,
                journal,
                chosen.clock,
                Identity(
                    node=config.node_name,
                    cluster=config.cluster,
                    agent_version=version(),
                    allocation=for_run(config.run) if config.run else NONE,
                ),
                incarnation=secrets.token_hex(16),
                new_incarnation=lambda: secrets.token_hex(16),
                period_ns=chosen.period_ns,
                sensor_reason=chosen.reason,
                rated_power_w=lambda record: parts.recognise(record).power_w,
                contradiction=parts.contradiction,
                display=DisplayEstimate(parts),
                closed=closed,
                hours=hours,
                phases=phases,
                users=users,
                witness=_witness(config.state, chosen),
            )
        source, claims = self._claiming(config, clock, phases, simulated=chosen.sensor.simulated)
        _connect(users, claims)
        self._link = Link(
            config.collector,
            lambda: self.loop.hello(METHOD_VERSION),
            source,
            credentials=credentials,
            jitter=_jitter,
        )
        self._pacing = Pacing(config.report_period_s, _jitter)
        if config.metrics_listen:
            self._serve_metrics(config.metrics_listen, claims, users)
        _announce(config, chosen)

    def _open_memory(self, folder: Path) -> tuple[Journal, ClosedRegisters, Hours]:
        """The journals of the agent's memory; a folder that may not last is said so."""
        self.volatility = volatility(folder)
        if self.volatility:
            logger.warning("the state folder may not last", extra=fields(reason=self.volatility))
        files = {name: open_file(folder, name) for name in STATE_NAMES}
        for file in files.values():
            self._teardown.callback(file.close)
        with naming(folder / JOURNAL_NAME):
            journal = Journal(files[JOURNAL_NAME])
        with naming(folder / CLOSED_NAME):
            closed = open_closed(files[CLOSED_NAME])
        with naming(folder / HOURS_NAME):
            hours = open_hours(files[HOURS_NAME])
        return journal, closed, hours

    def _serve_metrics(
        self, listen: str, claims: ClaimBook | None, users: AllocationTable | None
    ) -> None:
        # Off by default: an agent without metrics of its own never loads what serves them.
        from flopmeter_agent.exposition import AgentMetrics, serve

        lasting = not self.volatility
        metrics = AgentMetrics(self.loop, self._link.state, claims, lasting=lasting, users=users)
        self._teardown.enter_context(serve(listen, metrics.text))

    def _allocating(
        self, config: AgentConfig, clock: Clock, *, simulated: bool
    ) -> AllocationTable | None:
        """Who uses devices, where that is looked for."""
        if not config.looks_for_users(simulated=simulated):
            return None
        # An agent that need not know never loads the sources.
        from flopmeter_agent.allocating import allocating

        return self._teardown.enter_context(allocating(config, clock, changed=self._sample_now.set))

    def _claiming(
        self, config: AgentConfig, clock: Clock, phases: PhaseBook, *, simulated: bool
    ) -> tuple[ReportSource, ClaimBook | None]:
        """What the link sends, with the claims of training processes where they are taken."""
        return self._teardown.enter_context(
            claiming(
                LoopSource(self.loop),
                socket_path(config.claims_socket, simulated=simulated),
                state=config.state,
                node=config.node_name,
                run=config.run,
                clock=clock,
                phases=phases,
            )
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Sample and report until `stop`, then hand over the last readings.

        Raises:
            FlopmeterError: the journal failed; what was reported is safe.
        """
        event_loop = asyncio.get_running_loop()
        sampler = threading.Thread(
            target=self._sample_until_stopped,
            args=(lambda: event_loop.call_soon_threadsafe(stop.set),),
            name="sampler",
        )
        sampler.start()
        link = asyncio.create_task(
            self._link.run(wait=lambda: self._until_next_report(stop), stop=stop)
        )
        try:
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({stopped, link}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
        finally:
            stop.set()
            self._stop_sampling.set()
            self._sample_now.set()
            await asyncio.to_thread(sampler.join)
            try:
                await asyncio.wait_for(link, LAST_REPORT_DEADLINE_S)
            except TimeoutError:
                pass  # the journal keeps what could not be handed over
            except FlopmeterError:
                if self.failure is None:
                    raise
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Release everything, newest first."""
        self._teardown.close()

    async def _until_next_report(self, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            pause_s = self._pacing.pause_s(self._link.state.reconnections)
            await asyncio.wait_for(stop.wait(), pause_s)

    def _sync_when_due(self) -> None:
        """Once a report period, so that a power cut during an outage costs no more than that.

        A report syncs as well: while a stream is open this leaves it to the reports, and waits for
        them one sample longer.
        """
        samples_per_report = round(self._config.report_period_s / self._config.sample_period_s)
        if self.loop.unsynced_samples >= max(1, samples_per_report) + self._link.state.connected:
            self.loop.sync()

    def _sample_until_stopped(self, fail: Callable[[], object]) -> None:
        """Sample at the period's pace; a slow reading delays the next one, never overlaps it.

        A run that enters another phase is sampled soon, so that little lies on the boundary.
        """
        period_s = self._config.sample_period_s
        while not self._stop_sampling.is_set():
            try:
                self.loop.sample()
                self._sync_when_due()
            except StorageError as error:
                # Resolution may be lost, work never: registers and counters go on without the disk.
                note_disk_failure(self.loop, error)
            except FlopmeterError as error:
                self.failure = error
            except Exception as error:
                # The edge of the thread: an agent that no longer samples must not look alive.
                logger.error("sampling failed in an unforeseen way", exc_info=error)
                self.failure = InvariantError(f"sampling failed ({error}); please report this")
            if self.failure is not None:
                fail()
                return
            sampled_ns = self._clock.monotonic_ns()
            if self._sample_now.wait(period_s):
                # Counters are not fresher than this, whoever asks.
                since_s = (self._clock.monotonic_ns() - sampled_ns) / NS_PER_S
                self._stop_sampling.wait(max(0.0, SHORTEST_PERIOD_S - since_s))
            self._sample_now.clear()
        with contextlib.suppress(FlopmeterError):
            self.loop.sample()  # the last instant, so that an orderly stop loses nothing
            self.loop.close_hour()


def _announce(config: AgentConfig, chosen: Chosen) -> None:
    logger.info(
        "agent starts",
        extra=fields(
            node=config.node_name,
            sensor=chosen.sensor.name,
            reason=chosen.reason,
            collector=config.collector,
        ),
    )


def _connect(users: AllocationTable | None, claims: ClaimBook | None) -> None:
    """Let the labels that runs state of themselves be claims, where both are there."""
    if users is not None and users.explicit is not None and claims is not None:
        users.explicit.started = claims.take_labels


def _witness(state: Path, chosen: Chosen) -> FileWitness | None:
    """What remembers outside of the state folder what left.

    Nobody puts a made-up fleet's folder back, and a demonstration leaves nothing behind.
    """
    return None if chosen.sensor.simulated else FileWitness(state, chosen.clock.boot_id)


def choose_sensor(config: AgentConfig, clock: Clock) -> Chosen:
    """Open the sensor the settings ask for.

    Raises:
        FlopmeterError: it cannot be opened, or is not permitted here.
    """
    period_ns = round(config.sample_period_s * NS_PER_S)
    if config.scenario is not None:
        if config.require_real:
            raise NotPermittedError(
                "sensor simulated makes its readings up and --require-real forbids that; "
                "leave one of the two out"
            )
        # An agent that meters real devices never loads the made-up ones.
        from flopmeter_agent.scenario import ScenarioClock, parse_scenario
        from flopmeter_agent.sensors.simulated import SimulatedSensor

        try:
            scenario = parse_scenario(config.scenario.read_text(encoding="utf-8"))
        except OSError as error:
            raise unreadable(f"the scenario {config.scenario}", error) from error
        except UnicodeDecodeError as error:
            raise not_text(f"the scenario {config.scenario}") from error
        epoch_ns = config.scenario_epoch or clock.wall_ns()
        scenario_clock = ScenarioClock(clock, scenario, epoch_wall_ns=epoch_ns)
        sensor = SimulatedSensor(config.node_name, scenario_clock, scenario)
        reason = f"scenario {config.scenario.name} was asked for"
        return Chosen(sensor, scenario_clock, reason, period_ns * scenario.acceleration)
    choice = choose(
        config.sensor,
        node=config.node_name,
        clock=clock,
        state_folder=config.state,
        require_real=config.require_real,
        dcgm=DcgmSource(config.dcgm_url, config.dcgm_part, config.dcgm_period_s),
        ask_processes=config.looks_for_users(simulated=False),
    )
    if choice.sensor.name == "dcgm":
        # However often its page is read, values are as far apart as the exporter collects them.
        period_ns = max(period_ns, round(config.dcgm_period_s * NS_PER_S))
    return Chosen(choice.sensor, clock, choice.reason, period_ns)


def open_file(folder: Path, name: str = JOURNAL_NAME) -> OsBlockFile:
    """Open the file of a journal of a state folder.

    Raises:
        StorageError: it cannot be opened.
    """
    try:
        return OsBlockFile(folder / name)
    except OSError as error:
        raise StorageError(
            f"the journal in {folder} cannot be opened ({os.strerror(error.errno or 0)})"
        ) from error


def allow_descriptors(wanted: int = DESCRIPTORS) -> None:
    """Raise this process' own limit of open files towards `wanted`, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # a sandbox forbids it: what there is stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(config: AgentConfig) -> int:
    """Be an agent until SIGTERM or SIGINT.

    Returns:
        0 after an orderly stop.

    Raises:
        FlopmeterError: with the documented exit code.
    """
    logs.configure(config.log_level)
    allow_descriptors()
    app = AgentApp(config, SystemClock())
    try:
        asyncio.run(_serve(app))
    finally:
        app.close()
    return 0


async def _serve(app: AgentApp) -> None:
    with signals.async_stop_event() as stop:
        await app.serve(stop)
