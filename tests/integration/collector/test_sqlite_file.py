"""What only an SQLite ledger has: its steps of schema, its limits, its rows kept from rewriting."""

from __future__ import annotations

import concurrent.futures
import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flopmeter_collector.ledger import migrations, sqlite
from flopmeter_collector.ledger.base import (
    Batch,
    Declaration,
    LedgerBusyError,
    StoredVector,
    Transition,
)
from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.ledger.sqlite import file
from flopmeter_collector.ledger.sqlite.schema import check_library
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.errors import StorageError, UsageError
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, key, vector


@contextlib.contextmanager
def opened(path: Path, steps: Sequence[Migration] | None = None) -> Iterator[SqliteLedger]:
    """The ledger, opened to collect."""
    ledger = sqlite.open_for_collecting(
        path, simulated=False, new_ledger_id=lambda: "1" * 32, steps=steps
    )
    with contextlib.closing(ledger):
        yield ledger


def batch(count: int) -> Batch:
    """A batch of so many keys."""
    rows = tuple(StoredVector(key(phase=n), 0, 1, vector(n)) for n in range(count))
    return Batch(records={RECORD.record_id: RECORD}, vectors=rows)


def ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Run one statement on the file from outside."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        return other.execute(statement).fetchall()


NEWEST = migrations.load()[-1].version
NEXT = Migration(NEWEST + 1, "CREATE TABLE added (x INTEGER) STRICT; INSERT INTO added VALUES (7);")


def test_step_forward(tmp_path: Path) -> None:
    """An older ledger is backed up whole, stepped forward, and keeps its content."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(batch(3))
    with opened(path, [*migrations.load(), NEXT]) as ledger:
        assert len(list(ledger.vectors())) == 3
    assert ask(path, "SELECT x FROM added") == [(7,)]
    assert ask(path, "PRAGMA user_version") == [(NEWEST + 1,)]
    backup = tmp_path / f"ledger.db.schema-{NEWEST}.bak"
    assert ask(backup, "PRAGMA user_version") == [(NEWEST,)]
    assert ask(backup, "SELECT count(*) FROM vector") == [(3,)]


def test_steps_already_taken_are_not_taken_again(tmp_path: Path) -> None:
    """Only what lies above a file's schema is run, each step once and in order."""
    path = tmp_path / "ledger.db"
    after = Migration(NEWEST + 2, "ALTER TABLE added ADD COLUMN y INTEGER;")
    with opened(path, [*migrations.load(), NEXT]):
        pass
    with opened(path, [*migrations.load(), NEXT, after]):
        pass
    assert ask(path, "SELECT x, y FROM added") == [(7, None)]


def test_claims_of_schema_6(tmp_path: Path) -> None:
    """Claims that said no quantity were of model FLOP, and stay whole through the step."""
    path = tmp_path / "ledger.db"
    with opened(path, migrations.load()[:6]) as ledger:
        ledger._connection.execute(
            "INSERT INTO claim VALUES ('a', '0', 2, 7, ?, 1, 5, 'm', 'bf16=1', 'pretraining',"
            " 9, 5, 10, '1000000000000000000000000000000', 3)",
            (bytes.fromhex("cd" * 16),),
        )
    key_ = ClaimKey("a", "0", ClaimScope.RANK, 7, "cd" * 16, 1, 5, "m", "bf16=1", "pretraining")
    with opened(path) as ledger:
        assert list(ledger.claims()) == [Claim(key_, ClaimCounts(9, 5, 10, 10**30), sequence=3)]


def test_no_step_no_backup(tmp_path: Path) -> None:
    """A ledger that is up to date is opened without a copy."""
    path = tmp_path / "ledger.db"
    for _ in range(2):
        with opened(path):
            pass
    assert not list(tmp_path.glob("*.bak"))


def test_failed_step(tmp_path: Path) -> None:
    """A step that fails leaves the ledger at the step before, usable by the older version."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(batch(3))
    broken = Migration(NEWEST + 1, NEXT.sql.replace("INTO added", "INTO nowhere"))
    with pytest.raises(StorageError), opened(path, [*migrations.load(), broken]):
        pass
    assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'added'") == [(0,)]
    with opened(path) as ledger:
        assert len(list(ledger.vectors())) == 3


def test_reader_of_an_older_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader never steps a ledger forward: it says who does."""
    path = tmp_path / "ledger.db"
    with opened(path):
        pass
    steps = (*migrations.load(), NEXT)
    monkeypatch.setattr(migrations, "load", lambda: steps)
    with pytest.raises(UsageError, match="start a collector of this version"):
        sqlite.open_for_reading(path)


def test_missing_ledger(tmp_path: Path) -> None:
    """Reading and declaring never create a ledger."""
    for open_existing in (sqlite.open_for_reading, sqlite.open_for_declaring):
        with pytest.raises(UsageError, match="there is no ledger at"):
            open_existing(tmp_path / "ledger.db")
    assert not list(tmp_path.iterdir())


def test_full(tmp_path: Path) -> None:
    """A full disk is said; nothing of the commit is there, and no later one is tried."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(batch(1))
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="free space on its disk") as full:
            ledger.commit(batch(5_000))
        assert full.value.exit_code == 74
        with pytest.raises(StorageError, match="failed before"):
            ledger.commit(batch(1))
        assert [row.sequence for row in ledger.vectors()] == [1]


def test_a_lock_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that finds the file locked stores nothing and says so; the next one is stored."""
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "ledger.db"
    with opened(path) as ledger, contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(LedgerBusyError, match="another process holds it"):
                ledger.commit(batch(3))
        other.execute("ROLLBACK")
        assert len(list(ledger.vectors())) == 0
        assert ledger.commit(batch(3)).commit_number == 1
        assert len(list(ledger.vectors())) == 3


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    """A record is looked up once a commit, and a key that has a row costs its vector alone.

    Three keys are written by two statements, of two rows and of one.
    """
    with opened(tmp_path / "ledger.db") as ledger:
        ran: list[str] = []
        ledger._connection.set_trace_callback(ran.append)
        ledger.commit(batch(3))
        assert sum(each.startswith("INSERT INTO register_key") for each in ran) == 2
        assert sum(each.startswith("SELECT id FROM record") for each in ran) == 1
        ran.clear()
        ledger.commit(batch(3))
        assert sum(each.startswith("INSERT INTO vector") for each in ran) == 3
        assert [each for each in ran if "register_key" in each or "record" in each] == []


