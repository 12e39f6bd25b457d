"""What a ledger is: durable newest vectors, declarations and transitions.

Owns: the Ledger protocol, its row types, and the rule that only a commit makes a thing true.
May touch: nothing; definitions only.
Called by the collector's committer, totals and alerts; implemented by ledger.sqlite and
ledger.postgres, which share ledger.tables.
One contract suite (tests/contract/) runs on every implementation.
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from flopmeter_core.claims import Claim
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import StorageError
from flopmeter_core.forecast import Outlook
from flopmeter_core.registers import Key, Vector
from flopmeter_core.reports import HourlyVector, LedgerPosition
from flopmeter_core.values import value_class


class LedgerBusyError(StorageError):
    """The ledger cannot take a commit just now: nothing of it happened, and a retry may help.

    The one failure after which a collector goes on with the same batch. Every other one leaves
    open what the disk holds.
    """


class LedgerUnreachableError(LedgerBusyError):
    """The ledger's server cannot be reached; a retry may help (EX_UNAVAILABLE)."""

    exit_code = 69


class LedgerWentBackError(LedgerBusyError):
    """The server may lack what it had stored: only a batch of all that is known may be next."""


class DeclaredSinceError(LedgerBusyError):
    """Something was declared that a batch knows nothing of: read it, and decide anew."""


class NotLeadingError(LedgerBusyError):
    """Another collector leads by now: what only the leader may record was not recorded."""


@value_class(frozen=True, slots=True)
class StoredVector:
    """One branch of a key's register. A second branch exists only after a fork.

    Attributes:
        key: whose register.
        branch: 0, or the number of a fork's further branch.
        sequence: sequence of the newest vector of this branch.
        vector: cumulative values.
        boot_ns: time since boot up to which it was read, as its writer said; None where that is
            not known. It goes on with the vector to an upstream collector; no ledger keeps it,
            because what a ledger holds was judged by it already.
    """

    key: Key
    branch: int
    sequence: int
    vector: Vector
    boot_ns: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class QuarantinedVector:
    """The newest vector of a key that cannot be true by its own content; no total holds it.

    Attributes:
        key: whose register.
        sequence: sequence of the vector.
        vector: cumulative values as they were sent.
        boot_ns: the boot time it was held against, in ns; None where that was not known.
        reason: what it breaks, in one sentence.
        quarantined_at_ns: Unix time in ns at which it came first: a label.
        released: sequence of the declaration that accepted it all the same; 0 while held.
    """

    key: Key
    sequence: int
    vector: Vector
    boot_ns: int | None
    reason: str
    quarantined_at_ns: int
    released: int = 0


@dataclass(frozen=True, slots=True)
class Declaration:
    """One dated, append-only statement of what readings mean.

    Attributes:
        sequence: its place in the ledger, from 1.
        declared_at_ns: Unix time in ns at which it was written: a label.
        author: who stated it.
        source: how it came in: ``cli``, ``scenario``, ``recording``.
        kind: what it states; ``run`` today (`flopmeter_collector.declarations`).
        subject: what it is about, for kind ``run`` the run's name.
        body: the statement's fields.
    """

    sequence: int
    declared_at_ns: int
    author: str
    source: str
    kind: str
    subject: str
    body: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act on the ledger's past, recorded for good.

    Attributes:
        sequence: its place in the ledger, from 1; 0 before it is recorded.
        recorded_at_ns: Unix time in ns: a label.
        author: who acted.
        reason: why, in that person's words; may be empty.
        action: what was done, such as ``recompute`` or ``quarantine release``.
        content: JSON of what the answer rests on, and the figures before and after.
        link: `audit_link` of the row before and this one; empty in rows of schema 4.
    """

    sequence: int
    recorded_at_ns: int
    author: str
    reason: str
    action: str
    content: str
    link: str = ""


def audit_link(before: str, row: AuditRow) -> str:
    """Chain one audit row to those before it: who changes, adds or removes one breaks the chain.

    Args:
        before: link of the row before, stored or computed; empty before the first row.
        row: its own link is left out.

    Returns:
        64 hexadecimal digits of SHA-256.
    """
    told = [row.sequence, row.recorded_at_ns, row.author, row.reason, row.action, row.content]
    return hashlib.sha256((before + "\n" + json.dumps(told)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a model's state against a threshold, recorded once.

    Attributes:
        sequence: its place in the ledger, from 1; 0 before it is recorded.
        model: the model's name.
        threshold: the threshold's id.
        before: the state it left.
        after: the state it entered: one of `core.catalogue.State`, or of `core.forecast.Outlook`.
        decided: whether lower..upper lay on one side.
        occurred_at_ns: Unix time in ns at which the totals were computed.
        commit_number: the commit that held the totals.
        figures: decimal strings of the bounds, and the method version.
        delivered: whether every receiver accepted the alert.
    """

    sequence: int
    model: str
    threshold: str
    before: str
    after: str
    decided: bool
    occurred_at_ns: int
    commit_number: int
    figures: Mapping[str, str] = field(default_factory=dict)
    delivered: bool = False

    @property
    def foresight(self) -> bool:
        """Whether it is about the forecast; otherwise about the figure itself."""
        return self.after in _OUTLOOKS


