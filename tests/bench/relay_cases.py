"""What a forwarded node report costs the relay that sends it and the collector that takes it.

Owns: batches built, sent as bytes, taken in, committed and answered, without a network.
May touch: two ledgers in a temporary folder.
Called by run.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Set

from bench.result import Result
from flopmeter_collector import backends
from flopmeter_collector.commit import Committer
from flopmeter_collector.held_rows import Branches
from flopmeter_collector.intake import Intake
from flopmeter_collector.ledger.base import HourPage, RelayChanges, RelayLedger, RelayRows
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.known import Received
from flopmeter_collector.relay.outbox import Outbox
from flopmeter_collector.relay.receive import Seen, merge_batch
from flopmeter_collector.turns import Turns
from flopmeter_core.batches import RelayHello
from flopmeter_core.registers import Key
from flopmeter_core.reports import Answer, KeyedVector, LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.batch import BatchReader, BatchWriter
from support.totals import busy_vector, h100, key_of

NODES = 1_000
DEVICES = 8
ROUNDS = 4

# 125,000 nodes every 10 s in 20 % of a core, besides what the ledger takes to flush them.
TAKEN_BUDGET_US = 16
# Half as much again as was measured when these were written.
COMMITTED_BUDGET_US = 30
RELAY_BUDGET_US = 120


class Bench:
    """A relay and a root in one process."""

    def __init__(self, folder: str) -> None:
        """Open both; the first round states every key and is not counted."""
        self.clock = SystemClock()
        self.records = [
            h100(f"{n}-{d}", node=f"n{n}") for n in range(NODES) for d in range(DEVICES)
        ]
        self.ledger = backends.collect(f"{folder}/relay.db", simulated=False)
        assert isinstance(self.ledger, RelayLedger)
        self.forwarded: RelayLedger = self.ledger
        self.root = backends.collect(f"{folder}/root.db", simulated=False)
        self.table, self.root_table = RegisterTable(), RegisterTable()
        self.committer = Committer(self.ledger, self.table)
        self.root_committer = Committer(self.root, self.root_table)
        self.spent: Counter[str] = Counter()
        self.writer, self.reader = BatchWriter(), BatchReader()
        self.seen = Seen(self.root_table.rows, self.root_table.doubts)

    async def commit(self, changes: RelayChanges | None) -> LedgerPosition:
        """As the relay's app does."""
        return await self.committer.durable(relay=changes)

    async def hours(self, limit: int, kept: Set[tuple[Key, int]]) -> HourPage:
        """As the relay's app does."""
        return await self.committer.read(lambda _: self.forwarded.hours_to_forward(limit, kept))

    async def measure(self) -> None:
        """Forward every key some times."""
        self.committer.start()
        self.root_committer.start()
        outbox = Outbox(self.table)

        def changed(name: Key, before: Branches, now: Branches) -> None:
            outbox.changed(name, before, now, self.clock.monotonic_ns())

        self.table.on_change = changed
        position = self.root.position()
        intake = Intake(
            self.root_table,
            self.root_committer,
            self.clock,
            simulated=False,
            ledger_id=position.ledger_id,
        )
        forwarder = Forwarder(
            outbox,
            hello=RelayHello("relay", simulated=False),
            own=self.ledger.position(),
            known=RelayRows(),
            record=self.table.record,
            commit=self.commit,
            hours=self.hours,
            nodes=dict,
            clock=self.clock,
        )
        forwarder.hello()
        await forwarder.acknowledge(Answer((), position))
        for turn in range(ROUNDS + 1):
            if turn == 1:
                self.spent.clear()
            for record in self.records:
                boot_ns = (turn + 2) * NS_PER_S
                keyed = KeyedVector(key_of(record), turn + 1, busy_vector(turn + 1), boot_ns)
                self.table.merge(keyed, record)
            await self.committer.durable()
            while await self.forward(forwarder, intake):
                pass
        await self.committer.stop()
        await self.root_committer.stop()

    async def forward(self, forwarder: Forwarder, intake: Intake) -> bool:
        """One batch and its answer; False when there was nothing in it."""
        started = time.process_time()
        batch = await forwarder.next_batch()
        raw = self.writer.batch(batch).SerializeToString()
        sent = time.process_time()
        message = pb.StreamBatchesRequest.FromString(raw)
        received = Received(self.reader, message, self.seen.known)
        came = received.grow(intake)
        merged = await merge_batch(intake, came, Turns().give_way, self.seen)
        received.learn(intake, merged.taken)
        merged_at = time.process_time()
        position = await self.root_committer.durable()
        flushing = time.process_time() - merged_at
        answer = self.reader.answer(
            came,
            received.placed(merged.untaken),
            position,
            rows=received.rows,
            at_root=True,
            rooted={},
            beside=merged.beside,
            refused_claims={},
            refused_hours={},
        ).SerializeToString()
        taken = time.process_time()
        await forwarder.acknowledge(self.writer.answer(pb.StreamBatchesResponse.FromString(answer)))
        self.spent["root"] += round((taken - sent - flushing) * 1e9)
        self.spent["ledger"] += round(flushing * 1e9)
        self.spent["relay"] += round((time.process_time() - taken + sent - started) * 1e9)
        return bool(batch.vectors)

    def close(self) -> None:
        """Close both ledgers."""
        self.ledger.close()
        self.root.close()


def cases() -> list[Result]:
    """Processor time at both ends of a forwarded report of 8 devices."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        asyncio.run(bench.measure())
        bench.close()
    reports = NODES * ROUNDS
    sent, taken, committed = (
        bench.spent[side] / reports / 1_000 for side in ("relay", "root", "ledger")
    )
    name = "relay: a node's report of 8 devices, "
    return [
        Result(name + "sent", sent, "us", taken, "taken", RELAY_BUDGET_US),
        Result(name + "taken", taken, "us", sent, "sent", TAKEN_BUDGET_US),
        Result(name + "committed", committed, "us", taken, "taken", COMMITTED_BUDGET_US),
    ]
