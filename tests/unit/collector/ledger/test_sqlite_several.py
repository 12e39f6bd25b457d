"""Several rows by one statement are what a statement a row would write."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import backends
from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import Batch
from flopmeter_collector.ledger.sqlite.several import MOST, insert_keys, parts
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, key, vector
from support.ledgers import new_ledger


@given(st.integers(0, 1_000))
def test_parts_are_all_rows_in_few_statements(count: int) -> None:
    """Each row is in one statement, and at most seven are not full."""
    found = list(parts(count))
    assert [row for part in found for row in range(part.start, part.stop)] == [*range(count)]
    sizes = [part.stop - part.start for part in found]
    assert sizes.count(MOST) == count // MOST
    assert len({size for size in sizes if size < MOST}) == len(sizes) - sizes.count(MOST) < 7


@pytest.mark.parametrize("known", [[], [0], [5], [63], [70, 3, 12], [*range(80)]])
def test_each_key_has_its_own_number(tmp_path: Path, known: list[int]) -> None:
    """Whichever of many keys are there before, each is given the number of its own row."""
    keys = [rows.key_row(key(phase=phase), 1) for phase in range(80)]
    with contextlib.closing(
        backends.collect(new_ledger("sqlite", tmp_path), simulated=False)
    ) as to:
        assert isinstance(to, SqliteLedger)
        connection = to._connection
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("BEGIN")
        before = dict(zip(known, insert_keys(connection, [keys[at] for at in known]), strict=True))
        found = list(insert_keys(connection, keys))
        written = connection.execute(f"SELECT id, {rows.KEY_COLUMNS} FROM register_key").fetchall()
        connection.execute("ROLLBACK")
    assert dict(zip(found, keys, strict=True)) == {row[0]: tuple(row[1:]) for row in written}
    assert all(found[at] == number for at, number in before.items())


def test_a_slice_of_new_keys_is_few_statements(tmp_path: Path) -> None:
    """Each statement waits for the interpreter: their number does not grow with the keys."""
    table, url, said = RegisterTable(), new_ledger("sqlite", tmp_path), list[str]()
    with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
        assert isinstance(ledger, SqliteLedger)
        ledger.lead()
        for start in (0, 10):
            for phase in range(start, start + 10):
                table.merge(KeyedVector(key(phase=phase), 1, vector(phase)), RECORD)
            changes = table.take_uncommitted()
            # The first one brings the device record too.
            ledger._connection.set_trace_callback(said.append if start else None)
            ledger.commit(Batch(records=changes.records, vectors=changes.vectors))
        ledger._connection.set_trace_callback(None)
    # Begin, number, ten keys in two, ten vectors in two, end.
    assert len(said) == 7, said
