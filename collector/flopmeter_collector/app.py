"""The collector: builds the parts, starts them, takes them down in reverse order.

Owns: the wiring, and the order of start and stop.
May touch: everything a collector may: the ledger, two listening sockets, outgoing alerts.
Called by process, by tests and by lab.replay.
Explained in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import grpc

from flopmeter_collector import backends
from flopmeter_collector.alerts.sender import AlertSender
from flopmeter_collector.alerts.table import receivers_of
from flopmeter_collector.commit import Committer
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.declarations import RUN_KIND, parse_run_declaration
from flopmeter_collector.evaluate import profiles_in
from flopmeter_collector.http.app import Sources, build_app
from flopmeter_collector.http.entrance import Entrance
from flopmeter_collector.http.server import HttpServer
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.identity import Identities
from flopmeter_collector.intake import Intake
from flopmeter_collector.judge import Judge
from flopmeter_collector.law_watch import LawWatch
from flopmeter_collector.ledger.base import (
    Declaration,
    Ledger,
)
from flopmeter_collector.legal_view import NO_LEGAL_VIEW
from flopmeter_collector.limits import HourCounts, KeyLimits, Pace, Places
from flopmeter_collector.loading import DEFAULT_READING, Loading, Reading, read_beginning
from flopmeter_collector.metric_ids import MetricIds
from flopmeter_collector.publish import Published, Publisher
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.wiring import Relay, upstream_credentials
from flopmeter_collector.relay.wiring import build as build_relay
from flopmeter_collector.rounds import LONGEST_SHARED_PERIOD_S, Rounds
from flopmeter_collector.server import GrpcServer
from flopmeter_collector.service import IngestService
from flopmeter_collector.totals import Totals
from flopmeter_collector.turns import Turns
from flopmeter_core.catalogue import Threshold
from flopmeter_core.devices import builtin_parts
from flopmeter_core.errors import FlopmeterError, UsageError, invariant
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.credentials import check_plaintext, server_credentials
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.link import Dial

logger = logging.getLogger(__name__)


class OpenLedger(Protocol):
    """Opens a ledger by its URL; lab.simulation puts a faulty disk in between."""

    def __call__(self, url: str, /, *, simulated: bool) -> Ledger:
        """The ledger, opened by its one collector."""


class Server(Protocol):
    """What serves the agents' streams."""

    @property
    def address(self) -> str:
        """Where it listens."""

    async def start(self) -> None:
        """Serve."""

    async def stop(self) -> None:
        """Take no new call and end the open ones."""


class Listen(Protocol):
    """Binds the ingest service to an address; lab.simulation has a network of its own."""

    def __call__(
        self, service: IngestService, address: str, credentials: grpc.ServerCredentials | None, /
    ) -> Server:
        """A server that is bound and does not serve yet."""


