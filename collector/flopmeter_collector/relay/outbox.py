"""What of this ledger is not at the root yet.

Owns: which keys wait to be sent, which wait for the root, and who is told when they are there.
May touch: memory only; it reads the register table it is given. No clock, no I/O.
Called by relay.forwarder (takes and acknowledges) and by the service (asks what is at the root).
Explained in docs/adr/0015-relays.md.

A key is *behind* while the root may lack something that was merged of it. All the state is a note
for each such key; it is derived from the ledger at a start, so an outage of any length costs one
note a key and no queue. What is told of the root holds for everything merged of a key up to a
sequence, which is only true while nobody forks it: a fork takes back what was known of its key.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from flopmeter_collector.held_rows import Branches
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.registers import Key
from flopmeter_core.reports import (
    Acknowledgement,
    ClaimAcknowledgement,
    Doubt,
    Durability,
    Held,
    KeyedVector,
)
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_core.writers import key_digest

MAXIMUM_CLAIMS_PER_BATCH = 1_000
"""Claims in one batch: at most about 0.7 MB with the longest labels."""

_K = TypeVar("_K")

_NOTHING_SENT = REGISTER_LIMIT
"""No sequence is that high: an answer to what was sent before a fork says nothing of its key."""


@dataclass(slots=True, eq=False)
class Watch:
    """One stream of senders that wants to know when its keys are at the root.

    Attributes:
        ready: keys to tell of, each with the sequence up to which the root has it.
        beside: of such keys what an upstream collector held that did not come from here.
        closed: whether the stream has ended.
    """

    ready: dict[Key, int] = field(default_factory=dict)
    beside: dict[Key, Held] = field(default_factory=dict)
    closed: bool = False

    def take_beside(self, keys: Iterable[Key]) -> dict[Key, Held]:
        """What to tell of others beside answers for these keys; it is told once."""
        return {key: self.beside.pop(key) for key in keys if key in self.beside}


@dataclass(frozen=True, slots=True)
class _Wait:
    """A stream is told of a sequence of its own once the root has a sequence of this table."""

    watch: Watch
    sequence: int
    wanted: int


@dataclass(slots=True)
class _Note:
    """What is known of a key that is behind.

    Attributes:
        root: the root has what was the newest vector here at this sequence.
        upstream: the collector next upstream has everything up to this sequence, or refused it.
        valid_from: answers for lower sequences were to something sent before a fork.
        since_ns: when the oldest change came that the root may lack, on the monotonic clock; no
            later than that.
        sent: the first sequence that was sent since the root advanced; 0 for none.
        sent_ns: when that was.
    """

    root: int
    since_ns: int
    upstream: int = 0
    valid_from: int = 0
    sent: int = 0
    sent_ns: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far the root is behind this ledger.

    Attributes:
        keys: keys of which the root may lack something.
        oldest_since_ns: when the oldest of it came, on the monotonic clock; None when nothing is.
        refused: keys whose newest vector the upstream collector will not count.
    """

    keys: int
    oldest_since_ns: int | None
    refused: int


