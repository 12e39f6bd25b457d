"""What an SQLite ledger remembers of the collector it is forwarded to.

Owns: the tables `upstream`, `key_at_root` and `hour_to_forward`.
May touch: the connection it is given.
Called by store, inside its transactions. A help over a restart: without it all is sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence, Set

from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import Batch, HourPage, RelayRows, Upstream
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector, LedgerPosition

_HOUR = (
    "SELECT h.key, h.hour, h.sequence, h.first_hour, h.boot_ns, h.wall_ns, h.components,"
    " k.incarnation, k.device, k.allocation, k.phase, k.evidence, r.record_id"
)
_HOUR_KEY = " JOIN register_key AS k ON k.id = h.key JOIN record AS r ON r.id = k.record"


def write_relay(connection: sqlite3.Connection, batch: Batch, key_id: Mapping[Key, int]) -> None:
    """Write what a commit says of forwarding; `batch.relay` is not None.

    Args:
        connection: inside a transaction.
        batch: the commit; its hours are to be forwarded.
        key_id: rows of the keys it names.
    """
    relay = batch.relay
    assert relay is not None
    connection.executemany(
        "DELETE FROM hour_to_forward WHERE key = ? AND hour = ?",
        [(key_id[key], hour) for key, hour in batch.dropped_hours if key in key_id],
    )
    connection.executemany(
        "INSERT INTO hour_to_forward VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(key_id[hourly.key], hourly.hour) for hourly in batch.hours],
    )
    if relay.upstream is not None:
        _write_upstream(connection, relay.upstream, lost=relay.lost)
    connection.executemany(
        "INSERT INTO key_at_root VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence",
        [(key_id[key], sequence) for key, sequence in relay.at_root.items()],
    )
    connection.executemany(
        # An hour that was written again meanwhile goes out again.
        "DELETE FROM hour_to_forward WHERE key = ? AND hour = ? AND EXISTS (SELECT 1 FROM"
        " hour_vector AS h WHERE h.key = hour_to_forward.key AND h.hour = hour_to_forward.hour"
        " AND h.sequence = ? AND h.first_hour >= ?)",
        [
            (key_id[hourly.key], hourly.hour, hourly.sequence, hourly.first_hour)
            for hourly in relay.forwarded_hours
            if hourly.key in key_id
        ],
    )
    if relay.resent is not None:
        connection.execute("UPDATE upstream SET resent_key = ?, resent_hour = ?", relay.resent)


def _write_upstream(connection: sqlite3.Connection, upstream: Upstream, *, lost: bool) -> None:
    place = upstream.position
    connection.execute(
        "INSERT INTO upstream VALUES (1, ?, ?, ?, ?, -1, -1) ON CONFLICT (id) DO UPDATE SET"
        " ledger_id = excluded.ledger_id, generation = excluded.generation,"
        " commit_number = excluded.commit_number, loss_count = excluded.loss_count",
        (place.ledger_id, place.generation, place.commit_number, upstream.loss_count),
    )
    if lost:
        connection.execute("UPDATE upstream SET resent_key = -1, resent_hour = -1")
        connection.execute("DELETE FROM key_at_root")


def forget(connection: sqlite3.Connection) -> None:
    """Nobody forwards this ledger: what is remembered would go stale."""
    connection.execute("DELETE FROM upstream")
    connection.execute("DELETE FROM key_at_root")
    connection.execute("DELETE FROM hour_to_forward")


def read_relay(connection: sqlite3.Connection, keys: Mapping[int, Key]) -> RelayRows:
    """What is remembered, for a start."""
    row = connection.execute(
        "SELECT ledger_id, generation, commit_number, loss_count FROM upstream"
    ).fetchone()
    marks = connection.execute("SELECT key, sequence FROM key_at_root").fetchall()
    return RelayRows(
        upstream=None if row is None else Upstream(LedgerPosition(*row[:3]), row[3]),
        at_root={keys[key]: sequence for key, sequence in marks},
    )


def read_page(
    connection: sqlite3.Connection, limit: int, kept: Set[tuple[Key, int]], name: str
) -> HourPage:
    """The next hours to forward: new ones, and where there are none, old ones to send again."""
    found = connection.execute(
        f"{_HOUR} FROM hour_to_forward AS f JOIN hour_vector AS h"
        f" ON h.key = f.key AND h.hour = f.hour{_HOUR_KEY} ORDER BY f.key, f.hour LIMIT ?",
        (limit + len(kept),),
    ).fetchall()
    fresh = [hourly for hourly in _hours(found, name) if (hourly.key, hourly.hour) not in kept]
    if fresh:
        return HourPage(tuple(fresh[:limit]), None)
    cursor = connection.execute("SELECT resent_key, resent_hour FROM upstream").fetchone()
    if cursor is None or None in cursor:
        return HourPage((), None)
    found = connection.execute(
        f"{_HOUR} FROM hour_vector AS h{_HOUR_KEY} WHERE (h.key, h.hour) > (?, ?)"
        " ORDER BY h.key, h.hour LIMIT ?",
        (*cursor, limit),
    ).fetchall()
    after = found[-1][:2] if found else (None, None)
    return HourPage(_hours(found, name), after)


def _hours(found: Sequence[rows.Row], name: str) -> tuple[HourlyVector, ...]:
    return tuple(
        HourlyVector(
            rows.key_of(key), sequence, rows.unpack(components, name), first_hour, boot_ns, wall_ns
        )
        for _, _, sequence, first_hour, boot_ns, wall_ns, components, *key in found
    )