class CollectorApp:
    """One collector. Built without side effects, started and stopped on one event loop."""

    def __init__(
        self,
        config: CollectorConfig,
        clock: Clock,
        *,
        open_ledger: OpenLedger = backends.collect,
        listen: Listen = GrpcServer,
        dial_upstream: Dial | None = None,
        jitter: Callable[[], float] | None = None,
        reading: Reading = DEFAULT_READING,
        evaluates: bool = True,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            config: checked settings.
            clock: stamps snapshots, transitions and reports.
            open_ledger: opens the ledger that the settings name.
            listen: binds the service to the address that the settings name.
            dial_upstream: opens a call to the upstream collector in place of a gRPC channel.
            jitter: as in `relay.wiring.build`.
            reading: how the ledger is read.
            evaluates: whether rounds run by themselves. One that only takes something in leaves
                it to the ledger's own collectors to lead and to judge, by their law.
        """
        self._reading = reading
        self._evaluates = evaluates
        self._version = importlib.metadata.version("flopmeter")
        self._early = False
        self._rest = asyncio.Lock()
        self._config = config
        self._dial_upstream = dial_upstream
        self._jitter = jitter
        self.relay: Relay | None = None
        self._open_ledger = open_ledger
        self._listen = listen
        self._clock = clock
        self._teardown = contextlib.AsyncExitStack()
        self._failed: asyncio.Future[FlopmeterError] | None = None
        self._pace = Pace(config.maximum_work_per_node_s)
        self._address_pace = Pace(config.maximum_work_per_address_s)
        self._turns = Turns()
        self.table = RegisterTable(
            KeyLimits(
                per_node=config.maximum_keys_per_node,
                allocations_per_node=config.maximum_allocations_per_node,
                overall=config.maximum_keys,
            )
        )
        self.grpc_address = ""
        self.http_address = ""
        self.law = LawWatch(config.thresholds_dir, clock)
        self._receivers = partial(
            receivers_of,
            config.alertmanager,
            config.webhooks,
            secret_file=config.webhook_secret,
            allow_off_loopback=config.alert_off_loopback,
        )

    async def start(self) -> None:
        """Open the ledger, rebuild from it and serve.

        A small ledger is read and evaluated once before; of a large one the rest is read meanwhile,
        and no total is shown before there is one of everything.

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
        await self._read_rest()
        await self.rounds.look_at_law()
        published = await self._publisher.round()
        invariant(published is not None, "only a collector that leads is asked for totals")
        assert published is not None
        return published

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
        await self._read_rest()
        await self._committer.durable(declarations=[declaration])
        await self._publisher.round()

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The rows that are used now."""
        return self.law.rows

    @property
    def published(self) -> Published | None:
        """What readers are shown now; None before the first round, and where another leads."""
        return self._publisher.published

    @property
    def loaded(self) -> bool:
        """Whether every register of the ledger is in the table."""
        return self._loading.done

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
        if config.http_listen:
            check_plaintext(
                config.http_listen,
                allow_plaintext=config.allow_plaintext,
                remedy="keep HTTP on 127.0.0.1 behind a proxy that speaks TLS",
            )
        # What is wrong in them is said before an address is taken and a ledger is made.
        upstream_credentials(config)
        self._receivers(ledger_id="", simulated=config.simulated)
        # A relay sees one site: what is above no line there may be above one in the fleet.
        if not config.upstream:
            self.law.begin()
        # Addresses first: a collector that cannot listen leaves no new ledger behind.
        server = self._listen(self._service(), config.grpc_listen, credentials)
        self._teardown.push_async_callback(server.stop)
        web = None
        if config.http_listen:
            pages = Entrance(build_app(self._sources()), self._clock, self._turns.give_way)
            web = HttpServer(pages, config.http_listen)
            self._teardown.push_async_callback(web.stop)
        ledger = await self._opened_ledger()
        await self._rebuild(ledger)
        # A relay has to know what its root lacks before it tells anybody what the root has.
        self._early = not config.upstream and not self._loading.fits_before_serving
        if not self._early:
            await self._read_rest()
        await self._open_intake(ledger)
        # Stopped before what they use is closed; the second stop finds nothing to do.
        self._teardown.push_async_callback(server.stop)
        if web is not None:
            self._teardown.push_async_callback(web.stop)
        # The first round comes before the first reader, or nothing is shown until it has been.
        if not self._early and self._evaluates:
            await self.rounds.one()
        self._alerts.start()
        if self._evaluates:
            evaluation = asyncio.create_task(self.rounds.go_on(), name="evaluate")
            self._teardown.push_async_callback(_cancel, evaluation)
        if web is not None:
            await web.start()
            self.http_address = web.address
        await server.start()
        self.grpc_address = server.address
        self._say_serving()

    def _service(self) -> IngestService:
        config = self._config
        return IngestService(
            lambda: self.intake,
            places=Places(
                overall=config.maximum_streams, per_address=config.maximum_streams_per_address
            ),
            pace=self._pace,
            address_pace=self._address_pace,
            turns=self._turns,
            clock=self._clock,
            identities=Identities(
                bound=config.tls_client_ca is not None and config.node_names_from_certificates,
                relays=config.relays,
            ),
            forwarder=lambda: self.relay.forwarder if self.relay is not None else None,
            share_port=config.share_grpc_port,
        )

    def _say_serving(self) -> None:
        logger.info(
            "collector serves",
            extra=fields(
                grpc=self.grpc_address,
                http=self.http_address or "off",
                ledger=backends.shown(self._config.ledger),
                keys=self._loading.total,
            ),
        )

    async def _open_intake(self, ledger: Ledger) -> None:
        """Make ready to take reports, and to forward them where there is an upstream collector."""
        own = await self._committer.read(lambda read: read.position())
        self.intake = Intake(
            self.table,
            self._committer,
            self._clock,
            simulated=ledger.simulated,
            ledger_id=own.ledger_id,
            load=self._loading.know,
            catch_up=self._publisher.catch_up if ledger.shared else None,
            hours=HourCounts(self._config.maximum_hours_per_node),
        )
        self.relay = await build_relay(
            self._config,
            ledger,
            self._committer,
            self.table,
            lambda: self.intake.nodes,
            self._clock,
            self._dial_upstream,
            self._jitter,
        )
        if self.relay is not None:
            self._teardown.push_async_callback(self.relay.stop)
            self.relay.start(self._until_next_forwarding)

    async def _until_next_forwarding(self, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._config.forward_period_s)

    async def _opened_ledger(self) -> Ledger:
        config = self._config
        ledger = await asyncio.to_thread(
            self._open_ledger, config.ledger, simulated=config.simulated
        )
        self._teardown.callback(ledger.close)
        self._ledger = ledger
        too_slow = config.evaluate_period_s > LONGEST_SHARED_PERIOD_S
        if ledger.shared and self._evaluates and too_slow:
            raise UsageError(
                f"evaluate_period_s is {config.evaluate_period_s}; on a shared ledger give at most "
                f"{LONGEST_SHARED_PERIOD_S}: who exports the totals has to be seen alive"
            )
        return ledger

    async def _rebuild(self, ledger: Ledger) -> None:
        """Read what comes first of the ledger, and start to commit to it."""
        beginning = await asyncio.to_thread(read_beginning, ledger)
        ledger_id = beginning.position.ledger_id
        self._committer = Committer(ledger, self.table, undisturbed=self._turns.answering)
        self._committer.start()
        self._teardown.push_async_callback(self._committer.stop)
        self._failed = self._committer.failed
        judge = Judge(self.law.rows, horizon_ns=self._config.forecast_days * 24 * NS_PER_HOUR)
        self._alerts = AlertSender(
            self._receivers(ledger_id=ledger_id, simulated=ledger.simulated),
            judge.alerts,
            thresholds=self.law.rows,
            ids=MetricIds(ledger_id, named=self._config.names_in_metrics),
            clock=self._clock,
            delivered=lambda rows, taken: self._committer.durable(deliveries=rows, delivered=taken),
        )
        self._teardown.push_async_callback(self._alerts.stop)
        totals = Totals(
            builtin_parts(),
            simulated=ledger.simulated,
            claim_bound=self._config.claim_bound,
            silence_ns=round(self._config.silence_s * NS_PER_S),
            profiles=profiles_in(self.law.rows),
        )
        self._loading = Loading(
            self.table,
            self._committer,
            self._turns.give_way,
            totals.residuals.restore,
            self._reading,
        )
        await self._loading.begin(beginning)
        self._committer.known_coverage = totals.residuals.rows
        self._publisher = Publisher(
            table=self.table,
            totals=totals,
            committer=self._committer,
            clock=self._clock,
            judge=judge,
            teller=self._alerts,
            give_way=self._turns.give_way,
            pauses=self._turns.pauses,
        )
        self._teardown.push_async_callback(self._publisher.finish)
        self.rounds = Rounds(
            self._publisher,
            self._committer,
            self._loading,
            # A relay sees one site: it holds nothing against the law.
            None if self._config.upstream else self.law,
            self._alerts,
            self._clock,
            shared=ledger.shared,
            evaluate_period_s=self._config.evaluate_period_s,
            hourly_days=self._config.hourly_days,
            read_rest=self._read_rest,
            fail=self._fail,
        )

    def _fail(self, error: FlopmeterError) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(error)

    async def _read_rest(self) -> None:
        """Read what is left of the ledger, and then what people declared; twice does nothing."""
        async with self._rest:
            if self._publisher.restored:
                return
            await self._loading.read_rest(beside_reports=self._early)
            declarations = await self._committer.read(lambda read: list(read.declarations()))
            self._publisher.restore(declarations)

    def _sources(self) -> Sources:
        """What the HTTP side reads."""
        return Sources(
            snapshot=lambda: self.rounds.shown(),
            status=self._status,
            not_ready=lambda: self.rounds.not_ready(),
            following=lambda: self.rounds.following(),
            thresholds=lambda: self.law.rows,
            law_failure=lambda: self.law.failure,
            legal=lambda: self.published.legal if self.published else NO_LEGAL_VIEW,
            nodes=lambda: self.intake.nodes,
            names_in_metrics=self._config.names_in_metrics,
            pauses=self._turns.pauses,
            site=(
                "Site view: these totals are of what reports here; the collector "
                f"{self._config.upstream} has those of the fleet."
                if self._config.upstream
                else ""
            ),
        )

    def _status(self) -> ServiceStatus:
        """What the collector knows of itself now; called on the event loop."""
        counts = self.intake.counts
        return ServiceStatus(
            version=self._version,
            nodes=self.intake.nodes,
            report_count=counts.reports + counts.batches,
            acknowledged_vector_count=counts.acknowledged_vectors,
            refused_vector_count=counts.refused_vectors,
            over_limit_vector_count=self.table.counts.refused,
            held_back_report_count=self._pace.held_count + self._address_pace.held_count,
            refused_stream_count=counts.refused_streams,
            open_stream_count=counts.open_streams,
            register_count=len(self.table) + self.table.counts.unread,
            unread_register_count=self.table.counts.unread,
            forked_register_count=self.table.forked_key_count() if self._loading.done else None,
            quarantined_vector_count=counts.quarantined_vectors,
            quarantined_register_count=self.table.quarantine.held_count(),
            quarantined_flop=self._publisher.quarantined_flop,
            quarantine_overflow_count=self.table.quarantine.overflow_count,
            relay=self.relay.status() if self.relay is not None else None,
            exports_totals=self.rounds.shown() is not None,
            commit_count=self._committer.commit_count,
            refused_declaration_count=self._publisher.refused_declarations,
            pending_alert_count=self._alerts.pending_count,
            delivered_alert_count=self._alerts.delivered_count,
            failed_alert_count=self._alerts.failed_count,
            claim_count=len(self.table.claims),
            refused_claim_count=self.table.claims.refused_count,
            law_read_ns=self.law.read_ns,
            law_refused=bool(self.law.failure),
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
