"""What people say of a ledger while a collector writes to it, on every implementation."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import (
    AuditRow,
    Batch,
    Declaration,
    DeclaredSinceError,
    StoredVector,
)
from flopmeter_core.errors import InvariantError
from support.ingest import RECORD, hourly, key, vector
from support.ledgers import KINDS, new_ledger

WORD = Declaration(0, 5, "ada", "cli", "hold", "run:a", {"state": "held", "reason": "case 7"})
ROWS = tuple(hourly(hour, hour + 1, vector(hour + 1)) for hour in range(4))


@pytest.mark.parametrize("kind", KINDS)
def test_hours_are_dropped_by_what_is_declared(kind: str, tmp_path: Path) -> None:
    """Where something was declared meanwhile nothing of the batch is stored, and all goes on."""
    url = new_ledger(kind, tmp_path)
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        stored = StoredVector(key(), 0, 9, vector(9))
        ledger.commit(Batch({RECORD.record_id: RECORD}, (stored,), hours=ROWS))
        wider = dataclasses.replace(ROWS[3], first_hour=1)
        gone = ((key(), 1), (key(), 2))
        thinned = Batch(hours=(wider,), dropped_hours=gone, declared_to=0)
        before = ledger.position().commit_number
        backends.declare(url, WORD)
        with pytest.raises(DeclaredSinceError, match="declaration 1"):
            ledger.commit(thinned)
        assert tuple(ledger.hours("run:a")) == ROWS
        assert ledger.position().commit_number == before + 1, "the declaration's"
        ledger.commit(dataclasses.replace(thinned, declared_to=1))
        assert list(ledger.hours("run:a")) == [ROWS[0], wider]
        with pytest.raises(InvariantError):
            ledger.commit(Batch(dropped_hours=gone))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_numbers_are_known(kind: str, tmp_path: Path) -> None:
    """Of rows that are only added the ledger knows how many there were."""
    url = new_ledger(kind, tmp_path)
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        kinds = ("declaration", "audit", "transition")
        assert [ledger.numbered().get(what, 0) for what in kinds] == [0, 0, 0]
        backends.declare(url, WORD)
        ledger.commit(Batch(audit=(AuditRow(0, 5, "ada", "why", "act", "{}"),) * 2))
        assert [ledger.numbered().get(what, 0) for what in kinds] == [1, 2, 0]
