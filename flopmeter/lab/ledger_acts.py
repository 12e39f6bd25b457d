"""What an operator does to a ledger: hours held, forks and acts listed, copies made and put back.

Owns: the declarations and audit rows of those acts, what is said of each, and the audit log's list.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter ledger`. Every act names its author and its reason; docs/ledger.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flopmeter_collector import backends
from flopmeter_collector.custody import (
    ALL,
    HELD,
    HOLD_KIND,
    RELEASED,
    check_reason,
    check_subject,
    custody_of,
    names_in,
)
from flopmeter_collector.documents import Json
from flopmeter_collector.ledger.base import (
    AuditRow,
    Declaration,
    QuarantinedVector,
    StoredVector,
)
from flopmeter_collector.quarantine import key_name
from flopmeter_collector.spans import time_text
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.registers import Component
from flopmeter_proto.daemon.clock import Clock

HOURS_NOTE = (
    "totals are whole once every node has reported again; hours that agents handed over after the "
    "backup and let go since are lost, so a declaration for a part of that time falls to the outer "
    "figures of its run"
)
"""What a ledger that was put back lacks, said wherever one is."""


def hold(url: str, subject: str, *, stands: bool, author: str, reason: str, clock: Clock) -> Json:
    """Declare that hours must be kept whatever their age, or may be thinned again.

    Args:
        url: the ledger.
        subject: ``all``, ``run:NAME`` or ``model:NAME``.
        stands: whether the hold begins; otherwise it ends.
        author: who asks.
        reason: why.
        clock: dates it.

    Raises:
        UsageError: a hold that stands already, or one to end that does not.
        DataError: a subject that cannot be held, or no reason.
        StorageError: the ledger cannot be written.
    """
    check_subject(subject)
    check_reason(reason)
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        held = custody_of(ledger.declarations()).holds
        known = subject == ALL or subject.partition(":")[2] in names_in(ledger)
    if stands == (subject in held):
        raise UsageError(
            f"{subject} is held already; see `flopmeter ledger hold list`"
            if stands
            else f"{subject} is not on hold; see `flopmeter ledger hold list`"
        )
    body = {"state": HELD if stands else RELEASED, "reason": reason}
    action = "hold" if stands else "hold release"
    written = declare(url, HOLD_KIND, subject, body, action, author, reason, clock)
    return {
        "schema": 1,
        "declaration": written.sequence,
        "subject": subject,
        "held": stands,
        "known": known,
    }


def holds(url: str) -> list[Json]:
    """The holds that stand, by subject.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger:
        found = custody_of(ledger.declarations()).holds
    return [
        {
            "subject": each.subject,
            "since": time_text(each.declared_at_ns),
            "author": each.author,
            "reason": each.reason,
        }
        for each in sorted(found.values(), key=lambda each: each.subject)
    ]


def forks(url: str) -> list[Json]:
    """Every branch of every key that two writers used, greatest last.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        records = ledger.records()
        stored = list(ledger.vectors())
    forked = {row.key for row in stored if row.branch}
    return [
        {"name": key_name(row.key), "branch": row.branch, **vector_json(row, records)}
        for row in stored
        if row.key in forked
    ]


def vector_json(row: StoredVector | QuarantinedVector, records: Mapping[str, DeviceRecord]) -> Json:
    """Whose register a stored vector is of, and what it holds."""
    return {
        "node": records[row.key.record].node,
        "device": row.key.device,
        "allocation": row.key.allocation,
        "incarnation": row.key.incarnation,
        "sequence": row.sequence,
        "vector": {each.name.lower(): row.vector[each] for each in Component},
    }


def audit_rows(url: str) -> list[Json]:
    """The audit log, oldest first, with what each row rests on as it was written.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger:
        return [_audit_json(row) for row in ledger.audit()]


def _audit_json(row: AuditRow) -> Json:
    try:
        content = json.loads(row.content)
    except ValueError as error:
        raise DataError(
            f"audit row {row.sequence} cannot be read; `flopmeter ledger verify` says what is whole"
        ) from error
    told = content if isinstance(content, dict) else {}
    return {
        "number": row.sequence,
        "recorded_at": time_text(row.recorded_at_ns),
        "action": row.action,
        "subject": told.get("subject") or told.get("model"),
        "author": row.author,
        "reason": row.reason,
        "content": content,
        "link": row.link,
    }


def back_up(url: str, target: Path) -> Json:
    """Copy a ledger to a new file; see `backends.back_up` for the errors."""
    return {"schema": 1, **_copy_json(backends.back_up(url, target))}


def restore(source: Path, url: str, *, author: str, reason: str, clock: Clock) -> Json:
    """Put a backup in the place of a ledger; see `backends.restore` for the errors."""
    check_reason(reason)
    content = json.dumps({"source": source.name})
    row = AuditRow(0, clock.wall_ns(), author, reason, "restore", content)
    copy = backends.restore(source, url, row)
    return {
        "schema": 1,
        **_copy_json(copy),
        "checksum_was_given": copy.checksum_was_given,
        "note": HOURS_NOTE,
    }


def _copy_json(copy: backends.Copy) -> Json:
    return {
        "path": str(copy.path),
        "size_bytes": copy.size_bytes,
        "sha256": copy.sha256,
        "schema_version": copy.schema,
        "ledger_id": copy.position.ledger_id,
        "ledger_generation": copy.position.generation,
        "commit_number": copy.position.commit_number,
    }


def declare(
    url: str,
    kind: str,
    subject: str,
    body: Mapping[str, str],
    action: str,
    author: str,
    reason: str,
    clock: Clock,
    since: int = 0,
    check: Callable[[Iterable[Declaration]], None] | None = None,
) -> Declaration:
    """Write a declaration and its audit row, both or neither; `since` and `check` as backends'."""
    now_ns = clock.wall_ns()
    content = json.dumps({"subject": subject, **body}, sort_keys=True)
    return backends.declare(
        url,
        Declaration(0, now_ns, author, "cli", kind, subject, body),
        audit=AuditRow(0, now_ns, author, reason, action, content),
        since=since,
        check=check,
    )
