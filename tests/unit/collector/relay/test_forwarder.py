"""A relay's side of forwarding: what is refused upstream, and how much is told at once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import backends
from flopmeter_collector.intake import NodeStatus
from flopmeter_collector.ledger.base import (
    Batch,
    HourPage,
    RelayChanges,
    RelayLedger,
    RelayRows,
    StoredVector,
)
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay import forwarder as module
from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.outbox import Outbox
from flopmeter_core.batches import RelayHello
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.registers import Key
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    ClaimAcknowledgement,
    Durability,
    HourlyAcknowledgement,
    HourlyVector,
    KeyedVector,
    LedgerPosition,
)
from support.ingest import RECORD, hello, hourly, key, vector
from support.manual_clock import ManualClock

UPSTREAM = LedgerPosition("root", 1, 5)


class Relay:
    """A relay that has been greeted, with the hours and nodes a test gives it."""

    def __init__(
        self,
        *hours: HourlyVector,
        nodes: dict[str, NodeStatus] | None = None,
        ledger: RelayLedger | None = None,
    ) -> None:
        self.hours = list(hours)
        self.ledger = ledger
        self.changes: list[RelayChanges] = []
        self.table = RegisterTable()
        self.outbox = Outbox(self.table)
        self.outbox.restore({}, 0)
        self.table.on_change = lambda name, before, now: self.outbox.changed(name, before, now, 0)
        self.forwarder = Forwarder(
            self.outbox,
            hello=RelayHello("relay", simulated=False),
            own=LedgerPosition("here", 1, 1),
            known=RelayRows(None, {}),
            record=lambda _: RECORD,
            commit=self._commit,
            hours=self._next_hours,
            nodes=lambda: nodes or {},
            clock=ManualClock(),
        )
        self.answer()

    async def _commit(self, changes: RelayChanges | None) -> LedgerPosition:
        if changes is not None:
            self.changes.append(changes)
            # The answer to its greeting says that the upstream ledger is another one.
            if self.ledger is not None and not changes.lost:
                self.ledger.commit(Batch(relay=changes))
        return LedgerPosition("here", 1, 1)

    async def _next_hours(self, limit: int, kept: Set[tuple[Key, int]]) -> HourPage:
        if self.ledger is not None:
            return self.ledger.hours_to_forward(limit, kept)
        taken, self.hours = self.hours[:1], self.hours[1:]
        return HourPage(tuple(taken), None)

    def batch(self) -> Any:
        """What is sent next."""
        return asyncio.run(self.forwarder.next_batch())

    def answer(self, *acks: Acknowledgement, **more: Any) -> None:
        """What the upstream collector says of it."""
        asyncio.run(self.forwarder.acknowledge(Answer(acks, UPSTREAM, **more)))

    def merge(self, phases: int) -> list[KeyedVector]:
        """Take so many registers in."""
        taken = [KeyedVector(key(phase=phase), 1, vector(1)) for phase in range(phases)]
        for keyed in taken:
            self.table.merge(keyed, RECORD)
        return taken


def test_a_register_that_is_refused_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted here and not there: an error of the log names the device, and one is enough."""
    relay = Relay()
    relay.merge(2)
    relay.batch()
    refused = [
        Acknowledgement(key(phase=phase), 1, Durability.REFUSED, "too many writers")
        for phase in range(2)
    ]
    relay.answer(*refused)
    assert relay.forwarder.counts.refused_keys == 2
    (said,) = [row for row in caplog.records if row.levelname == "ERROR"]
    assert "does not count a register that is counted here" in said.message
    relay.answer(*refused)
    assert relay.forwarder.counts.refused_keys == 2


def test_a_claim_that_is_refused_is_counted() -> None:
    """One that is taken is not."""
    relay = Relay()
    claim = Claim(ClaimKey("a", "0", ClaimScope.GLOBAL, 0, "0" * 32, 0, 1), ClaimCounts(1, 1, 1, 1))
    relay.answer(
        claims=(
            ClaimAcknowledgement(claim, Durability.REFUSED, "too many"),
            ClaimAcknowledgement(claim, Durability.AT_ROOT),
        )
    )
    assert relay.forwarder.counts.refused_claims == 1


