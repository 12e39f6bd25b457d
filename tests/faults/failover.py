"""The primary of a PostgreSQL ledger is killed while a fleet reports to two collectors.

Owns: the fleet's load, the ledger of what was acknowledged, and the figures of the failover.
May touch: a Patroni cluster and two collector processes of its own.
Called by ``make faults`` (tests/faults/run.py).
What must hold: every acknowledged value is in the ledger afterwards, and reports are acknowledged
again without anybody's help.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from faults.patroni import SETTINGS, cluster
from flopmeter_collector import backends
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key
from flopmeter_core.reports import Answer, Durability, Hello, KeyedVector, Report
from flopmeter_proto.link import Link
from support.collector import child
from support.ingest import RECORD, key, report, vector
from support.low_line import low_line

LONGEST_GAP_S = 40.0


@dataclass
class Fleet:
    """What all nodes were told, by the event loop's clock."""

    acknowledged: dict[Key, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    killed: bool = False
    ended: float = 0.0

    def note(self, key_: Key, sequence: int) -> None:
        """Note one acknowledgement."""
        self.acknowledged[key_] = sequence
        self.times.append(time.monotonic())

    def gap_s(self, *, since: float) -> float:
        """The longest time without any acknowledgement from an instant to the end of the watch.

        Where nobody is answered again, that is the time from the last answer to the end.
        """
        after = [since, *(instant for instant in self.times if since < instant < self.ended)]
        after.append(self.ended)
        return max(b - a for a, b in itertools.pairwise(after))


class Node:
    """One simulated node: a device whose work grows by a second with each report.

    Each third one reports once more after the kill and never again: a newer report would hide that
    an older one was acknowledged and lost.
    """

    def __init__(self, number: int, fleet: Fleet, period_s: float) -> None:
        """Prepare its identity."""
        name = f"node-{number}"
        self._record: DeviceRecord = replace(RECORD, node=name, device=f"GPU-{number}")
        self._incarnation = hashlib.sha256(name.encode()).hexdigest()[:32]
        run = f"run:r{number % 10}"
        self._key = key(self._record, incarnation=self._incarnation, allocation=run)
        self._fleet = fleet
        self._period_s = period_s
        self._offset_s = period_s * (number % 97) / 97
        self._sequence = 0
        self._told = 0
        self._ends = number % 3 == 0
        self._last = False

    def hello(self) -> Hello:
        """Who it is."""
        return Hello(node=self._record.node, incarnation=self._incarnation, simulated=False)

    async def wait(self) -> None:
        """Let a period pass; the first is shorter, so that nodes do not report in step."""
        await asyncio.sleep(self._offset_s or self._period_s)
        self._offset_s = 0
        if not self._last:
            self._sequence += 1
        self._last = self._last or (self._ends and self._fleet.killed)

    async def next_report(self) -> Report | None:
        """The newest vector, unless it is acknowledged."""
        if self._sequence <= self._told:
            return None
        keyed = KeyedVector(self._key, self._sequence, vector(self._sequence))
        return report([keyed], [self._record])

    async def acknowledge(self, answer: Answer) -> None:
        """Note what is durable."""
        for ack in answer.acknowledgements:
            if ack.durability is Durability.AT_ROOT:
                self._told = max(self._told, ack.sequence)
                self._fleet.note(ack.key, ack.sequence)


@dataclass(frozen=True)
class Failover:
    """What was measured.

    Attributes:
        nodes: simulated nodes, on two collectors.
        acknowledged_before, acknowledged_after: values told durable before the kill and after.
        lost: acknowledged values that the ledger does not hold, or a newer one of.
        longest_gap_s: longest time without any acknowledgement.
        transitions, repeated_transitions: rows of states, and those that stand twice.
    """

    nodes: int
    acknowledged_before: int
    acknowledged_after: int
    lost: int
    longest_gap_s: float
    transitions: int
    repeated_transitions: int

    @property
    def kept(self) -> bool:
        """Whether what is promised held."""
        return (
            self.lost == 0
            and self.acknowledged_after > 0
            and self.longest_gap_s <= LONGEST_GAP_S
            and self.repeated_transitions == 0
        )

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Lines of the page: what, measured, promised."""
        yield "nodes reporting", str(self.nodes), ""
        yield "values acknowledged before the kill", str(self.acknowledged_before), ""
        yield "values acknowledged after it", str(self.acknowledged_after), "more than 0"
        yield "acknowledged values missing", str(self.lost), "0"
        yield (
            "longest time without an acknowledgement",
            f"{self.longest_gap_s:.1f} s",
            f"{LONGEST_GAP_S:.0f} s",
        )
        yield "state transitions recorded", str(self.transitions), ""
        yield "of these twice", str(self.repeated_transitions), "0"


async def load(
    addresses: list[str], nodes: int, period_s: float, kill: asyncio.Event, after_s: float
) -> tuple[Fleet, int, float]:
    """Let nodes report; returns what they were told, how much of it before the kill, and when."""
    fleet, stop = Fleet(), asyncio.Event()
    links = []
    for number in range(nodes):
        node = Node(number, fleet, period_s)
        link = Link(addresses[number % len(addresses)], node.hello, node)
        links.append(asyncio.create_task(link.run(wait=node.wait, stop=stop)))
    while len(fleet.acknowledged) < nodes:
        await asyncio.sleep(0.1)
    await asyncio.sleep(2 * period_s)
    before, killed_at = len(fleet.times), time.monotonic()
    kill.set()
    fleet.killed = True
    resumed = len(fleet.times)
    deadline = time.monotonic() + 3 * LONGEST_GAP_S
    # On until each node has been answered again, or much longer than it may take.
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        if len(fleet.times) > resumed + 2 * nodes and time.monotonic() > killed_at + after_s:
            break
    fleet.ended = time.monotonic()
    stop.set()
    _, late = await asyncio.wait(links, timeout=2 * period_s + 30)
    for task in late:
        task.cancel()
    return fleet, before, killed_at


def measure(nodes: int = 1_000, period_s: float = 5.0, after_s: float = 45.0) -> Failover:
    """Kill the primary under load and compare the ledger with what was acknowledged."""
    with cluster() as servers, contextlib.ExitStack() as stack:
        with psycopg.connect(servers.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE ledger")
        url = servers.url("ledger")
        lines = str(low_line(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        flags = ("--thresholds-dir", lines)
        addresses = [stack.enter_context(child(url, *flags)).address for _ in range(2)]
        primary = servers.wait_synchronous()

        async def scenario() -> tuple[Fleet, int, float]:
            kill = asyncio.Event()

            async def killer() -> None:
                await kill.wait()
                await asyncio.to_thread(primary.kill)

            killing = asyncio.create_task(killer())
            found = await load(addresses, nodes, period_s, kill, after_s)
            await killing
            return found

        fleet, before, killed_at = asyncio.run(scenario())
        with contextlib.closing(backends.read(url)) as ledger:
            held = {row.key: row for row in ledger.vectors()}
            rows = list(ledger.transitions())
        lost = sum(
            of not in held
            or held[of].sequence < sequence
            or held[of].vector != vector(held[of].sequence)
            for of, sequence in fleet.acknowledged.items()
        )
        states = [(row.model, row.threshold, row.before, row.after) for row in rows]
        return Failover(
            nodes=nodes,
            acknowledged_before=before,
            acknowledged_after=len(fleet.times) - before,
            lost=lost,
            longest_gap_s=fleet.gap_s(since=killed_at),
            transitions=len(states),
            repeated_transitions=len(states) - len(set(states)),
        )


def settings() -> str:
    """The cluster's own times, for the page."""
    return ", ".join(f"{name} {SETTINGS[name]}" for name in ("ttl", "loop_wait", "retry_timeout"))
