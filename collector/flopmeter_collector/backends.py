"""Which ledger a URL names: the one place that knows the backends.

Owns: the URL's form and the choice of a backend.
May touch: nothing by itself; the backends open files.
Called by the collector's app, and by commands that query a ledger or declare something.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path

from flopmeter_collector.ledger import sqlite
from flopmeter_collector.ledger.base import AuditRow, Declaration, Ledger
from flopmeter_core.errors import UsageError

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def ledger_path(url: str) -> Path:
    """The file a ledger URL names.

    Args:
        url: a plain path, or ``sqlite:///`` and a path (``sqlite:////var/lib/...`` for one that
            starts at the root).

    Raises:
        UsageError: another kind of URL, or none.
    """
    if url.startswith(_POSTGRES):
        raise UsageError(
            "PostgreSQL ledgers come with a later release; name a file instead, "
            "such as sqlite:///ledger.db"
        )
    path = url.removeprefix(_SQLITE)
    if not path or "://" in path or path.startswith("sqlite:"):
        raise UsageError(
            f"{url!r} names no ledger; write a path or sqlite:///PATH (sqlite:////PATH for one "
            "from the root)"
        )
    if Path(path).is_dir():
        raise UsageError(f"the ledger {path} is a folder; name a file in it, such as ledger.db")
    return Path(path)


def collect(
    url: str,
    *,
    simulated: bool,
    new_ledger_id: Callable[[], str] = lambda: secrets.token_hex(16),
) -> Ledger:
    """Open a ledger as its one collector; see `sqlite.open_for_collecting` for the errors."""
    return sqlite.open_for_collecting(
        ledger_path(url), simulated=simulated, new_ledger_id=new_ledger_id
    )


def read(url: str) -> Ledger:
    """Open an existing ledger for queries; see `sqlite.open_for_reading` for the errors."""
    return sqlite.open_for_reading(ledger_path(url))


def declare(url: str, declaration: Declaration, *, audit: AuditRow | None = None) -> Declaration:
    """Add one declaration to an existing ledger, while a collector may be running.

    Args:
        url: the ledger.
        declaration: its sequence is given by the ledger.
        audit: a row for the audit log, written in the same transaction.

    Returns:
        The declaration with the sequence it got.

    Raises:
        UsageError, DataError, StorageError: as `sqlite.open_for_declaring`.
    """
    with contextlib.closing(sqlite.open_for_declaring(ledger_path(url))) as ledger:
        return ledger.append_declaration(declaration, audit=audit)


def audit(url: str, row: AuditRow) -> AuditRow:
    """Add one row to an existing ledger's audit log, while a collector may be running.

    Returns:
        The row with the sequence it got.

    Raises:
        UsageError, DataError, StorageError: as `sqlite.open_for_declaring`.
    """
    with contextlib.closing(sqlite.open_for_declaring(ledger_path(url))) as ledger:
        return ledger.append_audit(row)
