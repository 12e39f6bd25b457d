"""Random trees of relays: whatever is lost, repeated or forgotten, the root ends with everything.

Agents, relays and root are the production outbox, forwarder, register table and messages, joined by
calls in the place of streams. Time stands still; nothing sleeps.
"""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_collector.held_rows import Branches
from flopmeter_collector.ledger.base import HourPage, RelayChanges, RelayRows
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.outbox import Outbox, Watch
from flopmeter_collector.relay.receive import Seen
from flopmeter_core.batches import RelayHello
from flopmeter_core.errors import StorageError
from flopmeter_core.registers import ZERO_VECTOR, Key, Vector
from flopmeter_core.reports import (
    Acknowledgement,
    Doubt,
    Durability,
    Held,
    KeyedVector,
    LedgerPosition,
)
from flopmeter_core.writers import fingerprint, key_digest
from flopmeter_proto.wire.batch import BatchReader, BatchWriter
from support.ingest import RECORD, key
from support.manual_clock import ManualClock

T = TypeVar("T")

AGENTS, KEYS = 3, 2
_ids = itertools.count()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Step a coroutine that never waits to its end."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise AssertionError("nothing here may wait")


def holds(table: RegisterTable, keyed: KeyedVector) -> bool:
    """Whether a table has a vector or one that follows it."""
    return any(
        stored.sequence >= keyed.sequence
        and all(a >= b for a, b in zip(stored.vector, keyed.vector, strict=True))
        for stored in table.branches(keyed.key)
    )


class Site:
    """A collector: the root where it has no upstream."""

    def __init__(self, upstream: Site | None) -> None:
        """Start with an empty disk."""
        self.upstream = upstream
        self.disk_fails = False
        self.losses = -1
        self.lose_disk()

    def lose_disk(self) -> None:
        """Begin again with another ledger."""
        self.losses += 1
        self.table = RegisterTable()
        self.ledger_id = f"ledger-{next(_ids)}"
        self.marks: dict[Key, int] = {}
        self.rows = RelayRows()
        self.start()

    def start(self) -> None:
        """Start the process: a new generation; only the ledger and its marks are left."""
        self.generation = next(_ids)
        self.commits = 0
        self.watches: dict[object, tuple[BatchReader, Watch]] = {}
        self.forwarder: Forwarder | None = None
        if self.upstream is None:
            self.table.on_change = None
            return
        outbox = Outbox(self.table)
        outbox.restore(self.marks, 0)

        def changed(name: Key, before: Branches, now: Branches) -> None:
            outbox.changed(name, before, now, 0)

        self.table.on_change = changed
        self.forwarder = Forwarder(
            outbox,
            hello=RelayHello("relay", simulated=False),
            own=self.own(),
            known=RelayRows(self.rows.upstream, dict(self.marks)),
            record=self.table.record,
            commit=self.commit,
            hours=self.hours,
            nodes=dict,
            clock=ManualClock(),
        )
        self.writer: BatchWriter | None = None
        self.stream = object()

    def own(self) -> LedgerPosition:
        """Where the ledger stands."""
        return LedgerPosition(self.ledger_id, self.generation, self.commits)

    def told(self) -> LedgerPosition:
        """What senders are told of that."""
        return self.own() if self.forwarder is None else self.forwarder.position(self.own())

    async def commit(self, changes: RelayChanges | None) -> LedgerPosition:
        """Remember what the ledger would."""
        if self.disk_fails:
            raise StorageError("the ledger cannot store a commit")
        self.commits += 1
        if changes is not None and changes.upstream is not None:
            self.rows = RelayRows(changes.upstream)
            if changes.lost:
                self.marks.clear()
        if changes is not None:
            self.marks |= changes.at_root
        return self.own()

    async def hours(self, _limit: int, _kept: Set[tuple[Key, int]]) -> HourPage:
        """None here."""
        return HourPage((), None)

    def take(self, vectors: tuple[KeyedVector, ...], watch: Watch) -> dict[Key, int]:
        """Merge and commit; returns what is told to be at the root."""
        for keyed in vectors:
            self.table.merge(keyed, RECORD)
        self.commits += 1
        return {} if self.forwarder is None else self.forwarder.rooted(watch, vectors)

    def open_watch(self) -> Watch:
        """A stream that begins here."""
        return Watch() if self.forwarder is None else self.forwarder.outbox.open_watch()

    def forward(self, *, answered: bool = True) -> None:
        """One message upstream, and its answer unless that is lost with the stream."""
        assert self.forwarder is not None and self.upstream is not None
        if self.writer is None or self.stream not in self.upstream.watches:
            self.writer, self.stream = BatchWriter(), object()
            hello = self.forwarder.hello()
            self.upstream.watches[self.stream] = (BatchReader(), self.upstream.open_watch())
            self._exchange(self.writer.hello(hello), answered=True)
        batch = run(self.forwarder.next_batch())
        self._exchange(self.writer.batch(batch), answered=answered)
        if not answered:
            self.writer = None

    def _exchange(self, message: Any, *, answered: bool) -> None:
        assert self.upstream is not None and self.writer is not None and self.forwarder is not None
        reader, watch = self.upstream.watches[self.stream]
        batch = reader.batch(message)
        rooted = self.upstream.take(batch.vectors, watch)
        response = reader.answer(
            batch,
            {},
            self.upstream.told(),
            at_root=self.upstream.upstream is None,
            rooted=rooted,
            beside={},
            refused_claims={},
            refused_hours={},
        )
        if answered:
            run(self.forwarder.acknowledge(self.writer.answer(response)))


