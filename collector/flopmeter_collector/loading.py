"""Fills the register table from the ledger: what a report needs at once, the rest bit by bit.

Owns: which nodes' registers were read, how far the rest is, and when all is there.
May touch: the register table and the residual's rows it is given; the ledger through the committer.
Called by the app (begin, rest) and by the intake, before anything of a node is merged.
Explained in docs/adr/0038-serving-before-all-is-read.md.

A merge needs the registers of its own key, and the limits those of its own node. So a report waits
for its node's rows alone, and is answered while the others are still being read. A key that comes
both ways is joined, which is the merge again: it does not matter which comes first, or how often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from flopmeter_collector.commit import Committer
from flopmeter_collector.ledger.base import (
    Coverage,
    Ledger,
    Part,
    QuarantinedVector,
)
from flopmeter_collector.quarantine_acts import rejected_by
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.claims import Claim
from flopmeter_core.reports import LedgerPosition

VECTORS_A_SLICE = 100
"""Vectors taken into the table before others have their turn: about 0.5 ms."""

NODES_AT_ONCE = 50
"""Nodes read at a time for reports that wait, so that the first of many waits for few others."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a ledger is read at a start.

    Attributes:
        before_serving: one of so many keys is read whole before the first report is taken: it takes
            less than a second, and nobody sees a collector that is loading.
        keys_a_part: keys read at a time; commits wait meanwhile, about 5 ms.
        pause_s: between two parts at least; lab.simulation lets things happen there.
    """

    before_serving: int = 5_000
    keys_a_part: int = 200
    pause_s: float = 0.0


DEFAULT_READING = Reading()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What of a ledger is read before the first report is taken.

    Attributes:
        position: where it stands.
        key_count: its keys.
        claims: all claim registers.
        quarantined: all quarantined vectors, released and rejected ones too.
        nodes: those of which something is quarantined.
        rejected: names and sequences of the vectors that people found untrue.
    """

    position: LedgerPosition
    key_count: int
    claims: Sequence[Claim]
    quarantined: Sequence[QuarantinedVector]
    nodes: Sequence[str]
    rejected: Collection[tuple[str, int]]


def read_beginning(ledger: Ledger) -> Beginning:
    """Read what comes before the first report."""
    with ledger.consistent():
        quarantined = list(ledger.quarantined())
        return Beginning(
            ledger.position(),
            ledger.begin_parts(),
            list(ledger.claims()),
            quarantined,
            list(ledger.quarantined_nodes()),
            # Before all else that people declared: what was looked at must not alert meanwhile.
            rejected_by(ledger.declarations()) if quarantined else (),
        )


