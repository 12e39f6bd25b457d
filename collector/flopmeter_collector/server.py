"""The gRPC server: its limits, its credentials, its health service, and where it listens.

Owns: the options of the server and the sentence for an address that cannot be had.
May touch: one listening socket.
Called by the collector's app.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from flopmeter_collector.service import SERVICE_NAME, IngestService
from flopmeter_core.errors import UnreachableError
from flopmeter_proto.wire.values import MAXIMUM_MESSAGE_BYTES

STOP_GRACE_S = 2.0
"""How long open calls may finish when the collector stops; agents connect again by themselves."""

PENDING_STREAMS = 30_000
"""Streams that may wait until they are taken: those of a collector's whole fleet."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAXIMUM_MESSAGE_BYTES),
    # A collector that comes back has all of its agents at once; gRPC ends what waits beyond this
    # without a word, above 1,000 some of it and above 3,000 all.
    ("grpc.server.max_pending_requests", PENDING_STREAMS),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_STREAMS),
    # A node that lost its power never ends its stream.
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


REFUSED_AT_ONCE = 100
"""Streams beyond an address' share that one connection may have open, to be told so; further ones
wait at the sender."""


class _Openings(grpc.aio.ServerInterceptor):
    """Changes no call and hears of each."""

    def __init__(self, opened: Callable[[], None]) -> None:
        """Prepare."""
        self._opened = opened

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Hear of a call."""
        self._opened()
        return await continuation(handler_call_details)


class GrpcServer:
    """A bound and then serving gRPC server."""

    def __init__(
        self,
        service: IngestService,
        address: str,
        credentials: grpc.ServerCredentials | None,
        *,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        """Bind; `start` serves.

        Args:
            service: takes the calls.
            address: ``host:port``; port 0 takes a free one.
            credentials: for TLS; None speaks plaintext.
            opened: told of every call that is opened, health checks and unknown ones included.

        Raises:
            UnreachableError: the address is taken, or is not this host's.
        """
        self._service = service
        streams = service.streams_per_address + REFUSED_AT_ONCE
        self._server = grpc.aio.server(
            interceptors=(_Openings(opened),),
            options=(
                *_OPTIONS,
                ("grpc.max_concurrent_streams", streams),
                # Never in silence: two collectors by mistake would each have some of the agents.
                ("grpc.so_reuseport", int(service.share_port)),
            ),
        )
        self._server.add_generic_rpc_handlers((service.handlers(),))
        self._health = health_aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise UnreachableError(
                f"gRPC cannot listen on {address}: it is taken or not an address of this host; "
                "stop what listens there, or name another with --grpc-listen"
            ) from error
        self.address = f"{address.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        """Serve, and say so to health checks."""
        await self._server.start()
        for name in ("", SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Take no new call, end the streams, and the other open calls after `grace_s` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._service.end_streams(grace_s)
        await self._server.stop(grace_s)
