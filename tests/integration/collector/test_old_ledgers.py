"""A ledger of every schema there ever was is brought up to date, with a copy of it left beside.

Each schema's ledger lies in tests/data/ledgers as text. A new one is written by
``FLOPMETER_GOLDEN=write pytest tests/integration/collector/test_old_ledgers.py``; one that is
there is never written again, because it is what users have.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter_collector import backends
from flopmeter_collector.ledger import migrations
from flopmeter_collector.ledger.base import Ledger
from flopmeter_core.errors import DataError, UsageError
from support.ingest import RECORD, key, vector
from support.old_ledgers import LEDGER_ID, OLD_COMPONENTS, build, text_of, text_path

NEWEST = migrations.load()[-1].version
SCHEMAS = [schema for schema in range(1, NEWEST + 1) if text_path(schema).exists()]


def test_every_schema_has_its_ledger(tmp_path: Path) -> None:
    """Before a schema gets a successor, a ledger of it is kept for good."""
    if os.environ.get("FLOPMETER_GOLDEN") == "write":
        for schema in range(1, NEWEST + 1):
            if not text_path(schema).exists():
                text_path(schema).write_text(text_of(schema, tmp_path / f"{schema}.db"))
    missing = [schema for schema in range(1, NEWEST) if not text_path(schema).exists()]
    assert missing == [], "write them with FLOPMETER_GOLDEN=write"


def content(ledger: Ledger) -> tuple[object, ...]:
    """What a ledger holds that every schema had."""
    with ledger.consistent():
        return (
            list(ledger.vectors()),
            dict(ledger.records()),
            list(ledger.declarations()),
            list(ledger.transitions()),
        )


@pytest.mark.parametrize("schema", SCHEMAS)
def test_brought_up_to_date(
    tmp_path: Path, schema: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row is there after the upgrade, the ledger is whole, and the copy is the old one."""
    path = tmp_path / "ledger.db"
    build(schema, path)
    if schema < NEWEST:
        with pytest.raises(UsageError, match=f"older schema {schema}"):
            backends.read(str(path))
    with contextlib.closing(backends.collect(str(path), simulated=False)) as ledger:
        seconds = {(row.key.phase, row.branch): row for row in ledger.vectors()}
        assert ledger.position().ledger_id == LEDGER_ID
        assert ledger.position().generation != 77
        assert ledger.position().commit_number == 9
        assert dict(ledger.records()) == {RECORD.record_id: RECORD}
        assert seconds[0, 0].key == key()
        for place, amount in (((0, 0), 7200), ((1, 0), 5), ((1, 1), 6)):
            kept = OLD_COMPONENTS if schema < 3 else len(vector(0))
            assert seconds[place].vector[:kept] == vector(amount)[:kept]
        assert [row.subject for row in ledger.declarations()] == ["a"]
        assert [row.after for row in ledger.transitions()] == ["below"]
        assert len(list(ledger.hours("run:a"))) == (schema >= 2)
        assert [claim.counts.compute_flop for claim in ledger.claims()] == [1234] * (schema >= 3)
        assert [row.action for row in ledger.audit()] == ["recompute"] * (schema >= 4)
        assert [row.sequence for row in ledger.quarantined()] == [4] * (schema >= 5)
        before = content(ledger)
    copy = tmp_path / f"ledger.db.schema-{schema}.bak"
    assert copy.exists() == (schema < NEWEST)
    if copy.exists():
        assert copy.stat().st_mode & 0o777 == 0o600
        with contextlib.closing(sqlite3.connect(copy)) as old:
            assert old.execute("PRAGMA user_version").fetchone() == (schema,)
            assert old.execute("SELECT generation FROM meta").fetchone() == (77,)
    assert main(["ledger", "verify", "--ledger", str(path)]) == 0, capsys.readouterr()
    assert main(["totals", "--ledger", str(path), "--json"]) == 0
    # Put back, an old copy makes the same ledger again.
    if copy.exists():
        back = str(tmp_path / "back.db")
        restore = ["ledger", "restore", str(copy), "--ledger", back, "--reason", "x"]
        assert main(restore) == 0
        with contextlib.closing(backends.read(back)) as restored:
            assert content(restored) == before


def test_killed_between_two_steps(tmp_path: Path) -> None:
    """An upgrade that was killed half way is gone on with, from the step it had come to."""
    path = tmp_path / "ledger.db"
    build(2, path)
    steps = migrations.load()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"{steps[2].sql} PRAGMA user_version = 3;")
    backends.collect(str(path), simulated=False).close()
    assert (tmp_path / "ledger.db.schema-3.bak").exists()
    with contextlib.closing(backends.read(str(path))) as ledger:
        assert len(list(ledger.vectors())) == 3


def test_no_upgrade_of_what_cannot_be_copied(tmp_path: Path) -> None:
    """A ledger whose copy is damaged is not upgraded; it stays as it was."""
    path = tmp_path / "ledger.db"
    build(2, path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE vector SET key = 99 WHERE branch = 1")
    with pytest.raises(DataError, match="was not upgraded"):
        backends.collect(str(path), simulated=False)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
