"""One process writes to an SQLite ledger, whatever becomes of the files beside it and of itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import EMPTY, Batch, Ledger, StoredVector
from flopmeter_collector.ledger.sqlite.file import handle
from flopmeter_core.errors import StorageError
from support.ingest import RECORD, key, vector


def batch(sequence: int) -> Batch:
    """A vector of the test's key."""
    stored = StoredVector(key(), 0, sequence, vector(sequence))
    return Batch({RECORD.record_id: RECORD}, (stored,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger lies."""
    return tmp_path / "ledger.db"


def collect(path: Path) -> contextlib.closing[Ledger]:
    """Open it as its collector."""
    return contextlib.closing(backends.collect(str(path), simulated=False))


@pytest.mark.parametrize("late", [batch(9), EMPTY])
def test_who_lost_the_lock_stores_nothing_more(path: Path, late: Batch) -> None:
    """Once a second collector has begun, the first one's commits fail and the second's do not."""
    with collect(path) as first:
        first.commit(batch(1))
        path.with_name("ledger.db.lock").unlink()
        first.commit(batch(2))
        with collect(path) as second:
            assert [row.sequence for row in second.vectors()] == [2]
            with pytest.raises(StorageError, match="another collector has begun on the ledger"):
                first.commit(late)
            with pytest.raises(StorageError):
                first.commit(batch(10))
            second.commit(batch(3))
            assert [row.sequence for row in second.vectors()] == [3]


@pytest.mark.parametrize("late", [batch(9), EMPTY])
def test_a_deleted_ledger_takes_nothing(path: Path, late: Batch) -> None:
    """What nobody will find is not acknowledged; a ledger that was moved is still there."""
    with collect(path) as ledger:
        moved = path.rename(path.with_name("moved.db"))
        ledger.commit(batch(1))
        moved.unlink()
        with pytest.raises(StorageError, match="was deleted"):
            ledger.commit(late)


@pytest.mark.parametrize("late", [batch(9), EMPTY])
def test_a_deleted_log_takes_nothing(path: Path, late: Batch) -> None:
    """A collector that died now would leave nothing of it; one that ends writes what it has."""
    with collect(path) as ledger:
        ledger.commit(batch(1))
        path.with_name("ledger.db-wal").unlink()
        with pytest.raises(StorageError, match=r"ledger\.db-wal, in which the ledger keeps"):
            ledger.commit(late)
    with contextlib.closing(backends.read(str(path))) as after:
        assert [row.sequence for row in after.vectors()] == [1]


def test_commands_do_not_stop_a_collector(path: Path) -> None:
    """Readers, declarations and copies begin nothing."""
    with collect(path) as ledger:
        ledger.commit(batch(1))
        backends.read(str(path)).close()
        backends.back_up(str(path), path.with_name("copy.db"))
        ledger.commit(batch(2))


def test_a_file_without_a_name_cannot_be_watched(path: Path) -> None:
    """It is said in a sentence."""
    with pytest.raises(StorageError, match="cannot be opened: No such file"):
        handle(path)
