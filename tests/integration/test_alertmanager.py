"""A crossing reaches a person: totals, ledger row, a real Alertmanager, a webhook.

The Alertmanager is Debian's package prometheus-alertmanager, on free ports of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flopmeter_collector import backends
from flopmeter_collector.alerts.alertmanager import AlertSender, post_body
from flopmeter_collector.alerts.transitions import alerts
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.evaluate import evaluate
from flopmeter_collector.ledger.base import Transition
from flopmeter_core.errors import UnreachableError
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.processes import free_port, serving
from support.requirements import require
from support.totals import busy_vector, h100, key_of, scenario, thresholds

pytestmark = pytest.mark.needs_server

ARRIVAL_LIMIT_S = 20.0
QUIET_S = 2.5
"""Longer than two group intervals: a second notification would have come by then."""

CONFIG = """
route:
  receiver: webhook
  group_by: [alertname, model, threshold]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: webhook
    webhook_configs:
      - url: http://127.0.0.1:{port}/
        send_resolved: true
"""


class Webhook:
    """A receiver that remembers what it was told."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.bodies.append(json.loads(self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def wait(self, count: int) -> None:
        """Wait until so many notifications came."""
        deadline = time.monotonic() + ARRIVAL_LIMIT_S
        while len(self.bodies) < count:
            assert time.monotonic() < deadline, f"{len(self.bodies)} of {count} notifications"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook receiver for one test."""
    receiver = Webhook()
    yield receiver
    receiver.close()


def alertmanager(tmp_path: Path, webhook: Webhook, port: int) -> Any:
    """An Alertmanager that tells the webhook."""
    program = require("prometheus-alertmanager", "apt-get install prometheus-alertmanager")
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG.format(port=webhook.port))
    command: list[str | Path] = [
        program,
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'storage'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return serving(command, port, tmp_path / "alertmanager.log")


def crossing() -> list[Transition]:
    """All transitions of the fixed scenario, numbered as a ledger would; one of them alerts."""
    clock = SystemClock()
    shot = replace(scenario(), as_of_ns=clock.wall_ns())
    rows = evaluate(shot, thresholds(), {}).transitions
    return [replace(row, sequence=number) for number, row in enumerate(rows, start=1)]


async def deliver(url: str, rows: Sequence[Transition], *, limit_s: float) -> list[int]:
    """Send until everything is marked; returns the marked sequences."""
    marked: list[int] = []
    done = asyncio.Event()

    async def mark(sequences: Sequence[int]) -> None:
        marked.extend(sequences)
        done.set()

    sender = AlertSender(
        [url],
        thresholds=thresholds(),
        clock=SystemClock(),
        delivered=mark,
        simulated=True,
        allow_off_loopback=False,
        sleep=lambda _: asyncio.sleep(0.05),
    )
    sender.submit(rows)
    sender.start()
    try:
        await asyncio.wait_for(done.wait(), limit_s)
    finally:
        await sender.stop()
    return marked


def test_crossing_arrives_once(tmp_path: Path, webhook: Webhook) -> None:
    """The crossing arrives with its labels, once, although it is sent twice."""
    port = free_port()
    rows = crossing()
    with alertmanager(tmp_path, webhook, port):
        url = f"http://127.0.0.1:{port}"
        marked = asyncio.run(deliver(url, rows, limit_s=ARRIVAL_LIMIT_S))
        webhook.wait(1)
        # As after a crash between the post and its mark in the ledger.
        assert asyncio.run(deliver(url, rows, limit_s=ARRIVAL_LIMIT_S)) == marked
        time.sleep(QUIET_S)
    assert [row.threshold for row in rows if row.sequence in marked] == ["demo-line"]
    assert len(webhook.bodies) == 1
    (alert,) = webhook.bodies[0]["alerts"]
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "FlopmeterThresholdCrossed",
        "model": "atlas",
        "threshold": "demo-line",
        "jurisdiction": "none, demonstration only",
        "severity": "critical",
        "simulated": "true",
    }
    assert alert["annotations"]["summary"].startswith("SIMULATED: model atlas")
    assert alert["annotations"]["note"] == "draft for counsel, not legal advice"


def test_waits_for_an_alertmanager_that_starts_late(tmp_path: Path, webhook: Webhook) -> None:
    """An alert that finds nobody is sent again until an Alertmanager is there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async def scene() -> list[int]:
        delivery = asyncio.create_task(deliver(url, crossing(), limit_s=ARRIVAL_LIMIT_S))
        await asyncio.sleep(0.3)
        assert not delivery.done()
        with alertmanager(tmp_path, webhook, port):
            marked = await delivery
            await asyncio.to_thread(webhook.wait, 1)
            return marked

    assert len(asyncio.run(scene())) == 1


def test_refusal_is_told(tmp_path: Path, webhook: Webhook) -> None:
    """A body the Alertmanager refuses, and a server that is none, are errors that say so."""
    port = free_port()
    with alertmanager(tmp_path, webhook, port):
        with pytest.raises(UnreachableError, match=r"answered 4.*labels"):
            post_body(f"http://127.0.0.1:{port}", b"[{}]")
        # The proof that the address is right and the body was wrong.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/api/v2/status")
        assert connection.getresponse().status == 200
        connection.close()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        post_body(f"http://127.0.0.1:{port}", b"[]")


async def collector(path: Path, url: str, vectors: Sequence[KeyedVector]) -> list[Transition]:
    """Be a simulated collector that merges these vectors and alerts; returns the ledger's rows."""
    config = CollectorConfig(
        ledger=str(path),
        simulated=True,
        grpc_listen="127.0.0.1:0",
        http_listen="",
        alertmanager=(url,),
    )
    app = CollectorApp(config, SystemClock())
    await app.start()
    try:
        for keyed in vectors:
            app.table.merge(keyed, h100(simulated=True))
        await app.evaluate_now()
        deadline = time.monotonic() + ARRIVAL_LIMIT_S
        while any(alerts(row) and not row.delivered for row in rows_of(path)):
            assert time.monotonic() < deadline, "the ledger never said delivered"
            await asyncio.sleep(0.05)
    finally:
        await app.stop()
    return rows_of(path)


def rows_of(path: Path) -> list[Transition]:
    """The transitions of a ledger, as another process reads them."""
    with contextlib.closing(backends.read(str(path))) as ledger:
        return list(ledger.transitions())


def test_whole_collector(tmp_path: Path, webhook: Webhook) -> None:
    """A register that crosses a line becomes one row and one alert, also over a restart."""
    port = free_port()
    record = h100(simulated=True)
    vector = KeyedVector(key_of(record), 1, busy_vector(400_000))
    with alertmanager(tmp_path, webhook, port):
        url = f"http://127.0.0.1:{port}"
        rows = asyncio.run(collector(tmp_path / "ledger.db", url, [vector]))
        webhook.wait(1)
        assert asyncio.run(collector(tmp_path / "ledger.db", url, [vector])) == rows
        time.sleep(QUIET_S)
    crossed = [row for row in rows if alerts(row)]
    assert [(row.model, row.threshold, row.delivered) for row in crossed] == [
        ("alpha", "demo-line", True)
    ]
    assert [alert["labels"]["model"] for alert in webhook.bodies[0]["alerts"]] == ["alpha"]
    assert len(webhook.bodies) == 1