@dataclass
class Agent:
    """Keeps its newest vectors, and what it was told of them."""

    newest: dict[Key, KeyedVector] = field(default_factory=dict)
    at_root: dict[Key, int] = field(default_factory=dict)
    position: LedgerPosition | None = None

    def work(self, name: Key, amount: int, who: int) -> None:
        """Grow one register; two agents that grow the same one come apart."""
        before = self.newest.get(name)
        first, second = (
            (before.vector[0] + amount, before.vector[1] + 1) if before else (amount, who)
        )
        sequence = 1 + (before.sequence if before else 0)
        self.newest[name] = KeyedVector(name, sequence, vector((first, second)))

    def report(self, site: Site, root: Site) -> None:
        """Open a stream, send what is not known to be at the root, and ask once more."""
        watch = site.open_watch()
        for _ in range(2):
            sent = tuple(
                keyed
                for keyed in self.newest.values()
                if keyed.sequence > self.at_root.get(keyed.key, 0)
            )
            rooted = site.take(sent, watch)
            if site.upstream is None:
                rooted = {keyed.key: keyed.sequence for keyed in sent}
            position = site.told()
            if self.position is not None and position.went_back(self.position):
                self.at_root.clear()
            self.position = position
            for name, sequence in rooted.items():
                self.at_root[name] = max(sequence, self.at_root.get(name, 0))
                # Nobody is told what is not true; that the root lost it, a relay hears later.
                told = self.newest[name]
                if told.sequence <= sequence and not root.losses:
                    assert holds(root.table, told), "told to be at the root, and is not"
        if site.forwarder is not None:
            site.forwarder.close(watch)


def vector(amounts: tuple[int, int]) -> Vector:
    """A vector with two components."""
    return (*amounts, *ZERO_VECTOR[2:])


def heal(sites: list[Site], agents: list[Agent]) -> None:
    """Let everything through, and look."""
    root, *relays = sites
    for _ in range(3 * len(sites) + 6):
        for number, agent in enumerate(agents):
            agent.report(sites[-1 - number % len(sites)], root)
        for relay in reversed(relays):
            relay.forward()
    for agent in agents:
        for keyed in agent.newest.values():
            assert holds(root.table, keyed), "the root lacks what an agent has"
            assert agent.at_root.get(keyed.key, 0) >= keyed.sequence, "an agent waits for ever"
    for relay in relays:
        assert relay.forwarder is not None
        assert relay.forwarder.outbox.behind == 0


