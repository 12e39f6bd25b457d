"""Takes batches of relays in: the same rules as for an agent's reports, many nodes at a time.

Owns: how a batch is merged, and the refusal of a relay that this collector forwards to.
May touch: the intake it is given.
Called by the collector's service. Explained in docs/relays.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from flopmeter_collector.branches import Outcome
from flopmeter_collector.doubts import Doubts
from flopmeter_collector.held_rows import Branches, HeldRows
from flopmeter_collector.intake import Intake, Refusals
from flopmeter_collector.relay.known import KnownBatches
from flopmeter_core.batches import RelayBatch
from flopmeter_core.claims import ClaimKey
from flopmeter_core.errors import NotPermittedError
from flopmeter_core.registers import Key
from flopmeter_core.reports import Durability, Held, KeyedVector
from flopmeter_core.writers import fingerprint


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a batch, before its commit.

    Attributes:
        taken: vectors the commit will hold.
        untaken: the others by their places: refused or quarantined, and why.
        refused, quarantined: the same by key, for the log.
        beside: what was held of a key that did not come on this stream, above the vector that
            came or replaced by it: of another writer perhaps, which only its agent can tell.
        refused_hours: why each hourly vector (key, hour) was not taken.
        refused_claims: why claims were not taken.
    """

    taken: tuple[KeyedVector, ...]
    untaken: Mapping[int, tuple[Durability, str]]
    refused: Refusals
    quarantined: Refusals
    beside: Mapping[Key, Held]
    refused_hours: Mapping[tuple[Key, int], str]
    refused_claims: Mapping[ClaimKey, str]


class Seen:
    """One relay's stream: of which keys the newest vector came on it.

    What a relay forwards of a key follows what it forwarded before, as long as its stream lasts.
    """

    def __init__(self, rows: HeldRows, doubts: Doubts) -> None:
        """Begin with a new stream; each row says on which one its vector came."""
        self.number = rows.new_stream()
        self.listener = doubts.listen()
        self.known = KnownBatches(self.number)
        self._rows = rows
        self._before: tuple[Branches, bool] = ((), False)

    def look(self, key: Key) -> None:
        """Remember what is held of a key, before the merge."""
        rows = self._rows
        self._before = rows.branches(key), key in rows and rows.stream_of(key) == self.number

    def beside(self, key: Key) -> Held | None:
        """What was replaced since the look, or stands above, without having come on this stream.

        Args:
            key: whose vector came; of a fork everybody knows already.
        """
        before, known = self._before
        after = self._rows.branches(key)
        if len(after) == 1 and after != before:
            self._rows.came_on(key, self.number)
        if len(before) != 1 or known:
            return None
        other = before[0]
        return Held(other.sequence, fingerprint(other.sequence, other.vector))

    def ended_a_fork(self, key: Key) -> bool:
        """Whether a vector stands above several branches now, of which one is not its writer's."""
        before, _ = self._before
        return len(self._rows.branches(key)) < len(before)


def check_path(own_ledger: str, ledger_ids: tuple[str, ...], relay: str) -> None:
    """Refuse a relay that this collector forwards to, directly or through others.

    Args:
        own_ledger: identity of this collector's ledger.
        ledger_ids: the ledgers the relay says it forwards for.
        relay: its name, for the sentence.

    Raises:
        NotPermittedError: this collector is one of them.
    """
    if own_ledger in ledger_ids:
        raise NotPermittedError(
            f"relay {relay} forwards for this collector, which would thus forward to itself; "
            "give one of the collectors in this circle another upstream, or none"
        )


OVER = (Outcome.NEW, Outcome.ADVANCED, Outcome.LATE)
"""What becomes of a vector that has the key's place now, or leaves it to another."""

SLICE = 25
"""Vectors merged before others have their turn: about 1 ms."""

HEARD_AT_ONCE = 250
"""Nodes or doubts noted before others have their turn: about 0.5 ms."""


def ask_others(
    intake: Intake, keyed: KeyedVector, node: str, outcome: Outcome | None, seen: Seen
) -> Held | None:
    """Have whoever else reports for a node asked about a vector, where it may be another writer's.

    Args:
        intake: which merged it.
        keyed: the vector.
        node: of its device record.
        outcome: what became of it.
        seen: the stream it came on, which looked at its key before.

    Returns:
        What is, or was, held of the key and did not come on this stream; None where that is all.
    """
    if outcome not in OVER:
        return None
    other = seen.beside(keyed.key)
    if other is not None or seen.ended_a_fork(keyed.key):
        intake.doubt(keyed, node, seen.listener, late=outcome is Outcome.LATE)
    return other


async def merge_batch(
    intake: Intake,
    batch: RelayBatch,
    give_way: Callable[[], Awaitable[None]],
    seen: Seen,
) -> Merged:
    """Admit and merge everything of a batch; the caller commits and answers.

    Each vector is held against the boot time that came with it, as if its agent reported here.

    Args:
        intake: where to.
        batch: what came.
        give_way: lets agents that can be answered at once go first.
        seen: the stream it came on.

    Raises:
        NotPermittedError: readings of the other kind than the ledger's.
    """
    intake.check_records(batch.records.values())
    all_refused: Refusals = {}
    all_quarantined: Refusals = {}
    untaken: dict[int, tuple[Durability, str]] = {}
    taken: list[KeyedVector] = []
    beside: dict[Key, Held] = {}
    for place, keyed in enumerate(batch.vectors):
        if place % SLICE == SLICE - 1:
            await give_way()
        # Of a forked key every branch has its own answer.
        refused: Refusals = {}
        quarantined: Refusals = {}
        seen.look(keyed.key)
        outcome = intake.merge(
            keyed,
            batch.records[keyed.key.record],
            boot_ns=None,
            refused=refused,
            quarantined=quarantined,
        )
        if refused:
            untaken[place] = (Durability.REFUSED, refused[keyed.key])
            all_refused |= refused
        elif quarantined:
            untaken[place] = (Durability.QUARANTINED, quarantined[keyed.key])
            all_quarantined |= quarantined
        else:
            taken.append(keyed)
            other = ask_others(intake, keyed, batch.records[keyed.key.record].node, outcome, seen)
            if other is not None:
                beside[keyed.key] = other
    refused_hours: dict[tuple[Key, int], str] = {}
    for number, hourly in enumerate(batch.hours, start=1):
        if number % SLICE == 0:
            await give_way()
        record = batch.records[hourly.key.record]
        intake.merge_hour(hourly, record, boot_ns=None, refused=refused_hours)
    refused_claims = intake.merge_claims(batch.claims)
    await _hear(intake, batch, give_way, seen)
    intake.counts.batches += 1
    return Merged(
        tuple(taken),
        untaken,
        all_refused,
        all_quarantined,
        beside,
        refused_hours,
        refused_claims,
    )


async def _hear(
    intake: Intake, batch: RelayBatch, give_way: Callable[[], Awaitable[None]], seen: Seen
) -> None:
    """Take what a relay says of its nodes, and what it asks."""
    for number, node in enumerate(batch.nodes, start=1):
        if number % HEARD_AT_ONCE == 0:
            await give_way()
        intake.relayed(node)
    seen.listener.hear({node.hello.node for node in batch.nodes} & intake.nodes.keys())
    for number, doubt in enumerate(batch.doubts, start=1):
        if number % HEARD_AT_ONCE == 0:
            await give_way()
        intake.doubts.note(doubt, seen.listener, late=True)
