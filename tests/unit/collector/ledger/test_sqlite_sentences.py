"""What an SQLite ledger says when SQLite refuses, and what it leaves behind when it is not opened.

Each statement can fail by itself: the sentence names the ledger and what could not be done.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flopmeter_collector.ledger import migrations, sqlite
from flopmeter_collector.ledger.base import AuditRow, Batch, RelayChanges, StoredVector, Upstream
from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.ledger.sqlite import copies, schema, settings, store
from flopmeter_collector.ledger.sqlite.file import BUSY_TIMEOUT_S, Access, connect
from flopmeter_collector.ledger.sqlite.schema import APPLICATION_ID
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_core.errors import (
    BusyError,
    DataError,
    InvariantError,
    NotPermittedError,
    StorageError,
    UsageError,
)
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.units import REGISTER_LIMIT
from support.ingest import RECORD, key, vector
from support.refusals import said

AUDIT = AuditRow(0, 5, "ada", "the disk died", "restore", "{}")
NEWEST = migrations.load()[-1].version


class Refusing(sqlite3.Connection):
    """A connection that refuses the statements that begin with a text."""

    refused = ""

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        """Run a statement, unless it is refused."""
        if self.refused and statement.lstrip().startswith(self.refused):
            raise sqlite3.OperationalError("no")
        return super().execute(statement, *parameters)

    def close(self) -> None:
        """Close, and say that something was left undone where closing is refused."""
        super().close()
        if self.refused == "close":
            raise sqlite3.OperationalError("no")

    def backup(self, target: sqlite3.Connection, **named: Any) -> None:
        """Copy, unless copying is refused."""
        if self.refused == "backup":
            raise sqlite3.OperationalError("no")
        super().backup(target, **named)


def batch(*vectors: StoredVector, **fields: Any) -> Batch:
    """A batch of these vectors with the test's record."""
    return Batch(records={RECORD.record_id: RECORD}, vectors=vectors, **fields)