def test_an_hour_that_is_refused_is_told_with_the_next_one() -> None:
    """The key's next hour reaches back over it, until one is taken."""
    relay = Relay(*(hourly(hour, hour + 1, vector(hour + 1)) for hour in range(3)))
    relay.table.merge(KeyedVector(key(), 9, vector(9)), RECORD)
    reached = []
    for durability in (Durability.REFUSED, Durability.AT_ROOT, Durability.AT_ROOT):
        (hour,) = relay.batch().hours
        reached.append((hour.hour, hour.first_hour))
        acks = (HourlyAcknowledgement(hour.key, hour.hour, hour.sequence, durability),)
        relay.answer(Acknowledgement(key(), 9, Durability.AT_ROOT), hours=acks)
    assert reached == [(0, 0), (1, 0), (2, 2)]
    forwarded = [hour.hour for change in relay.changes for hour in change.forwarded_hours]
    assert forwarded == [1, 0, 2], "a refused one is settled with the one that stands for it"


def replayed(
    tmp_path: Path,
    rows: list[HourlyVector],
    refused: Callable[[int, int], bool],
    *,
    late: dict[int, HourlyVector],
    messages: int,
) -> tuple[list[list[tuple[int, int]]], tuple[HourlyVector, ...]]:
    """What each message tells of hours (hour, first hour), and what is left to tell.

    Args:
        tmp_path: for the ledger.
        rows: hours that it holds at first.
        refused: whether the root refuses the hour (message, hour).
        late: hours that it holds from a message on.
        messages: how many are sent.
    """
    reached = []
    url = str(tmp_path / "ledger.db")
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        assert isinstance(ledger, RelayLedger)
        stored = (StoredVector(key(), 0, 9, vector(9)),)
        records = {RECORD.record_id: RECORD}
        ledger.commit(Batch(records, stored, hours=tuple(rows), relay=RelayChanges()))
        relay = Relay(ledger=ledger)
        for number in range(messages):
            if number in late:
                ledger.commit(Batch(hours=(late[number],), relay=RelayChanges()))
            sent = relay.batch().hours
            reached.append([(each.hour, each.first_hour) for each in sent])
            relay.answer(
                hours=tuple(
                    HourlyAcknowledgement(
                        each.key,
                        each.hour,
                        each.sequence,
                        Durability.REFUSED if refused(number, each.hour) else Durability.AT_ROOT,
                    )
                    for each in sent
                )
            )
        return reached, tuple(ledger.hours_to_forward(9).hours)


def test_an_hour_behind_a_refused_one_is_told_again(tmp_path: Path) -> None:
    """Taken in the same batch it did not reach back yet: the root would think it exact."""
    rows = [hourly(hour, hour + 1, vector(hour + 1)) for hour in range(5)]
    reached, left = replayed(
        tmp_path, rows, lambda number, hour: (number, hour) == (0, 2), late={}, messages=4
    )
    whole = [(hour, hour) for hour in range(5)]
    assert reached == [whole, [(3, 2), (4, 2)], [], []]
    assert left == ()


def test_an_hour_before_a_refused_one_pays_no_debt(tmp_path: Path) -> None:
    """It has none of its work, so the next hour still has to say that it reaches back."""
    rows = [hourly(5, 1, vector(1)), dataclasses.replace(hourly(12, 2, vector(2)), first_hour=0)]
    reached, _ = replayed(
        tmp_path,
        rows,
        lambda number, hour: (number, hour) == (0, 12),
        late={2: hourly(13, 3, vector(3))},
        messages=4,
    )
    assert reached[2] == [(13, 0)]


def test_a_refused_hour_behind_another_is_none_that_was_taken(tmp_path: Path) -> None:
    """The one taken behind both pays for both, and the next one is exact."""
    *rows, last = [hourly(hour, hour + 1, vector(hour + 1)) for hour in range(5)]
    reached, _ = replayed(
        tmp_path, rows, lambda _, hour: hour in (1, 2), late={3: last}, messages=5
    )
    assert reached[3] == [(4, 4)]


def test_who_is_taken_pays_for_none_that_was_refused_behind_it(tmp_path: Path) -> None:
    """The next hour reaches back over that one, and no further than has to be."""
    *rows, last = [hourly(hour, hour + 1, vector(hour + 1)) for hour in range(4)]
    reached, left = replayed(
        tmp_path, rows, lambda _, hour: hour in (0, 2), late={2: last}, messages=4
    )
    assert reached == [[(0, 0), (1, 1), (2, 2)], [(1, 0), (2, 0)], [(3, 2)], []]
    assert left == ()


class Noted:
    """The hours of a ledger that are to be forwarded, so many a page."""

    def __init__(self, hours: int, page: int) -> None:
        self.hours = {hour: hourly(hour, hour + 1, vector(hour + 1)) for hour in range(hours)}
        self._page = page

    def commit(self, batch: Batch) -> None:
        """Forget what need not be told any more."""
        for each in batch.relay.forwarded_hours if batch.relay is not None else ():
            del self.hours[each.hour]

    def hours_to_forward(self, _: int, kept: Set[tuple[Key, int]]) -> HourPage:
        """The oldest ones."""
        left = [each for each in self.hours.values() if (each.key, each.hour) not in kept]
        return HourPage(tuple(left[: self._page]), None)


