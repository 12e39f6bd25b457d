"""The file of an SQLite ledger: copies, checks, refusals, each with its sentence."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from flopmeter_collector.ledger import migrations, sqlite
from flopmeter_collector.ledger.base import AuditRow, Batch, Finding, LedgerBusyError, StoredVector
from flopmeter_collector.ledger.sqlite import copies, schema, settings, store
from flopmeter_collector.ledger.sqlite.check import MAXIMUM_FINDINGS, damage
from flopmeter_collector.ledger.sqlite.copies import checksum_path
from flopmeter_collector.ledger.sqlite.file import (
    Access,
    connect,
    lock_for_collecting,
    storage,
)
from flopmeter_collector.ledger.sqlite.schema import bring_up, check_not_newer, schema_version
from flopmeter_collector.ledger.sqlite.settings import file_system
from flopmeter_core.errors import (
    BusyError,
    DataError,
    FlopmeterError,
    StorageError,
    UsageError,
)
from flopmeter_core.units import REGISTER_LIMIT
from support.ingest import RECORD, key, vector
from support.refusals import said

NEWEST = migrations.load()[-1].version
AUDIT = AuditRow(0, 5, "ada", "the disk died", "restore", "{}")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger nobody holds."""
    path = tmp_path / "ledger.db"
    opened = sqlite.open_for_collecting(path, simulated=False, new_ledger_id=lambda: "1" * 32)
    opened.close()
    return path


def restored(source: Path, path: Path) -> sqlite.Copy:
    """Put a copy back under generation 7."""
    return sqlite.restore(source, path, new_generation=lambda: f"{7:032x}", audit=AUDIT)


def test_a_copy_says_what_it_is(ledger: Path, tmp_path: Path) -> None:
    """Its size, its checksum as sha256sum writes it, its schema and where the ledger stood."""
    target = tmp_path / "copy.db"
    copy = sqlite.back_up(ledger, target)
    content = target.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert copy == sqlite.Copy(target, len(content), digest, NEWEST, copy.position)
    assert copy.position.ledger_id == "1" * 32
    assert copy.position.generation == int("1" * 32, 16) % REGISTER_LIMIT
    assert checksum_path(target).read_text() == f"{digest}  copy.db\n"
    assert {path.stat().st_mode & 0o777 for path in (target, checksum_path(target))} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir() if "partial" in path.name) == []


def test_a_copy_that_is_put_back(ledger: Path, tmp_path: Path) -> None:
    """Another generation, one file with everything in it, and a row that says who."""
    source, path = tmp_path / "copy.db", tmp_path / "back.db"
    sqlite.back_up(ledger, source)
    copy = restored(source, path)
    assert (copy.path, copy.schema, copy.checksum_was_given) == (path, NEWEST, True)
    assert (copy.size_bytes, copy.position.generation) == (path.stat().st_size, 7)
    assert copy.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not Path(f"{path}-wal").exists()
    with contextlib.closing(sqlite.open_for_reading(path)) as opened:
        assert [(row.author, row.action) for row in opened.audit()] == [("ada", "restore")]
    checksum_path(source).unlink()
    path.unlink()
    assert not restored(source, path).checksum_was_given


def test_copies_are_refused(ledger: Path, tmp_path: Path) -> None:
    """Nothing is written over, and nothing is made of what is not there."""
    target, back = tmp_path / "copy.db", tmp_path / "back.db"
    none = tmp_path / "none.db"
    assert said(sqlite.back_up, none, target, error=UsageError) == (
        f"there is no ledger at {none}; name one that exists"
    )
    checksum_path(target).touch()
    assert said(sqlite.back_up, ledger, target, error=UsageError) == (
        f"{checksum_path(target)} exists and is not written over; name another file"
    )
    checksum_path(target).unlink()
    away = tmp_path / "away" / "copy.db"
    assert said(sqlite.back_up, ledger, away, error=StorageError) == (
        f"{away} cannot be written: No such file or directory; check its folder and its disk"
    )
    assert said(restored, none, back, error=UsageError) == (
        f"there is no backup at {none}; name one that exists"
    )
    assert said(restored, tmp_path, back, error=UsageError) == (
        f"{tmp_path} is a folder and no backup; name the file in it"
    )
    sqlite.back_up(ledger, target)
    Path(f"{back}-wal").touch()
    assert said(restored, target, back, error=UsageError) == (
        f"{back}-wal exists and is not written over; move it away first if it has to go"
    )
    Path(f"{back}-wal").unlink()
    for given in (b"0\n", b"", b"\xff"):
        checksum_path(target).write_bytes(given)
        assert said(restored, target, back, error=DataError) == (
            f"{target} is not the file its checksum was made of; take another backup, or the "
            "right checksum"
        )
    checksum_path(target).unlink()
    checksum_path(target).mkdir()
    assert said(restored, target, back, error=UsageError).startswith(
        f"{checksum_path(target)} cannot be read: "
    )
    checksum_path(target).rmdir()
    target.write_bytes(b"")
    assert said(restored, target, back, error=DataError) == (
        f"{target} is an empty file and no backup of a ledger"
    )
    assert not back.exists()