def opened(path: Path, *, simulated: bool = False, **named: Any) -> SqliteLedger:
    """Open a ledger to collect."""
    return sqlite.open_for_collecting(
        path, simulated=simulated, new_ledger_id=lambda: secrets.token_hex(16), **named
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's ledger lies; a forwarded one that nobody holds."""
    place = tmp_path / "ledger.db"
    with contextlib.closing(opened(place)) as ledger:
        upstream = Upstream(LedgerPosition("root", 7, 3), 2)
        ledger.commit(Batch(relay=RelayChanges(upstream=upstream)))
    return place


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    """The ledger, held by a collector, over a connection that can refuse."""
    with contextlib.closing(opened(path)) as held:
        before = held._connection
        held._connection = sqlite3.connect(path, factory=Refusing, isolation_level=None)
        held.position()
        before.close()  # not the last one, with which the log would go
        yield held


@pytest.mark.parametrize(
    ("refused", "call", "operation"),
    [
        ("BEGIN IMMEDIATE", lambda held: held.commit(batch()), "store a commit"),
        ("SELECT ledger_id", lambda held: held.relay_rows(), "read"),
        ("SELECT h.key", lambda held: held.hours_to_forward(1), "read"),
        ("SELECT 1 FROM upstream", lambda held: held.forget_upstream(), "read"),
        ("BEGIN IMMEDIATE", lambda held: held.forget_upstream(), "forget its upstream"),
        ("PRAGMA integrity_check", lambda held: held.damage(), "read"),
        ("BEGIN", lambda held: held.vectors(), "read"),
    ],
)
def test_what_could_not_be_done(
    ledger: SqliteLedger, path: Path, refused: str, call: Callable[..., object], operation: str
) -> None:
    """The sentence names the ledger, the operation, and what to do."""
    ledger._connection.refused = refused  # type: ignore[attr-defined]
    assert said(call, ledger, error=StorageError) == (
        f"the ledger {path} cannot {operation}: no; check its disk and start again"
    )


@pytest.mark.parametrize("opening", [sqlite.open_for_reading, sqlite.open_for_declaring])
def test_who_does_not_collect_names_the_ledger(
    path: Path, opening: Callable[[Path], SqliteLedger]
) -> None:
    """In the same sentence, whatever it was opened for."""
    with contextlib.closing(opening(path)) as held:
        held._connection.close()
        held._connection = sqlite3.connect(path, factory=Refusing, isolation_level=None)
        held._connection.refused = "SELECT generation"
        assert said(held.position, error=StorageError) == (
            f"the ledger {path} cannot read: no; check its disk and start again"
        )


def test_after_a_failed_commit(ledger: SqliteLedger, path: Path) -> None:
    """No further commit is tried, the sentence says so, and reading goes on."""
    ledger._connection.refused = "BEGIN IMMEDIATE"  # type: ignore[attr-defined]
    said(ledger.commit, batch(), error=StorageError)
    ledger._connection.refused = ""  # type: ignore[attr-defined]
    assert said(ledger.commit, batch(), error=StorageError) == (
        f"the ledger {path} failed before; start the collector again once its disk works"
    )
    assert ledger.position().commit_number == 1


def test_nobody_holds_a_ledger_that_was_closed(ledger: SqliteLedger, path: Path) -> None:
    """Whatever SQLite says of its file: what was committed is there, and the lock is free."""
    ledger._connection.refused = "close"  # type: ignore[attr-defined]
    ledger.close()
    opened(path).close()


def test_only_its_holder_commits(path: Path) -> None:
    """A reader that commits is a programmer's error, and says which."""
    with contextlib.closing(sqlite.open_for_reading(path)) as reader:
        assert said(reader.commit, Batch(), error=InvariantError) == (
            "internal rule broken: only the holder of the lock commits; please report this"
        )


def test_too_new_a_vector_names_its_ledger(ledger: SqliteLedger, path: Path) -> None:
    """Whoever reads hours to forward is told which ledger a newer flopmeter wrote."""
    longer = b"\1" * 8 * (len(vector(1)) + 1)
    ledger.commit(batch(StoredVector(key(), 0, 1, vector(1))))
    ledger._connection.execute("INSERT INTO hour_vector VALUES (1, 5, 5, 1, 9, 9, ?)", (longer,))
    resent = said(ledger.hours_to_forward, 1, error=UsageError)
    ledger._connection.execute("INSERT INTO hour_to_forward VALUES (1, 5)")
    assert said(ledger.hours_to_forward, 1, error=UsageError) == resent
    assert resent.startswith(f"the ledger {path} holds vectors of {len(vector(1)) + 1} components")


@pytest.mark.parametrize("simulated", [True, False])
def test_the_other_kind(tmp_path: Path, simulated: bool) -> None:
    """Real and simulated readings never meet, and the sentence says how to go on."""
    path = tmp_path / "kept.db"
    opened(path, simulated=simulated).close()
    kept, asked, hint = (
        ("simulated", "real", "add") if simulated else ("real", "simulated", "leave out")
    )
    assert said(opened, path, simulated=not simulated, error=NotPermittedError) == (
        f"the ledger {path} was created for {kept} readings and never takes {asked} ones; name "
        f"another ledger, or {hint} --simulated"
    )
    opened(path, simulated=simulated).close()


def test_no_ledger(tmp_path: Path) -> None:
    """Reading and declaring make none, and say who does."""
    path = tmp_path / "none.db"
    for call in (sqlite.open_for_reading, sqlite.open_for_declaring):
        assert said(call, path, error=UsageError) == (
            f"there is no ledger at {path}; a collector creates it (flopmeter collector --ledger)"
        )


def test_an_older_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads or declares never steps a ledger forward, and says who does."""
    steps = (*migrations.load(), Migration(NEWEST + 1, "CREATE TABLE added (x INTEGER) STRICT;"))
    monkeypatch.setattr(migrations, "load", lambda: steps)
    for call in (sqlite.open_for_reading, sqlite.open_for_declaring):
        assert said(call, path, error=UsageError) == (
            f"the ledger {path} has the older schema {NEWEST}: start a collector of this version "
            "on it once, which brings it up to date"
        )


@pytest.mark.parametrize(
    ("module", "step"),
    [(sqlite, "schema_version"), (sqlite, "bring_up"), (store, "transaction")],
)
def test_a_ledger_that_cannot_be_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    """Whichever step fails, the sentence is the same and nobody holds the ledger after it."""

    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("no")

    sentence = f"the ledger {path} cannot open: no; check its disk and start again"
    with monkeypatch.context() as patched:
        patched.setattr(module, step, refuse)
        assert said(opened, path, error=StorageError) == sentence
        if step == "schema_version":
            assert said(sqlite.open_for_reading, path, error=StorageError) == sentence
    opened(path).close()


def test_files_that_are_no_ledgers(path: Path, tmp_path: Path) -> None:
    """Each way to open a file names it when it is another program's, or a newer flopmeter's."""
    foreign, newer = tmp_path / "foreign.db", tmp_path / "newer.db"
    with contextlib.closing(sqlite3.connect(foreign)) as other:
        other.execute("CREATE TABLE x (y)")
    with contextlib.closing(sqlite3.connect(newer)) as other:
        other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        other.execute(f"PRAGMA user_version = {NEWEST + 1}")
    target = tmp_path / "target.db"

    def back_up(of: Path) -> None:
        sqlite.back_up(of, target)

    def restore(of: Path) -> None:
        sqlite.restore(of, target, new_generation=lambda: "7", audit=AUDIT)

    ways: list[Callable[[Path], object]] = [
        opened,
        sqlite.open_for_reading,
        sqlite.open_for_declaring,
        back_up,
        restore,
    ]
    before = foreign.read_bytes(), newer.read_bytes()
    for way in ways:
        assert said(way, foreign, error=DataError) == (
            f"{foreign} is an SQLite database of another program; name another file for the ledger"
        )
        assert said(way, newer, error=UsageError) == (
            f"the ledger {newer} was written by a newer flopmeter (schema {NEWEST + 1}, this one "
            f"knows {NEWEST}): upgrade flopmeter"
        )
    assert (foreign.read_bytes(), newer.read_bytes()) == before, "and nothing in it is changed"
    assert not target.exists()


def test_generations(tmp_path: Path) -> None:
    """Identity is drawn once, a generation at every start, as hexadecimal digits below 2^62."""
    drawn = [character * 32 for character in "abc"]
    path = tmp_path / "ledger.db"
    for generation in (drawn[1], drawn[2]):
        left = iter([drawn[0], generation])
        ledger = sqlite.open_for_collecting(
            path,
            simulated=False,
            new_ledger_id=lambda left=left: next(left),  # type: ignore[misc]
        )
        with contextlib.closing(ledger):
            found = LedgerPosition(drawn[0], int(generation, 16) % REGISTER_LIMIT, 0)
            assert ledger.position() == found


def test_how_long_a_lock_is_waited_for(path: Path) -> None:
    """A short write of another process delays a commit and refuses none."""
    with contextlib.closing(connect(path, Access.DECLARE)) as connection:
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_TIMEOUT_S * 1_000,)
        assert connection.isolation_level is None
    none = path.with_name("none.db")
    assert said(connect, none, Access.READ, error=StorageError) == (
        f"the ledger {none} cannot open: unable to open database file; check that its folder "
        "exists and that this user may use it"
    )


def test_a_place_that_cannot_be_examined(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite will not say how it keeps a ledger, that is said of the ledger."""
    monkeypatch.setattr(settings, "connect", refusing(path, "PRAGMA journal_mode"))
    assert said(lambda: list(sqlite.examine(path)), error=StorageError) == (
        f"the ledger {path} cannot read: no; check its disk and start again"
    )


# --- copies --------------------------------------------------------------------------------------


def restored(source: Path, path: Path) -> sqlite.Copy:
    """Put a copy back under a generation that is no decimal number."""
    return sqlite.restore(source, path, new_generation=lambda: "1f" * 16, audit=AUDIT)


def refusing(where: Path, refused: str) -> Callable[[Path, Access], sqlite3.Connection]:
    """Connecting, but that one file's connection refuses some statements."""

    def connecting(path: Path, access: Access) -> sqlite3.Connection:
        if path != where:
            return connect(path, access)
        connection = sqlite3.connect(path, factory=Refusing, isolation_level=None)
        connection.refused = refused
        return connection

    return connecting


def foretold(prefix: str, dir: Path) -> tuple[int, str]:
    """A partial file of a name that can be foretold."""
    name = str(dir / f"{prefix}x")
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), name


