"""The collector as a process: builds the parts, starts them, takes them down in reverse order.

Owns: the wiring, the order of start and stop, and the pace of the evaluation.
May touch: everything a collector may: the ledger, two listening sockets, outgoing alerts.
Called by the command line (`run`), by tests and by lab.replay (`CollectorApp`).
Explained in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flopmeter_collector import backends
from flopmeter_collector.commit import Committer
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.declarations import RUN_KIND, parse_run_declaration
from flopmeter_collector.intake import Intake
from flopmeter_collector.ledger.base import Declaration, Ledger, StoredVector, Transition
from flopmeter_collector.publish import Published, Publisher
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.server import GrpcServer
from flopmeter_collector.service import IngestService
from flopmeter_collector.totals import Totals
from flopmeter_core.catalogue import Threshold, parse_catalogue
from flopmeter_core.data import builtin_table, builtin_thresholds
from flopmeter_core.devices import DeviceRecord, parse_device_table
from flopmeter_core.errors import FlopmeterError, UsageError, invariant
from flopmeter_proto.daemon import logs, signals
from flopmeter_proto.daemon.clock import Clock, SystemClock
from flopmeter_proto.daemon.credentials import server_credentials
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)


class CollectorApp:
    """One collector. Built without side effects, started and stopped on one event loop."""

    def __init__(self, config: CollectorConfig, clock: Clock) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            config: checked settings.
            clock: stamps snapshots, transitions and reports.
        """
        self._config = config
        self._clock = clock
        self._teardown = contextlib.AsyncExitStack()
        self._failed: asyncio.Future[FlopmeterError] | None = None
        self.table = RegisterTable()
        self.grpc_address = ""
        self.http_address = ""
        self.thresholds: tuple[Threshold, ...] = ()

    async def start(self) -> None:
        """Open the ledger, rebuild from it, listen and evaluate once.

        Raises:
            FlopmeterError: a setting, the ledger, a certificate or an address is wrong;
                everything opened so far is closed again.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop serving, commit what was merged, close the ledger; twice does no harm."""
        await self._teardown.aclose()

    async def evaluate_now(self) -> Published:
        """Run one round at once: everything reported so far is in what it returns."""
        return await self._publisher.round()

    async def declare(self, run: str, body: Mapping[str, str], *, author: str, source: str) -> None:
        """Write a declaration of a run and apply it; it is durable when this returns.

        Raises:
            DataError: a field that cannot be understood; nothing was written.
            StorageError: it could not be stored.
        """
        parse_run_declaration(run, body)
        declaration = Declaration(
            sequence=0,
            declared_at_ns=self._clock.wall_ns(),
            author=author,
            source=source,
            kind=RUN_KIND,
            subject=run,
            body=body,
        )
        await self._committer.durable(declarations=[declaration])
        await self._publisher.round()

    @property
    def published(self) -> Published | None:
        """What readers are shown now; None before the first round."""
        return self._publisher.published

    async def wait_failed(self) -> FlopmeterError:
        """Wait until the collector can serve no longer, and say why."""
        invariant(self._failed is not None, "a collector is started before it is watched")
        assert self._failed is not None
        return await self._failed

    async def _start(self) -> None:
        config = self._config
        credentials = server_credentials(
            config.grpc_listen,
            certificate=config.tls_cert,
            key=config.tls_key,
            client_ca=config.tls_client_ca,
            allow_plaintext=config.allow_plaintext,
        )
        self.thresholds = read_catalogue(config.thresholds_dir)
        ledger = await asyncio.to_thread(
            backends.collect, config.ledger, simulated=config.simulated
        )
        self._teardown.callback(ledger.close)
        await self._rebuild(ledger)
        self.intake = Intake(self.table, self._committer, self._clock, simulated=ledger.simulated)
        service = IngestService(self.intake, maximum_streams=config.maximum_streams)
        server = GrpcServer(service, config.grpc_listen, credentials)
        self._teardown.push_async_callback(server.stop)
        # The first round comes before the first reader: nothing is ever shown half rebuilt.
        await self._publisher.round()
        evaluation = asyncio.create_task(self._evaluate(), name="evaluate")
        self._teardown.push_async_callback(_cancel, evaluation)
        await server.start()
        self.grpc_address = server.address
        logger.info(
            "collector serves",
            extra=fields(grpc=self.grpc_address, ledger=config.ledger, keys=len(self.table)),
        )

    async def _rebuild(self, ledger: Ledger) -> None:
        """Fill the registers from the ledger, and start to commit to it."""
        content = await asyncio.to_thread(_read_all, ledger)
        self.table.restore(content.records, content.vectors)
        self._committer = Committer(ledger, self.table)
        self._committer.start()
        self._teardown.push_async_callback(self._committer.stop)
        self._failed = self._committer.failed
        self._publisher = Publisher(
            table=self.table,
            totals=Totals(
                parse_device_table(builtin_table("devices.toml")), simulated=ledger.simulated
            ),
            committer=self._committer,
            clock=self._clock,
            thresholds=self.thresholds,
            on_transitions=self._alert,
        )
        self._publisher.restore(content.declarations, content.transitions)

    async def _evaluate(self) -> None:
        """Evaluate at the period's pace; a slow round delays the next one, never overlaps it."""
        while True:
            await asyncio.sleep(self._config.evaluate_period_s)
            try:
                await self._publisher.round()
            except FlopmeterError as error:
                if self._failed is not None and not self._failed.done():
                    self._failed.set_result(error)
                return

    def _alert(self, transitions: Sequence[Transition]) -> None:
        """Hand transitions that no receiver accepted yet to the delivery of alerts."""


def read_catalogue(folder: Path | None) -> tuple[Threshold, ...]:
    """Read the built-in thresholds and those of a folder.

    Raises:
        UsageError: the folder cannot be read.
        DataError: a row is wrong, or two have one id.
    """
    files = builtin_thresholds()
    if folder is not None:
        try:
            found = sorted(folder.iterdir())
            own = {str(path): path.read_text("utf-8") for path in found if path.suffix == ".toml"}
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"thresholds_dir {folder} cannot be read: {error}") from error
        files |= own
    return parse_catalogue(files)


def run(config: CollectorConfig) -> int:
    """Be a collector until SIGTERM or SIGINT.

    Returns:
        0 after an orderly stop.

    Raises:
        FlopmeterError: with the documented exit code.
    """
    logs.configure(config.log_level)
    asyncio.run(_serve(CollectorApp(config, SystemClock())))
    return 0


async def _serve(app: CollectorApp) -> None:
    with signals.async_stop_event() as stop:
        await app.start()
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(app.wait_failed())
        try:
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            await app.stop()
    if failed.done():
        raise failed.result()
    failed.cancel()


@dataclass(frozen=True, slots=True)
class _Content:
    """Everything a ledger holds."""

    records: Mapping[str, DeviceRecord]
    vectors: Sequence[StoredVector]
    declarations: Sequence[Declaration]
    transitions: Sequence[Transition]


def _read_all(ledger: Ledger) -> _Content:
    return _Content(
        ledger.records(),
        list(ledger.vectors()),
        list(ledger.declarations()),
        list(ledger.transitions()),
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
