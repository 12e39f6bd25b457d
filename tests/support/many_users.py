"""A node whose devices get another user again and again, metered by an agent and a collector.

Owns: the node's life, and how far the ledger is from what its devices counted.
May touch: loopback; the agent's state in a folder it is given.
Called by tests/integration/collector/test_many_users.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flopmeter_collector.app import CollectorApp
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.registers import SM_CYCLE_COMPONENTS
from flopmeter_core.reports import Answer, Report
from flopmeter_core.units import NS_PER_S
from support.counting_node import CountingNode
from support.ingest import stream

PERIOD_NS = 60 * NS_PER_S
"""Long enough that what a user does is far more than what is cut off below a unit."""

USERS_PER_REPORT = 10
USERS_PER_STREAM = 5_000
"""A stream may state only so many keys."""

SUBUNITS_PER_UNIT = 10**18


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a collector holds of the node.

    Attributes:
        users: allocations told apart.
        overflow: whether there is one for all others.
        keys: registers.
        missing: units the devices counted that are in no register, for each component.
        refused: vectors the collector refused.
    """

    users: int
    overflow: bool
    keys: int
    missing: tuple[int, ...]
    refused: int

    @property
    def exact(self) -> bool:
        """Whether nothing is missing but what each register cuts off below a unit."""
        return all(0 <= units <= self.keys for units in self.missing)


class ManyUsers:
    """The node and its agent, at work for one user after the other."""

    def __init__(self, folder: Path, *, devices: int = 1) -> None:
        """Start the agent; nobody has used the devices yet."""
        self.node = CountingNode(folder, devices=devices, period_ns=PERIOD_NS)
        self.node.start()
        self.node.step()
        self._began_ns = self.node.clock.at_ns
        self._users = 0

    def work(self) -> None:
        """One more user comes, stays for two samples and goes."""
        self.node.sensor.allocation = f"run:{self._users}"
        self._users += 1
        self.node.step()
        self.node.step()

    async def report_to(self, app: CollectorApp, users: int) -> None:
        """Let so many users come and go beside a collector, which hears of all of it."""
        left = users
        while left:
            coming = min(left, USERS_PER_STREAM)
            left -= coming
            async with stream(app.grpc_address) as sender:
                assert self.node.loop is not None
                hello = sender.writer.hello(self.node.loop.hello("1"))
                self._take(sender.writer.answer(await sender.exchange(hello)))
                for number in range(coming):
                    self.work()
                    if number % USERS_PER_REPORT == 0 or number == coming - 1:
                        while (report := self._next_report()) is not None:
                            message = sender.writer.report(report)
                            self._take(sender.writer.answer(await sender.exchange(message)))

    def _next_report(self) -> Report | None:
        assert self.node.loop is not None
        report = self.node.loop.report()
        return report if report is not None and report.vectors else None

    def _take(self, answer: Answer) -> None:
        assert self.node.loop is not None
        self.node.loop.acknowledge(answer)

    def ledger(self, app: CollectorApp) -> Ledger:
        """What the collector holds now; ask one that has read it from its disk."""
        held = {key: branches[0].vector for key, branches in app.table.items()}
        truth = self.node.truth(self._began_ns)
        return Ledger(
            users=len({key.allocation for key in held} - {"none", OVERFLOW}),
            overflow=any(key.allocation == OVERFLOW for key in held),
            keys=len(held),
            missing=tuple(
                truth[place] // SUBUNITS_PER_UNIT - sum(vector[place] for vector in held.values())
                for place in SM_CYCLE_COMPONENTS
            ),
            refused=app.table.counts.refused,
        )