_OUTLOOKS = frozenset(Outlook)


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What a model's published totals were at one time.

    Attributes:
        model: the model's name.
        at_ns: Unix time in ns.
        totals: counting profile -> most likely FLOP; a profile that is missing has that of ``""``.
        revalued: whether the step to here is a correction and no work.
        basis: versions of the method and the device table the totals rest on.
    """

    model: str
    at_ns: int
    totals: Mapping[str, int]
    revalued: bool = False
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of an alert that a receiver accepted.

    Attributes:
        event: the event's name, from `alerts.lifecycle`.
        receiver: digest of the receiver's address.
        accepted_at_ns: Unix time in ns: a label.
    """

    event: str
    receiver: str
    accepted_at_ns: int


@value_class(frozen=True, slots=True)
class Coverage:
    """When an agent incarnation began to classify a device's time, as this collector saw it.

    How much it classified is in its registers. Every field only ever gets smaller.

    Attributes:
        incarnation: the agent's.
        device: the device instance.
        node: the node's name.
        boot_id: the boot the incarnation ran in; empty where it was never heard live.
        since_ns: time since boot at which it began; None where it was never heard live.
        anchor_ns: Unix time in ns of that boot's start by the collector's clock: the least of
            receipt less boot time over the incarnation's reports. None as `since_ns`.
        first_seen_ns: Unix time in ns at which the first vector of it was accepted.
        first_covered_ns: what it had classified then.
    """

    incarnation: str
    device: str
    node: str
    boot_id: str
    since_ns: int | None
    anchor_ns: int | None
    first_seen_ns: int
    first_covered_ns: int


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the ledger stood that this one is forwarded to.

    Attributes:
        position: as its collector said last.
        loss_count: how often it turned out to be another one, or to have gone back.
    """

    position: LedgerPosition
    loss_count: int


@dataclass(frozen=True, slots=True)
class RelayChanges:
    """What a commit of a ledger that is forwarded says of that.

    Attributes:
        upstream: where the upstream ledger stands; None says nothing new.
        lost: whether nothing may be trusted to be there any more: all hours go out again.
        at_root: keys of which the root has everything up to a sequence.
        forwarded_hours: hours the upstream collector has acknowledged.
        resent: how far old hours were sent again, as `HourPage.resent` said; None says nothing.
    """

    upstream: Upstream | None = None
    lost: bool = False
    at_root: Mapping[Key, int] = field(default_factory=dict)
    forwarded_hours: tuple[HourlyVector, ...] = ()
    resent: tuple[int | None, int | None] | None = None


@dataclass(frozen=True, slots=True)
class RelayRows:
    """What a ledger remembers of forwarding, for a start.

    Attributes:
        upstream: where the upstream ledger stood; None before the first contact.
        at_root: keys of which the root had everything up to a sequence.
    """

    upstream: Upstream | None = None
    at_root: Mapping[Key, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HourPage:
    """Hours to forward next.

    Attributes:
        hours: by key, oldest first.
        resent: for `RelayChanges.resent` where they are old ones; None for new ones.
    """

    hours: tuple[HourlyVector, ...]
    resent: tuple[int | None, int | None] | None


@value_class(frozen=True, slots=True)
class Batch:
    """What one commit makes durable, all of it or nothing.

    Attributes:
        records: device records by id; those of new keys have to be here or in the ledger already.
        vectors: every branch of each key that is named; branches left out are removed.
        declarations: get the next sequences, whatever they carry.
        transitions: get the next sequences; a commit number of 0 becomes that of this commit.
        delivered_transitions: sequences of transitions every receiver has accepted.
        deliveries: what single receivers accepted; one that is there already stays.
        history: rows that are added.
        audit: rows that are added to the audit log, in their order.
        hours: vectors at the ends of hours; of one key and hour the highest sequence stays.
        claims: newest counts of claim registers; they take the place of what is there.
        quarantined: one row a key, which takes the place of what is there.
        dropped_hours: keys and hours whose rows are removed, before `hours` are written.
        declared_to: sequence of the last declaration by which hours may be dropped; where there is
            a later one, nothing of the batch is stored. None where none is dropped.
        coverage: rows by incarnation and device, which take the place of what is there.
        relay: what becomes known of forwarding; not None on a ledger that is forwarded, so that
            its hours are (`RelayLedger`).
        whole: whether this holds all registers the collector knows, as it has to after
            LedgerWentBackError.
    """

    records: Mapping[str, DeviceRecord] = field(default_factory=dict)
    vectors: Sequence[StoredVector] = ()
    declarations: tuple[Declaration, ...] = ()
    transitions: tuple[Transition, ...] = ()
    delivered_transitions: tuple[int, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    hours: tuple[HourlyVector, ...] = ()
    claims: tuple[Claim, ...] = ()
    quarantined: tuple[QuarantinedVector, ...] = ()
    dropped_hours: tuple[tuple[Key, int], ...] = ()
    declared_to: int | None = None
    coverage: tuple[Coverage, ...] = ()
    relay: RelayChanges | None = None
    whole: bool = False


EMPTY = Batch()
"""Nothing to store."""


@value_class(frozen=True, slots=True)
class Foreign:
    """What other collectors on the same ledger committed.

    Attributes:
        position: everything up to this commit is in it, or was before.
        records: device records of the keys below.
        vectors: every branch of each key that changed.
        hours, claims, quarantined, coverage: rows that changed.
    """

    position: LedgerPosition
    records: Mapping[str, DeviceRecord] = field(default_factory=dict)
    vectors: tuple[StoredVector, ...] = ()
    hours: tuple[HourlyVector, ...] = ()
    claims: tuple[Claim, ...] = ()
    quarantined: tuple[QuarantinedVector, ...] = ()
    coverage: tuple[Coverage, ...] = ()


@value_class(frozen=True, slots=True)
class Part:
    """Some of a ledger's registers.

    Attributes:
        records: device records of their keys by id, but for those that the reader knows already.
        vectors: all branches of each key, in key order.
        last: the number of the last key; None where no key is left.
    """

    records: Mapping[str, DeviceRecord]
    vectors: Sequence[StoredVector]
    last: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the storage's settings give or fail to give.

    Attributes:
        setting: its name, in the words of the storage.
        found: its value.
        good: whether the promise holds with it; None where it cannot be known from here.
        told: what it gives, or what is lost without it and what to do, in one sentence.
    """

    setting: str
    found: str
    good: bool | None
    told: str