_STEP = st.tuples(
    st.sampled_from(
        ["work", "work", "report", "report", "forward", "forward", "unanswered", "restart", "disk"]
    ),
    st.integers(0, AGENTS - 1),
    st.integers(0, 3),
    st.integers(0, KEYS - 1),
    st.integers(0, 3),
)


@settings(max_examples=300, deadline=None)
@given(
    parents=st.lists(st.integers(0, 3), min_size=1, max_size=4), steps=st.lists(_STEP, max_size=60)
)
def test_any_tree_ends_with_everything(parents: list[int], steps: list[Any]) -> None:
    """Site n forwards to an earlier one; a key has two writers now and then."""
    sites = [Site(None)]
    for number, parent in enumerate(parents):
        sites.append(Site(sites[parent % (number + 1)]))
    root, agents = sites[0], [Agent() for _ in range(AGENTS)]
    relays = sites[1:]
    root_losses = 0
    for action, who, where, which, amount in steps:
        agent, site = agents[who], sites[where % len(sites)]
        relay = relays[where % len(relays)]
        # Two agents share their keys as clones do; the third has its own.
        name = key(allocation=f"run:{max(who, 1)}", phase=which)
        if action == "work":
            agent.work(name, amount, who)
        elif action == "report":
            agent.report(site, root)
        elif action in ("forward", "unanswered"):
            relay.forward(answered=action == "forward")
        elif action == "restart":
            site.start()
        elif site is not root or root_losses < 1:
            root_losses += site is root
            site.lose_disk()
    heal(sites, agents)


def test_only_the_root_speaks_for_the_root() -> None:
    """What the next collector has may still be lost with its disk: an agent keeps it until then."""
    root = Site(None)
    middle = Site(root)
    below = Site(middle)
    agent = Agent()
    agent.work(key(), 3, 0)
    for _ in range(3):
        agent.report(below, root)
        below.forward()
    assert holds(middle.table, agent.newest[key()])
    assert agent.at_root == {} and not root.table.branches(key())
    for _ in range(2):
        middle.forward()
        below.forward()
    agent.report(below, root)
    assert agent.at_root == {key(): 1}


def test_nothing_leaves_that_this_ledger_could_lose() -> None:
    """A relay whose disk fails sends nothing on: its agents would be told of what it forgets."""
    root = Site(None)
    relay = Site(root)
    relay.forward()
    relay.take((KeyedVector(key(), 1, vector((5, 0))),), relay.open_watch())
    relay.disk_fails = True
    with pytest.raises(StorageError):
        relay.forward()
    assert not root.table.branches(key())
    relay.disk_fails = False
    relay.forward()
    assert root.table.branches(key())


def test_a_fork_takes_back_what_was_known() -> None:
    """A second writer of a key: an answer to what was sent before says nothing of it."""
    table = RegisterTable()
    outbox = Outbox(table)
    table.on_change = lambda name, before, now: outbox.changed(name, before, now, 5)
    first = KeyedVector(key(), 10, vector((5, 0)))
    table.merge(first, RECORD)
    watch = outbox.open_watch()
    outbox.watch(key(), 10, watch)
    assert outbox.take(9, 6) == [first]
    table.merge(KeyedVector(key(), 4, vector((0, 5))), RECORD)
    at_root = [Acknowledgement(key(), 10, Durability.AT_ROOT)]
    outbox.acknowledge(at_root)
    assert watch.ready == {} and outbox.behind == 1
    assert [keyed.sequence for keyed in outbox.take(9, 7)] == [4, 10]
    outbox.acknowledge([Acknowledgement(key(), 4, Durability.AT_ROOT), *at_root])
    assert watch.ready == {key(): 10} and outbox.behind == 0


