"""Delivery: retried until accepted, noted once for each receiver, told again to who forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from flopmeter_collector.alerts.acts import Act, Action
from flopmeter_collector.alerts.lifecycle import Alerts
from flopmeter_collector.alerts.receivers import Message, RefusedError, digest
from flopmeter_collector.alerts.sender import (
    LOOK_PERIOD_S,
    REMEMBERED_NS,
    RESEND_NS,
    AlertSender,
)
from flopmeter_collector.ledger.base import Delivery, Transition
from flopmeter_core.errors import StorageError, UnreachableError
from flopmeter_core.units import NS_PER_HOUR
from support.totals import AS_OF_NS, IDS, thresholds

CROSSED = Transition(
    sequence=1,
    model="atlas",
    threshold="demo-line",
    before="unknown",
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
BACK = replace(CROSSED, sequence=90, before="above", after="below", occurred_at_ns=AS_OF_NS + 9)


class HandClock:
    """A wall clock that is set by hand."""

    boot_id = "boot"

    def __init__(self) -> None:
        self.now_ns = AS_OF_NS

    def monotonic_ns(self) -> int:
        """Never asked."""
        raise AssertionError

    def boottime_ns(self) -> int:
        """Never asked."""
        raise AssertionError

    def wall_ns(self) -> int:
        """As it was set."""
        return self.now_ns


class FakeReceiver:
    """A receiver that fails as often as told."""

    def __init__(self, url: str, *, forgets: bool, failures: int = 0) -> None:
        self.url = self.shown = url
        self.keeps_asking, self.at_once = forgets, 100 if forgets else 1
        self.failures = failures
        self.posts: list[list[str]] = []
        self.refuses: set[str] = set()
        self.refusal: type[UnreachableError] = RefusedError

    def post(self, messages: Sequence[Message], now_ns: int) -> None:
        """Accept, or fail."""
        if self.refuses & {message.words.labels["model"] for message in messages}:
            raise self.refusal(f"{self.url} wants none of it")
        if self.failures:
            self.failures -= 1
            raise UnreachableError(f"{self.url} is away")
        self.posts.append([message.event.name for message in messages])

    @property
    def heard(self) -> list[str]:
        """Everything it was told."""
        return [name for post in self.posts for name in post]


class World:
    """Receivers, a clock, and a ledger that remembers what was noted."""

    def __init__(self, *receivers: FakeReceiver) -> None:
        self.clock = HandClock()
        self.alerts = Alerts()
        self.noted: list[Delivery] = []
        self.taken: list[int] = []
        self.slept: list[float] = []
        self.broken = 0
        self.sender = AlertSender(
            receivers,
            self.alerts,
            thresholds=thresholds(),
            ids=IDS,
            clock=self.clock,
            delivered=self.note,
            sleep=self.sleep,
        )

    async def note(self, rows: Sequence[Delivery], taken: Sequence[int]) -> None:
        """Remember what was delivered, or fail."""
        if self.broken:
            self.broken -= 1
            raise StorageError("the disk is full; make room")
        self.noted += rows
        self.taken += taken

    async def sleep(self, seconds: float) -> None:
        """Wait no time, but remember how long."""
        self.slept.append(seconds)
        await asyncio.sleep(3_600 if len(self.slept) > 200 else 0)

    def record(self, *rows: Transition) -> None:
        """The ledger has these by now."""
        self.alerts.record(rows)
        self.sender.wake()

    def later(self, ns: int) -> None:
        """Time goes on."""
        self.clock.now_ns += ns


def run(scene: Callable[[], Awaitable[None]]) -> None:
    """Play a scene on a loop of its own."""

    async def played() -> None:
        await scene()

    asyncio.run(played())


def test_told_noted_and_told_again() -> None:
    """A receiver that forgets is told at once, noted once, and told again after a while."""

    async def scene() -> None:
        am = FakeReceiver("am", forgets=True)
        world = World(am)
        world.record(CROSSED)
        world.sender.lead([])
        assert await world.sender.deliver_once()
        assert await world.sender.deliver_once()
        assert am.heard == ["1/1/fires"]
        world.later(RESEND_NS)
        assert await world.sender.deliver_once()
        assert am.heard == ["1/1/fires"] * 2
        assert world.noted == [Delivery("1/1/fires", digest("am"), AS_OF_NS)]
        assert (world.taken, world.sender.pending_count) == ([1], 0)

    run(scene)


def test_a_webhook_is_told_once() -> None:
    """Each event once and in order, beginning and end, and nothing again later."""

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False)
        world = World(hook)
        world.record(CROSSED, BACK)
        world.later(10)
        world.sender.lead([])
        for _ in range(3):
            assert await world.sender.deliver_once()
            world.later(RESEND_NS)
        assert hook.posts == [["1/1/fires"], ["1/1/ends"]]

    run(scene)


def test_retried_with_growing_pauses() -> None:
    """A receiver that is away is tried again, with doubling pauses up to a limit."""

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False, failures=11)
        world = World(hook)
        world.record(CROSSED)
        world.sender.lead([])
        world.sender.start()
        while not hook.posts:
            await asyncio.sleep(0.001)
        await world.sender.stop()
        pauses = [pause for pause in world.slept if pause != LOOK_PERIOD_S]
        assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
        assert (world.sender.failed_count, hook.heard) == (11, ["1/1/fires"])

    run(scene)


@pytest.mark.parametrize("steps", range(10))
def test_stops_at_any_moment(steps: int) -> None:
    """Whatever the sender waits for when it is stopped, it stops."""

    async def scene() -> None:
        world = World(FakeReceiver("hook", forgets=False))
        world.sender.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await world.sender.stop()

    run(scene)


def test_one_receiver_away_does_not_hold_up_the_other() -> None:
    """Each has its own line; the alert counts as taken when all have it."""

    async def scene() -> None:
        first, second = (
            FakeReceiver("a", forgets=False),
            FakeReceiver("b", forgets=True, failures=1),
        )
        world = World(first, second)
        world.record(CROSSED)
        world.sender.lead([])
        assert not await world.sender.deliver_once()
        assert (first.heard, second.heard) == (["1/1/fires"], [])
        assert (world.taken, world.sender.pending_count) == ([], 1)
        assert await world.sender.deliver_once()
        assert (first.heard, second.heard) == (["1/1/fires"], ["1/1/fires"])
        assert (world.taken, world.sender.pending_count) == ([1], 0)

    run(scene)


def test_a_restart_repeats_nothing_to_a_webhook() -> None:
    """What the ledger says was accepted is not told again; what it does not say is."""

    async def scene() -> None:
        hook, am = FakeReceiver("hook", forgets=False), FakeReceiver("am", forgets=True)
        world = World(hook, am)
        world.record(CROSSED, replace(CROSSED, sequence=2, model="late"))
        world.sender.lead(
            [Delivery("1/1/fires", digest("hook"), 1), Delivery("1/1/fires", digest("am"), 1)]
        )
        assert await world.sender.deliver_once()
        assert hook.heard == ["2/1/fires"]
        # It may have forgotten; it makes one alert of both.
        assert am.heard == ["1/1/fires", "2/1/fires"]
        assert world.taken == [2]

    run(scene)


def test_not_noted_is_told_again() -> None:
    """Where the ledger fails after the receiver accepted, the same event is told once more."""

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False)
        world = World(hook)
        world.broken = 1
        world.record(CROSSED)
        world.sender.lead([])
        with pytest.raises(StorageError):
            await world.sender.deliver_once()
        assert await world.sender.deliver_once()
        assert hook.heard == ["1/1/fires", "1/1/fires"]
        assert [row.event for row in world.noted] == ["1/1/fires"]

    run(scene)


def test_who_does_not_lead_tells_nothing() -> None:
    """Before it leads and after it lost the lead a collector is silent."""

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False)
        world = World(hook)
        world.record(CROSSED)
        assert await world.sender.deliver_once()
        world.sender.lead([])
        world.sender.follow()
        assert await world.sender.deliver_once()
        assert hook.heard == []

    run(scene)


def test_an_end_is_told_to_who_forgets() -> None:
    """Acknowledged: told as over, once; and silence ends by itself."""

    async def scene() -> None:
        am = FakeReceiver("am", forgets=True)
        world = World(am)
        world.record(CROSSED)
        world.sender.lead([])
        await world.sender.deliver_once()
        world.later(10)
        world.alerts.apply(
            Act(1, Action.SILENCE, AS_OF_NS + 5, AS_OF_NS + 1_000, "ada", "later", 3)
        )
        await world.sender.deliver_once()
        world.later(1_000)
        await world.sender.deliver_once()
        world.alerts.apply(Act(1, Action.ACKNOWLEDGE, AS_OF_NS + 1_005, 0, "ada", "seen", 4))
        await world.sender.deliver_once()
        world.later(RESEND_NS)
        await world.sender.deliver_once()
        assert am.heard == ["1/1/fires", "1/1/ends", "1/2/fires", "1/2/ends"]

    run(scene)


def test_over_before_anybody_heard() -> None:
    """A crossing that went back while the receiver was away is told all the same, then its end."""

    async def scene() -> None:
        am = FakeReceiver("am", forgets=True)
        world = World(am)
        world.record(CROSSED, BACK)
        world.later(10)
        world.sender.lead([])
        await world.sender.deliver_once()
        assert am.heard == ["1/1/fires"]
        # Long enough to be notified before it is over.
        world.later(RESEND_NS)
        await world.sender.deliver_once()
        assert am.heard == ["1/1/fires", "1/1/ends"]

    run(scene)


def test_what_a_person_took_is_not_told_to_a_new_receiver() -> None:
    """A receiver that joins later hears what fires, and no old news."""

    async def scene() -> None:
        am, hook = FakeReceiver("am", forgets=True), FakeReceiver("hook", forgets=False)
        world = World(am, hook)
        world.record(CROSSED, replace(CROSSED, sequence=2, model="firing"))
        world.alerts.apply(Act(1, Action.ACKNOWLEDGE, AS_OF_NS + 5, 0, "ada", "seen", 4))
        world.later(REMEMBERED_NS + 10)
        world.sender.lead([])
        await world.sender.deliver_once()
        assert (am.heard, hook.heard) == (["2/1/fires"], ["2/1/fires"])

    run(scene)


def test_a_large_backlog_goes_in_parts() -> None:
    """No post is larger than its receiver takes, and all alerts arrive once."""

    async def scene() -> None:
        am = FakeReceiver("am", forgets=True)
        world = World(am)
        world.record(*(replace(CROSSED, sequence=n, model=f"m{n}") for n in range(1, 251)))
        world.sender.lead([])
        await world.sender.deliver_once()
        assert [len(post) for post in am.posts] == [100, 100, 50]
        assert world.taken == list(range(1, 251))

    run(scene)


def test_without_receivers_nothing_waits() -> None:
    """A collector that was told no receiver counts nothing as pending."""

    async def scene() -> None:
        world = World()
        world.record(CROSSED)
        world.sender.lead([])
        assert await world.sender.deliver_once()
        assert world.sender.pending_count == 0

    run(scene)


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("refusal", [RefusedError, UnreachableError])
def test_one_refused_alert_keeps_out_no_other(
    forgets: bool, refusal: type[UnreachableError]
) -> None:
    """Whoever never takes one alert hears of all others, now and later, and is asked again."""

    async def scene() -> None:
        receiver = FakeReceiver("r", forgets=forgets)
        receiver.refuses, receiver.refusal = {IDS.model("bad")}, refusal
        world = World(receiver)
        world.record(replace(CROSSED, model="bad"))
        world.record(*(replace(CROSSED, sequence=n, model=f"good{n}") for n in (2, 3)))
        world.sender.lead([])
        for _ in range(3):
            assert not await world.sender.deliver_once()
        assert receiver.heard == ["2/1/fires", "3/1/fires"]
        world.record(replace(CROSSED, sequence=4, model="late"))
        for _ in range(2):
            assert not await world.sender.deliver_once()
        assert receiver.heard[2:] == ["4/1/fires"]
        receiver.refuses = set()
        assert await world.sender.deliver_once()
        assert receiver.heard[3:] == ["1/1/fires"]

    run(scene)


def test_many_refused_alerts_hold_up_nothing() -> None:
    """In one pass all that is accepted is told, however many are refused before it."""

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False)
        hook.refuses = {IDS.model("bad")}
        world = World(hook)
        world.record(*(replace(CROSSED, sequence=n, model="bad") for n in range(1, 20)))
        world.record(replace(CROSSED, sequence=20, model="good"))
        world.sender.lead([])
        assert not await world.sender.deliver_once()
        assert (hook.heard, world.sender.failed_count) == (["20/1/fires"], 19)

    run(scene)


def test_a_new_alert_does_not_wait_for_a_refused_one() -> None:
    """While a refused alert waits for its next attempt, a new crossing is told at once."""

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False)
        hook.refuses = {IDS.model("bad")}
        world = World(hook)
        world.record(replace(CROSSED, model="bad"))
        world.sender.lead([])
        world.sender.start()
        while len(world.slept) <= 200:
            await asyncio.sleep(0.001)
        world.record(replace(CROSSED, sequence=2, model="new"))
        while not hook.heard:
            await asyncio.sleep(0.001)
        await world.sender.stop()
        assert hook.heard == ["2/1/fires"]

    run(scene)


def test_what_was_told_before_deliveries_were_noted_does_not_fire_again() -> None:
    """An alert all had taken, and that is over, is no news; an Alertmanager hears its end once."""

    async def scene() -> None:
        am, hook = FakeReceiver("am", forgets=True), FakeReceiver("hook", forgets=False)
        world = World(am, hook)
        world.record(
            replace(CROSSED, delivered=True), BACK, replace(CROSSED, sequence=91, delivered=True)
        )
        world.later(REMEMBERED_NS * 13 // 14)
        for _ in range(2):
            world.sender.lead(world.noted)
            await world.sender.deliver_once()
        # What still fires is told, better twice than never.
        assert hook.heard == ["91/1/fires"]
        assert am.heard == ["91/1/fires", "91/1/fires"]

    run(scene)


def test_a_late_end_is_not_taken_for_that_of_the_next_crossing() -> None:
    """Of equal labels an Alertmanager keeps one alert: while a later one fires no end is told."""

    async def scene() -> None:
        am = FakeReceiver("am", forgets=True)
        world = World(am)
        world.sender.lead([])
        world.record(CROSSED)
        await world.sender.deliver_once()
        world.later(RESEND_NS)
        world.record(replace(BACK, occurred_at_ns=world.clock.now_ns))
        am.failures = 1
        await world.sender.deliver_once()
        again = replace(CROSSED, sequence=91, occurred_at_ns=world.clock.now_ns + 1)
        world.record(again)
        await world.sender.deliver_once()
        assert am.heard == ["1/1/fires", "91/1/fires"]
        world.later(2 * RESEND_NS)
        world.record(replace(again, sequence=92, before="above", after="below"))
        await world.sender.deliver_once()
        assert sorted(am.heard[2:]) == ["1/1/ends", "91/1/ends"]

    run(scene)


def test_a_clock_set_back_ceases_to_tell_nobody() -> None:
    """A receiver that forgets hears what fires again in its time, though the clock went back."""

    async def scene() -> None:
        am = FakeReceiver("am", forgets=True)
        world = World(am)
        world.sender.lead([])
        world.record(CROSSED)
        await world.sender.deliver_once()
        world.later(-NS_PER_HOUR)
        await world.sender.deliver_once()
        world.later(RESEND_NS)
        await world.sender.deliver_once()
        assert am.heard == ["1/1/fires"] * 3

    run(scene)


def test_a_fault_of_the_program_is_no_end_of_telling() -> None:
    """Whatever a receiver raises, it is said and tried again."""

    class Faulty(FakeReceiver):
        def post(self, messages: Sequence[Message], now_ns: int) -> None:
            """Fail once in a way nobody thought of."""
            if self.failures:
                self.failures -= 1
                raise KeyError("no such thing")
            super().post(messages, now_ns)

    async def scene() -> None:
        hook = Faulty("hook", forgets=False, failures=1)
        world = World(hook)
        world.record(CROSSED)
        world.sender.lead([])
        world.sender.start()
        async with asyncio.timeout(30):
            while not world.noted:
                await asyncio.sleep(0.001)
        await world.sender.stop()
        assert (hook.heard, world.sender.failed_count) == (["1/1/fires"], 1)

    run(scene)


def test_a_term_won_back_during_a_note_repeats_nothing() -> None:
    """A ledger that was read before the note's commit lacks it; it is told once all the same.

    Where that commit fails it is told again.
    """

    async def scene() -> None:
        hook = FakeReceiver("hook", forgets=False)
        world = World(hook)
        asked, held = asyncio.Event(), asyncio.Event()
        note = world.note

        async def slowly(rows: Sequence[Delivery], taken: Sequence[int]) -> None:
            asked.set()
            await held.wait()
            await note(rows, taken)

        world.sender._delivered = slowly
        for broken, heard in ((0, ["1/1/fires"]), (1, ["1/1/fires", "90/1/fires"])):
            world.broken = broken
            world.record(CROSSED if not broken else replace(CROSSED, sequence=90, model="zephyr"))
            world.sender.lead(world.noted)
            telling = asyncio.create_task(world.sender.deliver_once())
            async with asyncio.timeout(30):
                await asked.wait()
            assert hook.heard == heard
            world.sender.follow()
            world.sender.lead(list(world.noted))
            held.set()
            if broken:
                with pytest.raises(StorageError):
                    await telling
            else:
                await telling
            asked.clear()
            held.clear()
        assert world.sender.pending_count == 1
        held.set()
        await world.sender.deliver_once()
        assert hook.heard == ["1/1/fires", "90/1/fires", "90/1/fires"]
        assert world.sender.pending_count == 0

    run(scene)
