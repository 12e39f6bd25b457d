"""Watches everything the production code promises, and says so the moment a promise is broken.

Owns: what was journaled, made durable, sent and acknowledged, key by key.
May touch: nothing of the world; it is told, and only looks.
Called by node (samples, reports, answers, restarts), site (restarts) and world (the end); beside it
`history` knows who wrote what, and `ledgers` what was committed.

Every vector the agents journal is remembered by key and sequence. The ledger may hold nothing else,
an answer may acknowledge nothing the ledger lacks, a report may carry nothing a power cut could
still take, and each node's registers with their carries add up to the readings exactly (`truth`).
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flopmeter.lab.simulation.disk import Content
from flopmeter.lab.simulation.history import History, Written
from flopmeter.lab.simulation.ledgers import ROOT, Ledgers
from flopmeter.lab.simulation.truth import SILENT_PERIODS, Round, Truth, total
from flopmeter_agent.accumulate import CarryOwner
from flopmeter_agent.loop import AgentLoop
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.readings import Reading
from flopmeter_core.registers import (
    COMPONENT_COUNT,
    SUBUNITS,
    ZERO_VECTOR,
    Component,
    Key,
    Register,
    covered_ns,
)
from flopmeter_core.reports import Acknowledgement, Answer, Durability, Report
from flopmeter_core.writers import mark_of, unmarked

KEPT_SNAPSHOTS = 64
"""States of one node that a restart may come back to; more are unsynced only on a broken disk."""


@dataclass(slots=True)
class Snapshot:
    """A node as its journal held it after one round.

    Attributes:
        write: number of the journal file's write that made it.
        sequences: newest sequence by key.
        truth: the account of the readings up to there.
        boot_id: the boot it was in.
        certain: whether the write ended; one that its process died in may be there whole, or not.
    """

    write: int
    sequences: dict[Key, int]
    truth: Truth
    boot_id: str
    certain: bool = True


REMEMBERED = 2
"""Incarnations of which an agent knows what it wrote: the running one and the one before it."""

Image = tuple[Snapshot, ...]
"""What a copy of a disk may be read as."""


class Held(NamedTuple):
    """A register as it was looked at: its content, and what that is in sub-units."""

    units: list[int]
    carry: list[int]
    amounts: list[int]


@dataclass(slots=True)
class Watched:
    """One node as the oracle knows it."""

    truth: Truth = field(default_factory=Truth)
    sequences: dict[Key, int] = field(default_factory=dict)
    incarnation: str = ""
    wrote: list[str] = field(default_factory=list)
    """The incarnations of the running process."""
    closed: dict[str, list[int]] = field(default_factory=dict)
    opened: dict[Key, Held] = field(default_factory=dict)
    """What was found in the registers of the incarnation at the last look."""
    sums: dict[str, list[int]] = field(default_factory=dict)
    """What they and the closed ones add up to, in sub-units by device."""
    carries: dict[CarryOwner, list[int]] = field(default_factory=dict)
    carried: dict[str, list[int]] = field(default_factory=dict)
    """What waits for a successor of closed registers, one by one and by device."""
    snapshots: deque[Snapshot] = field(default_factory=lambda: deque(maxlen=KEPT_SNAPSHOTS))
    survives: Snapshot | None = None
    flight: dict[str, int] = field(default_factory=dict)
    """Device time that no reading covered as the process ended, in ns; lost if none comes to."""
    unread: bool = False
    """Whether the power was cut and no process has said since what it found."""

    def possible(self) -> tuple[Snapshot, ...]:
        """What the disk may be read as now: the newest state that is certain, and those after."""
        newest: list[Snapshot] = []
        for snapshot in reversed(self.snapshots):
            newest.append(snapshot)
            if snapshot.certain:
                break
        return tuple(reversed(newest))


class Oracle:
    """Knows what is true."""

    def __init__(self, now_ns: Callable[[], int], *, period_ns: int) -> None:
        """Begin with nothing.

        Args:
            now_ns: simulated time, for the sentence of a violation.
            period_ns: the sampling period.
        """
        self.violations: list[str] = []
        self.nodes: dict[str, Watched] = {}
        self.in_flight_lost_ns = 0
        self.reverted_ns = 0
        self._now_ns = now_ns
        self._period_ns = period_ns
        self.history = History()
        self.ledgers = Ledgers(self.history, self.violation)
        self._acknowledged: dict[Key, int] = {}
        self._given_up: dict[Key, int] = {}

    def violation(self, sentence: str) -> None:
        """A promise is broken."""
        self.violations.append(f"at {self._now_ns() / 1e9:.3f} s: {sentence}")

    # --- the agents -------------------------------------------------------------------------------

    def started(self, node: str, loop: AgentLoop, boot_id: str) -> None:
        """An agent has read its journal: it must hold one of the states it may hold."""
        watched = self.nodes.setdefault(node, Watched())
        watched.unread = False
        held = loop.held()
        found = self._find(watched, held)
        if found is None:
            if watched.survives is not None:
                self.violation(f"the agent of {node} found a state that it must not come back to")
            return
        newest = found if found in watched.possible() else watched.possible()[0]
        while watched.snapshots[-1] is not found:
            watched.snapshots.pop()
        self.in_flight_lost_ns += self._lose(node, newest, found)
        watched.truth = found.truth.copy()
        if found.boot_id != boot_id:
            watched.truth.devices.clear()
            self._land(watched, {}, boot=True)
        watched.sequences = dict(found.sequences)
        for key in found.sequences:
            written = self.history.vector(key, found.sequences[key], node)
            register = held.get(key)
            if register is not None and register.vector != written:
                self.violation(f"the journal of {node} garbled a register of {key.device}")
        # A process that stopped by itself has forgotten what it wrote as well.
        self.history.ended.update((node, each) for each in watched.wrote)
        watched.wrote.clear()
        watched.incarnation = ""

    def crashed(self, node: str, content: Content | None, monotonic_ns: int) -> None:
        """An agent's process ended.

        Args:
            node: its node.
            content: the journal's file when the power was cut; None when only the process ended.
            monotonic_ns: when, on the node's clock.
        """
        watched = self.nodes.get(node)
        if watched is not None:
            self.history.ended.update((node, each) for each in watched.wrote)
            if content is not None:
                self._cut(node, watched)
        if watched is not None and not watched.unread:
            self._take_off(watched, monotonic_ns)
        if watched is None or not watched.snapshots or watched.unread:
            # A process that ends before it has read its journal changes nothing of what was left.
            return
        watched.unread = content is not None
        durable = [
            snapshot
            for snapshot in watched.snapshots
            if snapshot.certain and (content is None or content.is_durable(snapshot.write))
        ]
        watched.survives = durable[-1] if durable else watched.survives

    def imaged(self, node: str) -> Image:
        """A node's disk was copied as it is read now; returns what is on the copy."""
        watched = self.nodes.get(node)
        return watched.possible() if watched is not None else ()

    def reverted(self, node: str, image: Image) -> None:
        """A node's disk is that of an image again."""
        watched = self.nodes.get(node)
        if watched is None:
            return
        newest = watched.possible()
        self._cut(node, watched)
        watched.unread = True
        watched.snapshots.clear()
        watched.survives = image[0] if image else None
        watched.sequences = dict(image[0].sequences) if image else {}
        if newest:
            self.reverted_ns += self._lose(node, newest[0], watched.survives)
        watched.snapshots.extend(image)

    def cloned(self, twin: str, origin: str, image: Image) -> None:
        """Another node begins with an image of one."""
        self.history.copied(twin, origin)
        watched = self.nodes.setdefault(twin, Watched())
        watched.survives = image[0] if image else None
        watched.snapshots.extend(image)

    def sampled(
        self,
        node: str,
        loop: AgentLoop,
        seen: Round,
        *,
        kept: int | None,
        boot_id: str,
        certain: bool = True,
    ) -> None:
        """A round was sampled: registers and readings have to agree.

        Args:
            node: the node.
            loop: its agent.
            seen: what the round saw.
            kept: number of the journal's write that holds it; None when it could not be written.
            boot_id: the present boot.
            certain: False when the process died in that write.
        """
        watched = self.nodes[node]
        if watched.flight:
            self._land(watched, {reading.device: reading for reading in seen.readings})
        watched.truth.take(seen, self._period_ns)
        self._check_sums(node, watched, loop)
        if kept is None:
            return
        sequences = dict(watched.sequences)
        for key, register in loop.accumulator.registers.items():
            if register.sequence != sequences.get(key, 0):
                sequences[key] = register.sequence
                self.history.note(node, key, register.sequence, Written(register.vector, kept))
        if certain:
            watched.sequences = sequences
        watched.snapshots.append(Snapshot(kept, sequences, watched.truth.copy(), boot_id, certain))

    def sends(self, node: str, report: Report, *, journal: Content, closed: Content) -> None:
        """A report is about to leave a node: all of it has to be durable there.

        Args:
            node: who sends.
            report: what it sends.
            journal: the file of what is open.
            closed: the file of what incarnations that ended have left.
        """
        running = self.nodes[node].incarnation
        for keyed in report.vectors:
            if mark_of(keyed.sequence) and keyed.key not in self.history.shared:
                self.violation(f"{node} takes its own {keyed.key.device} for another writer's")
            written = self.history.by(node, keyed.key, keyed.sequence)
            if written is None or written.vector != keyed.vector:
                self.violation(f"{node} sends a vector of {keyed.key.device} it never journaled")
                continue
            if keyed.key.incarnation == running:
                durable = journal.is_durable(written.write)
            else:
                durable = closed.is_durable(closed.writes)
            if not durable:
                self.violation(f"{node} sends a vector of {keyed.key.device} before it is synced")

    def answered(self, node: str, answer: Answer, by: str, index: int) -> None:
        """An answer has come: what it acknowledges was in the ledger when it was sent.

        Args:
            node: who reads it.
            answer: what the collector said.
            by: the ledger of the collector that said it.
            index: how many commits were durable when it said so.
        """
        for ack in answer.acknowledgements:
            key = ack.key
            if ack.durability is Durability.CONTESTED:
                continue
            if ack.durability in (Durability.REFUSED, Durability.QUARANTINED):
                self.violation(f"a true vector of {key.device} was not taken: {ack.reason}")
                continue
            if key not in self.history.shared and not self._is_true(ack, by, index):
                self.violation(
                    f"{node} got sequence {ack.sequence} of a key of {key.device} "
                    f"acknowledged by {by} before its commit"
                )
            if ack.durability is Durability.AT_ROOT:
                newest = max(ack.sequence, self._acknowledged.get(key, 0))
                self._acknowledged[key] = newest

    def _is_true(self, ack: Acknowledgement, by: str, index: int) -> bool:
        """Whether what an answer says was committed when it was sent.

        What a relay says of the root was true once: if the root went back since, the relay tells
        its senders so as soon as it hears of it.
        """
        if ack.durability is Durability.AT_ROOT and by != ROOT:
            return self.ledgers.was_held(ROOT, ack.key, ack.sequence, index)
        return self.ledgers.held_at(by, ack.key, index) >= ack.sequence

    # --- the collectors ---------------------------------------------------------------------------

    def opened(self, ledger: str, vectors: Iterable[StoredVector], *, restored: bool) -> None:
        """A collector has opened a ledger, its own or one that was put in its place."""
        self.ledgers.opened(ledger, vectors, restored=restored)
        if restored:
            kept = self._kept()
            for key in self._given_up:
                self._forgive(key, kept.get(key, 0))

    # --- the end ----------------------------------------------------------------------------------

    def truth_units(self) -> tuple[int, ...]:
        """Everything journaled that no crash took, in whole units by component.

        Keys that a clone wrote too are left out: `clones.judge` holds them to their bounds.
        """
        return total(
            [self.history.vector(key, sequence) for key, sequence in self._expected().items()]
        )

    def settle(self, ledger: Mapping[Key, tuple[StoredVector, ...]]) -> tuple[int, int]:
        """Compare the root's ledger with the truth, key by key, but for those of clones.

        Returns:
            How many acknowledged vectors are missing, and units counted beyond the truth.
        """
        missing, beyond = 0, 0
        expected = self._expected()
        others = [key for key in ledger if key not in expected and key not in self.history.shared]
        for key in [*expected, *others]:
            branches = ledger.get(key, ())
            sequence = branches[-1].sequence if branches else 0
            if sequence < self._acknowledged.get(key, 0):
                missing += 1
                self.violation(f"an acknowledged vector of {key.device} is not in the ledger")
            wanted = expected.get(key, 0)
            if sequence < wanted:
                self.violation(
                    f"the ledger holds sequence {sequence} of a key of {key.device}, not {wanted}"
                )
            truth = self.history.vector(key, wanted)
            vector = branches[-1].vector if branches else ZERO_VECTOR
            beyond += sum(max(0, a - b) for a, b in zip(vector, truth, strict=True))
        return missing, beyond

    def forget(self) -> None:
        """Let go of everything: what goes by itself no search for garbage has to look at."""
        self.nodes.clear()
        self.history = History()
        self.ledgers = Ledgers(self.history, self.violation)

    # --- inside -----------------------------------------------------------------------------------

    def _cut(self, node: str, watched: Watched) -> None:
        """Nobody can say any more whether what its disk holds was all there was."""
        self.history.cut.update((node, key.incarnation) for key in watched.sequences)

    def _forgive(self, key: Key, held: int) -> None:
        """Both the ledgers and the agent were put back: what none has is lost by that."""
        left = max(self.ledgers.held_anywhere(key), held)
        if self._acknowledged.get(key, 0) > left:
            self._acknowledged[key] = left

    def _expected(self) -> dict[Key, int]:
        """The newest sequence of each key that has to be in the root's ledger at the end."""
        expected = self._kept()
        # What a node lost after it was committed anywhere stays counted.
        for key, sequence in self._given_up.items():
            arrived = min(sequence, self.ledgers.held_anywhere(key))
            if arrived > expected.get(key, 0):
                expected[key] = arrived
        return {key: at for key, at in expected.items() if key not in self.history.shared}

    def _kept(self) -> dict[Key, int]:
        """The newest sequence of each key that some node still has."""
        kept: dict[Key, int] = {}
        for watched in self.nodes.values():
            for key, sequence in watched.sequences.items():
                kept[key] = max(sequence, kept.get(key, 0))
        return kept

    def _find(self, watched: Watched, held: Mapping[Key, Register]) -> Snapshot | None:
        """The newest state that agrees with what an agent holds."""
        for snapshot in reversed(watched.snapshots):
            known = all(
                key in snapshot.sequences and snapshot.sequences[key] == unmarked(register.sequence)
                for key, register in held.items()
            )
            if known and all(
                key in held or self._acknowledged.get(key, 0) >= sequence
                for key, sequence in snapshot.sequences.items()
            ):
                return snapshot
            if snapshot is watched.survives:
                return None
        return None

    def _lose(self, node: str, newest: Snapshot, found: Snapshot | None) -> int:
        """Note what was journaled and is gone; returns its device time in ns."""
        gone_ns = 0
        for key, sequence in newest.sequences.items():
            kept = found.sequences.get(key, 0) if found is not None else 0
            if kept < sequence:
                before = self.history.vector(key, kept, node)
                gone_ns += covered_ns(self.history.vector(key, sequence, node)) - covered_ns(before)
                self._given_up[key] = max(sequence, self._given_up.get(key, 0))
                self._forgive(key, kept)
        return gone_ns

    def _take_off(self, watched: Watched, monotonic_ns: int) -> None:
        """Note what no reading has covered yet: a sampling period at most."""
        for name, device in watched.truth.devices.items():
            if device.reading is not None:
                open_ns = monotonic_ns - device.reading.monotonic_ns
                watched.flight.setdefault(name, max(0, min(open_ns, self._period_ns)))

    def _land(
        self, watched: Watched, readings: Mapping[str, Reading], *, boot: bool = False
    ) -> None:
        """Count what was in flight as lost, unless a reading covers it after all.

        Counters that are cumulative cover any time of one boot; a sample covers two periods.
        """
        for name in list(watched.flight):
            reading = readings.get(name)
            if not boot and reading is None:
                continue
            device = watched.truth.devices.get(name)
            before = device.reading if device is not None else None
            lost_ns = watched.flight.pop(name)
            if boot:
                self.in_flight_lost_ns += lost_ns
            elif reading is not None and before is not None and not reading.cycles:
                apart_ns = reading.monotonic_ns - before.monotonic_ns
                if apart_ns > SILENT_PERIODS * self._period_ns:
                    self.in_flight_lost_ns += lost_ns

    def _sum(self, node: str, sequences: Mapping[Key, int]) -> dict[str, list[int]]:
        """Sub-units by device of whole units held."""
        sums: dict[str, list[int]] = {}
        for key, sequence in sequences.items():
            held = sums.get(key.device, [0] * COMPONENT_COUNT)
            whole = map(operator.mul, self.history.vector(key, sequence, node), SUBUNITS)
            sums[key.device] = list(map(operator.add, held, whole))
        return sums

    def _check_sums(self, node: str, watched: Watched, loop: AgentLoop) -> None:
        """Registers and carries of a node are its readings, to the last sub-unit."""
        nothing: Sequence[int] = (0,) * COMPONENT_COUNT
        if watched.incarnation != loop.incarnation:
            watched.incarnation = loop.incarnation
            watched.wrote.append(loop.incarnation)
            self.history.ended.update((node, each) for each in watched.wrote[:-REMEMBERED])
            watched.closed = self._sum(
                node,
                {
                    key: sequence
                    for key, sequence in watched.sequences.items()
                    if key.incarnation != loop.incarnation
                },
            )
            watched.opened, watched.sums = {}, dict(watched.closed)
        for key, register in loop.accumulator.registers.items():
            # Most registers are of users who left: only what moved is multiplied out again.
            known = watched.opened.get(key)
            if known and known.units == register.units and known.carry == register.carry:
                continue
            units, carry = list(register.units), list(register.carry)
            now = list(map(operator.add, map(operator.mul, units, SUBUNITS), carry))
            watched.opened[key] = Held(units, carry, now)
            held = watched.sums.get(key.device, nothing)
            before = nothing if known is None else known.amounts
            more = map(operator.sub, now, before)
            watched.sums[key.device] = list(map(operator.add, held, more))
        sums = dict(watched.sums)
        if watched.carries != loop.accumulator.carries:
            watched.carries, watched.carried = dict(loop.accumulator.carries), {}
            for owner, carries in watched.carries.items():
                held = watched.carried.get(owner[0], [0] * COMPONENT_COUNT)
                watched.carried[owner[0]] = list(map(operator.add, held, carries))
        for device, carried in watched.carried.items():
            held = sums.get(device, [0] * COMPONENT_COUNT)
            sums[device] = list(map(operator.add, held, carried))
        for device in [
            *watched.truth.devices,
            *(d for d in sums if d not in watched.truth.devices),
        ]:
            counted, read = sums.get(device, nothing), watched.truth.amounts.get(device, nothing)
            if tuple(counted) != read:
                self.violation(
                    f"the registers of {device} of {node} are not what was read of it: "
                    f"{_differences(counted, read)}"
                )


def _differences(counted: Sequence[int], read: Sequence[int]) -> str:
    """Which components differ, and by how many units."""
    units = {
        component: (counted[component] - read[component]) / SUBUNITS[component]
        for component in Component
    }
    return ", ".join(f"{each.name.lower()} {more:+g}" for each, more in units.items() if more)