def sent_and_watched() -> tuple[RegisterTable, Outbox, Watch]:
    """A key that is on its way to the root, and a stream that waits for it."""
    table = RegisterTable()
    outbox = Outbox(table)
    table.on_change = lambda name, before, now: outbox.changed(name, before, now, 5)
    table.merge(KeyedVector(key(), 10, vector((5, 0))), RECORD)
    watch = outbox.open_watch()
    outbox.watch(key(), 10, watch)
    outbox.take(9, 6)
    return table, outbox, watch


def test_a_fork_that_comes_before_it_is_told() -> None:
    """A stream that was about to be told waits on, and is told once the fork is at the root."""
    table, outbox, watch = sent_and_watched()
    outbox.acknowledge([Acknowledgement(key(), 10, Durability.AT_ROOT)])
    assert watch.ready == {key(): 10}
    table.merge(KeyedVector(key(), 4, vector((0, 5))), RECORD)
    assert watch.ready == {}
    outbox.take(9, 7)
    outbox.acknowledge([Acknowledgement(key(), n, Durability.AT_ROOT) for n in (4, 10)])
    assert watch.ready == {key(): 10}


def test_what_the_root_held_beside_is_passed_on() -> None:
    """Whoever waits for a key is told once what did not come this way."""
    _, outbox, watch = sent_and_watched()
    other = outbox.open_watch()
    outbox.acknowledge([Acknowledgement(key(), 10, Durability.AT_ROOT, held=Held(12, 7))])
    assert (watch.beside, other.beside) == ({key(): Held(12, 7)}, {})
    assert watch.take_beside([key(phase=1)]) == {}
    assert watch.take_beside(watch.ready) == {key(): Held(12, 7)}
    assert watch.beside == {}


def test_what_the_root_held_beside_outlives_the_stream() -> None:
    """Whoever waited is told on its next stream, and the root is not asked about its own word."""
    table, outbox, watch = sent_and_watched()
    outbox.close_watch(watch)
    outbox.acknowledge([Acknowledgement(key(), 10, Durability.AT_ROOT, held=Held(12, 7))])
    doubt = Doubt(RECORD.node, key_digest(key()), Held(12, 7))
    assert table.doubts.tell(table.doubts.listen((RECORD.node,))) == (doubt,)
    assert table.doubts.tell(outbox.upward) == ()


def test_what_came_on_a_stream_is_no_surprise() -> None:
    """Of a relay's stream: what it brought is known, what another one brought is told of."""
    table = RegisterTable()
    seen, another = (Seen(table.rows, table.doubts) for _ in range(2))

    def arrive(at: Seen, sequence: int, amounts: tuple[int, int]) -> Held | None:
        at.look(key())
        table.merge(KeyedVector(key(), sequence, vector(amounts)), RECORD)
        return at.beside(key())

    def held(sequence: int, amounts: tuple[int, int]) -> Held:
        return Held(sequence, fingerprint(sequence, vector(amounts)))

    assert arrive(seen, 1, (1, 1)) is None
    assert arrive(seen, 2, (2, 2)) is None
    assert arrive(seen, 1, (1, 1)) is None
    assert arrive(another, 3, (3, 3)) == held(2, (2, 2))
    assert arrive(another, 4, (4, 4)) is None
    # Late, and again: it is told until its sender has made something of it.
    assert [arrive(seen, 3, (2, 3)) for _ in range(2)] == [held(4, (4, 4))] * 2
    assert arrive(seen, 5, (5, 5)) == held(4, (4, 4))
    # A fork is known to everybody.
    assert arrive(another, 6, (1, 9)) == held(5, (5, 5))
    assert arrive(seen, 7, (9, 9)) is None


