"""The ledger on a PostgreSQL server, for several collectors at a time.

Owns: the ways to open it: to collect, to declare, to read.
May touch: the server that the URL names.
Called by flopmeter_collector.backends; the rest knows `ledger.base` only.
Explained in docs/adr/0014-postgresql-ledger.md.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from flopmeter_collector.ledger import migrations
from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.ledger.postgres.merge import JoinBranches
from flopmeter_collector.ledger.postgres.schema import bring_up, check_not_newer, schema_version
from flopmeter_collector.ledger.postgres.server import Access, Server, storage
from flopmeter_collector.ledger.postgres.settings import examine
from flopmeter_collector.ledger.postgres.store import PostgresLedger
from flopmeter_core.errors import NotPermittedError, UsageError

__all__ = ["examine", "open_for_collecting", "open_for_declaring", "open_for_reading"]


def open_for_collecting(
    url: str,
    *,
    simulated: bool,
    new_ledger_id: Callable[[], str],
    join_branches: JoinBranches,
    steps: Sequence[Migration] | None = None,
) -> PostgresLedger:
    """Open a ledger as one of its collectors; create its tables when there are none.

    Args:
        url: the database.
        simulated: the kind of readings it has to keep.
        new_ledger_id: draws 32 random hexadecimal digits.
        join_branches: the rule of the merge.
        steps: the schema's steps; for tests of a migration.

    Raises:
        LedgerUnreachableError: no server there takes writes now.
        NotPermittedError: the user is refused, or it keeps the other kind.
        UsageError: the URL cannot be used, or a newer flopmeter stepped the schema forward.
        DataError: the tables belong to another program.
    """
    server = Server(url, Access.COLLECT)
    server.name_session(f"flopmeter collector on {platform.node()}")
    known = tuple(steps or migrations.load())
    connection = server.connect()
    try:
        with storage(server.name, "open"):
            stepped = bring_up(
                connection, server.name, known, ledger_id=new_ledger_id(), simulated=simulated
            )
    finally:
        connection.close()
    ledger = _open(server, known[-1].version, join_branches, new_ledger_id)
    try:
        _check_kind(ledger, server.name, simulated=simulated)
        if stepped:
            ledger.end_older_sessions()
        ledger.start_generation()
    except BaseException:
        ledger.close()
        raise
    return ledger


def open_for_declaring(url: str) -> PostgresLedger:
    """Open an existing ledger to add declarations, while collectors may be running.

    Raises:
        UsageError: there is no ledger, or its schema is another version's.
        LedgerUnreachableError, NotPermittedError: as `open_for_collecting`.
    """
    return _open_existing(url, Access.DECLARE)


def open_for_reading(url: str) -> PostgresLedger:
    """Open an existing ledger for queries; a standby will do where the URL names only that.

    Raises:
        UsageError: there is no ledger, or its schema is another version's.
        LedgerUnreachableError, NotPermittedError: as `open_for_collecting`.
    """
    return _open_existing(url, Access.READ)


def _open_existing(url: str, access: Access) -> PostgresLedger:
    return _open(Server(url, access), migrations.load()[-1].version, _never_joined, str)


def _open(
    server: Server, newest: int, join_branches: JoinBranches, new_id: Callable[[], str]
) -> PostgresLedger:
    def check(connection: psycopg.Connection[Any]) -> None:
        version = schema_version(connection, server.name)
        check_not_newer(version, newest, server.name)
        if version == 0:
            raise UsageError(
                f"there is no ledger at {server.name}; a collector creates it "
                "(flopmeter collector --ledger)"
            )
        if version < newest:
            raise UsageError(
                f"the ledger {server.name} has the older schema {version}: start a collector of "
                "this version on it once, which brings it up to date"
            )

    return PostgresLedger(server, join_branches=join_branches, new_id=new_id, check=check)


def _never_joined(*_: object) -> tuple[Any, ...]:
    raise AssertionError("only a collector merges")


def _check_kind(ledger: PostgresLedger, name: str, *, simulated: bool) -> None:
    if ledger.simulated == simulated:
        return
    kept, asked = ("simulated", "real") if ledger.simulated else ("real", "simulated")
    hint = "add" if ledger.simulated else "leave out"
    raise NotPermittedError(
        f"the ledger {name} was created for {kept} readings and never takes {asked} ones; name "
        f"another ledger, or {hint} --simulated"
    )
