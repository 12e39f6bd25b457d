"""Which ledger a URL names: the one place that knows the backends.

Owns: the URL's form and the choice of a backend.
May touch: nothing by itself; the backends open files and connections.
Called by the collector's app, and by commands that query a ledger or declare something.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from flopmeter_collector.branches import join_branches
from flopmeter_collector.ledger import sqlite
from flopmeter_collector.ledger.base import AuditRow, Declaration, Finding, Ledger
from flopmeter_collector.ledger.sqlite import Copy as Copy
from flopmeter_collector.ledger.tables import SqlTables
from flopmeter_core.errors import StorageError, UsageError

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def is_server(url: str) -> bool:
    """Whether a URL names a ledger on a PostgreSQL server."""
    return url.startswith(_POSTGRES)


def shown(url: str) -> str:
    """A ledger URL for people and logs: without password, and without parameters that may hold one.

    A file's path is shown as it is.
    """
    if not is_server(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql://..."
    user, at, places = parts.netloc.rpartition("@")
    return f"postgresql://{user.partition(':')[0]}{at}{places}{parts.path}"


def _postgres() -> ModuleType:
    """The PostgreSQL backend; its library comes with an extra."""
    try:
        from flopmeter_collector.ledger import postgres
    except ImportError as error:
        raise UsageError(
            "a PostgreSQL ledger needs the extra `postgres`: pip install 'flopmeter[postgres]'"
        ) from error
    return postgres


def ledger_path(url: str) -> Path:
    """The file a ledger URL names.

    Args:
        url: a plain path, or ``sqlite:///`` and a path (``sqlite:////var/lib/...`` for one that
            starts at the root).

    Raises:
        UsageError: another kind of URL, or none.
    """
    if is_server(url):
        raise UsageError(f"{shown(url)} is on a server; this works with a ledger in a file only")
    path = url.removeprefix(_SQLITE)
    if not path or "://" in path or path.startswith("sqlite:"):
        raise UsageError(
            f"{url!r} names no ledger; write a path or sqlite:///PATH (sqlite:////PATH for one "
            "from the root)"
        )
    if Path(path).is_dir():
        raise UsageError(f"the ledger {path} is a folder; name a file in it, such as ledger.db")
    return Path(path)


def _draw_id() -> str:
    return secrets.token_hex(16)


def collect(url: str, *, simulated: bool, new_ledger_id: Callable[[], str] = _draw_id) -> Ledger:
    """Open a ledger to collect; the backends' `open_for_collecting` tell the errors.

    Args:
        url: the ledger.
        simulated: the kind of readings it has to keep.
        new_ledger_id: draws 32 random hexadecimal digits.
    """
    if is_server(url):
        return _postgres().open_for_collecting(  # type: ignore[no-any-return]
            url, simulated=simulated, new_ledger_id=new_ledger_id, join_branches=join_branches
        )
    return sqlite.open_for_collecting(
        ledger_path(url), simulated=simulated, new_ledger_id=new_ledger_id
    )


def read(url: str) -> Ledger:
    """Open an existing ledger for queries; the backends' `open_for_reading` tell the errors."""
    if is_server(url):
        return _postgres().open_for_reading(url)  # type: ignore[no-any-return]
    return sqlite.open_for_reading(ledger_path(url))


def declare(
    url: str,
    declaration: Declaration,
    *,
    audit: AuditRow | None = None,
    since: int = 0,
    check: Callable[[Iterable[Declaration]], None] | None = None,
) -> Declaration:
    """Add one declaration to an existing ledger, while a collector may be running.

    Args:
        url: the ledger.
        declaration: its sequence is given by the ledger.
        audit: a row for the audit log, written in the same transaction.
        since: sequence of the last declaration that its author knew of.
        check: given those after it, in the same transaction; what it raises ends that.

    Returns:
        The declaration with the sequence it got.

    Raises:
        UsageError, DataError, StorageError: as the backends' `open_for_declaring`; or the ledger
            does not have it any more.
    """
    _check_text(declaration)
    with contextlib.closing(_for_declaring(url)) as ledger:
        written = ledger.append_declaration(declaration, audit=audit, since=since, check=check)
    check_kept(_for_declaring, url, written)
    return written


def _check_text(declaration: Declaration) -> None:
    """Refuse words that no reader could be shown: what is declared stays for ever.

    Raises:
        UsageError: bytes of a command line that are no UTF-8.
    """
    try:
        for text in (declaration.author, declaration.subject, *declaration.body.values()):
            text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{error.object[:80]!r} holds bytes that are no text in UTF-8; write it in UTF-8"
        ) from error


def check_kept(opened: Callable[[str], SqlTables], url: str, written: Declaration) -> None:
    """Refuse to call a declaration stored that the ledger lost right after it was acknowledged.

    A server that fails over to a standby without the newest commits loses what only they hold; the
    registers come again from the agents, a declaration comes from nobody.

    Args:
        opened: opens the ledger anew, so that whoever serves it now is asked.
        url: the ledger.
        written: the declaration with its sequence.

    Raises:
        StorageError: another declaration, or none, has that sequence now.
    """
    with contextlib.closing(opened(url)) as ledger:
        found = next(iter(ledger.declarations(after=written.sequence - 1)), None)
    if found != written:
        raise StorageError(
            f"declaration {written.sequence} was acknowledged, but {shown(url)} does not hold it "
            "any more: the server failed over and lost its newest commits; say it again, and see "
            "`flopmeter doctor collector` for what keeps an acknowledged commit"
        )


def audit(url: str, row: AuditRow) -> AuditRow:
    """Add one row to an existing ledger's audit log, while a collector may be running.

    Returns:
        The row with the sequence it got.

    Raises:
        UsageError, DataError, StorageError: as the backends' `open_for_declaring`.
    """
    with contextlib.closing(_for_declaring(url)) as ledger:
        return ledger.append_audit(row)


def _check_file(url: str, tool: str) -> None:
    if is_server(url):
        raise UsageError(
            f"{shown(url)} is on a server, which has its own tools for that: use {tool}"
        )


def back_up(url: str, target: Path) -> Copy:
    """Copy a ledger to a new file while a collector may be running; see `sqlite.back_up`."""
    _check_file(url, "pg_basebackup, or with pg_dump")
    return sqlite.back_up(ledger_path(url), target)


def restore(source: Path, url: str, audit: AuditRow) -> Copy:
    """Put a backup in the place of a ledger that is gone; see `sqlite.restore`."""
    _check_file(url, "the tool that made the backup")
    return sqlite.restore(
        source, ledger_path(url), new_generation=lambda: secrets.token_hex(16), audit=audit
    )


def _for_declaring(url: str) -> SqlTables:
    if is_server(url):
        return _postgres().open_for_declaring(url)  # type: ignore[no-any-return]
    return sqlite.open_for_declaring(ledger_path(url))


def examine(url: str, *, patroni: str = "") -> list[Finding]:
    """Whether the settings of a ledger's storage give what flopmeter promises of it.

    Args:
        url: the ledger.
        patroni: base URL of one member's Patroni; empty where there is none.

    Raises:
        UsageError: there is no such ledger, or Patroni is named for a file.
        StorageError, DataError, UnreachableError: it cannot be looked at.
    """
    if is_server(url):
        return list(_postgres().examine(url, patroni))
    path = ledger_path(url)
    if patroni:
        raise UsageError(f"{path} is a file; --patroni goes with a PostgreSQL ledger")
    if not path.exists():
        raise UsageError(f"there is no ledger at {path}; name one with --ledger")
    return list(sqlite.examine(path))