def test_what_changed_on_the_way_is_still_behind() -> None:
    """An answer for an older sequence leaves the newer one waiting, and nobody is told of it."""
    table = RegisterTable()
    outbox = Outbox(table)
    table.on_change = lambda name, before, now: outbox.changed(name, before, now, 5)
    table.merge(KeyedVector(key(), 1, vector((5, 0))), RECORD)
    outbox.take(9, 6)
    table.merge(KeyedVector(key(), 2, vector((6, 0))), RECORD)
    watch = outbox.open_watch()
    outbox.watch(key(), 2, watch)
    outbox.acknowledge([Acknowledgement(key(), 1, Durability.AT_ROOT)])
    assert watch.ready == {}
    backlog = outbox.backlog()
    assert (backlog.keys, backlog.oldest_since_ns) == (1, 6), "since the older one was sent"
    outbox.take(9, 8)
    outbox.acknowledge([Acknowledgement(key(), 2, Durability.AT_ROOT)])
    assert watch.ready == {key(): 2} and outbox.backlog().keys == 0


def test_a_clone_that_comes_late_waits_for_what_follows_it() -> None:
    """A lower sequence that came in under a newer one says nothing of what the root has of it."""
    table = RegisterTable()
    outbox = Outbox(table)
    table.on_change = lambda name, before, now: outbox.changed(name, before, now, 5)
    table.merge(KeyedVector(key(), 1, vector((0, 1))), RECORD)
    outbox.take(9, 6)
    outbox.acknowledge([Acknowledgement(key(), 1, Durability.AT_ROOT)])
    table.merge(KeyedVector(key(), 2, vector((1, 2))), RECORD)
    table.merge(KeyedVector(key(), 1, vector((1, 0))), RECORD)
    watch = outbox.open_watch()
    outbox.watch(key(), 1, watch)
    assert watch.ready == {}, "the root has (0, 1), which (1, 0) is no part of"
    outbox.take(9, 7)
    outbox.acknowledge([Acknowledgement(key(), 2, Durability.AT_ROOT)])
    assert watch.ready == {key(): 1}


def test_what_the_root_will_not_count_is_not_sent_for_ever() -> None:
    """It is offered with the next change or stream, is counted, and nobody is told it arrived."""
    table = RegisterTable()
    outbox = Outbox(table)
    table.on_change = lambda name, before, now: outbox.changed(name, before, now, 5)
    keyed = KeyedVector(key(), 1, vector((5, 0)))
    table.merge(keyed, RECORD)
    watch = outbox.open_watch()
    outbox.watch(key(), 1, watch)
    assert outbox.take(9, 6) == [keyed]
    assert outbox.acknowledge([Acknowledgement(key(), 1, Durability.REFUSED, "no")]) == 1
    assert outbox.take(9, 7) == [] and watch.ready == {}
    assert outbox.backlog().refused == 1
    outbox.rewind()
    assert outbox.take(9, 8) == [keyed]


def test_settled_keys_are_worth_a_row() -> None:
    """A key is put down only when it did not change for a whole period."""
    table = RegisterTable()
    outbox = Outbox(table)
    table.on_change = lambda name, before, now: outbox.changed(name, before, now, 5)
    for name in (key(), key(phase=1)):
        table.merge(KeyedVector(name, 1, vector((5, 0))), RECORD)
    acks = [Acknowledgement(keyed.key, 1, Durability.AT_ROOT) for keyed in outbox.take(9, 6)]
    outbox.acknowledge(acks)
    assert outbox.settled() == {}
    table.merge(KeyedVector(key(), 2, vector((6, 0))), RECORD)
    assert outbox.settled() == {key(phase=1): 1}
    restarted = Outbox(table)
    restarted.restore({key(phase=1): 1}, 9)
    assert [keyed.key for keyed in restarted.take(9, 9)] == [key()]


def test_the_generation_tells_of_losses_upstream() -> None:
    """A root that is another one, or that went back, is seen by whoever reports here."""
    root = Site(None)
    relay = Site(root)
    told = {relay.told().generation}
    relay.forward()
    told.add(relay.told().generation)
    relay.forward()
    assert len(told) == 2 and relay.told().generation in told
    root.lose_disk()
    relay.forward()
    told.add(relay.told().generation)
    root.commits = 0
    relay.forward()
    relay.forward()
    root.commits = -5
    relay.forward()
    told.add(relay.told().generation)
    assert len(told) == 4
    assert all(0 <= generation < 2**62 for generation in told)
