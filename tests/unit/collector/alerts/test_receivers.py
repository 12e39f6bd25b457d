"""Receivers: which addresses may be told, and how an alert is written for each kind."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from http.client import BadStatusLine, HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flopmeter_collector.alerts import receivers, webhook
from flopmeter_collector.alerts.alertmanager import AlertmanagerReceiver, encode
from flopmeter_collector.alerts.lifecycle import Event
from flopmeter_collector.alerts.receivers import (
    Message,
    RefusedError,
    check_receiver,
    digest,
    shown,
)
from flopmeter_collector.alerts.table import receivers_of
from flopmeter_collector.alerts.transitions import Words
from flopmeter_collector.alerts.webhook import WebhookReceiver, signature
from flopmeter_core.errors import NotPermittedError, UnreachableError, UsageError
from support.totals import AS_OF_NS

FIRST, SECOND = "http://127.0.0.1:9093", "http://localhost:9094/am/"
WORDS = Words({"alertname": "A"}, {"summary": "é"})
FIRES = Message(Event(7, 1, True, 1_234_567), WORDS, 1_234_567)
ENDS = Message(Event(7, 1, False, 2_234_567, "resolved by ada: seen"), WORDS, 1_234_567)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://127.0.0.1", UsageError),
        ("127.0.0.1:9093", UsageError),
        ("http://", UsageError),
        ("http://user:secret@127.0.0.1:9093", UsageError),
        ("http://127.0.0.1:99999", UsageError),
        ("http://[::1", UsageError),
        ("http://127.0.0.1:9093/caf\u00e9", UsageError),
        ("http://127.0.0.1:9093/?to=a b", UsageError),
        ("http://127..0.1:9093", UsageError),
        ("http://alerts.example:9093", NotPermittedError),
        ("https://192.0.2.7", NotPermittedError),
    ],
)
def test_receivers_refused(url: str, error: type[Exception]) -> None:
    """An address that cannot be used, and another host for simulated alerts, are refused."""
    with pytest.raises(error):
        check_receiver(url, what="webhook", simulated=True, allow_off_loopback=False)


@pytest.mark.parametrize("url", [FIRST, SECOND, "http://[::1]:9093"])
def test_loopback_receivers(url: str) -> None:
    """This host is always allowed."""
    check_receiver(url, what="webhook", simulated=True, allow_off_loopback=False)


def test_other_hosts_when_allowed_or_real() -> None:
    """Another host may be told of measured figures, and of simulated ones on request."""
    for simulated, allowed in ((False, False), (True, True)):
        check_receiver(
            "http://alerts.example", what="x", simulated=simulated, allow_off_loopback=allowed
        )


def test_an_address_may_hold_a_secret() -> None:
    """Logs, messages and the ledger have no path and no query of it."""
    url = "https://hooks.example/services/SECRET?token=SECRET"
    assert shown(url) == "https://hooks.example"
    assert "SECRET" not in digest(url)
    assert digest(url) != digest(url + "2")
    with pytest.raises(NotPermittedError) as refused:
        check_receiver(url, what="webhook", simulated=True, allow_off_loopback=False)
    assert "SECRET" not in str(refused.value)


def test_alertmanager_encoding() -> None:
    """What fires ends a day ahead of the attempt, what is over ends at the attempt."""
    first, second = json.loads(encode([FIRES, ENDS], now_ns=AS_OF_NS))
    assert first == {
        "labels": {"alertname": "A"},
        "annotations": {"summary": "é"},
        "startsAt": "1970-01-01T00:00:00.001234Z",
        "endsAt": "2026-09-22T14:13:20.000000Z",
    }
    assert second == {**first, "endsAt": "2026-09-21T14:13:20.000000Z"}


def test_webhook_encoding() -> None:
    """Each event is one body, the same every time, with a key and a word for what it is."""
    assert json.loads(webhook.encode(FIRES, key="id/7/1/fires")) == {
        "schema": 1,
        "key": "id/7/1/fires",
        "alert": 7,
        "status": "firing",
        "labels": {"alertname": "A"},
        "annotations": {"summary": "é"},
        "starts_at": "1970-01-01T00:00:00.001234Z",
        "ends_at": None,
        "why": None,
    }
    ended = json.loads(webhook.encode(ENDS, key="k"))
    assert (ended["status"], ended["why"]) == ("resolved", "resolved by ada: seen")
    assert ended["ends_at"] == "1970-01-01T00:00:00.002234Z"


def test_signature() -> None:
    """Time and body are signed together, so that neither can be changed or played again."""
    told = signature(b"secret", b"body", now_s=99)
    assert told == "t=99,v1=" + hmac.new(b"secret", b"99.body", hashlib.sha256).hexdigest()
    assert signature(b"secret", b"body", now_s=98) != told


def made(
    *webhooks: str, alertmanagers: tuple[str, ...] = (), secret: Path | None = None
) -> list[object]:
    """The receivers of settings."""
    return list(
        receivers_of(
            alertmanagers,
            webhooks,
            secret_file=secret,
            ledger_id="id",
            simulated=False,
            allow_off_loopback=False,
        )
    )


def test_settings_make_receivers(tmp_path: Path) -> None:
    """One receiver an address; an address twice and a weak secret are refused."""
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    found = made(SECOND, alertmanagers=(FIRST,), secret=secret)
    assert [type(each) for each in found] == [AlertmanagerReceiver, WebhookReceiver]
    with pytest.raises(UsageError, match="given twice"):
        made(FIRST, FIRST)
    secret.write_text("short")
    with pytest.raises(UsageError, match="holds 5 bytes"):
        made(FIRST, secret=secret)
    with pytest.raises(UsageError, match="cannot be read"):
        made(FIRST, secret=tmp_path / "none")


# --- handing one over ----------------------------------------------------------------------------


class Endpoint:
    """A receiver's connection: what it was asked, and what it answers."""

    def __init__(self, status: int = 200, error: Exception | None = None) -> None:
        self.status, self.reason, self.closed = status, "Told", False
        self.error = error
        self.path, self.body, self.headers = "", b"", dict[str, str]()

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Take it."""
        assert method == "POST"
        self.path, self.body, self.headers = path, body, headers
        if self.error is not None:
            raise self.error

    def getresponse(self) -> Endpoint:
        """Itself."""
        return self

    def read(self, most: int) -> bytes:
        """Why."""
        return b" no such hook\n"[:most]

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """Instead of a network."""
    made = Endpoint()
    monkeypatch.setattr(receivers, "_connection", lambda parts: made)
    return made


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:9/hook?token=t", "/hook?token=t"),
        ("http://127.0.0.1:9", "/"),
    ],
)
def test_a_webhook_is_told(url: str, path: str, endpoint: Endpoint) -> None:
    """The key makes repetition harmless, the signature is over this very body and this time."""
    WebhookReceiver(url, ledger_id="id", secret=b"secret").post([FIRES], 99 * 10**9)
    assert endpoint.path == path and endpoint.closed
    key = endpoint.headers[webhook.KEY_HEADER]
    assert key == f"id/{FIRES.event.name}/0"
    assert endpoint.body == webhook.encode(FIRES, key=key)
    signed = endpoint.headers[webhook.SIGNATURE_HEADER]
    assert signed == signature(b"secret", endpoint.body, now_s=99)
    assert endpoint.headers["Content-Type"] == "application/json"
    WebhookReceiver(url, ledger_id="id").post([ENDS], 99 * 10**9)
    assert webhook.SIGNATURE_HEADER not in endpoint.headers


def test_a_number_that_is_given_again_is_no_repetition(endpoint: Endpoint) -> None:
    """After a restore another alert gets the number of one that was told: its key is another."""
    receiver = WebhookReceiver("http://127.0.0.1:9", ledger_id="id")
    keys = []
    for began_ns in (1_790_000_000 * 10**9, 1_790_000_001 * 10**9):
        receiver.post([replace(FIRES, began_ns=began_ns)], began_ns)
        keys.append(endpoint.headers[webhook.KEY_HEADER])
    assert keys == ["id/7/1/fires/1790000000", "id/7/1/fires/1790000001"]


@pytest.mark.parametrize(
    ("status", "error"), [(404, UnreachableError), (503, UnreachableError), (422, RefusedError)]
)
def test_an_answer_that_is_none(status: int, error: type[Exception], endpoint: Endpoint) -> None:
    """What finds fault with the request is told apart; the address' secret part is never said."""
    endpoint.status = status
    said = f"http://127.0.0.1:9 answered {status} Told: 'no such hook'"
    with pytest.raises(UnreachableError, match=said) as caught:
        WebhookReceiver("http://127.0.0.1:9/SECRET", ledger_id="id").post([FIRES], 1)
    assert type(caught.value) is error and endpoint.closed


@pytest.mark.parametrize("error", [ConnectionRefusedError(), BadStatusLine("x"), TimeoutError()])
def test_nobody_is_there(error: Exception, endpoint: Endpoint) -> None:
    """It is said where and what has to listen there."""
    endpoint.error = error
    with pytest.raises(UnreachableError, match=r"cannot be reached \(.+\); check that an endpoint"):
        WebhookReceiver("http://127.0.0.1:9/SECRET", ledger_id="id").post([FIRES], 1)
    assert endpoint.closed


@pytest.mark.parametrize(
    ("url", "kind"), [("http://h:1", HTTPConnection), ("https://h", HTTPSConnection)]
)
def test_how_a_receiver_is_reached(url: str, kind: type[HTTPConnection]) -> None:
    """By TLS where the address says so, with a limit to the wait."""
    connection = receivers._connection(urlsplit(url))
    assert type(connection) is kind
    assert connection.timeout == receivers.TIMEOUT_S
