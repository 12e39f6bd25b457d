"""Says whose work is whose: attach, detach, rename, merge, split; and what that would move.

Owns: the declarations of `flopmeter run attach` and its neighbours, and the preview of one.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter run`. Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from flopmeter.lab.ledger_totals import load_totals, read_unread
from flopmeter.lab.stating import Site, look, state
from flopmeter_collector import backends
from flopmeter_collector.documents import Json
from flopmeter_collector.label_presentation import bounds_text
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.statements import (
    ATTACH_KIND,
    MERGE_KIND,
    RENAME_KIND,
    SPLIT_KIND,
    STANDS,
    UNDONE,
    parse_attachment,
    parse_merging,
    parse_renaming,
    parse_splitting,
)
from flopmeter_collector.worth import Profiles
from flopmeter_core.allocations import confidence_of, named_run, user_of
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Interval
from flopmeter_core.names import check_distinct
from flopmeter_core.patterns import fits
from flopmeter_proto.daemon.clock import Clock

MAXIMUM_NAMED = 1_000
"""Allocations that a preview names one by one; the others are counted."""


def attach(
    url: str,
    run: str,
    body: Mapping[str, str],
    *,
    stands: bool,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare that allocations belong to a run, or that they do not.

    Args:
        url: the ledger.
        run: the run, by either of its names; a new one where work is attached.
        body: ``allocation`` or ``match``; ``from``, ``until`` and ``reason``, each optional.
        stands: whether they belong to it from now on.
        author: who states it.
        clock: dates it.
        profiles: those that decide what waits for people; of the site's usual folder when None.

    Raises:
        DataError: it contradicts what stands, or cuts where no hour is recorded.
        UsageError: an allocation that nobody reported, or a run nobody knows to detach from.
        NotPermittedError: the run was ended.
        StorageError: the ledger cannot be written.
    """
    site, row = _attachment(url, run, body, stands=stands, profiles=profiles)
    return state(url, row.kind, row.subject, row.body, site=site, author=author, clock=clock)