def test_a_backup_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the ledger, by the copy, by the check of the copy: each is said, and nothing is left."""
    target = path.with_name("copy.db")
    partial = path.with_name("copy.db.partial-x")
    monkeypatch.setattr(tempfile, "mkstemp", foretold)
    cases = [
        ("PRAGMA user_version", path, path, "be copied"),
        ("backup", path, path, "be copied"),
        ("PRAGMA integrity_check", partial, partial, "be checked"),
    ]
    for refused, where, named, operation in cases:
        monkeypatch.setattr(copies, "connect", refusing(where, refused))
        assert said(sqlite.back_up, path, target, error=StorageError) == (
            f"the ledger {named} cannot {operation}: no; check its disk and start again"
        )
        assert [each.name for each in path.parent.iterdir() if "copy" in each.name] == []


def test_a_restore_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the backup or by the new file: each is said, and there is no ledger after it."""
    source, back = path.with_name("copy.db"), path.with_name("back.db")
    sqlite.back_up(path, source)
    partial = path.with_name("back.db.partial-x")
    monkeypatch.setattr(tempfile, "mkstemp", foretold)
    cases = [
        ("PRAGMA user_version", source, source, "be read"),
        ("backup", source, source, "be copied"),
        ("UPDATE meta", partial, partial, "be restored"),
        ("INSERT INTO audit", partial, partial, "record an audit row"),
        ("PRAGMA wal_checkpoint", partial, partial, "be restored"),
    ]
    for refused, where, named, operation in cases:
        monkeypatch.setattr(copies, "connect", refusing(where, refused))
        assert said(restored, source, back, error=StorageError) == (
            f"the ledger {named} cannot {operation}: no; check its disk and start again"
        )
        assert not back.exists()


