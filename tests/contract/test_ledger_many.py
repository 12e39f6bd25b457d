"""What a ledger writes of many keys at once, on every implementation."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, StoredVector
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, key, vector
from support.ledgers import KINDS, new_ledger


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [99, 100, 250])
def test_each_vector_takes_the_place_of_its_own_key(kind: str, count: int, tmp_path: Path) -> None:
    """However many keys a batch has, new or known, the ledger holds the newest of each."""
    table, url = RegisterTable(), new_ledger(kind, tmp_path)
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        ledger.lead()
        for sequence in (1, 2):
            for phase in range(count):
                keyed = KeyedVector(key(phase=phase), sequence, vector(phase + 1000 * sequence))
                table.merge(keyed, RECORD)
            changes = table.take_uncommitted()
            ledger.commit(Batch(records=changes.records, vectors=changes.vectors))
        wanted = [
            StoredVector(key(phase=phase), 0, 2, vector(phase + 2000)) for phase in range(count)
        ]
        assert list(ledger.vectors()) == wanted
