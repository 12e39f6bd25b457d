"""The way in: every vector, from whatever call, is admitted, merged and then made durable here.

Owns: the order admit -> merge -> commit -> answer, and what is remembered of each node.
May touch: the register table and the committer it is given; the injected clock for a label.
Called by the collector's service; read by its metrics.
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flopmeter_collector.admit import BOOT_SLACK_NS, check_kind, refusal
from flopmeter_collector.branches import Outcome
from flopmeter_collector.commit import Committer
from flopmeter_collector.doubts import Doubts, Listener
from flopmeter_collector.held_rows import HeldRows
from flopmeter_collector.limits import HourCounts
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.sightings import Sighting
from flopmeter_core.allocations import boundary_parties
from flopmeter_core.batches import RelayedNode
from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key
from flopmeter_core.reports import Doubt, Held, Hello, HourlyVector, KeyedVector, LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_core.writers import fingerprint, key_digest, mark_of
from flopmeter_proto.daemon.clock import Clock

MAXIMUM_NODES = 250_000
"""Nodes remembered for metrics; more are still collected, only not shown."""

MAXIMUM_DISPLAY_ESTIMATES = 256
"""Estimates of an agent remembered for display."""

RESTED_NS = NS_PER_S
"""An agent that was silent for so long is one of many that report now and then."""

Refusals = dict[Key, str]
"""Why vectors were not taken, in one sentence each."""


@dataclass(slots=True)
class NodeStatus:
    """What is known of a node's agent; labels, nothing here enters a figure.

    Attributes:
        hello: what it said of itself, to this collector or to a relay; None where nobody told.
        last_report_ns: Unix time in ns of its last report at this collector; 0 before the first.
        display_flop: its own best estimate by allocation, for display only.
        streams: open streams.
    """

    hello: Hello | None = None
    last_report_ns: int = 0
    display_flop: Mapping[str, int] = field(default_factory=dict)
    streams: int = 0


@dataclass(slots=True)
class IntakeCounts:
    """How much came in since the start; the outcomes of merges are in the register table."""

    reports: int = 0
    batches: int = 0
    acknowledged_vectors: int = 0
    refused_vectors: int = 0
    quarantined_vectors: int = 0
    refused_hours: int = 0
    refused_streams: int = 0
    open_streams: int = 0


class Intake:
    """Takes vectors in, on the event loop."""

    def __init__(
        self,
        table: RegisterTable,
        committer: Committer,
        clock: Clock,
        *,
        simulated: bool,
        ledger_id: str,
        load: Callable[[Iterable[str]], Awaitable[None]] | None = None,
        catch_up: Callable[[], Awaitable[None]] | None = None,
        hours: HourCounts | None = None,
    ) -> None:
        """Prepare.

        Args:
            table: where vectors are merged.
            committer: makes the merged ones durable.
            clock: stamps a node's last report.
            simulated: the kind of readings the ledger keeps.
            ledger_id: the ledger's identity.
            load: has all registers of some nodes in the table; None where everything is.
            catch_up: takes in what other collectors committed; None where there are none.
            hours: how many hours a node may have; the default where None.
        """
        self.ledger_id = ledger_id
        self._table = table
        self._committer = committer
        self._rested_count = 0
        self._clock = clock
        self._hours = hours or HourCounts()
        self._simulated = simulated
        self._load = load
        self._catch_up = catch_up
        self.counts = IntakeCounts()
        self.nodes: dict[str, NodeStatus] = {}

    def check_sender(self, *, simulated: bool, sender: str) -> None:
        """Refuse a sender of the other kind.

        Args:
            simulated: whether its readings are made up.
            sender: its name, for the sentence.

        Raises:
            NotPermittedError: its readings are of the other kind than the ledger's.
        """
        check_kind(simulated=simulated, ledger_simulated=self._simulated, sender=sender)

    def open_stream(self, hello: Hello) -> None:
        """Let a sender in.

        Raises:
            NotPermittedError: its readings are of the other kind than the ledger's.
        """
        self.check_sender(simulated=hello.simulated, sender=f"node {hello.node}")
        self.counts.open_streams += 1
        status = self.nodes.get(hello.node, NodeStatus())
        self._remember(hello.node, replace(status, hello=hello, streams=status.streams + 1))

    def close_stream(self, hello: Hello) -> None:
        """Note the end of a stream that `open_stream` let in."""
        self.counts.open_streams -= 1
        status = self.nodes.get(hello.node)
        if status is not None:
            self._remember(hello.node, replace(status, streams=status.streams - 1))

    def seen(self, node: str, display_flop: Mapping[str, int] | None = None) -> None:
        """Note that a node reported, and what it estimates itself where it said so."""
        status = self.nodes.get(node)
        if status is None:
            status = NodeStatus()
            self._remember(node, status)
        if display_flop is not None and len(display_flop) <= MAXIMUM_DISPLAY_ESTIMATES:
            status.display_flop = display_flop
        now_ns = self._clock.wall_ns()
        # Of a node too many nobody knows when it reported last; it may have been just now.
        if node in self.nodes:
            self._rested_count += now_ns - status.last_report_ns >= RESTED_NS
        status.last_report_ns = now_ns

    def relayed(self, node: RelayedNode) -> None:
        """Note what a relay knows of a node that may report to several."""
        name = node.hello.node
        status = self.nodes.get(name, NodeStatus())
        reported_ns = max(0, self._clock.wall_ns() - node.silent_ns)
        if reported_ns < status.last_report_ns:
            return
        shown = node.display_flop if len(node.display_flop) <= MAXIMUM_DISPLAY_ESTIMATES else {}
        changed = replace(status, hello=node.hello, last_report_ns=reported_ns, display_flop=shown)
        self._remember(name, changed)

    def check_records(self, records: Iterable[DeviceRecord]) -> None:
        """Refuse devices of the other kind, whatever the sender said of itself.

        Raises:
            NotPermittedError: readings of the other kind than the ledger's.
        """
        for record in records:
            if record.simulated != self._simulated:
                check_kind(
                    simulated=record.simulated,
                    ledger_simulated=self._simulated,
                    sender=f"device {record.device} of node {record.node}",
                )

    def note_live(self, hello: Hello, boot_ns: int) -> None:
        """Note when a running incarnation reported, after its vectors were merged.

        Args:
            hello: the sender.
            boot_ns: time since boot of the report.
        """
        self._table.sightings.note_live(
            hello.incarnation,
            Sighting(hello.node, hello.boot_id, boot_ns, self._clock.wall_ns()),
        )

    def merge(
        self,
        keyed: KeyedVector,
        record: DeviceRecord,
        *,
        boot_ns: int | None,
        refused: Refusals,
        quarantined: Refusals,
        stranger: str = "",
    ) -> Outcome | None:
        """Admit and merge one vector, or quarantine it.

        Args:
            keyed: the vector.
            record: the device record its key names.
            boot_ns: the boot time it has to fit into where it does not say that itself; None
                where nobody does.
            refused: gets the reason when it is not taken.
            quarantined: gets the reason when it is kept apart as untrue.
            stranger: why its sender may not report for the record's node; empty where it may.

        Returns:
            What became of it; None when it is not in the registers. After CONTESTED it is not
            either, and its sender has to be told what is (`beside`).
        """
        full = stranger or self._table.refusal(keyed.key, record)
        if full:
            self.counts.refused_vectors += 1
            refused[keyed.key] = full
            return None
        if keyed.boot_ns is None:
            # Of an older sender: the same vector may have come with a boot time before.
            known_ns = self._table.quarantine.boot_ns_of(keyed) if boot_ns is None else boot_ns
            keyed = replace(keyed, boot_ns=known_ns)
        boot_ns = keyed.boot_ns
        shared = boundary_parties(keyed.key.allocation) is not None
        reason = refusal(keyed.vector, record, boot_ns=boot_ns, boundary=shared)
        if reason and not self._table.quarantine.was_released(keyed):
            now_ns = self._clock.wall_ns()
            if self._table.hold(keyed, record, boot_ns=boot_ns, reason=reason, at_ns=now_ns):
                self.counts.quarantined_vectors += 1
                quarantined[keyed.key] = reason
                return None
            reason += "; its node has too many quarantined keys already to keep this one"
        else:
            outcome = self._table.merge(keyed, record)
            if outcome is Outcome.CONTESTED:
                return outcome
            if outcome is not Outcome.REFUSED_FORK:
                if outcome is Outcome.NEW:
                    self._table.newcomers.meet(keyed.key, record, self._clock.wall_ns())
                self._table.sightings.note_read(keyed)
                return outcome
            reason = (
                "too many writers use this key with contradicting values; restart the agents of "
                f"device {record.device}, each with a state folder of its own"
            )
        self.counts.refused_vectors += 1
        refused[keyed.key] = reason
        return None

    def grow(
        self, places: array[int], came: array[int], follows: Mapping[int, Sequence[int]]
    ) -> bool:
        """Merge vectors of an agent that are usual, all or none; as `RegisterTable.grow`."""
        return self._table.grow(places, came, follows)

    def grow_usual(self, places: array[int], came: array[int], stream: int) -> bytearray:
        """Merge those vectors of a relay that are usual; as `RegisterTable.grow_usual`."""
        return self._table.grow_usual(places, came, stream)

    @property
    def rows(self) -> HeldRows:
        """The registers."""
        return self._table.rows

    def beside(self, keyed: KeyedVector) -> Held | None:
        """What is held of a key that stands above a vector, or was not to be replaced by it."""
        return self._table.beside(keyed)

    def is_forked(self, key: Key) -> bool:
        """Whether a key has several branches."""
        return len(self.rows.branches(key)) > 1

    @property
    def doubts(self) -> Doubts:
        """What may be another writer's, for streams of the same node."""
        return self._table.doubts

    def doubt(self, keyed: KeyedVector, node: str, source: Listener, *, late: bool) -> None:
        """Have others asked whether they wrote a vector.

        Args:
            keyed: the vector, of a key that is not forked: a fork is known already.
            node: of its device record.
            source: the stream that it came on.
            late: as of `Doubts.note`.
        """
        if not mark_of(keyed.sequence):
            held = Held(keyed.sequence, fingerprint(keyed.sequence, keyed.vector))
            self.doubts.note(Doubt(node, key_digest(keyed.key), held), source, late=late)

    async def know(
        self,
        records: Mapping[str, DeviceRecord],
        vectors: Iterable[KeyedVector],
        hours: Iterable[HourlyVector],
    ) -> None:
        """Have in the table what a message is held against; comes before anything of it is merged.

        After a restart that is what the ledger holds of its nodes. Where other collectors share
        the ledger it is what they were told of the keys of its hours as well: an hour is judged by
        the newest vector of its key, and a sender that comes from another collector does not tell
        it again.

        Args:
            records: those of the message, by their ids.
            vectors: those of the same message, not merged yet.
            hours: those of the message.

        Raises:
            StorageError: the ledger cannot be read.
        """
        if self._load is not None:
            await self._load({record.node for record in records.values()})
        if self._catch_up is None:
            return
        coming = {keyed.key: keyed.sequence for keyed in vectors}
        for hourly in hours:
            held = (stored.sequence for stored in self._table.branches(hourly.key))
            if hourly.sequence > max(coming.get(hourly.key, 0), *held, 0):
                await self._catch_up()
                return

    async def count_hours(
        self, records: Mapping[str, DeviceRecord], hours: Iterable[HourlyVector]
    ) -> None:
        """Count a node's hours in the ledger, where those of a report may be too many.

        Args:
            records: of the report, by their ids.
            hours: what it brings.
        """
        now_ns = self._clock.monotonic_ns()
        coming = Counter(records[hourly.key.record].node for hourly in hours)
        for node, count in coming.items():
            if self._hours.is_due(node, count, now_ns):
                self._hours.note(node, await self._counted_hours(node), now_ns)

    async def _counted_hours(self, node: str) -> int:
        record_ids = self._table.records_of(node)
        return await self._committer.read(lambda ledger: ledger.hour_count(record_ids))

    def merge_hour(
        self,
        hourly: HourlyVector,
        record: DeviceRecord,
        *,
        boot_ns: int | None,
        refused: dict[tuple[Key, int], str],
        stranger: str = "",
    ) -> None:
        """Admit and take one hourly vector, after the newest vectors of its report.

        Args:
            hourly: the vector at the end of an hour.
            record: the device record its key names.
            boot_ns: boot time of the sender where the hour is of the running boot, else None.
            refused: gets the reason when it is not taken.
            stranger: why its sender may not report for the record's node; empty where it may.
        """
        shared = boundary_parties(hourly.key.allocation) is not None
        reason = refusal(hourly.vector, record, boot_ns=hourly.boot_ns, boundary=shared)
        if boot_ns is not None and hourly.boot_ns > boot_ns + BOOT_SLACK_NS:
            reason = (
                f"hour {hourly.hour} of device {hourly.key.device} is not over yet by the report's "
                "own boot time; check the node's clock and restart its agent"
            )
        hours = self._hours
        reason = stranger or reason or hours.refusal(record.node) or self._table.merge_hour(hourly)
        if not reason:
            hours.add(record.node)
        else:
            self.counts.refused_hours += 1
            refused[hourly.key, hourly.hour] = reason

    def is_nearly_full(self, node: str) -> bool:
        """Whether the agent of a node should register further users as one."""
        return self._table.counts.is_nearly_full(node)

    def merge_claims(self, claims: Iterable[Claim]) -> dict[ClaimKey, str]:
        """Merge what training processes claim; returns why claims were not taken."""
        reasons = {claim.key: self._table.claims.merge(claim) for claim in claims}
        return {key: reason for key, reason in reasons.items() if reason}

    async def durable(self, accepted: int) -> LedgerPosition:
        """Wait until everything merged so far is committed.

        Args:
            accepted: how many vectors the caller will acknowledge then.

        Raises:
            StorageError: it was not; nothing may be acknowledged.
        """
        rested_count, self._rested_count = self._rested_count, 0
        position = await self._committer.durable(rested=rested_count)
        self.counts.acknowledged_vectors += accepted
        return position

    def _remember(self, node: str, status: NodeStatus) -> None:
        if node in self.nodes or len(self.nodes) < MAXIMUM_NODES:
            self.nodes[node] = status
