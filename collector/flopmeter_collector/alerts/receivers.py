"""What a receiver of alerts is, and one POST to it over HTTP.

Owns: the Receiver protocol, the message it is handed, the checks of an address, and the request.
May touch: outgoing HTTP to the addresses it is given.
Called by alerts.sender; implemented by alerts.alertmanager and alerts.webhook.
"""

from __future__ import annotations

import datetime
import hashlib
import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from flopmeter_collector.alerts.lifecycle import Event
from flopmeter_collector.alerts.transitions import Words
from flopmeter_core.errors import NotPermittedError, UnreachableError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.credentials import is_loopback
from flopmeter_proto.daemon.trouble import web_sentence

TIMEOUT_S = 10.0
MAXIMUM_ANSWER_BYTES = 4_096

FAULTS = frozenset({400, 409, 413, 414, 415, 422, 431})
"""Statuses that find fault with one request (RFC 9110 and RFC 6585); others would answer any."""


class RefusedError(UnreachableError):
    """A receiver is there and does not want just these messages; it may take others."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event of one alert, in words."""

    event: Event
    words: Words
    began_ns: int


class Receiver(Protocol):
    """Takes messages; a message is delivered when `post` returns."""

    url: str
    """Its address; may hold a secret, so that only `shown` is told."""

    shown: str
    """Its address for logs."""

    keeps_asking: bool
    """Whether it forgets: what fires is told again and again, and only the newest event counts."""

    at_once: int
    """How many messages it takes in one POST."""

    def post(self, messages: Sequence[Message], now_ns: int) -> None:
        """Hand over messages.

        Raises:
            UnreachableError: none of them was accepted; a RefusedError, because of what they say.
        """


def digest(url: str) -> str:
    """The name of a receiver in the ledger, which holds no address: it may carry a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def check_receiver(url: str, *, what: str, simulated: bool, allow_off_loopback: bool) -> None:
    """Refuse a receiver that cannot be used or must not be told.

    Args:
        url: its address.
        what: what it is, in words.
        simulated: whether the ledger is simulated.
        allow_off_loopback: whether simulated alerts may leave this host.

    Raises:
        UsageError: no http or https URL, or one with a user name in it.
        NotPermittedError: simulated alerts to another host, without permission.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the {what} address {url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise UsageError(
            f"the {what} address {url!r} cannot be used; write it as http://127.0.0.1:9093, "
            "without user name, and put a proxy before one that wants a password"
        )
    if not _can_be_asked(host, parts):
        raise UsageError(
            f"the {what} address {url!r} cannot be used; write letters beyond ASCII in its path "
            "as %XX, and a host name with no empty part"
        )
    if simulated and not allow_off_loopback and not is_loopback(host):
        raise NotPermittedError(
            f"a simulated collector does not alert {shown(url)}, which is another host; allow it "
            f"with --alert-off-loopback, or name a {what} on 127.0.0.1"
        )


def _can_be_asked(host: str, parts: SplitResult) -> bool:
    """Whether a host can be looked up and a path can stand in a request."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    path = parts.path + parts.query
    return path.isascii() and path.isprintable() and " " not in path


def shown(url: str) -> str:
    """An address without path and query, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def post_json(url: str, path: str, body: bytes, headers: Mapping[str, str], *, what: str) -> None:
    """POST a body; follows no redirect and reads no proxy setting.

    Args:
        url: the receiver's address.
        path: what is asked of it, with its query.
        body: JSON.
        headers: beside the content's type.
        what: what has to listen there, for the sentence of a failure.

    Raises:
        UnreachableError: no connection, no answer in time, or an answer that is not 2xx.
        RefusedError: an answer that finds fault with the request.
    """
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        connection.request(
            "POST", path, body=body, headers={"Content-Type": "application/json", **headers}
        )
        answer = connection.getresponse()
        text = answer.read(MAXIMUM_ANSWER_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        known = web_sentence(error, url=url, host=parts.hostname or "")
        raise UnreachableError(
            f"{shown(url)} cannot be told: {known}"
            if known
            else f"{shown(url)} cannot be reached ({str(error) or type(error).__name__}); check "
            f"that {what} listens there"
        ) from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        failure = RefusedError if answer.status in FAULTS else UnreachableError
        raise failure(
            f"{shown(url)} answered {answer.status} {answer.reason}: {text.strip()[:200]!r}; it "
            f"has to be {what}"
        )


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)


def rfc3339(unix_ns: int) -> str:
    """Unix time in ns as RFC 3339 in UTC, to the microsecond."""
    seconds, rest_ns = divmod(unix_ns, NS_PER_S)
    instant = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000:06d}Z"
