"""Delivery of alerts to Prometheus Alertmanagers, until each of them has accepted.

Owns: the API v2 encoding, the retries, and which transitions still wait for a receiver.
May touch: outgoing HTTP to the configured addresses, in a thread; nothing else of the network.
Called by the collector's app: `submit` with committed transitions, old ones after a restart too.
A transition is marked delivered in the ledger only after every receiver accepted it; a crash
between the two sends it again, and Alertmanager makes one alert of equal labels.
"""

from __future__ import annotations

import asyncio
import datetime
import http.client
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from urllib.parse import urlsplit

from flopmeter_collector.alerts.transitions import Alert, alert_of, alerts, ends_at_ns
from flopmeter_collector.ledger.base import Transition
from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import NotPermittedError, UnreachableError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.credentials import is_loopback
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

API_PATH = "/api/v2/alerts"

TIMEOUT_S = 10.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
"""A receiver that was away is found again within this time, without being flooded."""

MAXIMUM_ALERTS_PER_POST = 100
MAXIMUM_ANSWER_BYTES = 4_096

Post = Callable[[str, bytes], None]
"""Sends a body to a receiver's URL; raises UnreachableError when it was not accepted."""


class AlertSender:
    """Sends alerts in the background; all methods are called on one event loop."""

    def __init__(
        self,
        receivers: Sequence[str],
        *,
        thresholds: Iterable[Threshold],
        clock: Clock,
        delivered: Callable[[Sequence[int]], Awaitable[object]],
        simulated: bool,
        allow_off_loopback: bool,
        post: Post | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare; `start` begins to send.

        Args:
            receivers: base URLs of Alertmanagers; without any, nothing is sent or counted.
            thresholds: the catalogue, for the words of the alert.
            clock: stamps how long a receiver shows an alert.
            delivered: makes the transitions of these sequences durable as delivered.
            simulated: whether the ledger is simulated.
            allow_off_loopback: whether simulated alerts may leave this host.
            post: sends one body; by default over HTTP.
            sleep: waits between attempts.

        Raises:
            UsageError: a receiver's URL that cannot be used.
            NotPermittedError: a simulated alert would leave this host.
        """
        for url in receivers:
            check_receiver(url, simulated=simulated, allow_off_loopback=allow_off_loopback)
        self._waiting: dict[str, dict[int, Transition]] = {url: {} for url in receivers}
        self._thresholds = {threshold.id: threshold for threshold in thresholds}
        self._clock = clock
        self._delivered = delivered
        self._post = post if post is not None else post_body
        self._sleep = sleep
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.delivered_count = 0
        self.failed_count = 0

    @property
    def pending_count(self) -> int:
        """Transitions that at least one receiver has not accepted yet."""
        return len({sequence for rows in self._waiting.values() for sequence in rows})

    def submit(self, transitions: Iterable[Transition]) -> None:
        """Send the transitions that alert; each has its sequence in the ledger."""
        for transition in transitions:
            if alerts(transition) and not transition.delivered:
                for rows in self._waiting.values():
                    rows[transition.sequence] = transition
                self._wanted.set()

    def start(self) -> None:
        """Begin to send, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="alerts")

    async def stop(self) -> None:
        """Stop sending; what was not accepted is sent after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if await self.deliver_once():
                retry_s = FIRST_RETRY_S
                continue
            await self._sleep(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)
            self._wanted.set()

    async def deliver_once(self) -> bool:
        """Try every receiver once; returns whether nothing waits any more."""
        before = {sequence for rows in self._waiting.values() for sequence in rows}
        for url, rows in self._waiting.items():
            if rows:
                await self._deliver_to(url, list(rows.values()))
        left = {sequence for rows in self._waiting.values() for sequence in rows}
        accepted = sorted(before - left)
        if accepted:
            await self._delivered(accepted)
            self.delivered_count += len(accepted)
        return not left

    async def _deliver_to(self, url: str, transitions: Sequence[Transition]) -> None:
        for start in range(0, len(transitions), MAXIMUM_ALERTS_PER_POST):
            batch = transitions[start : start + MAXIMUM_ALERTS_PER_POST]
            body = encode(
                [alert_of(transition, self._thresholds) for transition in batch],
                now_ns=self._clock.wall_ns(),
            )
            try:
                await asyncio.to_thread(self._post, url, body)
            except UnreachableError as error:
                self.failed_count += 1
                logger.warning(
                    "an alert was not accepted and will be sent again",
                    extra=fields(receiver=url, alerts=len(transitions), reason=str(error)),
                )
                return
            for transition in batch:
                self._waiting[url].pop(transition.sequence, None)


def check_receiver(url: str, *, simulated: bool, allow_off_loopback: bool) -> None:
    """Refuse a receiver that cannot be used or must not be told.

    Raises:
        UsageError: no http or https URL, or one with a user name in it.
        NotPermittedError: simulated alerts to another host, without permission.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the Alertmanager address {url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise UsageError(
            f"the Alertmanager address {url!r} cannot be used; write it as http://127.0.0.1:9093, "
            "without user name, and put a proxy before one that wants a password"
        )
    if simulated and not allow_off_loopback and not is_loopback(host):
        raise NotPermittedError(
            f"a simulated collector does not alert {url}, which is another host; allow it with "
            "--alert-off-loopback, or name an Alertmanager on 127.0.0.1"
        )


def encode(messages: Sequence[Alert], *, now_ns: int) -> bytes:
    """Encode alerts for POST /api/v2/alerts.

    Args:
        messages: the alerts.
        now_ns: Unix time in ns of the attempt; an end in the past would resolve the alert.
    """
    rows = [
        {
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": _rfc3339(alert.started_at_ns),
            "endsAt": _rfc3339(ends_at_ns(now_ns)),
        }
        for alert in messages
    ]
    return json.dumps(rows, ensure_ascii=False).encode()


def post_body(url: str, body: bytes) -> None:
    """POST a body to an Alertmanager; follows no redirect and reads no proxy setting.

    Raises:
        UnreachableError: no connection, no answer in time, or an answer that is not 2xx.
    """
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(
            "POST",
            parts.path.rstrip("/") + API_PATH,
            body=body,
            headers={"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        text = answer.read(MAXIMUM_ANSWER_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{url} cannot be reached ({str(error) or type(error).__name__}); check that an "
            "Alertmanager listens there"
        ) from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise UnreachableError(
            f"{url} answered {answer.status} {answer.reason}: {text.strip()[:200]!r}; it has to "
            f"be an Alertmanager of version 0.16 or newer, which serves {API_PATH}"
        )


def _rfc3339(unix_ns: int) -> str:
    """Unix time in ns as RFC 3339 in UTC, to the microsecond."""
    seconds, rest_ns = divmod(unix_ns, NS_PER_S)
    instant = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000:06d}Z"
