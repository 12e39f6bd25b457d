"""The server of a PostgreSQL ledger: connecting, the session's settings, and what errors mean.

Owns: what is taken from a URL, every limit of time of a session, and one sentence a failure.
May touch: the network, through psycopg; the password goes to libpq and nowhere else.
Called by the other modules of this package and by its audit of settings.
Explained in docs/adr/0014-postgresql-ledger.md.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import psycopg
from psycopg import conninfo, sql

from flopmeter_collector.ledger.base import LedgerBusyError, LedgerUnreachableError
from flopmeter_collector.ledger.postgres.pooling import pools_transactions, refuse
from flopmeter_core.errors import (
    DataError,
    FlopmeterError,
    NotPermittedError,
    StorageError,
    UsageError,
)

SILENCE_S = 15
"""After so many seconds without a sign of life either side gives a connection up."""

FROZEN_S = 20
"""A session that asks nothing for so long is ended by the server, and its locks with it: a
collector that is stopped but not dead must not keep the fleet totals to itself."""

_CLIENT = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": str(SILENCE_S * 1000),
    "application_name": "flopmeter",
}
"""Defaults of a connection, in libpq's words; the URL's own parameters come first."""

_SESSION = {
    "tcp_keepalives_idle": "5s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": f"{SILENCE_S}s",
    "idle_in_transaction_session_timeout": f"{SILENCE_S}s",
    # A commit that is cancelled while it waits for a standby has happened here and nowhere else.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    # Who waited for another's commit has to see it: a stricter level refuses the wait instead, and
    # with each refusal the session, and the lead, is given up.
    "default_transaction_isolation": "read committed",
}
"""Settings of every session, whatever the server's are."""


class Access(enum.Enum):
    """What a ledger is opened for."""

    COLLECT = "collect"
    DECLARE = "declare"
    READ = "read"


class Server:
    """Where the ledger is and how to get there."""

    def __init__(self, url: str, access: Access) -> None:
        """Take a URL apart.

        Raises:
            UsageError: it cannot be read, or names no database.
        """
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            # Without the cause: libpq's own words repeat what stands where the password is.
            raise UsageError(
                "the ledger's URL cannot be read; write it as "
                "postgresql://USER@HOST:5432/DATABASE, and the password into PGPASSFILE or with "
                "its special characters as %XX"
            ) from None
        parameters = {name: str(text) for name, text in given.items() if text is not None}
        if not parameters.get("dbname") and not parameters.get("service"):
            raise UsageError(
                "the ledger's URL names no database; write postgresql://USER@HOST:5432/DATABASE"
            )
        several = "," in parameters.get("host", "")
        if access is not Access.READ or several:
            parameters.setdefault("target_session_attrs", "read-write")
        self.parameters: Mapping[str, str] = {**_CLIENT, **parameters}
        self.name = _name(parameters)
        self.access = access

    def name_session(self, name: str) -> None:
        """Give the session a name that a person recognises, unless the URL has one."""
        if self.parameters["application_name"] == _CLIENT["application_name"]:
            self.parameters = {**self.parameters, "application_name": name}

    @property
    def once(self) -> bool:
        """Whether nobody tries again what fails: a command looks or declares, and ends."""
        return self.access is not Access.COLLECT

    def connect(self, *, pooled: bool = False) -> psycopg.Connection[Any]:
        """Connect, each statement a transaction of its own.

        Args:
            pooled: whether a pooler of transactions will do: for somebody who only looks.

        Raises:
            LedgerUnreachableError: nobody there takes writes now.
            NotPermittedError: the user or the password is refused.
            UsageError: the session would be lent by the transaction.
        """
        connection = self._open()
        if pooled or self.access is Access.READ:
            # Each statement may come to another server connection, which remembers none prepared.
            connection.prepare_threshold = None
        try:
            if self.access is not Access.READ and not pooled and self.pools(connection):
                raise refuse(self.name)
            self.settle(connection, _SESSION)
            if self.access is not Access.READ:
                self._wait_for_disks(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def pools(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether a pooler lends this session a server connection by the transaction."""
        with storage(self.name, "open", once=self.once):
            return pools_transactions(connection, self._open)

    def _open(self) -> psycopg.Connection[Any]:
        try:
            return psycopg.connect(**self.parameters, autocommit=True)  # type: ignore[arg-type]
        except psycopg.OperationalError as error:
            _refuse_connection(self.name, error)

    def _wait_for_disks(self, connection: psycopg.Connection[Any]) -> None:
        """An acknowledgement means durable, whatever the server does by default."""
        with storage(self.name, "open", once=self.once):
            found = connection.execute("SHOW synchronous_commit").fetchone()
        if found is not None and found[0] in ("off", "local", "remote_write"):
            self.settle(connection, {"synchronous_commit": "on"})

    def settle(self, connection: psycopg.Connection[Any], settings: Mapping[str, str]) -> None:
        """Set what the session needs; an engine that lacks a setting goes without."""
        for name, text in settings.items():
            with (
                storage(self.name, "open", once=self.once),
                contextlib.suppress(
                    psycopg.errors.UndefinedObject,
                    psycopg.errors.FeatureNotSupported,
                    psycopg.errors.InvalidParameterValue,
                ),
            ):
                connection.execute(
                    sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(text))
                )


class Statements:
    """A psycopg connection that takes ``?`` for a parameter, as `ledger.tables` writes it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Take over a connection."""
        self.raw = connection

    def execute(
        self, statement: str, parameters: Sequence[Any] = (), /
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement."""
        # A statement without parameters may hold a percent sign.
        return self.raw.execute(_own_marks(statement), parameters or None)

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Run one statement with each of several rows."""
        with self.raw.cursor() as cursor:
            cursor.executemany(_own_marks(statement), parameters)

    def copy_in(self, table: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Send rows into a table."""
        with (
            self.raw.cursor() as cursor,
            cursor.copy(
                sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table))
            ) as copy,
        ):
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)


