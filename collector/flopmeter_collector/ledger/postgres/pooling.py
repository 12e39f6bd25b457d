"""Whether a pooler lends this session a server connection for one transaction at a time.

Owns: how that is found out, and the sentence that refuses it.
May touch: the connection it is given, and one more beside it.
Called by server (before anything else is asked) and by the audit of settings.
Explained in docs/adr/0014-postgresql-ledger.md.

A collector's lock on the lead, its settings and its temporary tables belong to a session. Behind a
pooler of transactions such a lock stays with a server connection that the next client gets: two
collectors lead, or none does. One client alone sees nothing of it, so a second one asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from flopmeter_core.errors import UsageError


def pools_transactions(
    connection: psycopg.Connection[Any], connect: Callable[[], psycopg.Connection[Any]]
) -> bool:
    """Tell whether a session's server process is not its own.

    Args:
        connection: the session, outside a transaction.
        connect: opens another one over the same way.
    """
    if connection.info.backend_pid == _process(connection):
        return False  # a pooler tells each client a number of its own
    beside = connect()
    try:
        # Whatever order a pooler lends its server connections in, two clients that ask by turns
        # and then twice in a row cannot both keep one of their own.
        mine, other = {_process(connection)}, {_process(beside)}
        other.add(_process(beside))
        mine |= {_process(connection), _process(connection)}
    finally:
        beside.close()
    return len(mine) > 1 or len(other) > 1 or bool(mine & other)


def refuse(name: str) -> UsageError:
    """What is said of a ledger behind such a pooler.

    Args:
        name: the ledger, without its password.
    """
    return UsageError(
        f"a pooler before the ledger {name} lends a server connection for one transaction at a "
        "time, and the lock of the collector that leads would be lost with it: let it pool "
        "sessions (PgBouncer: pool_mode = session), or name the server itself"
    )


def _process(connection: psycopg.Connection[Any]) -> int:
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchall()[0]
    return int(pid)
