"""A crossing reaches a person once: totals, ledger row, a real Alertmanager, webhooks, kill -9.

The Alertmanager is Debian's package prometheus-alertmanager, on free ports of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_collector import backends
from flopmeter_collector.alerts.alertmanager import API_PATH
from flopmeter_collector.alerts.receivers import RefusedError, post_json
from flopmeter_collector.alerts.transitions import alerts
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.ledger.base import Batch, Declaration, Delivery, StoredVector, Transition
from flopmeter_collector.metric_ids import ids_of
from flopmeter_core.errors import UnreachableError
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import child
from support.processes import free_port, serving
from support.requirements import require
from support.totals import busy_vector, h100, key_of
from support.webhook import ARRIVAL_LIMIT_S, Webhook

pytestmark = pytest.mark.needs_server

QUIET_S = 2.5
"""Longer than two group intervals: a second notification would have come by then."""

CROSSED_S, BACK_S = 400_000, 0
RECORD = h100(simulated=True)

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


def told(webhook: Webhook) -> list[tuple[str, str, str]]:
    """What an Alertmanager notified: (status, name, threshold) of each alert of each group."""
    return [
        (alert["status"], alert["labels"]["alertname"], alert["labels"]["threshold"])
        for body in webhook.bodies
        for alert in body["alerts"]
    ]


FIRING = ("firing", "FlopmeterThresholdCrossed", "demo-line")
RESOLVED = ("resolved", "FlopmeterThresholdCrossed", "demo-line")


class Collector:
    """A simulated collector in this process whose register is set by hand."""

    def __init__(self, ledger: Path, **settings: Any) -> None:
        self.ledger = ledger
        config = CollectorConfig(
            ledger=str(ledger),
            simulated=True,
            grpc_listen="127.0.0.1:0",
            http_listen="",
            evaluate_period_s=0.1,
            **settings,
        )
        self.app = CollectorApp(config, SystemClock())

    async def __aenter__(self) -> Collector:
        await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.stop()

    async def cross(self) -> None:
        """Take a register that is above the line."""
        vector = KeyedVector(key_of(RECORD), 1, busy_vector(CROSSED_S))
        self.app.table.merge(vector, RECORD)
        await self.app.evaluate_now()

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + ARRIVAL_LIMIT_S
        while not holds():
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.05)

    async def delivered(self) -> None:
        """Wait until every receiver has everything."""
        await self.until(
            lambda: all(row.delivered for row in rows_of(self.ledger) if alerts(row)),
            "the ledger never said delivered",
        )
        await self.until(lambda: self.app._alerts.pending_count == 0, "something stayed pending")


def rows_of(path: Path) -> list[Transition]:
    """The transitions of a ledger, as another process reads them."""
    with contextlib.closing(backends.read(str(path))) as ledger:
        return list(ledger.transitions())


def deliveries_of(path: Path) -> list[Delivery]:
    """What receivers accepted, as the ledger has it."""
    with contextlib.closing(backends.read(str(path))) as ledger:
        return list(ledger.deliveries())


def own_id(path: Path, model: str) -> str:
    """What a model of this ledger is told by."""
    with contextlib.closing(backends.read(str(path))) as ledger:
        return ids_of(ledger.position()).model(model)


def acts(path: Path, *arguments: str) -> int:
    """Do something about an alert or a review, as a person does."""
    who = ["--ledger", str(path), "--author", "ada", "--reason", "seen"]
    return main([*arguments, *who])


def approved_by_two(path: Path) -> None:
    """What was declared last lowers a model's total, and two people stand behind it."""
    with contextlib.closing(backends.read(str(path))) as ledger:
        declared = max(row.sequence for row in ledger.declarations())
    who = ["--ledger", str(path), "--reason", "seen", "--author"]
    for words in (
        ["role", "grant", "ada", "--role", "owner", *who, "ada"],
        ["role", "grant", "ben", "--role", "compliance", *who, "ada"],
        ["role", "grant", "eva", "--role", "compliance", *who, "ada"],
        ["approve", "give", str(declared), *who, "ben"],
        ["approve", "give", str(declared), *who, "eva"],
    ):
        assert main(words) == 0


def test_crossing_arrives_once(tmp_path: Path, webhook: Webhook) -> None:
    """One row, one notification with its labels; a restart and its second telling add nothing."""
    port = free_port()
    path = tmp_path / "ledger.db"

    async def scene() -> None:
        url = f"http://127.0.0.1:{port}"
        async with Collector(path, alertmanager=(url,)) as collector:
            await collector.cross()
            await collector.delivered()
        await asyncio.to_thread(webhook.wait, 1)
        # Started again it tells what fires once more: an Alertmanager may have forgotten.
        async with Collector(path, alertmanager=(url,)) as collector:
            await collector.app.evaluate_now()
            await asyncio.sleep(QUIET_S)

    with alertmanager(tmp_path, webhook, port):
        asyncio.run(scene())
    assert told(webhook) == [FIRING]
    assert len(deliveries_of(path)) == 1
    (alert,) = webhook.bodies[0]["alerts"]
    assert alert["labels"] == {
        "alertname": "FlopmeterThresholdCrossed",
        "model": own_id(path, "alpha"),
        "threshold": "demo-line",
        "jurisdiction": "none, demonstration only",
        "severity": "critical",
        "simulated": "true",
    }
    assert alert["annotations"]["summary"].startswith(
        f"SIMULATED: model {own_id(path, 'alpha')} has"
    )
    assert alert["annotations"]["note"] == "draft for counsel, not legal advice"


