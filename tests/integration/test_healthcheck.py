"""The container's probe says healthy only where the daemon it is asked about does its work."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import pytest

from support.processes import free_port
from support.requirements import ROOT


class Pages:
    """An HTTP server whose pages a test sets."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, str]] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = pages.get(self.path, (404, ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def pages() -> Iterator[Pages]:
    """The server, for one test."""
    served = Pages()
    thread = threading.Thread(target=served.server.serve_forever)
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


@pytest.fixture
def probe(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The probe, pointed at the test's server."""
    spec = importlib.util.spec_from_file_location("healthcheck", ROOT / "deploy/healthcheck.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "COLLECTOR_URL", f"{pages.url}/readyz")
    monkeypatch.setattr(module, "AGENT_URL", f"{pages.url}/metrics")
    found: ModuleType = module
    return found


def test_collector(probe: ModuleType, pages: Pages) -> None:
    """A collector is healthy while it says that it is ready, and at no other time."""
    pages.pages["/readyz"] = (200, "ready\n")
    assert probe.main(["collector"]) == 0
    assert probe.main([]) == 0
    assert probe.main(["agent"]) == 1
    pages.pages["/readyz"] = (503, "the ledger cannot be written\n")
    assert probe.main(["collector"]) == 1
    assert probe.main([]) == 1


@pytest.mark.parametrize(("gauge", "status"), [("1.0", 0), ("0.0", 1)])
def test_agent(probe: ModuleType, pages: Pages, gauge: str, status: int) -> None:
    """An agent answers; --connected also asks whether its stream to the collector is open."""
    page = f"# TYPE flopmeter_collector_connected gauge\nflopmeter_collector_connected {gauge}\n"
    pages.pages["/metrics"] = (200, page)
    assert probe.main(["agent"]) == 0
    assert probe.main([]) == 0
    assert probe.main(["agent", "--connected"]) == status
    assert probe.main(["collector"]) == 1


def test_nobody_there(probe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listening is not healthy, and no traceback either."""
    nowhere = f"http://127.0.0.1:{free_port()}/"
    monkeypatch.setattr(probe, "COLLECTOR_URL", nowhere)
    monkeypatch.setattr(probe, "AGENT_URL", nowhere)
    assert probe.main([]) == 1
