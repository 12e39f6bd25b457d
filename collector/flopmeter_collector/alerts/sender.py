"""Delivery of alerts to every receiver, until each has accepted.

Owns: who is told what next, the retries, and what each receiver has accepted.
May touch: the receivers, each from a task of its own, in a thread; nothing else of the network.
Called by the collector's app: `lead` with what is recorded, `wake` when alerts changed.
Explained in docs/adr/0023-alerts-and-reviews.md.

What a receiver accepted is written to the ledger right after. A crash between the two tells it
again: an Alertmanager makes one alert of equal labels, and a webhook's repetition has the same key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field

from flopmeter_collector.alerts.lifecycle import Alert, Alerts, Event
from flopmeter_collector.alerts.receivers import Message, Receiver, RefusedError, digest
from flopmeter_collector.alerts.transitions import Words, words_of
from flopmeter_collector.ledger.base import Delivery
from flopmeter_collector.metric_ids import MetricIds
from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import FlopmeterError, UnreachableError
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
"""A receiver that was away is found again within this time, without being flooded."""

LOOK_PERIOD_S = 15.0
"""How often it is looked whether a silence ended or an alert has to be told again."""

RESEND_NS = 120 * NS_PER_S
"""How often what fires is told to a receiver that forgets."""

REMEMBERED_NS = 14 * 24 * NS_PER_HOUR
"""How long after its end an alert is still told to who has not heard of it."""

Delivered = Callable[[Sequence[Delivery], Sequence[int]], Awaitable[object]]
"""Makes durable what was accepted: by single receivers, and the alerts that all have taken."""


@dataclass(slots=True)
class _Line:
    """What is known of one receiver.

    Attributes:
        receiver: the receiver.
        name: its name in the ledger.
        accepted: the events it took.
        noting: those of them whose commit is under way.
        sent_ns: alert -> Unix time in ns at which it was told of it last.
        attempts: how often it was tried.
        tried: alert -> the attempt it was last part of.
        singly: whether it refused several at once, so that it is told of each alone.
        wanted: set when there may be something to tell.
    """

    receiver: Receiver
    name: str
    accepted: set[str] = field(default_factory=set)
    noting: set[str] = field(default_factory=set)
    sent_ns: dict[int, int] = field(default_factory=dict)
    attempts: int = 0
    tried: dict[int, int] = field(default_factory=dict)
    singly: bool = False
    wanted: asyncio.Event = field(default_factory=asyncio.Event)


class AlertSender:
    """Sends alerts in the background; all methods are called on one event loop."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        alerts: Alerts,
        *,
        thresholds: Iterable[Threshold],
        ids: MetricIds,
        clock: Clock,
        delivered: Delivered,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare; `start` begins to send, once this collector leads.

        Args:
            receivers: whom to tell; without any, nothing is sent or counted.
            alerts: what there is to tell; somebody else feeds it.
            thresholds: the catalogue, for the words of the alert.
            ids: what models are told by.
            clock: says what fires now.
            delivered: makes durable what was accepted.
            sleep: waits between attempts.
        """
        self._lines = [_Line(receiver, digest(receiver.url)) for receiver in receivers]
        self._alerts = alerts
        self._thresholds: dict[str, Threshold] = {}
        self.take_law(thresholds)
        self._ids = ids
        self._clock = clock
        self._delivered = delivered
        self._sleep = sleep
        self._leads = False
        self._tasks: list[asyncio.Task[None]] = []
        self.delivered_count = 0
        self.failed_count = 0

    def take_law(self, thresholds: Iterable[Threshold]) -> None:
        """Tell alerts in the words of these rows; of one that is gone in those it had."""
        self._thresholds |= {threshold.id: threshold for threshold in thresholds}

    @property
    def pending_count(self) -> int:
        """Events that at least one receiver has not accepted yet."""
        now_ns = self._clock.wall_ns()
        return len(
            {
                event.name
                for line in self._lines
                for alert in self._alerts.all()
                for event in self._due(line, alert, now_ns)
                if event.name not in line.accepted
            }
        )

    def lead(self, deliveries: Iterable[Delivery]) -> None:
        """Begin to tell what is not told yet: this collector leads now.

        Args:
            deliveries: what receivers accepted before.
        """
        by_name = {line.name: line for line in self._lines}
        for line in self._lines:
            # The ledger may have been read before a commit that is still under way.
            line.accepted, line.sent_ns, line.tried = set(line.noting), {}, {}
        noted = set()
        for row in deliveries:
            noted.add(row.event)
            if row.receiver in by_name:
                by_name[row.receiver].accepted.add(row.event)
        self._take_as_told(noted)
        self._leads = True
        self.wake()

    def _take_as_told(self, noted: Set[str]) -> None:
        """Fire nothing again that was delivered before single deliveries were noted, and is over.

        Args:
            noted: the events of which a delivery is noted.
        """
        for alert in self._alerts.all():
            told = alert.events(self._clock.wall_ns())
            if alert.opening.delivered and alert.end() and told and told[0].name not in noted:
                for event in told:
                    for line in self._lines:
                        # An Alertmanager was told that it stands for two weeks: it hears the end.
                        if event.fires or not line.receiver.keeps_asking:
                            line.accepted.add(event.name)

    def follow(self) -> None:
        """Tell nothing any more: another collector of the ledger leads."""
        self._leads = False

    def wake(self) -> None:
        """Look at once for what there is to tell."""
        for line in self._lines:
            line.wanted.set()

    def start(self) -> None:
        """Begin to send, on the running event loop."""
        self._tasks = [
            asyncio.create_task(self._run(line), name=f"alerts to {line.receiver.shown}")
            for line in self._lines
        ]

    async def stop(self) -> None:
        """Stop sending; what was not accepted is sent after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, line: _Line) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            line.wanted.clear()
            try:
                taken = await self._deliver_to(line)
            except FlopmeterError as error:
                # The ledger could not note it; it is told again when it can.
                logger.warning("a delivery was not noted", extra=fields(reason=str(error)))
                taken = False
            except Exception as error:
                # The edge of the task: without it a receiver would hear nothing more, in silence.
                logger.error(
                    "an alert could not be told; report this",
                    extra=fields(receiver=line.receiver.shown),
                    exc_info=error,
                )
                self.failed_count += 1
                taken = False
            if taken:
                retry_s = FIRST_RETRY_S
                await self._wait(line, LOOK_PERIOD_S)
            else:
                # Who refused an alert is there: a new one must not wait for the next attempt.
                await (self._wait(line, retry_s) if line.singly else self._sleep(retry_s))
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _wait(self, line: _Line, period_s: float) -> None:
        """Wait for a while, or until there may be something to tell."""
        timer = asyncio.ensure_future(self._sleep(period_s))
        wanted = asyncio.ensure_future(line.wanted.wait())
        try:
            await asyncio.wait({timer, wanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            wanted.cancel()
            # Not awaited one by one: whoever suppresses their cancellation suppresses his own.
            await asyncio.wait({timer, wanted})

    async def deliver_once(self) -> bool:
        """Try every receiver once; returns whether each took what there was to tell."""
        return all([await self._deliver_to(line) for line in self._lines])

    async def _deliver_to(self, line: _Line) -> bool:
        """Tell one receiver everything that is due; returns whether it took all of it."""
        refused: set[str] = set()
        while self._leads:
            now_ns = self._clock.wall_ns()
            due = [
                (alert, event)
                for alert in self._alerts.all()
                for event in self._due(line, alert, now_ns)[:1]
                if event.name not in refused
            ]
            if not due:
                line.singly = bool(refused)
                return not refused
            # Those that waited longest: one that is never accepted may not keep out the others.
            due.sort(key=lambda each: line.tried.get(each[0].number, 0))
            due = due[: 1 if line.singly else line.receiver.at_once]
            line.attempts += 1
            line.tried |= {alert.number: line.attempts for alert, _ in due}
            messages = [self._message(alert, event) for alert, event in due]
            try:
                await asyncio.to_thread(line.receiver.post, messages, now_ns)
            except UnreachableError as error:
                self._failed(line, len(due), error)
                line.singly |= len(due) > 1
                if not isinstance(error, RefusedError):
                    return False
                if len(due) == 1:
                    refused.add(due[0][1].name)
            else:
                await self._accepted(line, due, now_ns)
        return True

    def _failed(self, line: _Line, count: int, error: UnreachableError) -> None:
        self.failed_count += 1
        logger.warning(
            "an alert was not accepted and will be sent again",
            extra=fields(receiver=line.receiver.shown, alerts=count, reason=str(error)),
        )

    async def _accepted(self, line: _Line, due: Sequence[tuple[Alert, Event]], now_ns: int) -> None:
        """Note what a receiver took; what it took before needs no second note."""
        rows = []
        for alert, event in due:
            line.sent_ns[alert.number] = now_ns
            if event.name not in line.accepted:
                rows.append(Delivery(event.name, line.name, now_ns))
        if not rows:
            return
        new = {row.event for row in rows}
        line.accepted |= new
        line.noting |= new
        taken = [
            event.alert
            for _, event in due
            if event.name in new
            and event.fires
            and event.number == 1
            and all(event.name in each.accepted for each in self._lines)
        ]
        try:
            await self._delivered(rows, taken)
        except BaseException:
            line.accepted -= new
            raise
        finally:
            line.noting -= new
        self.delivered_count += len(rows)

    def _due(self, line: _Line, alert: Alert, now_ns: int) -> list[Event]:
        """What a receiver has to be told of an alert, in this order."""
        told = alert.events(now_ns)
        if not told:
            return []
        last = told[-1]
        if not last.fires and now_ns - last.at_ns > REMEMBERED_NS:
            return []
        if not line.receiver.keeps_asking:
            return [event for event in told if event.name not in line.accepted]
        if last.fires:
            again = not _is_recent(line, alert, now_ns)
            return [last] if again or last.name not in line.accepted else []
        # Of equal labels it keeps one alert, and would take this end for that of the later one.
        if last.name in line.accepted or self._alerts.stands_again(alert, now_ns):
            return []
        first = told[-2]
        if alert.taken is None and not any(first.name in each.accepted for each in self._lines):
            # Over before anybody heard of it: it is told all the same.
            return [first]
        # It notifies in groups, after a while; what is over by then is never notified.
        told_late = line.sent_ns.get(alert.number, 0) > last.at_ns
        return [] if told_late and _is_recent(line, alert, now_ns) else [last]

    def _message(self, alert: Alert, event: Event) -> Message:
        words: Words = words_of(alert.opening, self._thresholds, self._ids)
        began_ns = next(
            since_ns
            for number, (since_ns, _, _) in enumerate(alert.phases(), start=1)
            if number == event.number
        )
        return Message(event, words, began_ns)


def _is_recent(line: _Line, alert: Alert, now_ns: int) -> bool:
    """Whether a receiver was told of an alert just now; a clock set back since says it was not."""
    return 0 <= now_ns - line.sent_ns.get(alert.number, 0) < RESEND_NS
