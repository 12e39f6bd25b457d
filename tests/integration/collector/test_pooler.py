"""A PostgreSQL ledger behind a real PgBouncer: its sessions will do, its transactions will not."""

from __future__ import annotations

import contextlib
import secrets
import time

import psycopg
import pytest

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.errors import UsageError
from support.pgbouncer import pooling
from support.postgres import PASSWORD, shared_server

LENDING = [
    ("pool_mode = transaction",),
    ("pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 4"),
    ("pool_mode = statement",),
]
"""Modes in which a client's server connection is the next client's too."""


def database() -> str:
    """An empty database of the shared server."""
    name = f"ledger_{secrets.token_hex(8)}"
    shared_server().create(name)
    return name


def tables(name: str) -> int:
    """How many tables a database has."""
    with psycopg.connect(shared_server().url(name)) as connection:
        (row,) = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    return int(row[0])


@pytest.mark.parametrize("settings", LENDING, ids=lambda settings: settings[0] + str(len(settings)))
def test_lent_by_the_transaction(settings: tuple[str, ...]) -> None:
    """One sentence, before a table is made; also where a collector or a declaration comes later."""
    name = database()
    statement = Declaration(0, 0, "a", "cli", "run", "r", {"model": "m"})
    with pooling(shared_server(), name, *settings) as url:
        for _ in range(3):  # the pool has more connections each time
            with pytest.raises(UsageError, match="let it pool sessions") as caught:
                backends.collect(url, simulated=False)
            assert "\n" not in str(caught.value) and PASSWORD not in str(caught.value)
        assert tables(name) == 0
        with contextlib.closing(backends.collect(shared_server().url(name), simulated=False)):
            with pytest.raises(UsageError, match="let it pool sessions"):
                backends.collect(url, simulated=False)
            with pytest.raises(UsageError, match="let it pool sessions"):
                backends.declare(url, statement)
        (finding,) = (each for each in backends.examine(url) if each.setting == "session")
        assert finding.good is False
        assert "pool_mode = session" in finding.told


def test_who_looks_only_leaves_nothing_behind() -> None:
    """A statement that one server connection was to remember is asked of the next one: it is told.

    The pool lends all its connections in turn, and each finding is a statement of the same text.
    """
    name = database()
    with pooling(shared_server(), name, *LENDING[1]) as url:
        with contextlib.ExitStack() as clients:
            held = [clients.enter_context(psycopg.connect(url)) for _ in range(4)]
            for client in held:  # in a transaction each, so that the pool has all its connections
                client.execute("SELECT 1")
        assert [each.setting for each in backends.examine(url)].count("session") == 1


def test_lent_by_the_session() -> None:
    """Two collectors behind one pooler of sessions: one leads, the other takes over."""
    name = database()
    with pooling(shared_server(), name, "pool_mode = session") as url:
        first, second = (backends.collect(url, simulated=False) for _ in range(2))
        with contextlib.closing(first), contextlib.closing(second):
            assert first.lead() and not second.lead()
            first.close()
            # The pooler gives the session's locks back a moment after its client has gone.
            deadline = time.monotonic() + 20
            while not second.lead():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert not first.lead()
        (finding,) = (each for each in backends.examine(url) if each.setting == "session")
        assert finding.good