class Ledger(Protocol):
    """Durable storage. All calls are made from one thread at a time.

    Every call raises StorageError, with a sentence saying what to do, when the disk or the
    server fails; nothing of the call has then happened. A commit that another process' lock or a
    server's absence prevents raises LedgerBusyError, and the ledger stays usable.
    """

    @property
    def simulated(self) -> bool:
        """Whether this ledger was created for simulated readings; it refuses the other kind."""

    def position(self) -> LedgerPosition:
        """Identity, generation and number of the last commit."""

    @property
    def shared(self) -> bool:
        """Whether several collectors may hold this ledger at a time."""

    def commit(self, batch: Batch) -> LedgerPosition:
        """Make a batch durable (synced) and return the position that holds it.

        On a shared ledger a row that another collector wrote is merged with, never replaced by,
        what the batch says of it; and transitions and history are recorded by the leader only
        (else NotLeadingError, and nothing of the batch is). Nothing of a batch is stored either
        where something was declared after its `declared_to` (DeclaredSinceError).
        """

    @property
    def unsettled(self) -> bool:
        """Whether a commit will soon take longer, unless `settle` is called before."""

    @property
    def unsure(self) -> bool:
        """Whether it may lack what was committed here: the next commit, empty or not, tells."""

    def settle(self) -> None:
        """Do between two commits what the next ones would do while their answers wait."""

    def lead(self) -> int:
        """Whether this collector evaluates and exports for all; tries to become it when not.

        At most one collector of a ledger leads at a time, and it leads until its session ends.

        Returns:
            0 where another collector leads. Otherwise a number, another one each time this one
            becomes the leader: who lost that unseen and won it back has to read what was recorded.
        """

    def leader(self) -> str:
        """Who leads, in words for a person; empty where nobody does."""

    def foreign(self) -> Foreign:
        """What other collectors committed since this, `vectors` or `begin_parts` was called."""

    def consistent(self) -> contextlib.AbstractContextManager[None]:
        """Everything read inside the block is of one commit, whatever others write meanwhile."""

    def records(self) -> Mapping[str, DeviceRecord]:
        """All device records by id."""

    def vectors(self) -> Iterable[StoredVector]:
        """All branches of all keys, in key order."""

    def begin_parts(self) -> int:
        """How many keys there are; `foreign` goes on from here, as from `vectors`."""

    def part(self, *, after: int, limit: int, known: Container[str]) -> Part:
        """The registers of the next keys by number, as they are now.

        Args:
            after: the number of the key before; 0 begins.
            limit: of so many keys.
            known: ids of records that need not be read.
        """

    def part_of(self, nodes: Iterable[str], known: Container[str]) -> Part:
        """All registers of these nodes, as they are now; `known` as in `part`."""

    def quarantined_nodes(self) -> Iterable[str]:
        """The nodes of which any vector is or was quarantined."""

    def coverage_part(self, *, after: tuple[str, str] | None, limit: int) -> Sequence[Coverage]:
        """The next rows by incarnation and device after those of one; None begins."""

    def hours(self, allocation: str) -> Iterable[HourlyVector]:
        """Vectors at the ends of hours of all keys of an allocation, by key, oldest first."""

    def hour_count(self, record_ids: Iterable[str]) -> int:
        """How many hourly vectors there are of keys that name these device records."""

    def allocations(self) -> Iterable[str]:
        """Every allocation that any key names, in order."""

    def quarantined(self) -> Iterable[QuarantinedVector]:
        """Every quarantined vector, in key order; released ones too."""

    def claims(self) -> Iterable[Claim]:
        """All claim registers, in key order."""

    def coverage(self) -> Iterable[Coverage]:
        """When each incarnation began to classify each device, by incarnation and device."""

    def declarations(self, *, after: int = 0) -> Iterable[Declaration]:
        """Declarations with a sequence above `after`, oldest first."""

    def audit(self) -> Iterable[AuditRow]:
        """The audit log, oldest first."""

    def newest_audit(self, author: str, action: str) -> AuditRow | None:
        """The newest row of the audit log that an author wrote of an action; None of none."""

    def numbered(self) -> Mapping[str, int]:
        """Of each kind of row that is only added, by its table, the last number that was given."""

    def transitions(self, *, after: int = 0) -> Iterable[Transition]:
        """Recorded transitions with a sequence above `after`, oldest first."""

    def history(self, *, since_ns: int = 0) -> Iterable[HistoryRow]:
        """Published totals of models from a time on, oldest first."""

    def deliveries(self) -> Iterable[Delivery]:
        """Everything a receiver accepted."""

    def damage(self) -> Iterable[str]:
        """What the storage itself finds damaged, in one sentence each; empty when nothing is."""

    def close(self) -> None:
        """Release the storage."""


@runtime_checkable
class RelayLedger(Ledger, Protocol):
    """A ledger that can be forwarded to another collector."""

    def relay_rows(self) -> RelayRows:
        """What it remembers of forwarding."""

    def hours_to_forward(self, limit: int, kept: Set[tuple[Key, int]] = frozenset()) -> HourPage:
        """The next hours to forward, at most `limit`, without those (key, hour) that are kept."""

    def forget_upstream(self) -> None:
        """Nobody forwards this ledger any more: what it remembers of that is removed."""
