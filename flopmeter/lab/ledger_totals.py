"""Totals straight from a ledger, by the collector's own code and without a collector.

Owns: nothing but the order of the calls: read all keys and declarations, add up, present.
May touch: a ledger opened for reading; the clock it is given.
Called by every command with `--ledger` that shows totals, by recompute, reports and checks. The
ledger is the truth, so the figures are those a collector on this ledger would show.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from flopmeter.lab.ledger_legal import ledger_legal
from flopmeter.lab.stating import site_profiles
from flopmeter_collector import backends
from flopmeter_collector.branches import join_branches
from flopmeter_collector.claims import ClaimTable, totals_of
from flopmeter_collector.documents import Json
from flopmeter_collector.evaluate import profiles_in
from flopmeter_collector.ledger.base import (
    Declaration,
    Ledger,
    QuarantinedVector,
    StoredVector,
)
from flopmeter_collector.presentation import totals_document
from flopmeter_collector.quarantine import is_released
from flopmeter_collector.quarantine_acts import released_by
from flopmeter_collector.totals import Totals
from flopmeter_collector.worth import Profiles
from flopmeter_core.catalogue import Threshold
from flopmeter_core.devices import builtin_parts
from flopmeter_core.errors import DataError
from flopmeter_core.registers import Key
from flopmeter_proto.daemon.clock import Clock


def ledger_identity(url: str) -> str:
    """The identity a ledger was created with.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger:
        return ledger.position().ledger_id


def empty_totals(thresholds: Iterable[Threshold], clock: Clock) -> Json:
    """The totals document of a simulated ledger to which nothing was ever reported."""
    totals = Totals(builtin_parts(), simulated=True)
    return totals_document(totals.snapshot(clock.wall_ns(), None), thresholds)


def ledger_totals(url: str, thresholds: Iterable[Threshold], clock: Clock) -> Json:
    """Compute the totals document of a ledger.

    Args:
        url: the ledger, a path or ``sqlite:///`` URL.
        thresholds: the catalogue to hold models against.
        clock: stamps the document.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        rows = tuple(thresholds)
        snapshot = load_totals(ledger, law=rows).snapshot(clock.wall_ns(), ledger.position())
        return totals_document(snapshot, rows, ledger_legal(ledger, snapshot, rows))


def load_totals(
    ledger: Ledger,
    *,
    up_to: int | None = None,
    seen: Callable[[Iterable[Any]], Iterable[Any]] = lambda rows: rows,
    backwards: bool = False,
    law: Iterable[Threshold] | None = None,
    profiles: Profiles | None = None,
) -> Totals:
    """Add up a ledger, inside one of its `consistent` blocks.

    Args:
        ledger: opened for reading.
        up_to: sequence of the last declaration that counts; all of them when None.
        seen: passes through every register and hourly vector that is read.
        backwards: last register first, and declarations after them: the figures are the same.
        law: the rows in use, whose profiles decide which statements wait for people; those of the
            site's usual folder when None.
        profiles: the same without the rows.
    """
    if law is not None:
        profiles = profiles_in(law)
    totals = Totals(
        builtin_parts(),
        simulated=ledger.simulated,
        profiles=site_profiles() if profiles is None else profiles,
    )
    declarations = [row for row in ledger.declarations() if up_to is None or row.sequence <= up_to]
    if not backwards:
        _declare(totals, declarations)
    totals.residuals.restore(ledger.coverage())
    records = ledger.records()
    released = _released(ledger, declarations)
    vectors = seen(ledger.vectors())
    groups = itertools.groupby(vectors, key=lambda stored: stored.key)
    held: Iterable[tuple[Key, tuple[StoredVector, ...]]]
    held = ((key, tuple(branches)) for key, branches in groups)
    for key, branches in reversed(list(held)) if backwards else held:
        totals.update(key, records[key.record], _merged(branches, released.pop(key, None)))
    for key, row in released.items():
        totals.update(key, records[key.record], _merged((), row))
    if backwards:
        _declare(totals, declarations)
    claims = ClaimTable()
    claims.restore(ledger.claims())
    for run, claimed in totals_of(claims.take_changed()).items():
        totals.claim(run, claimed)
    read_unread(totals, ledger, seen=seen)
    return totals


def read_unread(
    totals: Totals,
    ledger: Ledger,
    *,
    seen: Callable[[Iterable[Any]], Iterable[Any]] = lambda rows: rows,
) -> None:
    """Read the hours of work that a declaration cuts.

    Args:
        totals: what they are for.
        ledger: opened for reading.
        seen: passes through every hourly vector that is read.
    """
    for allocation in sorted(totals.unread_allocations):
        totals.read_hours(allocation, seen(ledger.hours(allocation)))


def _declare(totals: Totals, declarations: Iterable[Declaration]) -> None:
    for declaration in declarations:
        # As in the collector: what cannot be understood stays in the ledger, moves nothing.
        with contextlib.suppress(DataError):
            totals.apply(declaration)


def _released(ledger: Ledger, declarations: Iterable[Declaration]) -> dict[Key, QuarantinedVector]:
    """Quarantined vectors that were released and that no collector has merged yet."""
    asked = released_by(declarations)
    if not asked:
        return {}
    return {
        row.key: row for row in ledger.quarantined() if not row.released and is_released(row, asked)
    }


def _merged(
    branches: tuple[StoredVector, ...], released: QuarantinedVector | None
) -> tuple[StoredVector, ...]:
    """The branches of a key with a released vector merged by the collector's own rule."""
    if released is None:
        return branches
    return join_branches(
        branches, (StoredVector(released.key, 0, released.sequence, released.vector),)
    )
