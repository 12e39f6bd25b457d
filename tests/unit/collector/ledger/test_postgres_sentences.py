"""What a PostgreSQL ledger says of each thing that can go wrong; no server is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from flopmeter_collector.ledger import postgres
from flopmeter_collector.ledger.base import LedgerBusyError, LedgerUnreachableError
from flopmeter_collector.ledger.postgres import server as module
from flopmeter_collector.ledger.postgres.server import Access, Server, translated
from flopmeter_core.errors import DataError, NotPermittedError, StorageError, UsageError


def error(state: str | None, said: str = "no\n  such thing") -> psycopg.Error:
    """An error of the server with this SQLSTATE."""

    class Failure(psycopg.OperationalError):
        sqlstate = state

    return Failure(said)


@pytest.mark.parametrize(
    ("state", "kind", "hint"),
    [
        ("40001", LedgerBusyError, "another collector changed the same rows; it is tried again"),
        ("57014", LedgerBusyError, "somebody on the server cancelled the statement; it is tried"),
        ("25P04", LedgerBusyError, "ended a transaction that lasted long; it is tried again"),
        ("57P01", LedgerUnreachableError, "it is tried again until the server answers"),
        ("08006", LedgerUnreachableError, "it is tried again until the server answers"),
        (None, LedgerUnreachableError, "it is tried again until the server answers"),
        ("42501", NotPermittedError, "grant the user of the URL the right to it"),
        ("XX001", DataError, "the database is damaged: restore it from a backup"),
        ("42P01", StorageError, "it is not flopmeter's, or was damaged"),
        ("22012", StorageError, "see the server's log"),
    ],
)
def test_an_error_of_a_statement(state: str | None, kind: type[Exception], hint: str) -> None:
    """Its kind says whether it is tried again; the sentence is one line with what to do."""
    found = translated("postgresql://db/x", "commit", error(state))
    assert type(found) is kind
    assert str(found).startswith("the ledger postgresql://db/x cannot commit: no such thing; ")
    assert hint in str(found)


@pytest.mark.parametrize(
    "state", ["40001", "25P03", "25P04", "57014", "57P05", "57P01", "08006", None]
)
def test_a_command_does_not_try_again(state: str | None) -> None:
    """What only a collector does is not promised by a command, which ends."""
    assert "it is tried again" in str(translated("postgresql://db/x", "commit", error(state)))
    found = str(translated("postgresql://db/x", "commit", error(state), once=True))
    assert "it is tried again" not in found and "run the command again" in found


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        ("password authentication failed for user", NotPermittedError, "check user and password"),
        ('role "x" does not exist', NotPermittedError, "check user and password"),
        ('database "x" does not exist', UsageError, "create the database, or name another one"),
        ("session is read-only", LedgerUnreachableError, "a failover may be under way"),
        ("the server is in recovery", LedgerUnreachableError, "a failover may be under way"),
        ("connection refused", LedgerUnreachableError, "check that it runs and that host and port"),
    ],
)
def test_a_connection_that_is_refused(said: str, kind: type[Exception], hint: str) -> None:
    """Libpq tells by words alone."""
    with pytest.raises(kind, match=hint) as caught:
        module._refuse_connection("postgresql://db/x", psycopg.OperationalError(said))
    assert type(caught.value) is kind


def test_a_session_has_the_name_of_its_work() -> None:
    """Unless the URL names it."""
    server = Server("postgresql://db/x", Access.READ)
    server.name_session("flopmeter leader")
    assert server.parameters["application_name"] == "flopmeter leader"
    named = Server("postgresql://db/x?application_name=mine", Access.READ)
    named.name_session("flopmeter leader")
    assert named.parameters["application_name"] == "mine"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "there is no ledger at db; a collector creates it"),
        (6, "has the older schema 6: start a collector of this version on it once"),
    ],
)
def test_a_ledger_that_a_reader_cannot_use(
    version: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader creates nothing and brings nothing up to date; it says who does."""
    checks: list[Any] = []

    def opened(*_: object, check: object, **__: object) -> None:
        checks.append(check)

    monkeypatch.setattr(postgres, "PostgresLedger", opened)
    monkeypatch.setattr(postgres, "schema_version", lambda *_: version)
    postgres._open(cast(Any, SimpleNamespace(name="db")), 7, cast(Any, None), str)
    with pytest.raises(UsageError, match=said):
        checks[0](None)
    monkeypatch.setattr(postgres, "schema_version", lambda *_: 7)
    checks[0](None)
