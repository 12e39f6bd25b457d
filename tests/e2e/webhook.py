"""A webhook receiver for one container: remembers what Alertmanager sends, and tells it.

Owns: POST /RECEIVER stores a notification under its receiver's name, GET / lists them all;
with --probe it only asks whether the receiver answers.
May touch: one listening socket of its container; the standard library only.
Called by the end-to-end run; keeps nothing on disk.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 9095

NOTIFICATIONS: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """Takes and tells notifications."""

    def do_POST(self) -> None:
        """Store one notification."""
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        NOTIFICATIONS.append({"receiver": self.path.removeprefix("/"), "body": body})
        self._answer("{}")

    def do_GET(self) -> None:
        """List what came."""
        self._answer(json.dumps(NOTIFICATIONS))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["--probe"]:
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=3).close()
        sys.exit(0)
    # Every address of the container, which is the only thing in its network namespace.
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