class Outbox:
    """The keys of a register table that the root may lack."""

    def __init__(self, table: RegisterTable) -> None:
        """Start with nothing behind; `restore` says what the ledger knows of the root.

        Args:
            table: the registers; its `on_change` has to call `changed`, its `on_grow` `grown`.
        """
        self._table = table
        self.doubts = table.doubts
        """What may be another writer's than a table on the way held."""
        self.upward = table.doubts.listen(everything=True)
        """The stream to the upstream collector."""
        self._behind: dict[Key, _Note] = {}
        self._waiting: dict[Key, None] = {}
        self._flight: dict[Key, int] = {}
        self._refused: dict[Key, str] = {}
        self._streams: set[Watch] = set()
        self._watches: dict[Key, tuple[_Wait, ...]] = {}
        self._fresh: dict[Key, int] = {}
        self._settling: dict[Key, int] = {}
        self._claims: dict[ClaimKey, None] = {}
        self._claims_in_flight: tuple[Claim, ...] = ()

    # --- what changes ----------------------------------------------------------------------------

    def restore(self, at_root: Mapping[Key, int], now_ns: int) -> None:
        """Derive what is behind from the table and the sequences the ledger knows at the root."""
        for key, branches in self._table.items():
            if len(branches) != 1 or at_root.get(key) != branches[0].sequence:
                self._fall_behind(key, (), branches, now_ns)
        self._claims = dict.fromkeys(claim.key for claim in self._table.claims.all())

    def changed(self, key: Key, before: Branches, branches: Branches, now_ns: int) -> None:
        """Note that a key has other branches than before.

        Args:
            key: the key.
            before: its branches before; empty for a new one.
            branches: its branches now.
            now_ns: monotonic time.
        """
        self._fall_behind(key, before, branches, now_ns)
        if len(branches) > 1:
            self._take_back(key)

    def grown(self, keys: Iterable[Key], before: Iterable[int], now_ns: int) -> None:
        """Note keys that only grew, as `changed` does of each.

        Args:
            keys: with one branch, before and now.
            before: the sequence of each before.
            now_ns: monotonic time.
        """
        for key, sequence in zip(keys, before, strict=True):
            if key not in self._behind:
                self._behind[key] = _Note(sequence, now_ns)
            self._waiting[key] = None
            if self._refused:
                self._refused.pop(key, None)

    def claim_changed(self, key: ClaimKey) -> None:
        """Note that a claim is new or has higher counts."""
        self._claims[key] = None

    def reset(self, now_ns: int) -> None:
        """Trust nothing of the root: the upstream ledger is another one, or went back."""
        self._fresh, self._settling, self._flight, self._refused = {}, {}, {}, {}
        for note in self._behind.values():
            note.root, note.upstream, note.valid_from = 0, 0, _NOTHING_SENT
        for key, branches in self._table.items():
            if key not in self._behind:
                self._fall_behind(key, (), branches, now_ns)
        for watch in self._streams:
            watch.ready.clear()
        self._waiting = dict.fromkeys(self._behind)
        self._claims = dict.fromkeys(claim.key for claim in self._table.claims.all())
        self._claims_in_flight = ()

    def rewind(self) -> None:
        """A new stream begins: the other side has to be asked again for all that is behind."""
        self._flight.clear()
        for note in self._behind.values():
            note.upstream = 0
        self._waiting = dict.fromkeys(self._behind)
        self._claims |= dict.fromkeys(claim.key for claim in self._claims_in_flight)
        self._claims_in_flight = ()

    # --- what is sent ----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Keys and claims that the upstream collector has not answered for."""
        return len(self._waiting) + len(self._claims)

    @property
    def behind(self) -> int:
        """Keys of which the root may lack something."""
        return len(self._behind)

    def take(self, limit: int, now_ns: int, first: Iterable[Key] = ()) -> list[KeyedVector]:
        """Newest vectors to send now, those that wait longest first; of a fork every branch.

        Args:
            limit: vectors to take at most; at least the branches of one key.
            now_ns: monotonic time.
            first: keys that go before the others, in so far as they are behind.
        """
        taken: list[KeyedVector] = []
        wanted = [key for key in first if key in self._behind]
        for key in dict.fromkeys([*wanted, *_some(self._waiting, limit)]):
            branches = self._table.branches(key)
            if taken and len(taken) + len(branches) > limit:
                break
            newest = max(stored.sequence for stored in branches)
            note = self._behind[key]
            if not note.sent:
                note.sent, note.sent_ns = newest, now_ns
            if note.valid_from == _NOTHING_SENT:
                note.valid_from = newest
            self._flight[key] = newest
            self._waiting.pop(key, None)
            taken += [
                KeyedVector(key, stored.sequence, stored.vector, stored.boot_ns)
                for stored in branches
            ]
        return taken

    def take_claims(self) -> tuple[Claim, ...]:
        """Claims to send now."""
        keys = _some(self._claims, MAXIMUM_CLAIMS_PER_BATCH)
        for key in keys:
            del self._claims[key]
        self._claims_in_flight = tuple(self._table.claims.get(key) for key in keys)
        return self._claims_in_flight

    def holds_upstream(self, key: Key, sequence: int) -> bool:
        """Whether the upstream collector has a vector that follows this sequence."""
        note = self._behind.get(key)
        return note is None or sequence <= max(note.root, note.upstream)

    # --- what is answered ------------------------------------------------------------------------

    def acknowledge(self, acknowledgements: Sequence[Acknowledgement]) -> int:
        """Take what the upstream collector says of vectors.

        Returns:
            How many keys it newly said it would not count.
        """
        refused = {
            ack.key: ack.reason
            for ack in acknowledgements
            if ack.durability in (Durability.REFUSED, Durability.QUARANTINED)
        }
        newly = 0
        for ack in acknowledgements:
            if ack.held is not None:
                for each in self._watches.get(ack.key, ()):
                    each.watch.beside[ack.key] = ack.held
                # Who waited may be gone before it is told; it comes again on another stream.
                node = self._table.record(ack.key.record).node
                doubt = Doubt(node, key_digest(ack.key), ack.held)
                self.doubts.note(doubt, self.upward, late=True)
            note = self._behind.get(ack.key)
            if note is None:
                continue
            if ack.key in refused:
                newly += self._note_refused(ack.key, note, refused[ack.key])
            elif ack.sequence >= note.valid_from:
                # A fork's branches are answered together, so the highest speaks for all of them.
                note.upstream = max(note.upstream, ack.sequence)
                if ack.durability is Durability.AT_ROOT and ack.sequence > note.root:
                    self._advance(ack.key, note, ack.sequence)
        answered = {ack.key for ack in acknowledgements}
        self._waiting |= {
            key: None for key in self._flight if key not in answered and key in self._behind
        }
        self._flight.clear()
        return newly

    def acknowledge_claims(self, answers: Iterable[ClaimAcknowledgement]) -> list[str]:
        """Take what the upstream collector says of claims; returns why some were refused."""
        self._claims_in_flight = ()
        return [ack.reason for ack in answers if ack.durability is Durability.REFUSED]

    def settled(self) -> dict[Key, int]:
        """Keys that reached the root before the last call and did not change since.

        They are worth remembering over a restart; an open key changes with every report.
        """
        settled = {
            key: sequence
            for key, sequence in self._settling.items()
            if key not in self._behind and self._is_single(key, sequence)
        }
        self._settling, self._fresh = self._fresh, {}
        return settled

    # --- what is told ----------------------------------------------------------------------------

    def open_watch(self) -> Watch:
        """Begin to tell a stream; `close_watch` ends it."""
        watch = Watch()
        self._streams.add(watch)
        return watch

    def close_watch(self, watch: Watch) -> None:
        """The stream has ended; its notes go with the next change of their keys."""
        watch.closed = True
        self._streams.discard(watch)

    def watch(self, key: Key, sequence: int, watch: Watch) -> None:
        """Tell a stream once everything of a key up to a sequence is at the root.

        Args:
            key: a key the table holds.
            sequence: of a vector that was merged.
            watch: the stream; told at once where it is there already.
        """
        if key not in self._behind:
            watch.ready[key] = sequence
            return
        # What was merged now is followed by the newest vector of now, and by no older one for
        # sure: a clone's vector may have come in late under a lower sequence.
        wanted = self._table.rows.newest(key)
        others, own = [], []
        for each in self._watches.get(key, ()):
            if each.watch is watch:
                own.append(each)
            elif not each.watch.closed:
                others.append(each)
        # The one that waits longest stays, so that a key that never rests is told of too.
        self._watches[key] = (*others, *own[:1], _Wait(watch, sequence, wanted))

    def backlog(self) -> Backlog:
        """How far the root is behind; looks at every note."""
        since = min((note.since_ns for note in self._behind.values()), default=None)
        return Backlog(len(self._behind), since, len(self._refused))

    # --- inside ----------------------------------------------------------------------------------

    def _fall_behind(self, key: Key, before: Branches, branches: Branches, now_ns: int) -> None:
        if key not in self._behind:
            # It was at the root whole; of a fork nobody can say up to which sequence.
            root = before[0].sequence if len(before) == 1 else 0
            self._behind[key] = _Note(root, now_ns)
        if len(branches) > 1:
            note = self._behind[key]
            note.root, note.upstream, note.valid_from = 0, 0, _NOTHING_SENT
        self._refused.pop(key, None)
        self._waiting[key] = None

    def _take_back(self, key: Key) -> None:
        """Tell nobody of the root what was true before the fork; who was to be told waits again."""
        self._flight.pop(key, None)
        for watch in self._streams:
            sequence = watch.ready.pop(key, None)
            if sequence is not None:
                self.watch(key, sequence, watch)

    def _note_refused(self, key: Key, note: _Note, reason: str) -> bool:
        sent = self._flight.get(key)
        if sent is None or key in self._refused:
            return False
        # Not sent again unchanged; the root does not have it, so nobody is told that it has.
        note.upstream = max(note.upstream, sent)
        self._refused[key] = reason
        return True

    def _advance(self, key: Key, note: _Note, sequence: int) -> None:
        note.root = sequence
        if 0 < note.sent <= sequence:
            # What the root still lacks changed after that one was sent.
            note.sent, note.since_ns = 0, note.sent_ns
        if self._table.rows.newest(key) <= sequence:
            del self._behind[key]
            self._waiting.pop(key, None)
            self._fresh[key] = sequence
        left = []
        for each in self._watches.get(key, ()):
            if each.wanted > sequence:
                left.append(each)
            elif not each.watch.closed:
                ready = each.watch.ready
                ready[key] = max(each.sequence, ready.get(key, 0))
        if left:
            self._watches[key] = tuple(left)
        else:
            self._watches.pop(key, None)

    def _is_single(self, key: Key, sequence: int) -> bool:
        branches = self._table.branches(key)
        return len(branches) == 1 and branches[0].sequence == sequence


def _some(table: Mapping[_K, None], limit: int) -> list[_K]:
    return list(itertools.islice(table, limit))
