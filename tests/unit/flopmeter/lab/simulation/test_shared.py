"""A server that collectors share: what each sees of the other, of a break, and of a failover."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest

from flopmeter.lab.simulation.shared import Session, SharedServer
from flopmeter_collector.ledger.base import (
    EMPTY,
    Batch,
    Coverage,
    LedgerBusyError,
    LedgerUnreachableError,
    LedgerWentBackError,
    NotLeadingError,
    StoredVector,
    Transition,
)
from support.ingest import INCARNATION, SIMULATED_RECORD, key, vector

TRANSITION = cast(Transition, object())


class Watched(SharedServer):
    """A server whose watcher remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        """Begin empty."""
        self.told: list[tuple[str, int]] = []
        super().__init__(
            folder,
            lambda: "5eed" * 8,
            committed=lambda rows: self._tell("committed", rows),
            put_back=lambda rows: self._tell("put back", rows),
        )

    def _tell(self, what: str, rows: Iterable[StoredVector]) -> None:
        self.told.append((what, len(list(rows))))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Watched]:
    """An empty one."""
    made = Watched(tmp_path)
    yield made
    made.close()


def batch(sequence: int, *, phase: int = 0) -> Batch:
    """A commit of one key."""
    record = SIMULATED_RECORD
    stored = StoredVector(key(record, phase=phase), 0, sequence, vector(sequence))
    return Batch(records={record.record_id: record}, vectors=(stored,))


def phases(rows: Iterable[StoredVector]) -> dict[int, int]:
    """The newest sequence of each key."""
    return {row.key.phase: row.sequence for row in rows}


def test_each_sees_what_others_committed(server: Watched) -> None:
    """Once, in order, and never what it wrote itself and nobody joined to anything."""
    one, two = Session(server, "one"), Session(server, "two")
    assert one.begin_parts() == 0
    one.commit(batch(3))
    two.commit(batch(4, phase=1))
    assert phases(one.foreign().vectors) == {1: 4}
    assert phases(two.foreign().vectors) == {0: 3}
    assert not one.foreign().vectors and not one.foreign().records
    # A late vector is joined to what is there: its writer has to learn what stands now.
    position = one.commit(batch(2, phase=1))
    assert phases(one.foreign().vectors) == {1: 4} and one.commit(EMPTY) == position
    assert phases(two.vectors()) == {0: 3, 1: 4} and not two.foreign().vectors
    assert server.told == [("committed", 1)] * 3


def test_one_leads(server: Watched) -> None:
    """Until its session ends; whoever does not lead records no transition."""
    one, two = Session(server, "one"), Session(server, "two")
    assert (one.leader(), one.lead(), two.lead(), two.leader()) == ("", True, False, "one")
    with pytest.raises(NotLeadingError):
        two.commit(dataclasses.replace(EMPTY, transitions=(TRANSITION,)))
    assert server.position.commit_number == 0
    two.close()
    assert one.leader() == "one"
    one.close()
    assert two.lead() and two.leader() == "two"


def test_a_connection_that_breaks_in_a_commit(server: Watched) -> None:
    """It is stored, its writer does not know, and it does not lead any more."""
    one = Session(server, "one")
    assert one.lead()
    server.loses_answer = True
    with pytest.raises(LedgerBusyError, match="broke during a commit"):
        one.commit(batch(1))
    assert server.position.commit_number == 1 and one.leader() == ""
    one.commit(batch(1))
    assert phases(server.ledger.vectors()) == {0: 1}
    assert one.lead() == 2, "another leadership than the one that was lost"


def test_a_server_that_is_away(server: Watched) -> None:
    """Nothing is answered, and nobody leads what nobody reaches."""
    one = Session(server, "one")
    assert one.lead()
    server.away = True
    for asked in (one.vectors, one.lead, lambda: one.records(), lambda: Session(server, "two")):
        with pytest.raises(LedgerUnreachableError):
            asked()
    server.away = False
    assert one.leader() == ""


@pytest.mark.parametrize("lossy", [True, False])
def test_a_failover(server: Watched, lossy: bool) -> None:
    """What the standby lacks is gone, and each session hears of it before it commits again."""
    one = Session(server, "one")
    one.commit(batch(1))
    server.replicate()
    one.commit(batch(2))
    one.commit(batch(7, phase=1))
    assert server.fail_over(lossy=lossy) == (2 if lossy else 0)
    assert server.told[-1] == ("put back", 1 if lossy else 2)
    with pytest.raises(LedgerBusyError, match="was lost"):
        one.foreign()
    if lossy:
        with pytest.raises(LedgerWentBackError):
            one.commit(batch(3))
        one.commit(dataclasses.replace(batch(3), whole=True))
        assert phases(server.ledger.vectors()) == {0: 3}
    one.commit(batch(4))
    assert phases(server.ledger.vectors()) == ({0: 4} if lossy else {0: 4, 1: 7})


def test_without_a_standby_nothing_is_lost(server: Watched) -> None:
    """A failover to one that was never copied to has everything."""
    Session(server, "one").commit(batch(5))
    assert server.fail_over(lossy=True) == 0
    assert phases(server.ledger.vectors()) == {0: 5}


def test_of_each_number_the_least(server: Watched) -> None:
    """When an incarnation began is known by whoever knew it first, over a failover too."""
    one, two = Session(server, "one"), Session(server, "two")
    first = Coverage(INCARNATION, "GPU-1", "n", "", None, None, 50, 9)
    one.commit(Batch(coverage=(first,)))
    two.commit(Batch(coverage=(Coverage(INCARNATION, "GPU-1", "n", "boot", 30, 20, 60, 4),)))
    assert server.fail_over(lossy=False) == 0
    for session in (one, two):
        with pytest.raises(LedgerBusyError):
            session.lead()
    one.commit(Batch(coverage=(Coverage(INCARNATION, "GPU-1", "n", "", 40, 10, 70, 8),)))
    (row,), told = server.ledger.coverage(), two.foreign().coverage
    assert told == (row,), "whoever is told is told the least as well"
    assert row == Coverage(INCARNATION, "GPU-1", "n", "boot", 30, 10, 50, 4)
