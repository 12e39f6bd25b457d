"""The web server of the agent's own page: a few connections at a time, none for long.

Owns: how many connections there are, how long one may say or take nothing, and which one goes.
May touch: one listening socket, and a thread a connection.
Called by exposition. Whoever reaches the address may connect, and what it takes here (threads,
descriptors) the meter lacks: so the number is small, and who has been there longest gives way.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

MAXIMUM_CONNECTIONS = 8
"""Prometheus has one, and a second replica another; the rest is for people."""

SILENCE_S = 10.0
"""The longest wait for a part of a request, or for room for a part of the page."""


class _Handler(WSGIRequestHandler):
    """Answers one connection; what a peer does to it is nothing to log."""

    timeout = SILENCE_S  # of each wait on its socket

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def get_stderr(self) -> io.StringIO:
        """Where wsgiref writes that a peer has gone: nowhere."""
        return io.StringIO()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a connection, of which there are few."""

    daemon_threads = True

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lock = threading.Lock()
        # In the order they came.
        self._connections: dict[socket.socket, None] = {}

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
        """Say nothing of a peer that has gone, or waited too long."""


class _ServerOfSix(_Server):
    """The same on an address of IPv6."""

    address_family = socket.AF_INET6


@contextlib.contextmanager
def serving(page: Callable[..., Any], host: str, port: int) -> Iterator[int]:
    """Serve a page until the context ends; yields the port.

    Args:
        page: a WSGI application.
        host: name or address to listen at.
        port: 0 takes a free one.

    Raises:
        OSError: the address cannot be listened at.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    kind = _ServerOfSix if family == socket.AF_INET6 else _Server
    server = make_server(host, port, page, server_class=kind, handler_class=_Handler)
    thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
