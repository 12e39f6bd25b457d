"""Whether a server's settings give what flopmeter promises of its ledger.

Owns: the list of settings that matter, what each has to be, and what is lost otherwise.
May touch: the server, read-only; Patroni's HTTP interface where its address is given.
Called by flopmeter_collector.backends for `flopmeter doctor`; docs/scaling.md lists the settings.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from flopmeter_collector.ledger.base import Finding
from flopmeter_collector.ledger.postgres.server import Access, Server, storage
from flopmeter_core.errors import UnreachableError

_WANTED = (
    (
        "fsync",
        ("on",),
        "a power cut takes or damages what was acknowledged: set it on",
    ),
    (
        "full_page_writes",
        ("on",),
        "a power cut can leave pages half written: set it on",
    ),
    (
        "data_checksums",
        ("on",),
        "a page that the disk changed is read as if it were right: stop the server and run "
        "pg_checksums --enable",
    ),
    (
        "wal_level",
        ("replica", "logical"),
        "no standby can follow: set it to replica and restart the server",
    ),
)
"""Setting, values that do, what is lost with another."""

_COMMITS = ("on", "remote_apply")

OLDEST_VERSION = 140_000
"""idle_session_timeout came with PostgreSQL 14."""

LONGEST_TTL_S = 25
"""Patroni replaces a dead primary after its ttl; with elections reports go on within 40 s."""

PATRONI_LIMIT_S = 5.0


def examine(url: str, patroni: str = "") -> Iterator[Finding]:
    """Look at a server's settings, one finding each.

    Args:
        url: the ledger.
        patroni: base URL of one member's Patroni, such as ``http://db1:8008``; empty: none.

    Raises:
        LedgerUnreachableError, NotPermittedError, UsageError: as opening the ledger.
        UnreachableError: Patroni does not answer.
    """
    server = Server(url, Access.COLLECT)
    connection = server.connect(pooled=True)
    try:
        with storage(server.name, "be looked at", once=True):
            yield from _server(connection)
            yield from _replication(connection)
            yield from _session(connection, pooled=server.pools(connection))
    finally:
        connection.close()
    yield from _client(server.parameters)
    if patroni:
        yield from _patroni(patroni)
    else:
        yield Finding(
            "synchronous_mode_strict",
            "not asked",
            None,
            "only Patroni knows whether it goes on without a standby: give --patroni URL",
        )


def _show(connection: psycopg.Connection[Any], name: str) -> str:
    # What the server gives every session, not what this one set for itself.
    row = connection.execute(
        "SELECT reset_val FROM pg_settings WHERE name = %s", (name,)
    ).fetchone()
    return str(row[0]) if row and row[0] is not None else "not known"


def _server(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    version = connection.info.server_version
    yield Finding(
        "server_version",
        _show(connection, "server_version"),
        version >= OLDEST_VERSION,
        "ends the session of a collector that stands still"
        if version >= OLDEST_VERSION
        else "a collector that stands still keeps the totals to itself: upgrade to 14 or newer",
    )
    for name, wanted, lost in _WANTED:
        found = _show(connection, name)
        good = found in wanted
        yield Finding(name, found, good, "as it has to be" if good else lost)


def _replication(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    commit = _show(connection, "synchronous_commit")
    good = commit in _COMMITS
    yield Finding(
        "synchronous_commit",
        commit,
        good,
        "a commit waits for the disks"
        if good
        else "a commit does not wait for every disk; collectors set it on for themselves, other "
        "programs that declare do not: set it on",
    )
    names = _show(connection, "synchronous_standby_names")
    yield Finding(
        "synchronous_standby_names",
        names or "none",
        bool(names),
        "a commit waits for a standby"
        if names
        else "what was acknowledged is on one machine only: name standbys, or let Patroni do it",
    )
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), count(*)"
        " FROM pg_stat_replication"
    ).fetchone()
    synchronous, every = row if row else (0, 0)
    yield Finding(
        "pg_stat_replication",
        f"{synchronous} synchronous of {every}",
        synchronous > 0,
        "a standby has every acknowledged commit"
        if synchronous
        else "no synchronous standby is connected (or this user may not see it; grant pg_monitor)",
    )


def _session(connection: psycopg.Connection[Any], *, pooled: bool) -> Iterator[Finding]:
    yield Finding(
        "session",
        "lent by the transaction" if pooled else "the server's own",
        not pooled,
        "the lock of the collector that leads stays with it"
        if not pooled
        else "a pooler hands out transactions, and a collector refuses it: let it pool sessions "
        "(PgBouncer: pool_mode = session)",
    )
    row = connection.execute(
        "SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),"
        " coalesce(host(inet_server_addr()), '')"
    ).fetchone()
    encrypted, address = row if row else (False, "")
    near = address in ("", "::1") or address.startswith("127.")
    yield Finding(
        "ssl",
        "on" if encrypted else "off, on this machine" if near else "off",
        bool(encrypted or near),
        "nobody on the way reads along"
        if encrypted or near
        else "reports and the password's proof cross the network in the clear: sslmode=verify-full",
    )


def _client(parameters: Mapping[str, str]) -> Iterator[Finding]:
    several = "," in parameters.get("host", "")
    attributes = parameters.get("target_session_attrs", "any")
    good = attributes in ("read-write", "primary")
    yield Finding(
        "target_session_attrs",
        attributes,
        good,
        "the server that takes writes is found"
        if good
        else "after a failover a standby is found: set it to read-write",
    )
    yield Finding(
        "hosts",
        str(parameters.get("host", "").count(",") + 1),
        True if several else None,
        "another server is found after a failover"
        if several
        else "one address: after a failover it has to lead to the new primary by itself",
    )
    for name, limit in (("connect_timeout", 10), ("tcp_user_timeout", 20_000)):
        found = parameters.get(name, "0")
        within = found.isdigit() and 0 < int(found) <= limit
        yield Finding(
            name,
            found,
            within,
            "a dead server is given up in time"
            if within
            else f"a dead server holds reports up: leave it out of the URL, or at most {limit}",
        )


def _patroni(address: str) -> Iterator[Finding]:
    try:
        place = f"{address.rstrip('/')}/config"
        with urllib.request.urlopen(place, timeout=PATRONI_LIMIT_S) as answer:
            settings = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UnreachableError(
            f"Patroni at {address} tells no configuration ({error}); name one member's REST "
            "address, such as http://db1:8008"
        ) from error
    for name, lost in (
        ("synchronous_mode", "a standby that lags can be promoted, and what it lacks is lost"),
        (
            "synchronous_mode_strict",
            "without a standby commits go on, on one machine only, and are acknowledged",
        ),
    ):
        found = bool(settings.get(name))
        told = "as it has to be" if found else f"{lost}: patronictl edit-config -s {name}=true"
        yield Finding(name, "on" if found else "off", found, told)
    ttl = settings.get("ttl", 30)
    yield Finding(
        "ttl",
        f"{ttl} s",
        ttl <= LONGEST_TTL_S,
        "a dead primary is replaced in time"
        if ttl <= LONGEST_TTL_S
        else f"reports wait longer than 40 s for another primary: set at most {LONGEST_TTL_S}",
    )