def test_waits_for_an_alertmanager_that_starts_late(tmp_path: Path, webhook: Webhook) -> None:
    """An alert that finds nobody is sent again until an Alertmanager is there."""
    port = free_port()

    async def scene() -> None:
        async with Collector(
            tmp_path / "ledger.db", alertmanager=(f"http://127.0.0.1:{port}",)
        ) as collector:
            await collector.cross()
            await asyncio.sleep(0.5)
            assert collector.app._alerts.pending_count == 1
            with alertmanager(tmp_path, webhook, port):
                await collector.delivered()
                await asyncio.to_thread(webhook.wait, 1)

    asyncio.run(scene())
    assert told(webhook) == [FIRING]


def test_refusal_is_told(tmp_path: Path, webhook: Webhook) -> None:
    """A body the Alertmanager refuses, and a server that is none, are errors that say so."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with alertmanager(tmp_path, webhook, port):
        with pytest.raises(RefusedError, match=r"answered 4.*labels"):
            post_json(url, API_PATH, b"[{}]", {}, what="an Alertmanager")
        # The proof that the address is right and the body was wrong.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/api/v2/status")
        assert connection.getresponse().status == 200
        connection.close()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        post_json(url, API_PATH, b"[]", {}, what="an Alertmanager")


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        (["alert", "acknowledge", "1"], "acknowledged by ada: seen"),
        (["alert", "resolve", "1"], "resolved by ada: seen"),
    ],
)
def test_a_person_takes_it(tmp_path: Path, webhook: Webhook, command: list[str], ends: str) -> None:
    """What a person takes is resolved at every receiver, and stays so over a restart."""
    port, hook = free_port(), Webhook()
    path = tmp_path / "ledger.db"
    settings = {"alertmanager": (f"http://127.0.0.1:{port}",), "webhooks": (hook.url,)}

    async def scene() -> None:
        async with Collector(path, **settings) as collector:
            await collector.cross()
            await collector.delivered()
            await asyncio.to_thread(webhook.wait, 1)
            assert await asyncio.to_thread(acts, path, *command) == 0
            await asyncio.to_thread(webhook.wait, 2)
            await collector.until(lambda: len(hook.bodies) == 2, "the webhook heard no end")
        async with Collector(path, **settings) as collector:
            await collector.app.evaluate_now()
            await asyncio.sleep(QUIET_S)
        assert await asyncio.to_thread(acts, path, *command) == 64

    with alertmanager(tmp_path, webhook, port):
        asyncio.run(scene())
    hook.close()
    assert told(webhook) == [FIRING, RESOLVED]
    assert [(body["status"], body["why"]) for body in hook.bodies] == [
        ("firing", None),
        ("resolved", ends),
    ]


def test_silence_and_going_back(tmp_path: Path, webhook: Webhook) -> None:
    """A silence ends by itself; a correction that takes the crossing back resolves it."""
    port = free_port()
    path = tmp_path / "ledger.db"

    async def scene() -> None:
        async with Collector(path, alertmanager=(f"http://127.0.0.1:{port}",)) as collector:
            await collector.cross()
            await asyncio.to_thread(webhook.wait, 1)
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
            silence = ["alert", "silence", "1", "--until", ends]
            assert await asyncio.to_thread(acts, path, *silence) == 0
            await asyncio.to_thread(webhook.wait, 2)
            await asyncio.sleep(max(0.0, 5 - time.time() % 1))
            collector.app._alerts.wake()
            await asyncio.to_thread(webhook.wait, 3)
            # A format of one FLOP a cycle, declared late, takes the crossing back.
            body = {"format": "fp64=1", "model": "alpha"}
            await collector.app.declare("alpha", body, author="ada", source="cli")
            await asyncio.to_thread(approved_by_two, path)
            await asyncio.to_thread(webhook.wait, 4)

    with alertmanager(tmp_path, webhook, port):
        asyncio.run(scene())
    assert told(webhook) == [FIRING, RESOLVED, FIRING, RESOLVED]
    assert [row.after for row in rows_of(path)] == ["above", "below"]


@pytest.mark.parametrize(("status", "refused"), [(400, True), (404, False), (503, False)])
def test_only_a_fault_of_the_request_is_a_refusal(status: int, refused: bool) -> None:
    """Who would answer any request so is asked later; who dislikes this one may take another."""
    hook = Webhook()
    hook.status = status
    try:
        with pytest.raises(UnreachableError) as caught:
            post_json(hook.url, "/", b"{}", {}, what="an endpoint")
    finally:
        hook.close()
    assert isinstance(caught.value, RefusedError) is refused


def test_signed_webhooks(tmp_path: Path) -> None:
    """Each body has its key, and a signature the receiver can check; a 500 is tried again."""
    hook, secret = Webhook(), tmp_path / "secret"
    secret.write_text("0123456789abcdef0123\n")
    hook.status = 500

    async def scene() -> None:
        settings = {"webhooks": (hook.url,), "webhook_secret": secret}
        async with Collector(tmp_path / "ledger.db", **settings) as collector:
            await collector.cross()
            await asyncio.to_thread(hook.wait, 2)
            assert deliveries_of(tmp_path / "ledger.db") == []
            hook.status = 204
            await collector.delivered()

    asyncio.run(scene())
    hook.close()
    assert {headers["Idempotency-Key"] for headers in hook.headers} == {hook.bodies[0]["key"]}
    assert len(set(hook.raw)) == 1
    fields = dict(part.split("=") for part in hook.headers[-1]["Flopmeter-Signature"].split(","))
    signed = f"{fields['t']}.".encode() + hook.raw[-1]
    expected = hmac.new(b"0123456789abcdef0123", signed, hashlib.sha256).hexdigest()
    assert fields["v1"] == expected


def crossed_ledger(path: Path) -> None:
    """A ledger that holds a crossing no collector has evaluated yet."""
    ledger = backends.collect(str(path), simulated=True)
    key = key_of(RECORD)
    ledger.commit(
        Batch(
            records={RECORD.record_id: RECORD},
            vectors=(StoredVector(key, 0, 1, busy_vector(CROSSED_S)),),
            declarations=(Declaration(0, 1, "ada", "cli", "run", "alpha", {"model": "atlas"}),),
        )
    )
    ledger.close()


def test_kill_9_in_the_middle_of_a_delivery(tmp_path: Path) -> None:
    """Killed after the receiver took it and before the ledger noted it: told again, same key.

    Then killed again once it is noted, and started a third time: nothing more is told.
    """
    path, hook = tmp_path / "ledger.db", Webhook(hangs=True)
    crossed_ledger(path)
    flags = ["--simulated", "--webhooks", hook.url]
    with child(path, *flags) as collector:
        hook.wait(1)
        collector.kill()
    assert deliveries_of(path) == []
    assert [row.after for row in rows_of(path)] == ["above"]
    hook.answers.set()
    with child(path, *flags) as collector:
        hook.wait(2)
        deadline = time.monotonic() + ARRIVAL_LIMIT_S
        while not deliveries_of(path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        collector.kill()
    with child(path, *flags):
        time.sleep(QUIET_S)
    hook.close()
    assert len(hook.bodies) == 2
    assert hook.raw[0] == hook.raw[1]
    assert hook.headers[0]["Idempotency-Key"] == hook.headers[1]["Idempotency-Key"]
    assert len(rows_of(path)) == 1


def test_kill_9_before_anybody_is_there(tmp_path: Path, webhook: Webhook) -> None:
    """Killed while the Alertmanager is away, started when it is there: one notification."""
    path, port = tmp_path / "ledger.db", free_port()
    crossed_ledger(path)
    flags = ["--simulated", "--alertmanager", f"http://127.0.0.1:{port}"]
    for _ in range(2):
        with child(path, *flags) as collector:
            collector.kill()
    with alertmanager(tmp_path, webhook, port):
        with child(path, *flags) as collector:
            webhook.wait(1)
            collector.kill()
        with child(path, *flags):
            time.sleep(QUIET_S)
    assert told(webhook) == [FIRING]
    assert len(rows_of(path)) == 1


def test_a_restarted_alertmanager_hears_again(tmp_path: Path, webhook: Webhook) -> None:
    """An Alertmanager that lost its alerts is told again, and notifies nobody twice."""
    path, port = tmp_path / "ledger.db", free_port()

    async def scene() -> None:
        async with Collector(path, alertmanager=(f"http://127.0.0.1:{port}",)) as collector:
            with alertmanager(tmp_path, webhook, port):
                await collector.cross()
                await collector.delivered()
                await asyncio.to_thread(webhook.wait, 1)
            with alertmanager(tmp_path, webhook, port):
                assert shown_by(port) == []
                # As after the period at which what fires is told again.
                for line in collector.app._alerts._lines:
                    line.sent_ns.clear()
                collector.app._alerts.wake()
                await collector.until(lambda: shown_by(port) != [], "it was not told again")
                await asyncio.sleep(QUIET_S)

    asyncio.run(scene())
    assert told(webhook) == [FIRING]


def shown_by(port: int) -> list[str]:
    """The names of the alerts an Alertmanager holds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/api/v2/alerts")
    rows = json.loads(connection.getresponse().read())
    connection.close()
    return [row["labels"]["alertname"] for row in rows]
