"""Delivery: retried until accepted, marked once, and never off this host by accident."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from flopmeter_collector.alerts.alertmanager import AlertSender, check_receiver, encode
from flopmeter_collector.alerts.transitions import Alert
from flopmeter_collector.ledger.base import Transition
from flopmeter_core.errors import NotPermittedError, UnreachableError, UsageError
from support.totals import AS_OF_NS, thresholds

FIRST, SECOND = "http://127.0.0.1:9093", "http://localhost:9094/am/"

CROSSED = Transition(
    sequence=1,
    model="atlas",
    threshold="demo-line",
    before="below",
    after="above",
    decided=True,
    occurred_at_ns=AS_OF_NS,
    commit_number=42,
    figures={
        "lower": "2",
        "best": "3",
        "upper": "4",
        "threshold_value": "1",
        "method_version": "1",
        "simulated": "true",
    },
)


class FixedClock:
    """A clock that stands still."""

    boot_id = "boot"

    def monotonic_ns(self) -> int:
        """Never asked."""
        raise AssertionError

    def boottime_ns(self) -> int:
        """Never asked."""
        raise AssertionError

    def wall_ns(self) -> int:
        """The time of the attempt."""
        return AS_OF_NS


class World:
    """Receivers that fail as told, and a ledger that remembers what was marked."""

    def __init__(self, receivers: Sequence[str], failures: dict[str, int]) -> None:
        self.failures = dict(failures)
        self.posts: list[tuple[str, list[str]]] = []
        self.marked: list[list[int]] = []
        self.slept: list[float] = []
        self.idle = asyncio.Event()
        self.sender = AlertSender(
            receivers,
            thresholds=thresholds(),
            clock=FixedClock(),
            delivered=self.mark,
            simulated=True,
            allow_off_loopback=False,
            post=self.post,
            sleep=self.sleep,
        )

    def post(self, url: str, body: bytes) -> None:
        """Accept a body, or fail as often as told."""
        if self.failures.get(url, 0):
            self.failures[url] -= 1
            raise UnreachableError(f"{url} is away")
        self.posts.append((url, [row["labels"]["model"] for row in json.loads(body)]))

    async def mark(self, sequences: Sequence[int]) -> None:
        """Remember what was delivered."""
        self.marked.append(list(sequences))
        self.idle.set()

    async def sleep(self, seconds: float) -> None:
        """Wait no time, but remember how long."""
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def run(self, *transitions: Transition) -> None:
        """Send until everything is marked."""
        self.sender.submit(transitions)
        self.sender.start()
        await self.idle.wait()
        await self.sender.stop()


def test_accepted_at_once() -> None:
    """One post, one mark, nothing pending."""

    async def scene() -> World:
        world = World([FIRST], {})
        await world.run(CROSSED)
        return world

    world = asyncio.run(scene())
    assert world.posts == [(FIRST, ["atlas"])]
    assert world.marked == [[1]]
    assert (world.sender.pending_count, world.sender.delivered_count) == (0, 1)


def test_retried_with_growing_pauses() -> None:
    """A receiver that is away is tried again, with doubling pauses up to a limit."""

    async def scene() -> World:
        world = World([FIRST], {FIRST: 11})
        await world.run(CROSSED)
        return world

    world = asyncio.run(scene())
    assert world.posts == [(FIRST, ["atlas"])]
    assert world.slept == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert world.sender.failed_count == 11


def test_marked_only_when_every_receiver_accepted() -> None:
    """One of two receivers away: the other is told once, and the mark waits."""

    async def scene() -> World:
        world = World([FIRST, SECOND], {SECOND: 2})
        world.sender.submit([CROSSED])
        assert not await world.sender.deliver_once()
        assert world.marked == []
        assert world.sender.pending_count == 1
        await world.run()
        return world

    world = asyncio.run(scene())
    assert world.posts == [(FIRST, ["atlas"]), (SECOND, ["atlas"])]
    assert world.marked == [[1]]


def test_after_a_restart_only_the_undelivered_are_sent() -> None:
    """What the ledger says was delivered, or does not alert, is not sent."""

    async def scene() -> World:
        world = World([FIRST], {})
        await world.run(
            replace(CROSSED, delivered=True),
            replace(CROSSED, sequence=2, model="quiet", after="below"),
            replace(CROSSED, sequence=3, model="late"),
        )
        return world

    world = asyncio.run(scene())
    assert world.posts == [(FIRST, ["late"])]
    assert world.marked == [[3]]


def test_large_backlog_goes_in_parts() -> None:
    """No post is larger than the limit, and all rows arrive once."""

    async def scene() -> World:
        world = World([FIRST], {})
        await world.run(*(replace(CROSSED, sequence=n, model=f"m{n}") for n in range(1, 251)))
        return world

    world = asyncio.run(scene())
    assert [len(models) for _, models in world.posts] == [100, 100, 50]
    assert world.marked == [list(range(1, 251))]


def test_without_receivers_nothing_waits() -> None:
    """A collector that was told no receiver counts nothing as pending."""

    async def scene() -> int:
        world = World([], {})
        world.sender.submit([CROSSED])
        return world.sender.pending_count

    assert asyncio.run(scene()) == 0


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://127.0.0.1", UsageError),
        ("127.0.0.1:9093", UsageError),
        ("http://", UsageError),
        ("http://user:secret@127.0.0.1:9093", UsageError),
        ("http://127.0.0.1:99999", UsageError),
        ("http://[::1", UsageError),
        ("http://alerts.example:9093", NotPermittedError),
        ("https://192.0.2.7", NotPermittedError),
    ],
)
def test_receivers_refused(url: str, error: type[Exception]) -> None:
    """An address that cannot be used, and another host for simulated alerts, are refused."""
    with pytest.raises(error):
        check_receiver(url, simulated=True, allow_off_loopback=False)


@pytest.mark.parametrize("url", [FIRST, SECOND, "http://[::1]:9093"])
def test_loopback_receivers(url: str) -> None:
    """This host is always allowed."""
    check_receiver(url, simulated=True, allow_off_loopback=False)


def test_other_hosts_when_allowed_or_real() -> None:
    """Another host may be told of measured figures, and of simulated ones on request."""
    check_receiver("http://alerts.example", simulated=False, allow_off_loopback=False)
    check_receiver("http://alerts.example", simulated=True, allow_off_loopback=True)


def test_encoding() -> None:
    """Times are RFC 3339 in UTC to the microsecond, and the end lies ahead of the attempt."""
    alert = Alert({"alertname": "A"}, {"summary": "é"}, 1_234_567)
    row = json.loads(encode([alert], now_ns=AS_OF_NS))[0]
    assert row == {
        "labels": {"alertname": "A"},
        "annotations": {"summary": "é"},
        "startsAt": "1970-01-01T00:00:00.001234Z",
        "endsAt": "2026-10-05T14:13:20.000000Z",
    }
