"""The upgrade of a PostgreSQL ledger while a collector of the version before still commits."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from flopmeter_collector.branches import join_branches
from flopmeter_collector.ledger import migrations, postgres
from flopmeter_collector.ledger.base import Batch, LedgerBusyError, StoredVector
from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.ledger.postgres import schema
from flopmeter_collector.ledger.postgres.store import PostgresLedger
from flopmeter_core.errors import UsageError
from support.ingest import RECORD, key, vector
from support.postgres import shared_server

NEWEST = migrations.load()[-1].version
NEXT = Migration(NEWEST + 1, "CREATE TABLE added (x INTEGER) STRICT;")


def opened(url: str, *steps: Migration) -> PostgresLedger:
    """A collector's ledger of the steps there are, and further ones."""
    return postgres.open_for_collecting(
        url,
        simulated=False,
        new_ledger_id=lambda: secrets.token_hex(16),
        join_branches=join_branches,
        steps=[*migrations.load(), *steps],
    )


def commit(ledger: PostgresLedger, phase: int) -> None:
    """Store a register of its own."""
    stored = StoredVector(key(phase=phase), 0, 1, vector(1))
    ledger.commit(Batch({RECORD.record_id: RECORD}, (stored,)))


def test_the_copy_before_an_upgrade_is_of_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever commits meanwhile waits: no table of the copy is newer than another one."""
    url = shared_server().create(f"ledger_{secrets.token_hex(8)}")
    copied = schema._tables
    waited = []

    with contextlib.closing(opened(url)) as old:
        commit(old, 0)
        assert old._connection is not None
        old._connection.execute("SET lock_timeout = '200ms'")

        def interrupted(connection: psycopg.Connection[Any]) -> Iterator[str]:
            for table in copied(connection):
                yield table
                if table == "register_key":
                    try:
                        commit(old, 1)
                    except LedgerBusyError:
                        waited.append(table)

        monkeypatch.setattr(schema, "_tables", interrupted)
        opened(url, NEXT).close()
    with psycopg.connect(url) as connection:
        (orphans,) = connection.execute(
            f"SELECT count(*) FROM backup_{NEWEST}_vector WHERE key NOT IN"
            f" (SELECT id FROM backup_{NEWEST}_register_key)"
        ).fetchone() or (None,)
    assert (orphans, waited) == (0, ["register_key"])


def test_an_older_collector_is_told_to_be_upgraded() -> None:
    """It does not go on writing into a schema it does not know."""
    url = shared_server().create(f"ledger_{secrets.token_hex(8)}")
    with contextlib.closing(opened(url)) as old, contextlib.closing(opened(url)) as other:
        commit(old, 0)
        opened(url, NEXT).close()
        for ledger in (old, other):
            with pytest.raises(LedgerBusyError):
                commit(ledger, 1)
            with pytest.raises(UsageError, match="upgrade flopmeter"):
                commit(ledger, 1)
    with contextlib.closing(opened(url, NEXT)) as new:
        commit(new, 2)
        assert [stored.key.phase for stored in new.vectors()] == [0, 2]
