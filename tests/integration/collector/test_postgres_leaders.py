"""Which collector of a shared PostgreSQL ledger leads, and what follows where a session ends."""

from __future__ import annotations

import secrets
import threading
import time

import psycopg
import pytest

from flopmeter_collector.ledger.base import (
    Batch,
    Ledger,
    LedgerBusyError,
    NotLeadingError,
    Transition,
)
from support.postgres import shared_server
from support.postgres_ledger import ask, batch, opened, stored


@pytest.fixture
def url() -> str:
    """An empty database."""
    return shared_server().create(f"ledger_{secrets.token_hex(8)}")


def wait_to_lead(ledger: Ledger) -> int:
    """The number of its leadership, once the server noticed that the other's session ended."""
    deadline = time.monotonic() + 30
    while not (term := ledger.lead()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return term


def test_one_leads(url: str) -> None:
    """One collector leads; only it records transitions, and it ends with its session."""
    row = Transition(0, "m", "line", "unknown", "above", True, 1, 0)
    with opened(url) as first, opened(url) as second:
        assert first.lead()
        assert not second.lead()
        assert "flopmeter collector on" in second.leader()
        with pytest.raises(NotLeadingError):
            second.commit(Batch(transitions=(row,)))
        second.commit(batch(stored(1, 1)))
        first.commit(Batch(transitions=(row,)))
        first.close()
        wait_to_lead(second)
        second.commit(Batch(transitions=(row,)))
        assert len(list(second.transitions())) == 2


def test_leadership_is_lost_with_the_session(url: str) -> None:
    """A leader whose session the server ended records nothing before it leads again.

    Then it can tell: another may have led in between.
    """
    row = Transition(0, "m", "line", "unknown", "above", True, 1, 0)
    with opened(url) as first, opened(url) as second:
        before = first.lead()
        assert before and first.lead() == before
        end_sessions(url, besides=second)
        with pytest.raises(LedgerBusyError):
            first.commit(Batch(transitions=(row,)))
        assert second.lead()
        with pytest.raises(NotLeadingError):
            first.commit(Batch(transitions=(row,)))
        assert list(first.transitions()) == []
        assert not first.lead()
        second.close()
        assert wait_to_lead(first) != before, "second led in between"


def end_sessions(url: str, *, besides: Ledger) -> None:
    """End every other session of the database, as an administrator or a failover does."""
    kept = besides._connection.raw.info.backend_pid  # type: ignore[attr-defined]
    ask(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        f" AND pid NOT IN (pg_backend_pid(), {kept})",
    )


def test_a_stricter_database_takes_no_lead_away(url: str) -> None:
    """Whatever isolation it gives sessions: who waited for another's commit goes on, and leads."""
    ask(
        url,
        "ALTER DATABASE " + url.rpartition("/")[2] + " SET default_transaction_isolation TO "
        "'repeatable read'",
    )
    with opened(url) as ledger, psycopg.connect(url, autocommit=True) as other:
        term = ledger.lead()
        other.execute("BEGIN")
        other.execute("UPDATE meta SET commit_number = commit_number + 1")
        later = threading.Timer(0.5, lambda: other.execute("COMMIT"))
        later.start()
        ledger.commit(batch(stored(1, 1)))
        later.join()
        assert ledger.lead() == term
