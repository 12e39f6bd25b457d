"""The container's probe says healthy only where the daemon it is asked about does its work."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flopmeter_agent.closed import open_closed
from flopmeter_agent.exposition import AgentMetrics
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.base import Readout
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.link import LinkState
from support.manual_clock import ManualClock
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


class NoDevices:
    """A sensor of a node without devices."""

    name = "none"
    simulated = False

    def devices(self) -> tuple[DeviceRecord, ...]:
        """None."""
        return ()

    def read(self) -> Readout:
        """Nothing."""
        return Readout(())

    def close(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize("connected", [True, False])
def test_agent(probe: ModuleType, pages: Pages, tmp_path: Path, connected: bool) -> None:
    """An agent answers; --connected also asks whether its stream to the collector is open.

    The page is an agent's own: how it spells a number is its business.
    """
    loop = AgentLoop(
        NoDevices(),
        Journal(OsBlockFile(tmp_path / "journal")),
        ManualClock(),
        Identity(node="n0"),
        closed=open_closed(OsBlockFile(tmp_path / "closed")),
        incarnation="0" * 32,
        period_ns=NS_PER_S,
    )
    page = AgentMetrics(loop, LinkState(connected=connected)).text()
    pages.pages["/metrics"] = (200, page)
    assert probe.main(["agent"]) == 0
    assert probe.main([]) == 0
    assert probe.main(["agent", "--connected"]) == (0 if connected else 1)
    assert probe.main(["collector"]) == 1


@pytest.mark.parametrize(("said", "status"), [(" 1.0", 0), (" 0.0", 1), ("", 1)])
def test_agents_of_other_versions(probe: ModuleType, pages: Pages, said: str, status: int) -> None:
    """Whoever spells the number otherwise is understood; a page without it is not connected."""
    page = f"# TYPE flopmeter_collector_connected gauge\nflopmeter_collector_connected{said}\n"
    pages.pages["/metrics"] = (200, page)
    assert probe.main(["agent", "--connected"]) == status


def test_nobody_there(probe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listening is not healthy, and no traceback either."""
    nowhere = f"http://127.0.0.1:{free_port()}/"
    monkeypatch.setattr(probe, "COLLECTOR_URL", nowhere)
    monkeypatch.setattr(probe, "AGENT_URL", nowhere)
    assert probe.main([]) == 1
