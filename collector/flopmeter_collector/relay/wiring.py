"""Makes a collector a relay: the outbox on its registers, the forwarder, and the way upstream.

Owns: how those are put together, started and stopped, and what the relay says of itself.
May touch: the ledger through the committer; one outgoing channel.
Called by the collector's app. Explained in docs/relays.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

import grpc

from flopmeter_collector.commit import RETRY_S, Committer
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.held_rows import Branches
from flopmeter_collector.http.relay import RelayStatus
from flopmeter_collector.intake import NodeStatus
from flopmeter_collector.ledger.base import (
    HourPage,
    Ledger,
    LedgerBusyError,
    RelayChanges,
    RelayLedger,
    RelayRows,
)
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.outbox import Outbox
from flopmeter_core.batches import RelayHello
from flopmeter_core.errors import UsageError
from flopmeter_core.registers import Key
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.credentials import channel_credentials
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.link import Dial
from flopmeter_proto.relay_link import RelayLink

logger = logging.getLogger(__name__)

LAST_BATCH_DEADLINE_S = 5.0
"""How long a stopping relay tries to forward what is left; the ledger keeps it anyway."""


class Relay:
    """The forwarding side of a collector."""

    def __init__(self, forwarder: Forwarder, link: RelayLink, clock: Clock) -> None:
        """Take over the parts; `build` makes them."""
        self.forwarder = forwarder
        self._link = link
        self._clock = clock
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, wait: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        """Begin to forward, on the running event loop.

        Args:
            wait: awaited between two rounds; returns early when the event is set.
        """
        stop = self._stop
        self._task = asyncio.create_task(
            self._link.run(wait=lambda: wait(stop), stop=stop), name="forward"
        )
        self._task.add_done_callback(_note_end)

    async def stop(self) -> None:
        """Forward what is left, for a short while."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LAST_BATCH_DEADLINE_S)
            self._task.cancel()
            with contextlib.suppress(BaseException):
                await self._task

    def status(self) -> RelayStatus:
        """What the relay says of itself now."""
        backlog = self.forwarder.outbox.backlog()
        counts, state = self.forwarder.counts, self._link.state
        since_ns = backlog.oldest_since_ns
        age_ns = 0 if since_ns is None else self._clock.monotonic_ns() - since_ns
        return RelayStatus(
            connected=state.connected,
            refused=state.refused,
            last_error=state.last_error,
            backlog_keys=backlog.keys,
            backlog_age_s=age_ns / NS_PER_S,
            refused_keys=backlog.refused,
            reconnections=state.reconnections,
            batches=counts.batches,
            vectors=counts.vectors,
            losses=counts.losses,
        )


def upstream_credentials(config: CollectorConfig) -> grpc.ChannelCredentials | None:
    """The credentials a relay connects with; None for plaintext, or where there is no upstream.

    Raises:
        UsageError: a certificate is wrong, or plaintext would leave this host.
    """
    if not config.upstream:
        return None
    return channel_credentials(
        config.upstream,
        ca=config.upstream_tls_ca,
        certificate=config.upstream_tls_cert,
        key=config.upstream_tls_key,
        allow_plaintext=config.allow_plaintext,
        prefix="upstream_",
    )


async def build(
    config: CollectorConfig,
    ledger: Ledger,
    committer: Committer,
    table: RegisterTable,
    nodes: Callable[[], Mapping[str, NodeStatus]],
    clock: Clock,
    dial: Dial | None = None,
    jitter: Callable[[], float] | None = None,
) -> Relay | None:
    """Make a collector a relay where its settings name an upstream collector.

    Args:
        config: checked settings.
        ledger: read by the committer's thread only.
        committer: commits what is remembered of forwarding.
        table: the registers, filled from the ledger; it tells the relay what changes.
        nodes: what is known of each node.
        clock: as in `Forwarder`.
        dial: opens a call in place of a gRPC channel, for a simulated network.
        jitter: draws a number in 0..1 before each wait for a reconnection.

    Returns:
        The relay; None where there is no upstream, and the ledger then forgets that there was.

    Raises:
        UsageError: a certificate is wrong, plaintext would leave this host, or the ledger cannot
            be forwarded.
    """
    if not config.upstream:
        if isinstance(ledger, RelayLedger):
            await committer.read(lambda _: ledger.forget_upstream())
        return None
    if not isinstance(ledger, RelayLedger):
        raise UsageError("this ledger cannot be forwarded; name a file with --ledger")
    forwarded: RelayLedger = ledger
    rows, own = await committer.read(lambda _: (forwarded.relay_rows(), forwarded.position()))
    outbox = _attach(table, committer, rows, clock)

    async def commit(changes: RelayChanges | None) -> LedgerPosition:
        return await committer.durable(relay=changes)

    async def hours(limit: int, kept: Set[tuple[Key, int]]) -> HourPage:
        while True:
            try:
                return await committer.read(lambda _: forwarded.hours_to_forward(limit, kept))
            except LedgerBusyError as error:
                # As with a commit: who gave up here would forward nothing until a new start.
                logger.warning("forwarding waits for the ledger", extra=fields(reason=str(error)))
                await asyncio.sleep(RETRY_S)

    forwarder = Forwarder(
        outbox,
        hello=RelayHello(
            relay=config.relay_name or socket.gethostname(),
            simulated=ledger.simulated,
            version=importlib.metadata.version("flopmeter"),
        ),
        own=own,
        known=rows,
        record=table.record,
        commit=commit,
        hours=hours,
        nodes=nodes,
        clock=clock,
    )
    link = RelayLink(
        config.upstream,
        forwarder,
        credentials=upstream_credentials(config),
        jitter=jitter or (lambda: secrets.randbelow(1_000) / 1_000),
        dial=dial,
    )
    return Relay(forwarder, link, clock)


def _attach(table: RegisterTable, committer: Committer, rows: RelayRows, clock: Clock) -> Outbox:
    """Put an outbox on the registers: from now on it hears of every change."""
    outbox = Outbox(table)
    outbox.restore(rows.at_root, clock.monotonic_ns())

    def changed(key: Key, before: Branches, branches: Branches) -> None:
        outbox.changed(key, before, branches, clock.monotonic_ns())

    def grown(keys: Sequence[Key], before: Sequence[int]) -> None:
        outbox.grown(keys, before, clock.monotonic_ns())

    table.on_change, table.on_grow = changed, grown
    table.claims.on_change = outbox.claim_changed
    committer.forwarded = True
    return outbox


def _note_end(task: asyncio.Task[None]) -> None:
    """A ledger that fails ends the whole collector; anything else here is a defect to be seen."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("forwarding ended", exc_info=error)
