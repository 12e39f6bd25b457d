"""Alerts for a Prometheus Alertmanager, by its API v2.

Owns: the encoding, and until when an Alertmanager may show an alert without hearing of it again.
May touch: outgoing HTTP to one address (through receivers).
Called by alerts.sender. https://prometheus.io/docs/alerting/latest/alerts_api/ tells the API.

An Alertmanager keeps alerts in memory only and forgets them over a restart; what it has notified
it remembers. So whatever fires is told again every few minutes, which makes no second
notification, and its end is told as an alert that ends now.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from flopmeter_collector.alerts.receivers import Message, post_json, rfc3339, shown
from flopmeter_core.units import NS_PER_HOUR

API_PATH = "/api/v2/alerts"

SHOWN_FOR_NS = 24 * NS_PER_HOUR
"""How long an Alertmanager shows an alert it hears nothing more of: a collector that is down for a
day takes no crossing back, and one that is gone for good leaves nothing behind."""


class AlertmanagerReceiver:
    """One Alertmanager."""

    keeps_asking = True
    at_once = 100

    def __init__(self, url: str) -> None:
        """Name it by its base URL."""
        self.url = url
        self.shown = shown(url)

    def post(self, messages: Sequence[Message], now_ns: int) -> None:
        """Hand over messages.

        Raises:
            UnreachableError: none of them was accepted.
        """
        post_json(
            self.url,
            urlsplit(self.url).path.rstrip("/") + API_PATH,
            encode(messages, now_ns=now_ns),
            {},
            what=f"an Alertmanager of version 0.16 or newer, which serves {API_PATH},",
        )


def encode(messages: Sequence[Message], *, now_ns: int) -> bytes:
    """Encode alerts for POST /api/v2/alerts.

    Args:
        messages: the newest event of each alert.
        now_ns: Unix time in ns of the attempt; an end in the past resolves an alert.
    """
    rows = [
        {
            "labels": dict(message.words.labels),
            "annotations": dict(message.words.annotations),
            "startsAt": rfc3339(message.began_ns),
            "endsAt": rfc3339(now_ns + SHOWN_FOR_NS if message.event.fires else now_ns),
        }
        for message in messages
    ]
    return json.dumps(rows, ensure_ascii=False).encode()
