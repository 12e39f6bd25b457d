"""Totals straight from a ledger, by the collector's own code and without a collector.

Owns: nothing but the order of the calls: read all keys and declarations, add up, present.
May touch: a ledger opened for reading; the clock it is given.
Called by `flopmeter totals --ledger`. The ledger is the truth, so the figures are those a
collector on this ledger would show.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from flopmeter_collector import backends
from flopmeter_collector.claims import ClaimTable, totals_of
from flopmeter_collector.declarations import parse_declaration
from flopmeter_collector.ledger.base import Ledger
from flopmeter_collector.presentation import Json, totals_document
from flopmeter_collector.totals import Totals
from flopmeter_core.allocations import RUN_PREFIX
from flopmeter_core.catalogue import Threshold
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import DataError
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
    totals = Totals(parse_device_table(builtin_table("devices.toml")), simulated=True)
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
        totals = load_totals(ledger)
        return totals_document(totals.snapshot(clock.wall_ns(), ledger.position()), thresholds)


def load_totals(
    ledger: Ledger,
    *,
    up_to: int | None = None,
    seen: Callable[[Iterable[Any]], Iterable[Any]] = lambda rows: rows,
) -> Totals:
    """Add up a ledger, inside one of its `consistent` blocks.

    Args:
        ledger: opened for reading.
        up_to: sequence of the last declaration that counts; all of them when None.
        seen: passes through every register and hourly vector that is read.
    """
    totals = Totals(parse_device_table(builtin_table("devices.toml")), simulated=ledger.simulated)
    for declaration in ledger.declarations():
        if up_to is not None and declaration.sequence > up_to:
            break
        # As in the collector: what cannot be understood stays in the ledger, moves nothing.
        with contextlib.suppress(DataError):
            totals.declare(parse_declaration(declaration))
    records = ledger.records()
    vectors = seen(ledger.vectors())
    for key, branches in itertools.groupby(vectors, key=lambda stored: stored.key):
        totals.update(key, records[key.record], tuple(branches))
    claims = ClaimTable()
    claims.restore(ledger.claims())
    for run, claimed in totals_of(claims.take_changed()).items():
        totals.claim(run, claimed)
    for run in sorted(totals.unread_runs):
        totals.read_hours(run, seen(ledger.hours(RUN_PREFIX + run)))
    return totals