def preview(
    url: str,
    run: str,
    body: Mapping[str, str],
    *,
    stands: bool,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Json:
    """What attaching would move, and how many FLOP; nothing is written.

    Args and Raises: as `attach`.

    Returns:
        The allocations that would move, and the figures of each run and of the remainder before
        and after.
    """
    site, row = _attachment(url, run, body, stands=stands, profiles=profiles)
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        totals = load_totals(ledger, profiles=profiles)
        now_ns = clock.wall_ns()
        before = totals.snapshot(now_ns, None)
        whose = totals.book.attribution
        owned = {name: whose.segments(name, 0) for name in _touched(site, body)}
        totals.apply(row)
        read_unread(totals, ledger)
        moved = [name for name, was in owned.items() if whose.segments(name, 0) != was]
        first = {name: totals.allocation_flop(name) for name in moved[:MAXIMUM_NAMED]}
        after = totals.snapshot(now_ns, None)
    return {
        "schema": 1,
        "dry_run": True,
        "run": row.subject,
        "waits_for_approval": row.sequence in totals.book.approvals.lowerings,
        "allocation_count": len(moved),
        "allocations": [
            {"allocation": name, "compute_flop_str": bounds_text(figures.total)}
            for name, figures in first.items()
        ],
        "changes": _changes(before, after),
    }


def rename(
    url: str,
    run: str,
    name: str,
    *,
    reason: str,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare by which name people know a run; its own name stays what it is.

    Raises:
        UsageError: no such run.
        DataError: a name that is in use, or that looks like one that is.
        StorageError: the ledger cannot be written.
    """
    site = look(url, profiles=profiles)
    run = site.run(run)
    body = _with_reason({"name": name}, reason)
    parse_renaming(run, body)
    others = site.names - {run, site.book.attribution.names.get(run, run)}
    if name in others:
        raise DataError(f"the name {name!r} is in use by another run; choose one of its own")
    check_distinct(name, others, what="run")
    return state(url, RENAME_KIND, run, body, site=site, author=author, clock=clock)


def merge(
    url: str,
    run: str,
    into: str,
    *,
    stands: bool,
    reason: str,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare that a run is a part of another one, or that it no longer is.

    Raises:
        UsageError: no such run.
        DataError: it would go in a circle, or the two are declared otherwise.
        NotPermittedError: one of them was ended.
        StorageError: the ledger cannot be written.
    """
    site = look(url, profiles=profiles)
    run, into = site.run(run), site.run(into)
    body = _with_reason({"into": into, "state": STANDS if stands else UNDONE}, reason)
    parse_merging(run, body)
    site.check_open((run, into))
    return state(url, MERGE_KIND, run, body, site=site, author=author, clock=clock)


def split(
    url: str,
    run: str,
    into: str,
    body: Mapping[str, str],
    *,
    stands: bool,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare that a part of a run is a run of its own, or that it no longer is.

    Args:
        url: the ledger.
        run: the run, by either of its names.
        into: the run that the part is from now on; a new one.
        body: ``from``, ``until``, ``phase``, at least one of them, and ``reason``.
        stands: whether it is split off; otherwise that is undone.
        author: who states it.
        clock: dates it.
        profiles: those that decide what waits for people; of the site's usual folder when None.

    Raises:
        UsageError: no such run.
        DataError: a part that overlaps another one or that no hour tells apart, or a name in use.
        NotPermittedError: the run was ended.
        StorageError: the ledger cannot be written.
    """
    site = look(url, profiles=profiles)
    run = site.run(run)
    full = {**body, "into": into, "state": STANDS if stands else UNDONE}
    parse_splitting(run, full)
    if stands and site.book.attribution.split_from(into) is None:
        if into in site.names:
            raise DataError(f"run {into!r} has work of its own; split off to a new name")
        check_distinct(into, site.names, what="run")
    site.check_open((run, into))
    if stands:
        site.check_hours(url, site.allocations_of(run), full, of=f"run {run!r}")
    return state(url, SPLIT_KIND, run, full, site=site, author=author, clock=clock)


def _attachment(
    url: str, run: str, body: Mapping[str, str], *, stands: bool, profiles: Profiles | None = None
) -> tuple[Site, Declaration]:
    """What stands, and the statement, checked by itself and against what was reported."""
    site = look(url, profiles=profiles)
    run = site.run_or_new(run) if stands else site.run(run)
    full = {**body, "state": STANDS if stands else UNDONE}
    statement = parse_attachment(run, full)
    home = site.book.attribution.home(run)
    site.check_open({run, home})
    if statement.allocation is not None and stands:
        found = _touched(site, full)
        if not found:
            raise DataError(
                f"no device ever reported for allocation {statement.allocation}; "
                "`flopmeter run allocations` lists those that did, and a rule (--match) takes "
                "those to come"
            )
        site.check_hours(url, found, full, of=f"allocation {statement.allocation}")
    return site, Declaration(site.newest + 1, 0, "", "cli", ATTACH_KIND, run, full)


def _touched(site: Site, body: Mapping[str, str]) -> list[str]:
    """The reported allocations that an attachment names."""
    if "allocation" in body:
        user = user_of(body["allocation"])
        return [name for name in site.allocations if user_of(name) == user]
    return [
        name
        for name in site.allocations
        if named_run(name) is None and fits(user_of(name), body["match"])
    ]


def _changes(before: TotalsSnapshot, after: TotalsSnapshot) -> list[Json]:
    """Each run whose figures change, and the remainder last, as run `None`."""
    sides: list[dict[str | None, Interval]] = []
    for snapshot in (before, after):
        figures: dict[str | None, Interval] = {None: snapshot.unattributed.figures.total}
        sides.append(figures | {run.run: run.account.figures.total for run in snapshot.runs})
    runs = sorted(name for name in {*sides[0], *sides[1]} if name is not None)
    return [
        {
            "run": name,
            "before": bounds_text(sides[0][name]) if name in sides[0] else None,
            "after": bounds_text(sides[1][name]) if name in sides[1] else None,
        }
        for name in (*runs, None)
        if sides[0].get(name) != sides[1].get(name)
    ]


def _with_reason(body: dict[str, str], reason: str) -> dict[str, str]:
    return {**body, "reason": reason} if reason else body


def allocations(url: str, clock: Clock) -> Json:
    """Every allocation that was reported, whose it is, and what its registers hold.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        totals = load_totals(ledger)
        totals.snapshot(clock.wall_ns(), None)
    rows: list[Json] = [
        {
            "allocation": name,
            "runs": sorted(run for run in ends if run is not None),
            "attributed": None not in ends,
            "by": totals.book.attribution.words_for(name),
            "confidence": confidence_of(name).value,
            "compute_flop_str": bounds_text(totals.allocation_flop(name).total),
        }
        for name, ends in sorted(totals.allocations.items())
    ]
    return {"schema": 1, "allocations": sorted(rows, key=lambda row: bool(row["attributed"]))}
