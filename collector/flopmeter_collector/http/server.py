"""The HTTP server: where it listens, and its orderly start and stop.

Owns: uvicorn's settings and the sentence for an address that cannot be had.
May touch: one listening socket.
Called by the collector's app; the signals of the process stay the app's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from flopmeter_core.errors import UnreachableError

STOP_GRACE_S = 2
"""How long open requests may finish when the collector stops."""

KEEP_ALIVE_S = 5
MAXIMUM_CONNECTIONS = 500
"""More than any set of scrapers and readers needs; one more is answered 503."""

NO_PROGRESS_S = 30.0
"""Who for so long neither asks for anything nor takes more of an answer gives its place up: as many
as there are would keep every scraper out, and each holds a whole answer in memory."""

_BACKLOG = 128
_STARTED_POLL_S = 0.005


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals of the process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: the collector's app stops this server."""
        yield


class _Connection(H11Protocol):
    """A connection that ends, and leaves nothing behind which only a search for cycles finds."""

    _looking: asyncio.TimerHandle | None = None
    _left_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to see whether it goes on."""
        super().connection_made(transport)
        self._look_later()

    def on_response_complete(self) -> None:
        """An answer is made, and now has to be taken."""
        super().on_response_complete()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the transport, too: asyncio's holds a method of its own, and so itself."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        super().connection_lost(exc)
        vars(self.transport).pop("_read_ready_cb", None)

    def _look_later(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._left_bytes = self.transport.get_write_buffer_size()
        self._looking = self.loop.call_later(NO_PROGRESS_S, self._look)

    def _look(self) -> None:
        """End it where nothing was taken since, and no answer is being made."""
        asked: RequestResponseCycle | None = self.cycle
        being_answered = asked is not None and not asked.response_complete
        if being_answered or self.transport.get_write_buffer_size() < self._left_bytes:
            self._look_later()
        else:
            # Not closed: that would wait until all is taken.
            self.transport.abort()


class HttpServer:
    """A bound and then serving HTTP server."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        """Bind; `start` serves.

        Args:
            app: answers the requests.
            address: ``host:port``; port 0 takes a free one.

        Raises:
            UnreachableError: the address is taken, or is not this host's.
        """
        host, _, port = address.rpartition(":")
        self._socket = _bind(host.strip("[]"), int(port), address)
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_GRACE_S,
                limit_concurrency=MAXIMUM_CONNECTIONS,
                loop="none",
                http=_Connection,
                ws="none",
                # Whom to believe about a client's address would be read from the environment.
                proxy_headers=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve, on the running event loop; returns once requests are answered."""
        self._task = asyncio.create_task(
            self._server.serve(sockets=[self._socket]), name="http-server"
        )
        while not self._server.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(_STARTED_POLL_S)

    async def stop(self) -> None:
        """Finish open requests and release the address; twice does no harm."""
        self._server.should_exit = True
        try:
            if self._task is not None:
                await self._task
        finally:
            self._socket.close()


def _bind(host: str, port: int, address: str) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
            bound.listen(_BACKLOG)
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise UnreachableError(
            f"HTTP cannot listen on {address}: {error.strerror or error}; stop what listens "
            "there, or name another with --http-listen"
        ) from error
    return bound
