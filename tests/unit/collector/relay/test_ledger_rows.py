"""What an SQLite ledger remembers of forwarding: hours on their way, marks, and the upstream."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flopmeter_collector.ledger import sqlite
from flopmeter_collector.ledger.base import (
    Batch,
    RelayChanges,
    RelayLedger,
    RelayRows,
    StoredVector,
    Upstream,
)
from flopmeter_core.reports import LedgerPosition
from support.ingest import RECORD, hourly, key, vector

UPSTREAM = Upstream(LedgerPosition("root", 7, 3), 2)
HOURS = tuple(hourly(hour, hour + 1, vector(hour + 1)) for hour in range(3))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[RelayLedger]:
    """The test's ledger."""
    path = folder / "ledger.db"
    ledger = sqlite.open_for_collecting(
        path, simulated=False, new_ledger_id=lambda: secrets.token_hex(16)
    )
    with contextlib.closing(ledger):
        list(ledger.vectors())  # as a collector does at its start
        yield ledger


def filled(relay: RelayChanges | None) -> Batch:
    """A commit with one key and its hours."""
    stored = StoredVector(key(), 0, 9, vector(9))
    return Batch({RECORD.record_id: RECORD}, (stored,), hours=HOURS, relay=relay)


def test_hours_wait_until_they_are_acknowledged(tmp_path: Path) -> None:
    """Over a restart; an hour that was written again meanwhile goes out again."""
    with opened(tmp_path) as ledger:
        ledger.commit(filled(RelayChanges()))
        assert ledger.hours_to_forward(2).hours == HOURS[:2]
    with opened(tmp_path) as ledger:
        assert ledger.hours_to_forward(9).hours == HOURS
        newer = hourly(1, 5, vector(5))
        ledger.commit(Batch(hours=(newer,), relay=RelayChanges()))
        ledger.commit(Batch(relay=RelayChanges(forwarded_hours=HOURS)))
        assert ledger.hours_to_forward(9).hours == (newer,)
        wider = replace(newer, first_hour=0)
        ledger.commit(Batch(hours=(wider,), relay=RelayChanges()))
        ledger.commit(Batch(relay=RelayChanges(forwarded_hours=(newer,))))
        assert ledger.hours_to_forward(9).hours == (wider,), "it reaches back further since"
        dropped = ((key(), 1), (key(phase=5), 1))
        ledger.commit(Batch(dropped_hours=dropped, declared_to=0, relay=RelayChanges()))
        assert ledger.hours_to_forward(9).hours == ()


def test_a_lost_upstream_gets_every_hour_again(tmp_path: Path) -> None:
    """Page by page, from the beginning, behind the new ones; and over a restart."""
    with opened(tmp_path) as ledger:
        ledger.commit(filled(None))
        assert ledger.hours_to_forward(9).hours == (), "a ledger nobody forwarded yet"
        marked = RelayChanges(at_root={key(): 9})
        ledger.commit(Batch(relay=replace(marked, upstream=UPSTREAM)))
        assert ledger.relay_rows() == RelayRows(UPSTREAM, {key(): 9})
        ledger.commit(Batch(relay=RelayChanges(upstream=UPSTREAM, lost=True)))
        assert ledger.relay_rows() == RelayRows(UPSTREAM, {})
        page = ledger.hours_to_forward(2)
        assert page.hours == HOURS[:2] and page.resent == (1, 1), "the first key's row, its hour"
        assert ledger.hours_to_forward(9).resent == (1, 2)
        done = RelayChanges(forwarded_hours=page.hours, resent=page.resent)
        ledger.commit(Batch(relay=done))
    with opened(tmp_path) as ledger:
        page = ledger.hours_to_forward(2)
        assert page.hours == HOURS[2:]
        ledger.commit(Batch(relay=RelayChanges(resent=page.resent)))
        page = ledger.hours_to_forward(2)
        assert page.hours == () and page.resent == (None, None)
        ledger.commit(Batch(relay=RelayChanges(resent=page.resent)))
        assert ledger.hours_to_forward(2).resent is None


def test_a_ledger_that_is_no_longer_forwarded_forgets(tmp_path: Path) -> None:
    """What it remembered would be wrong when it is forwarded again."""
    with opened(tmp_path) as ledger:
        marked = RelayChanges(upstream=UPSTREAM, at_root={key(): 9})
        ledger.commit(filled(marked))
        ledger.forget_upstream()
        ledger.forget_upstream()
        assert ledger.relay_rows() == RelayRows()
        assert ledger.hours_to_forward(9).hours == ()


def test_only_files_are_forwarded(tmp_path: Path) -> None:
    """The protocol tells which ledgers can be."""
    with opened(tmp_path) as ledger:
        assert isinstance(ledger, RelayLedger)
    assert not isinstance(object(), RelayLedger)
    with pytest.raises(TypeError):
        RelayLedger()  # type: ignore[misc]
