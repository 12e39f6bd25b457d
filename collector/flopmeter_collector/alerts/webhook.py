"""Alerts for any HTTP endpoint: one POST an event, with a key that makes repetition harmless.

Owns: the body, its headers and its signature; docs/alerts.md describes them.
May touch: outgoing HTTP to one address (through receivers).
Called by alerts.sender.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from flopmeter_collector.alerts.receivers import Message, post_json, rfc3339, shown
from flopmeter_core.units import NS_PER_S

KEY_HEADER = "Idempotency-Key"
SIGNATURE_HEADER = "Flopmeter-Signature"


class WebhookReceiver:
    """One endpoint."""

    keeps_asking = False
    at_once = 1

    def __init__(self, url: str, *, ledger_id: str, secret: bytes | None = None) -> None:
        """Name it.

        Args:
            url: where to POST.
            ledger_id: makes the keys of two ledgers different.
            secret: signs each body; None leaves it unsigned.
        """
        self.url = url
        self.shown = shown(url)
        self._ledger_id = ledger_id
        self._secret = secret

    def post(self, messages: Sequence[Message], now_ns: int) -> None:
        """Hand over one message.

        Raises:
            UnreachableError: it was not accepted.
        """
        (message,) = messages
        # With the time: a ledger that comes back from a copy gives the same numbers to others.
        key = f"{self._ledger_id}/{message.event.name}/{message.began_ns // NS_PER_S}"
        body = encode(message, key=key)
        headers = {KEY_HEADER: key}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(self._secret, body, now_s=now_ns // NS_PER_S)
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        post_json(
            self.url, path, body, headers, what="an endpoint that answers 2xx to what it took"
        )


def encode(message: Message, *, key: str) -> bytes:
    """Encode one event; the same event always has the same bytes."""
    event = message.event
    document = {
        "schema": 1,
        "key": key,
        "alert": event.alert,
        "status": "firing" if event.fires else "resolved",
        "labels": dict(message.words.labels),
        "annotations": dict(message.words.annotations),
        "starts_at": rfc3339(message.began_ns),
        "ends_at": None if event.fires else rfc3339(event.at_ns),
        "why": event.why or None,
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()


def signature(secret: bytes, body: bytes, *, now_s: int) -> str:
    """Sign a body: HMAC-SHA-256 over the time of the attempt, a full stop, and the body."""
    told = hmac.new(secret, f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now_s},v1={told}"