def _own_marks(statement: str) -> Any:
    return statement.replace("?", "%s")


AGAIN = "it is tried again"

AGAIN_BY_HAND = (
    "nobody tries it again: run the command again once the server answers, and where it was to "
    "store something see first whether that stands"
)
"""A connection that breaks does not tell whether a commit on its way was made."""

_AWAY = ("08", "57P")
"""SQLSTATE classes of a connection or server that is going or gone."""

_RETRY = {
    "25P04": f"the server ended a transaction that lasted long; {AGAIN}",
    "57014": f"somebody on the server cancelled the statement; {AGAIN}",
    "25006": "this server takes no writes (a standby, or one just demoted); the next one is tried",
    "25P03": f"the server ended a transaction that stood still; {AGAIN}",
    "40001": f"another collector changed the same rows; {AGAIN}",
    "40P01": f"another collector changed the same rows; {AGAIN}",
    "53100": "free space on the server's disk",
    "53200": "the server is short of memory; give it more, or less work",
    "53300": "raise max_connections of the server, or put PgBouncer (session pooling) before it",
    "55P03": "another session holds the ledger for long; find and stop it",
    "57P05": f"the server ended a session that stood still; {AGAIN}",
}
"""After these nothing of the statement happened, and the same again may work."""

_HINTS = {
    "3D000": "create the database, or name another one",
    "42501": "grant the user of the URL the right to it",
    "42P01": "it is not flopmeter's, or was damaged; restore a backup or name another database",
    "42703": "it is not flopmeter's, or was damaged; restore a backup or name another database",
}


@contextlib.contextmanager
def storage(name: str, operation: str, *, once: bool = False) -> Iterator[None]:
    """Turn psycopg's errors into ours, once and here.

    Args:
        name: the ledger, without its password.
        operation: what cannot be done, for the sentence.
        once: whether nobody tries it again: a command, and not a collector.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translated(name, operation, error, once=once) from error


def translated(
    name: str, operation: str, error: psycopg.Error, *, once: bool = False
) -> FlopmeterError:
    """What an error of psycopg means here; arguments as `storage`."""
    state = error.sqlstate or ""
    said = " ".join((error.diag.message_primary or str(error)).split())
    told = f"the ledger {name} cannot {operation}: {said}"
    if state in _RETRY:
        hint = _RETRY[state].replace(AGAIN, AGAIN_BY_HAND) if once else _RETRY[state]
        return LedgerBusyError(f"{told}; {hint}")
    if state.startswith(_AWAY) or (isinstance(error, psycopg.OperationalError) and not state):
        hint = AGAIN_BY_HAND if once else f"{AGAIN} until the server answers"
        return LedgerUnreachableError(f"{told}; {hint}")
    if state == "42501":
        return NotPermittedError(f"{told}; {_HINTS[state]}")
    if state.startswith("XX00"):
        return DataError(f"{told}; the database is damaged: restore it from a backup")
    hint = _HINTS.get(state, "see the server's log")
    return StorageError(f"{told}; {hint}")


_REFUSED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


def _refuse_connection(name: str, error: psycopg.OperationalError) -> NoReturn:
    # libpq gives no code for what happens before a session exists, only words.
    said = " ".join(str(error).split())
    if any(words in said for words in _REFUSED) or ("role" in said and "does not exist" in said):
        raise NotPermittedError(
            f"the server of the ledger {name} refuses this user ({said}); check user and password "
            "(PGPASSFILE, PGPASSWORD or the URL) and the server's pg_hba.conf"
        ) from error
    if "does not exist" in said:
        raise UsageError(
            f"the ledger {name} does not exist ({said}); create the database, or name another one"
        ) from error
    if "read-only" in said or "recovery" in said:
        raise LedgerUnreachableError(
            f"no server of the ledger {name} takes writes now ({said}); a failover may be under "
            "way, or the URL names standbys only"
        ) from error
    raise LedgerUnreachableError(
        f"the server of the ledger {name} cannot be reached ({said}); check that it runs and that "
        "host and port are right"
    ) from error


def _name(parameters: Mapping[str, str]) -> str:
    """The ledger in words: never with a password."""
    hosts = parameters.get("host", "").split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    places = ",".join(
        f"{host}:{port}" if port and not host.startswith("/") else host
        for host, port in zip(hosts, ports, strict=False)
    )
    user = f"{parameters['user']}@" if "user" in parameters else ""
    return f"postgresql://{user}{places}/{parameters.get('dbname', '')}"
