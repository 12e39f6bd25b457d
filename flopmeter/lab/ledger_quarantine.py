"""What is in a ledger's quarantine, and what an operator says of it: accepted, or found untrue.

Owns: the list, the rules of either word, and their declarations and audit rows.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter ledger quarantine`. Either word names its author and its reason;
docs/ledger.md, docs/adr/0047-found-untrue.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flopmeter.lab.ledger_acts import declare, vector_json
from flopmeter_collector import backends
from flopmeter_collector.custody import HELD, RELEASED, check_reason
from flopmeter_collector.documents import Json
from flopmeter_collector.ledger.base import Declaration, QuarantinedVector
from flopmeter_collector.quarantine import is_released, quarantine_name
from flopmeter_collector.quarantine_acts import (
    QUARANTINE_KIND,
    REJECTION_KIND,
    rejected_by,
    released_by,
)
from flopmeter_collector.spans import time_text
from flopmeter_core.errors import UsageError
from flopmeter_proto.daemon.clock import Clock

RELEASE_DECLARED = "release declared"
"""Released by a declaration that no collector has seen yet."""

REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class _Said:
    """What declarations say of quarantined vectors, by name and sequence."""

    released: frozenset[tuple[str, int]] = frozenset()
    rejected: Mapping[tuple[str, int], int] = field(default_factory=dict)
    last: int = 0

    def state(self, row: QuarantinedVector) -> str:
        """Held, released, rejected, or released by a word that no collector has heard yet."""
        if row.released:
            return RELEASED
        if is_released(row, self.released):
            return RELEASE_DECLARED
        return REJECTED if self.rejection(row) else HELD

    def rejection(self, row: QuarantinedVector) -> int | None:
        """The declaration that finds a vector untrue; None where none does."""
        return self.rejected.get((quarantine_name(row), row.sequence))


def _said(declarations: Iterable[Declaration]) -> _Said:
    rows = list(declarations)
    return _Said(
        released_by(rows), rejected_by(rows), max((row.sequence for row in rows), default=0)
    )


def quarantine_rows(url: str) -> list[Json]:
    """Every quarantined vector of a ledger, held ones first, whatever was said of it.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        records = ledger.records()
        said = _said(ledger.declarations())
        rows: list[Json] = [
            {
                "name": quarantine_name(row),
                "state": said.state(row),
                **vector_json(row, records),
                "reason": row.reason,
                "quarantined_at": time_text(row.quarantined_at_ns),
                "released_by_declaration": row.released or None,
                "rejected_by_declaration": said.rejection(row),
            }
            for row in ledger.quarantined()
        ]
    return sorted(rows, key=lambda row: (row["state"] != HELD, str(row["quarantined_at"])))


def release(url: str, name: str, *, author: str, reason: str, clock: Clock) -> Json:
    """Declare that a quarantined vector is accepted, one that was found untrue too.

    Args:
        url: the ledger.
        name: the vector's name, or enough of its beginning to tell it; another one of the same
            register has another name.
        author: who accepts it.
        reason: why.
        clock: dates it.

    Raises:
        UsageError: no such row, several of that beginning, or one that is released already.
        DataError: no reason.
        StorageError: the ledger cannot be written.
    """
    return _say(url, name, QUARANTINE_KIND, author, reason, clock)


def reject(url: str, name: str, *, author: str, reason: str, clock: Clock) -> Json:
    """Declare that a quarantined vector is untrue: it stays in the ledger and waits for nobody.

    Args:
        url: the ledger.
        name: the vector's name, or enough of its beginning to tell it.
        author: who looked at it.
        reason: why.
        clock: dates it.

    Raises:
        UsageError: no such row, several of that beginning, one that was rejected already, or one
            that was released, which its register keeps.
        DataError: no reason.
        StorageError: the ledger cannot be written.
    """
    return _say(url, name, REJECTION_KIND, author, reason, clock)


_ACTIONS = {QUARANTINE_KIND: "quarantine release", REJECTION_KIND: "quarantine reject"}
"""What the audit log calls either word."""


def _say(url: str, name: str, kind: str, author: str, reason: str, clock: Clock) -> Json:
    """Write either word on the vector of a name, unless it can no longer be said."""
    check_reason(reason)
    row, said = _found(url, name)
    _check_sayable(kind, name, said.state(row))
    whole = quarantine_name(row)
    written = declare(
        url,
        kind,
        whole,
        {"sequence": str(row.sequence), "reason": reason},
        _ACTIONS[kind],
        author,
        reason,
        clock,
        since=said.last,
        # Somebody else may have spoken since.
        check=lambda later: _check_sayable(kind, name, _said(later).state(row)),
    )
    return {"schema": 1, "declaration": written.sequence, "name": whole, "sequence": row.sequence}


def _found(url: str, name: str) -> tuple[QuarantinedVector, _Said]:
    """The one vector of a name, and what was said until now."""
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        found = [row for row in ledger.quarantined() if quarantine_name(row).startswith(name)]
        said = _said(ledger.declarations())
    if len(found) != 1 or not name:
        many = "names several vectors" if found else "names no vector"
        raise UsageError(
            f"{name!r} {many} in quarantine, where a newer one takes the place of an older; see "
            "`flopmeter ledger quarantine list --all`"
        )
    return found[0], said


def _check_sayable(kind: str, name: str, state: str) -> None:
    """Refuse a word that was said before, and a rejection of what counts.

    Raises:
        UsageError: with what stands.
    """
    if state in (RELEASED, RELEASE_DECLARED):
        if kind == QUARANTINE_KIND:
            raise UsageError(f"{name} was released already; nothing is left to do")
        raise UsageError(f"{name} was released, and a register takes nothing back: its work counts")
    if state == REJECTED and kind == REJECTION_KIND:
        raise UsageError(f"{name} was rejected already; nothing is left to do")