def test_a_restored_ledger_is_held(path: Path) -> None:
    """A collector that starts at the same moment waits until the file has its name."""
    source, back = path.with_name("copy.db"), path.with_name("back.db")
    sqlite.back_up(path, source)

    def generation() -> str:
        assert said(opened, back, error=BusyError).startswith(f"the ledger {back} is held")
        return "1f" * 16

    copy = sqlite.restore(source, back, new_generation=generation, audit=AUDIT)
    assert copy.position.generation == int("1f" * 16, 16) % REGISTER_LIMIT
    opened(back).close()


def test_an_older_backup_is_brought_up(path: Path) -> None:
    """A copy of an older schema is stepped forward as it is put back, without a copy of its own."""
    source, back = path.with_name("older.db"), path.with_name("back.db")
    steps = migrations.load()[:-1]
    opened(source, steps=steps).close()
    copy = restored(source, back)
    assert copy.schema == NEWEST
    with contextlib.closing(sqlite.open_for_reading(back)) as ledger:
        assert [row.author for row in ledger.audit()] == ["ada"]
        assert not ledger.simulated
    assert not list(path.parent.glob("*.bak"))


@pytest.mark.parametrize("how", ["damaged", "full", "refused"])
def test_an_upgrade_without_its_copy(path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Nothing is stepped forward; the copy of an earlier upgrade stays, and no piece beside it."""
    older = path.with_name("older.db")
    opened(older, steps=migrations.load()[:-1]).close()
    backup = path.with_name(f"older.db.schema-{NEWEST - 1}.bak")
    backup.write_bytes(b"of an earlier upgrade")

    def damaged(_: sqlite3.Connection) -> list[str]:
        if how == "damaged":
            return ["page 7"]
        if how == "refused":
            raise OSError(5, "Input/output error")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    monkeypatch.setattr(schema, "damage", damaged)
    family = DataError if how == "damaged" else StorageError
    assert (
        said(opened, older, error=family)
        == {
            "damaged": f"the ledger was not upgraded, because its copy {backup} is damaged: page 7",
            "full": f"the ledger {older} cannot be copied before its upgrade: database or disk is "
            f"full; free space on the disk of {backup} and start again",
            "refused": f"{backup} cannot be written: Input/output error; check its folder and its "
            "disk",
        }[how]
    )
    assert backup.read_bytes() == b"of an earlier upgrade"
    assert not list(path.parent.glob("*.partial-*"))
    with contextlib.closing(sqlite3.connect(older)) as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (NEWEST - 1,)


def test_an_upgrade_keeps_its_copy_private(path: Path) -> None:
    """The copy before a step has the rights of a ledger, and replaces that of an earlier try."""
    older = path.with_name("older.db")
    opened(older, steps=migrations.load()[:-1]).close()
    backup = path.with_name(f"older.db.schema-{NEWEST - 1}.bak")
    backup.write_bytes(b"of an earlier try")
    for left in ("", "-journal"):
        backup.with_name(f"{backup.name}.partial-abc{left}").write_bytes(b"of one that was killed")
    opened(older).close()
    assert not list(path.parent.glob("*.partial-*"))
    assert backup.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (NEWEST - 1,)