def test_damage_is_told(ledger: Path) -> None:
    """Rows that name rows that do not exist, each in a sentence, and not without end."""
    with contextlib.closing(sqlite3.connect(ledger)) as other:
        assert damage(other) == []
        other.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        other.execute("CREATE TABLE child (id INTEGER PRIMARY KEY, of REFERENCES parent)")
        other.execute("CREATE TABLE twig (id TEXT PRIMARY KEY, of REFERENCES parent) WITHOUT ROWID")
        other.execute("INSERT INTO child VALUES (3, 9)")
        other.execute("INSERT INTO twig VALUES ('a', 9)")
        assert sorted(damage(other)) == [
            "a row of table child (3) names a row of table parent that does not exist; restore a "
            "backup",
            "a row of table twig (without a number) names a row of table parent that does not "
            "exist; restore a backup",
        ]
        for row in range(10, 10 + 2 * MAXIMUM_FINDINGS):
            other.execute("INSERT INTO child VALUES (?, 9)", (row,))
        assert len(damage(other)) == MAXIMUM_FINDINGS


def test_what_the_place_gives(ledger: Path) -> None:
    """Every finding in whole."""
    mounts = "x / ext4 rw 0 0\n"
    disk = Finding("file system", "ext4", True, "is no memory and no network")
    found = list(sqlite.examine(ledger, mounts))
    assert found == [
        Finding("journal_mode", "wal", True, "readers and the collector do not hold each other up"),
        Finding("synchronous", "full", True, "a commit waits for the disk"),
        disk,
        Finding(
            "copies",
            "1",
            None,
            "the file is on one machine: copy it (flopmeter ledger backup), or use PostgreSQL",
        ),
    ]
    with contextlib.closing(sqlite3.connect(ledger)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
    assert next(iter(sqlite.examine(ledger, mounts))) == Finding(
        "journal_mode",
        "delete",
        False,
        "a reader holds the collector up: start a collector on it once",
    )


def test_places_that_do_not_keep_a_ledger(ledger: Path) -> None:
    """Memory and network file systems are said, under the kind the mounts tell."""
    told = {kind: list(sqlite.examine(ledger, f"x / {kind} rw\n"))[2] for kind in ("ramfs", "9p")}
    assert told["ramfs"] == Finding(
        "file system",
        "ramfs",
        False,
        "the ledger is gone with the next restart of the machine: move it to a disk",
    )
    assert told["9p"] == Finding(
        "file system",
        "9p",
        False,
        "locks and syncs of a network file system cannot be relied on: move it to a disk",
    )
    assert list(sqlite.examine(ledger, ""))[2].found == "not known"
    nearest = f"x / ext4 rw\ny {ledger.parent} nfs rw\n"
    assert list(sqlite.examine(ledger, nearest))[2].found == "nfs"


def test_a_library_that_does_not_sync(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite that keeps another setting than it was given is told as it is."""

    def careless(path: Path, access: Access) -> sqlite3.Connection:
        connection = connect(path, access)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    monkeypatch.setattr(settings, "connect", careless)
    assert list(sqlite.examine(ledger, ""))[1] == Finding(
        "synchronous", "1", False, "a power cut takes what was acknowledged: report this"
    )


def test_mounts_are_those_of_this_machine(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no text is given, the kernel's is read."""
    mounts = tmp_path / "mounts"
    mounts.write_text("x / zfs rw 0 0\n")
    monkeypatch.setattr(settings, "MOUNTS", mounts)
    assert list(sqlite.examine(ledger))[2].found == "zfs"


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("a /x ext4 rw\nb / overlay rw\n", "ext4"),
        ("b / overlay rw\na /x ext4 rw\n", "ext4"),
        ("b / overlay rw\na /xy ext4 rw\n", "overlay"),
        ("b / overlay rw\na /other/deep ext4 rw\n", "overlay"),
        ("a /x ext4 rw\nb /x tmpfs rw\n", "tmpfs"),
        ("a /x/l\\040m ext4 rw\nb /x xfs rw\n", "ext4"),
        ("a /x/ ext4 rw\nb / xfs rw\n", "ext4"),
        ("a /x/X ext4 rw\nb / xfs rw\n", "xfs"),
    ],
)
def test_which_mount_holds_a_file(mounts: str, kind: str) -> None:
    """The deepest around it; of two on one point the later, which hides the other."""
    assert file_system(Path("/x/l m/l.db"), mounts) == kind


