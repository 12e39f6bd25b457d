"""`flopmeter ledger`: what each command prints, for people and as JSON, and its exit code."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path

import pytest

from flopmeter_collector.ledger.base import QuarantinedVector, StoredVector
from support.ingest import key, vector
from support.small_ledger import Spoken, small_ledger

WHY = ("--reason", "asked by counsel", "--author", "ada")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with a run, a fork and a quarantined vector."""
    forked = key(phase=2)
    branches = (StoredVector(forked, 0, 5, vector(5)), StoredVector(forked, 1, 5, vector(6)))
    kept_apart = QuarantinedVector(key(phase=1), 5, vector(9), None, "impossible", 10**18)
    return small_ledger(tmp_path, {"run:a": 2}, others=branches, quarantined=(kept_apart,))


@pytest.fixture
def say(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Spoken:
    """Commands on it, on a screen that is wide enough for a table."""
    monkeypatch.setenv("COLUMNS", "200")
    return Spoken(capsys, "--ledger", url)


def test_quarantine(say: Spoken) -> None:
    """The table has what the JSON has; a release is told either way and cannot be repeated."""
    (row,) = say.document("ledger", "quarantine", "list")["quarantine"]
    told = say("ledger", "quarantine", "list")
    assert all(str(row[name]) in told for name in ("name", "state", "node", "sequence", "reason"))
    released = say.document("ledger", "quarantine", "release", row["name"], *WHY)
    assert (released["name"], released["declaration"], released["sequence"]) == (row["name"], 1, 5)
    again = say.refused("ledger", "quarantine", "release", row["name"], *WHY)
    assert "was released already" in again


def test_a_rejected_vector_is_listed_on_demand(say: Spoken) -> None:
    """It is told once, is gone from the list but not from the ledger, and may be released."""
    listed = ("ledger", "quarantine", "list")
    (row,) = say.document(*listed)["quarantine"]
    told = say("ledger", "quarantine", "reject", row["name"], *WHY)
    assert told.startswith(f"declaration 1: {row['name']} is rejected at sequence 5")
    assert say.document(*listed)["quarantine"] == []
    assert say(*listed).splitlines() == ["there is none", "1 found untrue: --all lists them too"]
    (kept,) = say.document(*listed, "--all")["quarantine"]
    assert (kept["state"], kept["rejected_by_declaration"]) == ("rejected", 1)
    assert "rejected" in say(*listed, "--all") and "untrue" not in say(*listed, "--all")
    assert "rejected already" in say.refused("ledger", "quarantine", "reject", row["name"], *WHY)
    assert say.document("ledger", "quarantine", "release", row["name"], *WHY)["declaration"] == 2
    assert "nothing back" in say.refused("ledger", "quarantine", "reject", row["name"], *WHY)


def test_forks(say: Spoken) -> None:
    """Both branches of a forked register are listed, a line each."""
    rows = say.document("ledger", "fork", "list")["branches"]
    assert [(row["branch"], row["sequence"]) for row in rows] == [(0, 5), (1, 5)]
    assert say("ledger", "fork", "list").count(rows[0]["name"]) == 2


def test_holds(say: Spoken) -> None:
    """A hold is told, listed with who asked and why, and ended; an empty list says so."""
    assert say("ledger", "hold", "list") == "there is none\n"
    assert say("ledger", "hold", "add", "run:a", *WHY) == "declaration 1: run:a is held\n"
    (row,) = say.document("ledger", "hold", "list")["holds"]
    assert (row["subject"], row["author"], row["reason"]) == ("run:a", "ada", "asked by counsel")
    assert "asked by counsel" in say("ledger", "hold", "list")
    ended = say.document("ledger", "hold", "release", "run:a", *WHY)
    assert (ended["subject"], ended["held"], ended["declaration"]) == ("run:a", False, 2)
    assert "is not on hold" in say.refused("ledger", "hold", "release", "run:a", *WHY)
    assert say.document("ledger", "hold", "list")["holds"] == []


def test_the_author_is_the_user_by_default(say: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives no name acts under that of this system's user."""
    monkeypatch.setenv("LOGNAME", "grace")
    say("ledger", "hold", "add", "all", "--reason", "litigation")
    (row,) = say.document("ledger", "hold", "list")["holds"]
    assert row["author"] == "grace"


def test_audit(url: str, say: Spoken) -> None:
    """Every act is listed with what it was about, by whom and why; one that is no JSON is named."""
    assert say("ledger", "audit") == "there is none\n"
    say("ledger", "hold", "add", "run:a", *WHY)
    (row,) = say.document("ledger", "audit")["audit"]
    assert (row["number"], row["action"], row["subject"]) == (1, "hold", "run:a")
    assert (row["author"], row["reason"]) == ("ada", "asked by counsel")
    assert row["content"]["state"] == "held" and len(row["link"]) == 64
    told = say("ledger", "audit")
    assert all(word in told for word in ("hold", "run:a", "ada", "asked by counsel", "recorded_at"))
    with contextlib.closing(sqlite3.connect(url)) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_not_rewritten")
        connection.execute("UPDATE audit SET content = 'torn'")
    assert "audit row 1 cannot be read" in say.refused("ledger", "audit", code=65)


def test_verify(url: str, say: Spoken) -> None:
    """A whole ledger is said to be; one that is not gives a line a finding and exit code 1."""
    assert say("ledger", "verify") == "the ledger is whole\n"
    document = say.document("ledger", "verify")
    assert (document["whole"], document["findings"]) == (True, [])
    with contextlib.closing(sqlite3.connect(url)) as connection, connection:
        connection.execute("UPDATE quarantine SET released = 77")
    document = say.document("ledger", "verify", code=1)
    assert document["findings"] and not document["whole"]
    assert say("ledger", "verify", code=1).splitlines() == document["findings"]


def test_rebuild(say: Spoken, tmp_path: Path) -> None:
    """Totals come out the same, and the JSON carries them."""
    folder = ("--thresholds-dir", str(tmp_path))
    assert say("ledger", "rebuild", *folder) == "totals and states come out the same\n"
    document = say.document("ledger", "rebuild", *folder)
    assert (document["same"], document["findings"]) == (True, [])
    assert [run["run"] for run in document["totals"]["runs"]] == ["a"]


def test_backup_and_restore(
    say: Spoken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy is told with its checksum; what is put back is told with what it lacks."""
    target = tmp_path / "copy.db"
    copy = say.document("ledger", "backup", str(target))
    assert copy["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    told = say("ledger", "backup", str(tmp_path / "second.db"))
    assert "commit 1, SHA-256 " in told
    away = Spoken(capsys, "--ledger", str(tmp_path / "new.db"))
    lines = away("ledger", "restore", str(target), *WHY).splitlines()
    assert lines[0].endswith("restored at commit 1") and len(lines) == 2
    assert "totals are whole once every node has reported again" in lines[1]
    # Without the checksum beside it the copy is taken too, and that is said.
    target.with_name("copy.db.sha256").unlink()
    other = Spoken(capsys, "--ledger", str(tmp_path / "other.db"))
    assert f"no checksum lies beside {target}" in other("ledger", "restore", str(target), *WHY)
    document = Spoken(capsys, "--ledger", str(tmp_path / "third.db")).document(
        "ledger", "restore", str(target), *WHY
    )
    assert (document["checksum_was_given"], document["commit_number"]) == (False, 1)