@given(refused=st.lists(st.booleans(), min_size=1, max_size=10), page=st.integers(1, 10))
def test_no_hour_is_told_as_another_one_s_work(refused: list[bool], page: int) -> None:
    """Whichever the root refuses, the next one it takes reaches back over all before it."""
    noted = Noted(len(refused), page)
    relay = Relay(ledger=cast(RelayLedger, noted))
    told: dict[int, int] = {}
    for _ in range(2 * len(refused) + 1):
        sent = relay.batch().hours
        acks = []
        for each in sent:
            durability = Durability.REFUSED if refused[each.hour] else Durability.AT_ROOT
            acks.append(HourlyAcknowledgement(each.key, each.hour, each.sequence, durability))
            if not refused[each.hour]:
                told[each.hour] = min(each.first_hour, told.get(each.hour, each.hour))
        relay.answer(hours=acks)
    assert [hour for hour, no in enumerate(refused) if not no] == sorted(told)
    after = 0
    for hour in sorted(told):
        assert told[hour] <= after
        after = hour + 1
    assert set(noted.hours) <= {after}, "what waits is owed by an hour that is still to come"


def test_a_debt_outlives_a_restart(tmp_path: Path) -> None:
    """The first hour of a key that is refused stays noted until a later one stands for it."""
    rows = [hourly(hour, hour + 1, vector(hour + 1)) for hour in range(4)]
    other = hourly(0, 1, vector(1), phase=1)
    url = str(tmp_path / "ledger.db")
    reached = []
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        assert isinstance(ledger, RelayLedger)
        stored = tuple(StoredVector(key(phase=phase), 0, 9, vector(9)) for phase in range(2))
        ledger.commit(
            Batch({RECORD.record_id: RECORD}, stored, hours=(rows[0],), relay=RelayChanges())
        )
        for hours, starts, durability in (
            ((), True, Durability.REFUSED),
            ((rows[1],), False, Durability.REFUSED),
            ((other,), True, Durability.REFUSED),
            ((rows[2],), False, Durability.AT_ROOT),
            ((rows[3],), False, Durability.AT_ROOT),
        ):
            ledger.commit(Batch(hours=hours, relay=RelayChanges()))
            if starts:
                relay = Relay(ledger=ledger)
            sent = relay.batch().hours
            reached.append([(each.hour, each.first_hour) for each in sent])
            acks = [
                HourlyAcknowledgement(each.key, each.hour, each.sequence, durability)
                for each in sent
            ]
            relay.answer(hours=acks)
        assert reached == [[(0, 0)], [(1, 0)], [(0, 0), (0, 0)], [(2, 0)], [(3, 3)]]
        assert ledger.hours_to_forward(9).hours == (other,)


def test_no_more_debts_are_noted_than_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond are remembered until the relay ends."""
    monkeypatch.setattr(module, "MAXIMUM_KEPT_HOURS", 1)
    relay = Relay(*(hourly(0, 1, vector(1), phase=phase) for phase in range(2)))
    for _ in range(2):
        (hour,) = relay.batch().hours
        refused = Durability.REFUSED
        acks = (HourlyAcknowledgement(hour.key, hour.hour, hour.sequence, refused),)
        relay.answer(hours=acks)
    forwarded = [hour.key.phase for change in relay.changes for hour in change.forwarded_hours]
    assert forwarded == [1]


def test_a_stream_is_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reached the root at once is told over several answers, each key once."""
    monkeypatch.setattr(module, "ROOTED_PER_ANSWER", 2)
    relay = Relay()
    watch = relay.outbox.open_watch()
    taken = relay.merge(5)
    told = [relay.forwarder.rooted(watch, taken)]
    relay.batch()
    relay.answer(*(Acknowledgement(each.key, 1, Durability.AT_ROOT) for each in taken))
    told += [relay.forwarder.rooted(watch, ()) for _ in range(4)]
    assert [len(each) for each in told] == [0, 2, 2, 1, 0]
    assert {name for each in told for name in each} == {each.key for each in taken}


def test_a_node_that_never_said_who_it_is_is_not_told() -> None:
    """Only its vectors are forwarded."""
    greeting = hello(node="known")
    relay = Relay(
        nodes={"known": NodeStatus(greeting, 5), "unknown": NodeStatus(None, 5)},
    )
    assert [node.hello.node for node in relay.batch().nodes] == ["known"]
    relay.answer()
    assert relay.batch().nodes == ()
