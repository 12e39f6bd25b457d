"""Sends a relay's batches to the collector it forwards to, as link sends an agent's reports.

Owns: a relay's side of a stream.
May touch: one gRPC channel, through link.
Called by the wiring of a relay and by lab.simulation. An agent never loads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import grpc

from flopmeter_core.batches import RelayBatch, RelayHello
from flopmeter_core.reports import Answer
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.link import LONGEST_BACKOFF_S, Dial, Link, LinkState
from flopmeter_proto.wire.batch import BatchWriter


class BatchSource(Protocol):
    """Where batches come from and answers go to; a relay's forwarder."""

    def hello(self) -> RelayHello:
        """The first message of each stream."""

    async def next_batch(self) -> RelayBatch | None:
        """The next batch; None when everything is at the root."""

    async def acknowledge(self, answer: Answer) -> None:
        """Take an answer."""

    @property
    def more(self) -> bool:
        """Whether there was more than the last batch holds."""


class _Batches:
    """A relay's side of a stream."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source
        self._writer = BatchWriter()

    @property
    def more(self) -> bool:
        return self._source.more

    @property
    def spent(self) -> bool:
        return self._writer.full

    def opening(self) -> pb.StreamBatchesRequest:
        return self._writer.hello(self._source.hello())

    async def following(self) -> pb.StreamBatchesRequest | None:
        batch = await self._source.next_batch()
        return None if batch is None else self._writer.batch(batch)

    async def take(self, message: pb.StreamBatchesResponse) -> None:
        await self._source.acknowledge(self._writer.answer(message))


def parse_batch_answer(raw: bytes) -> pb.StreamBatchesResponse:
    """The same for the answer to a relay's batch."""
    return pb.StreamBatchesResponse.FromString(raw)


class RelayLink(Link):
    """One relay's way to the collector it forwards to."""

    _method = "StreamBatches"
    _refused = "the upstream collector refuses this relay"
    _away = "the upstream collector cannot be reached; everything is kept here meanwhile"
    _prefix = "upstream_"

    def __init__(
        self,
        address: str,
        source: BatchSource,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
        longest_backoff_s: float = LONGEST_BACKOFF_S,
        dial: Dial | None = None,
    ) -> None:
        """Prepare a link; nothing is connected yet.

        Args:
            address: ``host:port`` of the upstream collector.
            source: gives batches and takes answers.
            credentials: TLS credentials; None sends in plaintext.
            jitter: as in `Link`.
            longest_backoff_s: as in `Link`.
            dial: as in `Link`.
        """
        self.state = LinkState()
        self._address = address
        self._begin = lambda: _Batches(source)
        self._credentials = credentials
        self._jitter = jitter
        self._longest_backoff_s = longest_backoff_s
        self._dial = dial if dial is not None else self._dial_grpc