class Loading:
    """Reads a ledger's registers. One event loop."""

    def __init__(
        self,
        table: RegisterTable,
        committer: Committer,
        give_way: Callable[[], Awaitable[None]],
        take_coverage: Callable[[Iterable[Coverage]], None],
        reading: Reading = DEFAULT_READING,
    ) -> None:
        """Prepare; `begin` reads what comes first.

        Args:
            table: filled.
            committer: reads the ledger between two commits.
            give_way: lets agents that can be answered at once go first.
            take_coverage: takes when incarnations began.
            reading: how.
        """
        self._table = table
        self._committer = committer
        self._give_way = give_way
        self._take_coverage = take_coverage
        self._reading = reading
        self._nodes: set[str] = set()
        self._wanted: dict[str, None] = {}
        self._lock = asyncio.Lock()
        self._after = 0
        self._coverage_after: tuple[str, str] | None = None
        self._read_at = LedgerPosition("", 0, 0)
        self.total = 0
        """Keys that were in the ledger at the start."""
        self.done = False
        """Whether every register of the ledger is in the table."""

    async def begin(self, beginning: Beginning) -> None:
        """Take what no report can do without, and read the nodes with something in quarantine."""
        self._read_at = beginning.position
        self.total = self._table.counts.unread = beginning.key_count
        nodes = beginning.nodes
        for start in range(0, len(nodes), NODES_AT_ONCE):
            await self._read_nodes(nodes[start : start + NODES_AT_ONCE])
        for name, sequence in beginning.rejected:
            self._table.quarantine.reject(name, sequence)
        self._table.restore({}, (), beginning.quarantined)
        self._table.claims.restore(beginning.claims)

    @property
    def fits_before_serving(self) -> bool:
        """Whether so few are left that reports may wait for all of them."""
        return self._table.counts.unread <= self._reading.before_serving

    @property
    def said(self) -> str:
        """How far it is, in one sentence without its full stop."""
        if self.done:
            how = f"the {self.total} registers are read and are being added up"
        else:
            how = f"{self.total - self._table.counts.unread} of {self.total} registers are read"
        return (
            f"the totals are loading: {how}; reports are taken and acknowledged meanwhile, and no "
            "total is shown before all are in it"
        )

    async def know(self, nodes: Iterable[str]) -> None:
        """Have all registers of these nodes in the table.

        Raises:
            StorageError: the ledger cannot be read.
        """
        missing = self._unread(nodes)
        self._wanted.update(dict.fromkeys(missing))
        while missing:
            async with self._lock:
                # Whoever had the lock may have read them too.
                missing = self._unread(missing)
                if missing:
                    await self._read_nodes([*dict.fromkeys([*missing, *self._wanted])])
            missing = self._unread(missing)

    def _unread(self, nodes: Iterable[str]) -> list[str]:
        return [] if self.done else [node for node in nodes if node not in self._nodes]

    async def _read_nodes(self, nodes: Sequence[str]) -> None:
        nodes = nodes[:NODES_AT_ONCE]
        known = self._table.known_records
        part = await self._committer.read(lambda ledger: ledger.part_of(nodes, known))
        # Not until nobody is being answered: those who wait here are.
        await self._take(part, lambda: asyncio.sleep(0))
        self._nodes.update(nodes)
        for node in nodes:
            self._wanted.pop(node, None)

    async def read_rest(self, *, beside_reports: bool) -> None:
        """Read everything that is left; called again it goes on where it failed.

        Args:
            beside_reports: whether reports are taken meanwhile; half of the time is theirs then.

        Raises:
            LedgerBusyError: the ledger cannot be read just now.
            StorageError: the ledger failed.
        """
        if self.done:
            return
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while await self._read_part():
            took_s = loop.time() - began_s if beside_reports else 0.0
            await asyncio.sleep(max(self._reading.pause_s, took_s))
            began_s = loop.time()
        while await self._read_coverage():
            await self._give_way()
        self.done = True
        self._table.counts.unread = 0
        self._nodes.clear()
        self._wanted.clear()

    async def _read_part(self) -> bool:
        """Read the next keys; returns whether there may be more."""
        after, limit = self._after, self._reading.keys_a_part
        known = self._table.known_records

        def read(ledger: Ledger) -> tuple[LedgerPosition, Part]:
            with ledger.consistent():
                return ledger.position(), ledger.part(after=after, limit=limit, known=known)

        position, part = await self._committer.read(read)
        if position.went_back(self._read_at):
            # Another server's history: the same numbers may be of other keys there.
            self._after, self._read_at = 0, position
            return True
        self._read_at = position
        await self._take(part, self._give_way)
        self._after = part.last or after
        return part.last is not None

    async def _read_coverage(self) -> bool:
        """Read the next rows of when incarnations began; returns whether there may be more."""
        after, limit = self._coverage_after, self._reading.keys_a_part
        found = await self._committer.read(
            lambda ledger: ledger.coverage_part(after=after, limit=limit)
        )
        self._take_coverage(found)
        if found:
            self._coverage_after = found[-1].incarnation, found[-1].device
        return bool(found)

    async def _take(self, part: Part, rest: Callable[[], Awaitable[None]]) -> None:
        """Put a part into the table, in slices with a rest between them."""
        records = part.records
        for start in range(0, len(part.vectors), VECTORS_A_SLICE):
            new = self._table.restore(records, part.vectors[start : start + VECTORS_A_SLICE])
            self._table.counts.unread = max(0, self._table.counts.unread - new)
            records = {}
            await rest()
