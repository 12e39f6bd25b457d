"""The web server of the agent's own page: a few connections at a time, none for long.

Owns: how many connections there are, how long one may say or take nothing, and which one goes.
May touch: one listening socket, and a thread a connection.
Called by exposition. Whoever reaches the address may connect, and what it takes here (threads,
descriptors) the meter lacks: so the number is small, and who has been there longest gives way.
The standard library serves it: a page of one text needs no more, and whoever serves it loads it
(docs/adr/0053-what-a-start-loads.md).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from flopmeter_core.kernels.render import CONTENT_TYPE

logger = logging.getLogger(__name__)

MAXIMUM_CONNECTIONS = 8
"""Prometheus has one, and a second replica another; the rest is for people."""

SILENCE_S = 10.0
"""The longest wait for a part of a request, or for room for a part of the page."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; every path is the page."""

    server: _Server
    timeout = SILENCE_S  # of each wait on its socket
    server_version = "flopmeter"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        """Answer with what is said of the page."""
        self._head()

    def _head(self) -> bytes:
        page = self.server.page().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        return page

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """A thread a connection, of which there are few."""

    def __init__(self, host: str, port: int, page: Callable[[], str]) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        self.page = page
        self._lock = threading.Lock()
        # In the order they came.
        self._connections: dict[socket.socket, None] = {}
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, and ask no name server what this host is called, as the library would."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; where there are enough, the oldest one ends."""
        with self._lock:
            if len(self._connections) >= MAXIMUM_CONNECTIONS:
                oldest = next(iter(self._connections))
                del self._connections[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._connections[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Let go of a connection."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong here; a peer that has gone, or waited too long, is no trouble."""
        if not isinstance(sys.exception(), OSError):
            logger.error("a scrape could not be answered", exc_info=True)


@contextlib.contextmanager
def serving(page: Callable[[], str], host: str, port: int) -> Iterator[int]:
    """Serve a page until the context ends; yields the port.

    Args:
        page: gives the text; asked by a thread of its own at each scrape.
        host: name or address to listen at.
        port: 0 takes a free one.

    Raises:
        OSError: the address cannot be listened at.
    """
    server = _Server(host, port, page)
    thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
