"""What a round asks of a shared ledger in one step, and the commit it does without."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter.lab.simulation.shared import Session, SharedServer
from flopmeter_collector import commit
from flopmeter_collector.around import look_around
from flopmeter_collector.commit import Committer
from flopmeter_collector.judge import Judge
from flopmeter_collector.ledger.base import Coverage, Declaration, LedgerBusyError, StoredVector
from flopmeter_collector.publish import Published, Publisher
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_collector.sightings import Sighting
from flopmeter_collector.totals import Totals
from flopmeter_core.errors import FlopmeterError
from flopmeter_core.reports import KeyedVector
from flopmeter_core.units import NS_PER_HOUR
from support.totals import AS_OF_NS, busy_vector, h100, key_of, table, thresholds

RUNS = ("a", "b")


def served(folder: Path) -> SharedServer:
    """An empty server that nobody watches."""
    return SharedServer(
        folder, lambda: "5eed" * 8, committed=lambda _: None, put_back=lambda _: None
    )


class Collector:
    """One of two at a server: what a round needs, and nothing else."""

    def __init__(self, server: SharedServer, name: str) -> None:
        """Connect, with nothing known."""
        self.table = RegisterTable()
        self.ledger = Session(server, name)
        self.committer = Committer(self.ledger, self.table)
        self.totals = Totals(table(), simulated=True)
        self.committer.known_coverage = self.totals.residuals.rows
        self.committer.start()
        self.publisher = Publisher(
            table=self.table,
            totals=self.totals,
            committer=self.committer,
            clock=MagicMock(wall_ns=lambda: AS_OF_NS, monotonic_ns=lambda: NS_PER_HOUR),
            judge=Judge(thresholds(), horizon_ns=1),
            teller=MagicMock(),
            give_way=AsyncMock(),
        )
        self.publisher.restore([])

    def report(self, run: str, sequence: int) -> None:
        """A report of a run's device comes in; nobody waits for its commit."""
        record = h100(f"GPU-{run}", simulated=True)
        keyed = KeyedVector(key_of(record, f"run:{run}"), sequence, busy_vector(sequence * 10**6))
        self.table.merge(keyed, record)
        self.table.sightings.note_read(keyed)
        sighting = Sighting(record.node, "b", 10**15, AS_OF_NS)
        self.table.sightings.note_live(keyed.key.incarnation, sighting)

    async def round(self) -> Published | None:
        """One round, as `Rounds` runs it; one that ends the collector shows nothing either."""
        try:
            return await self.publisher.round()
        except FlopmeterError:
            self.publisher.step_down()
            return None


Step = tuple[str, int, str]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["report", "round"]), st.integers(0, 1), st.sampled_from(RUNS)),
        st.tuples(
            st.sampled_from(["declare", "replicate", "fail over", "lose"]),
            st.integers(0, 1),
            st.sampled_from(RUNS),
        ),
    ),
    min_size=3,
    max_size=14,
)

Seen = tuple[list[object], list[StoredVector]]


async def play(folder: Path, steps: list[Step]) -> Seen:
    """What rounds of two collectors publish, and what the server has in the end."""
    server = served(folder)
    collectors = [Collector(server, "one"), Collector(server, "two")]
    seen: list[object] = []
    for number, (what, which, run) in enumerate(steps, start=1):
        collector = collectors[which]
        if what == "report":
            collector.report(run, number)
        elif what == "declare":
            said = Declaration(0, number, "ann", "cli", "run", run, {"model": f"m{number}"})
            await collector.committer.durable(declarations=[said])
        elif what == "replicate":
            server.replicate()
        elif what == "fail over":
            server.fail_over(lossy=True)
        elif what == "lose":
            server.loses_answer = True
        else:
            seen.append(_shown(await collector.round()))
    for _ in range(3):
        for collector in collectors:
            seen.append(_shown(await collector.round()))
    held = list(server.ledger.vectors())
    for collector in collectors:
        await collector.committer.stop()
    server.close()
    return seen, held


def _shown(published: Published | None) -> object:
    """All that a publication says."""
    if published is None:
        return None
    snapshot = published.snapshot
    return (
        snapshot.position,
        [(run.run, run.account, run.model) for run in snapshot.runs],
        [(model.model, model.figures) for model in snapshot.models],
        snapshot.unattributed,
        snapshot.residual,
        published.legal,
    )


def compared(steps: list[Step]) -> tuple[Seen, Seen]:
    """The same steps with rounds that spare commits, and with ones that do not."""

    def played(patch: pytest.MonkeyPatch) -> Seen:
        patch.setattr(commit, "RETRY_S", 0)
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(play(Path(folder), steps))

    with pytest.MonkeyPatch.context() as patch:
        spared = played(patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Committer, "at_rest", False)
        asked = played(patch)
    return spared, asked


@settings(max_examples=12, deadline=None)
@given(STEPS)
def test_a_round_that_spares_a_commit_shows_what_one_with_it_would(steps: list[Step]) -> None:
    """Whatever comes in between: reports, declarations, lost answers, failovers."""
    spared, asked = compared(steps)
    assert spared == asked


def test_what_a_failover_lost_is_stored_again_though_nobody_reports() -> None:
    """The rounds themselves see that the server went back."""
    steps: list[Step] = [
        ("round", 0, "a"),
        ("replicate", 0, "a"),
        ("report", 0, "a"),
        ("round", 0, "a"),
        ("fail over", 0, "a"),
    ]
    spared, asked = compared(steps)
    assert spared == asked
    assert [stored.sequence for stored in spared[1]] == [3]


def test_a_round_without_news_commits_nothing(tmp_path: Path) -> None:
    """Not even an empty commit, which would be a question to the server."""

    async def played() -> list[int]:
        server = served(tmp_path)
        collector = Collector(server, "one")
        counts = []
        for sequence in (1, 0, 0, 2):
            if sequence:
                collector.report("a", sequence)
            assert await collector.round() is not None
            counts.append(collector.committer.commit_count)
        await collector.committer.stop()
        server.close()
        return counts

    assert asyncio.run(played()) == [1, 1, 1, 2]


@pytest.mark.parametrize("fails", ["lead", "leader", "declarations"])
def test_the_feed_is_not_asked_before_all_else_is_known(fails: str) -> None:
    """It tells once: where another question failed after it, what it told would be gone."""

    def broken(*_: Any, **__: Any) -> Callable[..., Any]:
        raise LedgerBusyError("the connection was lost")

    ledger = MagicMock(shared=True, **{"lead.return_value": 0})
    ledger.consistent.return_value.__exit__.return_value = False
    getattr(ledger, fails).side_effect = broken
    with pytest.raises(FlopmeterError):
        look_around(ledger, MagicMock(), may_lead=True, term=0, declared_to=0)
    ledger.foreign.assert_not_called()


def test_a_row_that_is_known_divides_nothing_anew() -> None:
    """Of a shared ledger every row comes back; one that says less than is known does so too."""
    accounts = ResidualAccounts()
    row = Coverage("0" * 32, "GPU-0", "n0", "b0", 0, 1, 9, 1)
    accounts.restore([row])
    assert accounts.moved_count == 1
    accounts.take_doubled()
    accounts.restore([row, replace(row, first_seen_ns=10)])
    assert accounts.moved_count == 0 and accounts.rows() == [row]
    accounts.restore([replace(row, first_seen_ns=8)])
    assert accounts.moved_count == 1
