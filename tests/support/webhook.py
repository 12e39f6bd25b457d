"""An HTTP endpoint that remembers what it was told, and may refuse or hang.

Owns: one server on loopback in a thread.
May touch: loopback sockets.
Called by the integration tests of alerts.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARRIVAL_LIMIT_S = 30.0


class Webhook:
    """A receiver that remembers what it was told."""

    def __init__(self, *, hangs: bool = False) -> None:
        """Begin to listen.

        Args:
            hangs: whether it takes a body and answers nothing until `answers` is set.
        """
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.status = 200
        self.answers = threading.Event()
        if not hangs:
            self.answers.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                outer.raw.append(content)
                outer.headers.append(dict(self.headers))
                outer.bodies.append(json.loads(content))
                outer.answers.wait(ARRIVAL_LIMIT_S)
                try:
                    self.send_response(outer.status)
                    self.end_headers()
                except OSError:
                    """Whoever asked is dead by now."""

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?token=secret"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def wait(self, count: int) -> None:
        """Wait until so many bodies came."""
        deadline = time.monotonic() + ARRIVAL_LIMIT_S
        while len(self.bodies) < count:
            assert time.monotonic() < deadline, f"{len(self.bodies)} of {count} bodies"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop listening."""
        self.answers.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
