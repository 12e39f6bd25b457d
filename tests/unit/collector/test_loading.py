"""How a ledger is read at a start: every key once, and each node that waits once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, cast

import pytest

from flopmeter_collector.commit import Committer
from flopmeter_collector.ledger.base import LedgerBusyError, Part, QuarantinedVector, StoredVector
from flopmeter_collector.loading import Beginning, Loading, Reading
from flopmeter_collector.quarantine import quarantine_name
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.reports import LedgerPosition
from support.ingest import RECORD, key, vector

KEYS = 6
BEFORE = LedgerPosition("ledger", 1, 9)


class Server:
    """A ledger of some keys, read one at a time; stands in for the committer as well."""

    def __init__(self) -> None:
        """Stand at a commit."""
        self.position_now = BEFORE
        self.first_phase = 0
        self.asked: list[object] = []

    async def read(self, question: Callable[[Any], Any]) -> Any:
        """Answer between two commits, while others have their turn."""
        await asyncio.sleep(0)
        return question(self)

    @contextlib.contextmanager
    def consistent(self) -> Iterator[None]:
        """All of one commit."""
        yield

    def position(self) -> LedgerPosition:
        """Where it stands."""
        return self.position_now

    def _rows(self, numbers: Sequence[int]) -> list[StoredVector]:
        phases = [self.first_phase + number for number in numbers]
        return [StoredVector(key(phase=phase), 0, 1, vector(1)) for phase in phases]

    def part(self, *, after: int, limit: int, known: Collection[str]) -> Part:
        """The next keys."""
        self.asked.append(after)
        numbers = range(after, min(KEYS, after + limit))
        last = numbers[-1] + 1 if numbers else None
        return Part({RECORD.record_id: RECORD}, self._rows(numbers), last)

    def part_of(self, nodes: Sequence[str], known: Collection[str]) -> Part:
        """Everything of some nodes."""
        self.asked.append(tuple(nodes))
        return Part({RECORD.record_id: RECORD}, self._rows(range(KEYS)), None)

    def coverage_part(self, *, after: object, limit: int) -> list[Any]:
        """None is there."""
        self.asked.append("coverage")
        return []


def loading(server: Server) -> tuple[Loading, RegisterTable]:
    """What reads it, two keys a part."""
    table = RegisterTable()

    async def give_way() -> None:
        await asyncio.sleep(0)

    committer = cast(Committer, cast(Any, server))
    found = Loading(table, committer, give_way, lambda rows: None, Reading(0, keys_a_part=2))
    asyncio.run(found.begin(Beginning(BEFORE, KEYS, (), (), (), ())))
    return found, table


def test_what_was_found_untrue_waits_for_nobody_from_the_start() -> None:
    """While the rest is read nothing is counted as in quarantine that a person looked at."""
    rows = [
        QuarantinedVector(key(phase=phase), 3, vector(9), None, "too much", 1) for phase in range(2)
    ]
    rejected = {(quarantine_name(rows[0]), 3): 1}
    found, table = loading(Server())
    asyncio.run(found.begin(Beginning(BEFORE, KEYS, (), rows, [RECORD.node], rejected)))
    assert table.quarantine.held() == [rows[1]] and not found.done


def test_what_it_says_is_how_far_it_is() -> None:
    """So many of all keys; when all are read, that they are being added up."""
    server = Server()
    found, table = loading(server)
    assert "0 of 6 registers are read" in found.said
    asyncio.run(found.know([RECORD.node]))
    assert "6 of 6 registers are read" in found.said and len(table) == KEYS
    asyncio.run(found.read_rest(beside_reports=False))
    assert "the 6 registers are read and are being added up" in found.said


def test_what_is_read_is_not_read_again() -> None:
    """A second call finds nothing to do, and neither does a report of any node."""
    server = Server()
    found, _ = loading(server)
    asyncio.run(found.read_rest(beside_reports=False))
    assert server.asked == [0, 2, 4, 6, "coverage"]
    asyncio.run(found.read_rest(beside_reports=False))
    asyncio.run(found.know([RECORD.node, "other"]))
    assert server.asked == [0, 2, 4, 6, "coverage"]


@pytest.mark.parametrize(
    "later",
    [
        dataclasses.replace(BEFORE, commit_number=8),
        dataclasses.replace(BEFORE, generation=2),
        dataclasses.replace(BEFORE, ledger_id="restored"),
    ],
)
def test_another_history_is_read_from_its_beginning(later: LedgerPosition) -> None:
    """Where the server went back, a key's number may be another one's: none is skipped."""
    server = Server()
    found, table = loading(server)
    asyncio.run(found._read_part())
    asyncio.run(found._read_part())
    server.position_now, server.first_phase = later, 100
    asyncio.run(found.read_rest(beside_reports=False))
    # One part of the new history was asked for by the old one's number, and not taken.
    assert server.asked == [0, 2, 4, 0, 2, 4, 6, "coverage"]
    assert all(table.branches(key(phase=100 + number)) for number in range(KEYS))


def test_nodes_that_wait_together_are_read_once() -> None:
    """Reports of one node, and of others that came meanwhile, cost one read of the ledger each."""
    server = Server()
    found, _ = loading(server)

    async def reports() -> None:
        nodes = ([RECORD.node], [RECORD.node], ["other"], ["other", RECORD.node])
        await asyncio.gather(*(found.know(each) for each in nodes))

    asyncio.run(reports())
    assert sorted(
        name for asked in server.asked for name in cast(tuple[str, ...], asked)
    ) == sorted([RECORD.node, "other"])


def test_a_ledger_that_is_busy_is_read_on_where_it_was() -> None:
    """What was read before stays; nothing is read twice and nothing is left out."""
    server = Server()
    found, table = loading(server)
    asyncio.run(found._read_part())
    read = server.read

    async def busy(question: Callable[[Any], Any]) -> Any:
        raise LedgerBusyError("locked")

    server.read = busy  # type: ignore[method-assign]
    with pytest.raises(LedgerBusyError):
        asyncio.run(found.read_rest(beside_reports=False))
    assert not found.done
    server.read = read  # type: ignore[method-assign]
    asyncio.run(found.read_rest(beside_reports=False))
    assert server.asked == [0, 2, 4, 6, "coverage"] and len(table) == KEYS
