"""Forwards this ledger: makes batches of what the root lacks, and takes the answers.

Owns: the order commit -> send -> answer, what is remembered of the upstream ledger, hours on
their way, and the position this collector tells its own senders.
May touch: the outbox, and the ledger through the functions it is given; no socket, no thread.
Called by the link (`RelayLink`) and by the service; the collector's app builds it.
Explained in docs/adr/0015-relays.md.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from flopmeter_collector.intake import NodeStatus
from flopmeter_collector.ledger.base import HourPage, RelayChanges, RelayRows, Upstream
from flopmeter_collector.relay.outbox import Outbox, Watch
from flopmeter_core.batches import MAXIMUM_VECTORS_PER_BATCH, RelayBatch, RelayedNode, RelayHello
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key
from flopmeter_core.reports import Answer, Durability, HourlyVector, KeyedVector, LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

HOURS_PER_BATCH = 500
"""Hourly vectors in one batch: about 0.1 MB."""

MAXIMUM_KEPT_HOURS = 1_000
"""Refused hours that the ledger goes on noting, one a key: each is read again with every batch."""

NODES_PER_BATCH = 200
"""Nodes told of in one batch."""

DISPLAYS_PER_NODE = 32
"""Estimates of an agent that are passed on, for display only."""

NODE_PERIOD_NS = 30 * NS_PER_S
"""How often the upstream collector is told that a node reports."""

SETTLE_PERIOD_NS = 60 * NS_PER_S
"""How often the ledger is told which keys are at the root; a restart sends the others again."""

ROOTED_PER_ANSWER = 5_000
"""Vectors that one answer tells to be at the root; about 15 bytes each."""


@dataclass(slots=True)
class ForwarderCounts:
    """How much went upstream since the start."""

    batches: int = 0
    vectors: int = 0
    refused_keys: int = 0
    refused_claims: int = 0
    losses: int = 0


class Forwarder:
    """A relay's side of forwarding, one batch at a time."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        hello: RelayHello,
        own: LedgerPosition,
        known: RelayRows,
        record: Callable[[str], DeviceRecord],
        commit: Callable[[RelayChanges | None], Awaitable[LedgerPosition]],
        hours: Callable[[int, Set[tuple[Key, int]]], Awaitable[HourPage]],
        nodes: Callable[[], Mapping[str, NodeStatus]],
        clock: Clock,
    ) -> None:
        """Prepare; the outbox is restored already.

        Args:
            outbox: what the root lacks.
            hello: who this relay is; its ledgers are this one.
            own: where this ledger stands.
            known: what it remembers of the upstream ledger.
            record: the device record of a key's `record`.
            commit: makes everything merged so far, and what is given, durable.
            hours: reads the next hours to forward, at most as many as asked for, and none of
                those named (key, hour).
            nodes: what is known of each node.
            clock: monotonic time for periods, wall time for how long a node is silent.
        """
        self.outbox = outbox
        self.counts = ForwarderCounts()
        self._hello = hello
        self._own = own
        self._upstream = known.upstream
        self._record = record
        self._commit = commit
        self._hours = hours
        self._nodes = nodes
        self._clock = clock
        self._below: dict[Watch, tuple[str, ...]] = {}
        self._ids_told: tuple[str, ...] = ()
        self._page = HourPage((), None)
        self._sent_hours: tuple[HourlyVector, ...] = ()
        self._owed: dict[Key, int] = {}
        # Of each key that owes an hour the one that the ledger still notes, so that it is offered,
        # refused and owed again after a restart.
        self._kept: dict[Key, HourlyVector] = {}
        self._told_nodes: dict[str, int] = {}
        self._node_queue: deque[str] = deque()
        self._nodes_listed_ns: int | None = None
        self._settled_ns = clock.monotonic_ns()
        self._generation = self._told_generation()
        self.more = False

    # --- towards the upstream collector ----------------------------------------------------------

    def hello(self) -> RelayHello:
        """The first message of a stream; everything that is behind is offered on it."""
        self.outbox.rewind()
        self.outbox.upward.begin_again()
        self._kept.clear()
        self._page = HourPage((), None)
        self._ids_told = self.ledger_ids
        return replace(self._hello, ledger_ids=self._ids_told)

    async def next_batch(self) -> RelayBatch:
        """What to send next; empty where nothing changed, to hear what reached the root.

        Raises:
            StorageError: this ledger does not commit; nothing may be sent.
        """
        kept = {(hourly.key, hourly.hour) for hourly in self._kept.values()}
        # Nothing leaves that this ledger could still lose.
        await self._commit(None)
        self._page = await self._hours(HOURS_PER_BATCH, kept)
        hours = self._page.hours
        lacking = [h.key for h in hours if not self.outbox.holds_upstream(h.key, h.sequence)]
        vectors = self.outbox.take(
            MAXIMUM_VECTORS_PER_BATCH, self._clock.monotonic_ns(), first=lacking
        )
        ahead = set(lacking).difference(keyed.key for keyed in vectors)
        self._sent_hours = tuple(self._reaching(h) for h in hours if h.key not in ahead)
        claims = self.outbox.take_claims()
        self.more = (
            self.outbox.waiting >= MAXIMUM_VECTORS_PER_BATCH or len(hours) == HOURS_PER_BATCH
        )
        self.counts.batches += 1
        self.counts.vectors += len(vectors)
        return RelayBatch(
            ledger_ids=self._ids_to_tell(),
            records=self._records(vectors, self._sent_hours),
            vectors=tuple(vectors),
            hours=self._sent_hours,
            claims=claims,
            nodes=self._nodes_to_tell(),
            doubts=self.outbox.doubts.tell(self.outbox.upward),
        )

    async def acknowledge(self, answer: Answer) -> None:
        """Take the answer to a hello or to the last batch.

        Raises:
            StorageError: it could not be put down; the process has to end.
        """
        known = self._upstream
        if known is None or answer.position.went_back(known.position):
            await self._start_over(answer.position, known)
            return
        self._upstream = replace(known, position=answer.position)
        for doubt in answer.doubts:
            self.outbox.doubts.note(doubt, self.outbox.upward, late=True)
        newly = self.outbox.acknowledge(answer.acknowledgements)
        self.counts.refused_keys += newly
        for ack in answer.acknowledgements:
            if newly and ack.reason:
                logger.error(
                    "the upstream collector does not count a register that is counted here",
                    extra=fields(device=ack.key.device, reason=ack.reason),
                )
                break
        for reason in self.outbox.acknowledge_claims(answer.claims):
            self.counts.refused_claims += 1
            logger.debug("the upstream collector refused a claim", extra=fields(reason=reason))
        changes = self._changes(answer)
        if changes != RelayChanges():
            await self._commit(changes)

    # --- towards this collector's own senders ----------------------------------------------------

    @property
    def ledger_ids(self) -> tuple[str, ...]:
        """This ledger and every ledger it forwards for."""
        below = {ledger for ids in self._below.values() for ledger in ids}
        return (self._own.ledger_id, *sorted(below - {self._own.ledger_id}))

    def stands_below(self, watch: Watch, ledger_ids: tuple[str, ...]) -> None:
        """Note which ledgers a relay on one of this collector's streams forwards for."""
        self._below[watch] = ledger_ids

    def close(self, watch: Watch) -> None:
        """One of this collector's streams has ended."""
        self._below.pop(watch, None)
        self.outbox.close_watch(watch)

    def position(self, own: LedgerPosition) -> LedgerPosition:
        """What this collector tells its senders of its ledger.

        Its generation changes with that of the upstream ledger too: what the root lost may lie
        with the agents only, so they have to send everything again.
        """
        return LedgerPosition(own.ledger_id, self._generation, own.commit_number)

    def rooted(
        self,
        watch: Watch,
        taken: Iterable[KeyedVector],
        grown: Iterable[tuple[Key, int]] = (),
    ) -> dict[Key, int]:
        """What a stream is told to be at the root now, and wait for what was just taken.

        Args:
            watch: the stream.
            taken: vectors of its last message that were merged and committed.
            grown: keys and sequences of those that were taken as rows.
        """
        for keyed in taken:
            self.outbox.watch(keyed.key, keyed.sequence, watch)
        for key, sequence in grown:
            self.outbox.watch(key, sequence, watch)
        if len(watch.ready) <= ROOTED_PER_ANSWER:
            ready, watch.ready = watch.ready, {}
            return ready
        told = list(watch.ready)[:ROOTED_PER_ANSWER]
        return {key: watch.ready.pop(key) for key in told}

    # --- inside ----------------------------------------------------------------------------------

    async def _start_over(self, position: LedgerPosition, known: Upstream | None) -> None:
        """Send everything to a ledger that is another one, or that may have lost something."""
        if known is not None:
            logger.warning("the upstream ledger went back; everything is sent again")
            self.counts.losses += 1
        losses = 0 if known is None else known.loss_count + 1
        self._upstream = Upstream(position, losses)
        self._generation = self._told_generation()
        self.outbox.reset(self._clock.monotonic_ns())
        self._kept.clear()
        self._page, self._sent_hours = HourPage((), None), ()
        self._told_nodes.clear()
        await self._commit(RelayChanges(upstream=self._upstream, lost=True))

    def _told_generation(self) -> int:
        known = self._upstream
        if known is None:
            return self._own.generation
        text = (
            f"{self._own.generation} {known.position.ledger_id} {known.position.generation} "
            f"{known.loss_count}"
        )
        # Below 2^62: it travels as a signed number.
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 2

    def _changes(self, answer: Answer) -> RelayChanges:
        """What the ledger has to remember of an answer."""
        settled, whole = self._settled_hours(
            {(ack.key, ack.hour): ack.durability for ack in answer.hours}
        )
        resent = self._page.resent if whole else None
        self._page, self._sent_hours = HourPage((), None), ()
        at_root: Mapping[Key, int] = {}
        upstream = None
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._settled_ns >= SETTLE_PERIOD_NS:
            self._settled_ns = now_ns
            at_root, upstream = self.outbox.settled(), self._upstream
        return RelayChanges(
            upstream=upstream,
            at_root=at_root,
            forwarded_hours=tuple(settled),
            resent=resent,
        )

    def _settled_hours(
        self, answered: Mapping[tuple[Key, int], Durability]
    ) -> tuple[list[HourlyVector], bool]:
        """Which hours of the ledger need no telling any more, and whether no sent one does.

        Of each key in their order: who is taken pays for those refused before it, and for none
        behind it.
        """
        settled: list[HourlyVector] = []
        whole = len(self._sent_hours) == len(self._page.hours)
        noted = {(hourly.key, hourly.hour): hourly for hourly in self._page.hours}
        narrow: set[Key] = set()
        for hourly in sorted(self._sent_hours, key=lambda each: each.hour):
            place = (hourly.key, hourly.hour)
            if hourly.key in narrow or place not in answered:
                whole = False
            elif answered[place] is Durability.REFUSED:
                if not self._owe(noted[place]):
                    settled.append(hourly)
            elif self._reaching(hourly) != hourly:
                # Taken behind one that was refused beside it, and too narrow: it goes out again,
                # reaching back, or the root would think that it did that hour's work too; and with
                # it those behind it, for which it does not pay.
                narrow.add(hourly.key)
                whole = False
            else:
                settled += [hourly, *self._paid(hourly.key)]
        return settled, whole

    def _paid(self, key: Key) -> list[HourlyVector]:
        """This key owes nothing any more; returns the hour that was noted of it."""
        self._owed.pop(key, None)
        return [self._kept.pop(key)] if key in self._kept else []

    def _owe(self, refused: HourlyVector) -> bool:
        """The key's next hour has to stand for this one too; whether it stays noted for that."""
        owed = self._owed.get(refused.key, refused.first_hour)
        self._owed[refused.key] = min(owed, refused.first_hour)
        # An old hour that is sent again is noted nowhere.
        fresh = self._page.resent is None
        if not fresh or refused.key in self._kept or len(self._kept) >= MAXIMUM_KEPT_HOURS:
            return False
        self._kept[refused.key] = refused
        return True

    def _reaching(self, hourly: HourlyVector) -> HourlyVector:
        """The hour, and with it those of its key that were refused before it."""
        owed = self._owed.get(hourly.key, hourly.first_hour)
        return replace(hourly, first_hour=owed) if owed < hourly.first_hour else hourly

    def _records(
        self, vectors: Sequence[KeyedVector], hours: Sequence[HourlyVector]
    ) -> dict[str, DeviceRecord]:
        used = {keyed.key.record for keyed in vectors} | {hour.key.record for hour in hours}
        return {record: self._record(record) for record in used}

    def _ids_to_tell(self) -> tuple[str, ...]:
        ids = self.ledger_ids
        if ids == self._ids_told:
            return ()
        self._ids_told = ids
        return ids

    def _nodes_to_tell(self) -> tuple[RelayedNode, ...]:
        """Nodes that reported since the upstream collector was told of them."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        nodes = self._nodes()
        listed_ns = self._nodes_listed_ns
        if listed_ns is None or now_ns - listed_ns >= NODE_PERIOD_NS:
            self._nodes_listed_ns = now_ns
            self._node_queue = deque(
                node
                for node, status in nodes.items()
                if status.last_report_ns != self._told_nodes.get(node)
            )
        elif len(nodes) > len(self._told_nodes) and not self._node_queue:
            self._node_queue.extend(nodes.keys() - self._told_nodes.keys())
        told: list[RelayedNode] = []
        while self._node_queue and len(told) < NODES_PER_BATCH:
            node = self._node_queue.popleft()
            status = nodes[node]
            self._told_nodes[node] = status.last_report_ns
            if status.hello is None:
                continue
            shown = list(status.display_flop.items())[:DISPLAYS_PER_NODE]
            silent_ns = max(0, wall_ns - status.last_report_ns)
            told.append(RelayedNode(status.hello, silent_ns, dict(shown)))
        return tuple(told)