def test_other_files_are_refused(ledger: Path, tmp_path: Path) -> None:
    """A newer schema, another program's database, another collector's, and no folder."""
    assert said(check_not_newer, NEWEST + 1, NEWEST, ledger, error=UsageError) == (
        f"the ledger {ledger} was written by a newer flopmeter (schema {NEWEST + 1}, this one "
        f"knows {NEWEST}): upgrade flopmeter"
    )
    foreign = tmp_path / "foreign.db"
    for statement in ("PRAGMA user_version = 1", "CREATE TABLE x (y)", "PRAGMA application_id = 3"):
        foreign.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(foreign)) as other:
            assert schema_version(other, foreign) == 0
            other.execute(statement)
            sentence = (
                f"{foreign} is an SQLite database of another program; name another file for the "
                "ledger"
            )
            assert said(schema_version, other, foreign, error=DataError) == sentence
            steps = migrations.load()
            named = {"ledger_id": "1" * 32, "simulated": False}
            assert said(bring_up, other, foreign, steps, error=DataError, **named) == sentence
    lock = lock_for_collecting(ledger)
    assert said(lock_for_collecting, ledger, error=BusyError) == (
        f"the ledger {ledger} is held by another collector; stop that one, or name another ledger"
    )
    os.close(lock)
    away = tmp_path / "away" / "x.db"
    assert said(lock_for_collecting, away, error=StorageError) == (
        f"the lock {away}.lock cannot be opened: No such file or directory; check the folder's "
        "rights and its disk"
    )


@pytest.mark.parametrize(
    ("name", "family", "sentence"),
    [
        ("SQLITE_NOTADB", DataError, "l.db is no ledger (not an SQLite database)"),
        ("SQLITE_CORRUPT", DataError, "the ledger l.db is damaged; restore it from a backup"),
        ("SQLITE_CORRUPT_INDEX", DataError, "the ledger l.db is damaged; restore it from a backup"),
        (
            "SQLITE_BUSY",
            LedgerBusyError,
            "the ledger l.db cannot work: no; another process holds it for long; find and stop "
            "that process",
        ),
        (
            "SQLITE_IOERR_WRITE",
            StorageError,
            "the ledger l.db cannot work: no; check its disk and start again",
        ),
        ("", StorageError, "the ledger l.db cannot work: no; check its disk and start again"),
    ],
)
def test_errors_of_sqlite(name: str, family: type[FlopmeterError], sentence: str) -> None:
    """Each kind is one family of ours, and says what to do."""

    def work() -> None:
        with storage(Path("l.db"), "work"):
            error = sqlite3.OperationalError("no")
            if name:
                error.sqlite_errorname = name
            raise error

    assert said(work, error=family) == sentence


def test_accesses(ledger: Path) -> None:
    """Who reads cannot write; nobody but a collector makes a file; links are checked."""
    with contextlib.closing(connect(ledger, Access.READ)) as reader:
        assert reader.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert reader.execute("PRAGMA synchronous").fetchone()[0] == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("UPDATE meta SET generation = 1")
    none = ledger.with_name("none.db")
    for access in (Access.READ, Access.DECLARE):
        said(connect, none, access, error=StorageError)
    assert not none.exists()
    connect(none, Access.COLLECT).close()
    assert none.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_is_damaged(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets no name, and no ledger is upgraded on it."""
    target = tmp_path / "copy.db"
    monkeypatch.setattr(copies, "damage", lambda connection: ["page 3", "page 4"])
    monkeypatch.setattr(schema, "damage", lambda connection: ["page 3", "page 4"])
    assert said(sqlite.back_up, ledger, target, error=DataError) == "the copy is damaged: page 3"
    assert not target.exists()
    with contextlib.closing(sqlite3.connect(ledger)) as other:
        assert said(schema._back_up, other, ledger, target, error=DataError) == (
            f"the ledger was not upgraded, because its copy {target} is damaged: page 3"
        )


def test_a_name_that_was_taken_meanwhile(tmp_path: Path) -> None:
    """Two who copy at once: the first one's file stays."""
    target = tmp_path / "copy.db"

    def place() -> None:
        with copies._placed(target):
            target.write_bytes(b"first")

    assert said(place, error=UsageError) == (
        f"{target} exists and is not written over; name another file"
    )
    assert target.read_bytes() == b"first"


def test_where_a_ledger_can_be(tmp_path: Path) -> None:
    """A folder that does not exist is said."""
    path = tmp_path / "away" / "l.db"
    assert said(
        sqlite.open_for_collecting,
        path,
        simulated=False,
        new_ledger_id=lambda: "1" * 32,
        error=UsageError,
    ) == (f"the folder {path.parent} of the ledger does not exist; create it, or name another file")


def test_the_log_is_moved_into_the_file_between_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many vectors the ledger asks for it; a reader in the way costs nobody anything."""
    monkeypatch.setattr(store, "UNSETTLED_VECTORS", 2)
    path = tmp_path / "ledger.db"
    opened = sqlite.open_for_collecting(path, simulated=False, new_ledger_id=lambda: "1" * 32)
    records = {RECORD.record_id: RECORD}
    with contextlib.closing(opened):

        def commit(sequence: int) -> bool:
            stored = StoredVector(key(), 0, sequence, vector(sequence))
            opened.commit(Batch(records=records, vectors=[stored]))
            return opened.unsettled

        assert [commit(1), commit(2)] == [False, True]
        before = path.read_bytes()
        opened.settle()
        assert path.read_bytes() != before and not opened.unsettled
        with contextlib.closing(sqlite.open_for_reading(path)) as reader, reader.consistent():
            assert reader.position().commit_number == 2
            assert [commit(3), commit(4)] == [False, True]
            opened.settle()
            assert reader.position().commit_number == 2
        assert opened.position().commit_number == 4