@pytest.mark.parametrize(("count", "statements"), [(64, 1), (99, 4), (250, 3 + 4)])
def test_a_statement_writes_many_vectors(tmp_path: Path, count: int, statements: int) -> None:
    """Sixty-four at a time, and what is left over in powers of two."""
    table = RegisterTable()
    for phase in range(count):
        table.merge(KeyedVector(key(phase=phase), 1, vector(phase)), RECORD)
    changes = table.take_uncommitted()
    with opened(tmp_path / "ledger.db") as ledger:
        for _ in range(2):
            ran: list[str] = []
            ledger._connection.set_trace_callback(ran.append)
            ledger.commit(Batch(records=changes.records, vectors=changes.vectors))
        assert sum(each.startswith("INSERT INTO vector") for each in ran) == statements
        assert list(ledger.vectors()) == [branches[0] for _, branches in table.items()]


def test_used_by_another_thread(tmp_path: Path) -> None:
    """Who commits and who closes need not be the thread that opened it."""
    ledger = sqlite.open_for_collecting(
        tmp_path / "ledger.db", simulated=False, new_ledger_id=lambda: "1" * 32
    )
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        assert other.submit(ledger.commit, batch(3)).result().commit_number == 1
        assert len(list(ledger.vectors())) == 3
        other.submit(ledger.close).result()
    with opened(tmp_path / "ledger.db") as again:
        assert len(list(again.vectors())) == 3


def test_durable_settings(tmp_path: Path) -> None:
    """Each commit is synced to the disk (FULL), and readers never wait for one (WAL)."""
    with opened(tmp_path / "ledger.db") as ledger:
        for pragma, setting in (("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)):
            assert ledger._connection.execute(f"PRAGMA {pragma}").fetchone() == (setting,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE declaration SET subject = 'other'",
        "DELETE FROM declaration",
        "DELETE FROM transition",
    ],
)
def test_append_only(tmp_path: Path, statement: str) -> None:
    """The file itself refuses to rewrite what was declared or recorded."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(
            Batch(
                declarations=(Declaration(0, 1, "a", "cli", "run", "a", {"model": "m"}),),
                transitions=(Transition(0, "m", "t", "below", "above", True, 1, 0),),
            )
        )
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        ask(path, statement)


def test_declaring_waits_for_a_commit(tmp_path: Path) -> None:
    """A declaration waits while another process writes, and is stored after it."""
    path = tmp_path / "ledger.db"
    with opened(path):
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        done = threading.Timer(0.2, lambda: other.execute("COMMIT"))
        done.start()
        with contextlib.closing(sqlite.open_for_declaring(path)) as declaring:
            row = Declaration(0, 1, "a", "cli", "run", "a", {"model": "m"})
            assert declaring.append_declaration(row).sequence == 1
        done.join()
        other.close()


def test_consistent_reading(tmp_path: Path) -> None:
    """Inside a consistent block a reader sees one commit, whatever is written meanwhile."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(batch(1))
        with contextlib.closing(sqlite.open_for_reading(path)) as reader:
            with reader.consistent():
                before = reader.position()
                ledger.commit(batch(9))
                assert reader.position() == before
                assert len(list(reader.vectors())) == 1
            assert len(list(reader.vectors())) == 9


def test_old_library() -> None:
    """An SQLite library without STRICT tables is refused with the version that is needed."""
    with pytest.raises(UsageError) as refused:
        check_library((3, 36, 9))
    assert str(refused.value) == (
        "this Python uses SQLite 3.36.9; flopmeter needs 3.37.0 or newer: install a newer Python"
    )
    check_library((3, 37, 0))


def test_more_components_than_known(tmp_path: Path) -> None:
    """Vectors of a newer version are never cut short: the reader is told to upgrade."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(batch(1))
        longer = b"\1" * 8 * (len(vector(1)) + 1)
        ledger._connection.execute("UPDATE vector SET components = ?", (longer,))
        with pytest.raises(UsageError, match="upgrade flopmeter"):
            ledger.vectors()


def test_fewer_components_than_known(tmp_path: Path) -> None:
    """Vectors of an older version read as 0 in the components it did not have."""
    path = tmp_path / "ledger.db"
    with opened(path) as ledger:
        ledger.commit(batch(1))
        ledger._connection.execute("UPDATE vector SET components = ?", (b"\1" + b"\0" * 7,))
        (row,) = ledger.vectors()
        assert row.vector == (1, *[0] * (len(vector(1)) - 1))


def test_every_start_is_a_generation_of_its_own(tmp_path: Path) -> None:
    """A ledger put back from a copy is told from the one it replaces, whatever its numbers."""
    drawn = iter(["a" * 32, "b" * 32, "c" * 32, "d" * 32])
    positions = []
    for _ in range(2):
        ledger = sqlite.open_for_collecting(
            tmp_path / "ledger.db", simulated=False, new_ledger_id=lambda: next(drawn)
        )
        positions.append(ledger.position())
        ledger.close()
    assert positions[0].ledger_id == positions[1].ledger_id
    assert positions[0].generation != positions[1].generation
