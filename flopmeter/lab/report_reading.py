"""A ledger as it stood at three times: totals of both sides, periods, devices and reviews.

Owns: the three times of a report, and how a ledger is read for them.
May touch: one ledger, through the collector's backends, reading.
Called by the lab's reporting, filing acts and hinting.
Explained in docs/filings.md and docs/adr/0028-filings.md.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from flopmeter.lab.ledger_cut import CutLedger, Side
from flopmeter.lab.ledger_legal import recorded
from flopmeter.lab.ledger_totals import load_totals
from flopmeter.lab.registers_digest import Digest
from flopmeter.lab.two_sides import parts_between
from flopmeter_collector import backends
from flopmeter_collector.filings.facts import (
    ReviewFacts,
)
from flopmeter_collector.held import local_date
from flopmeter_collector.ledger.base import Ledger
from flopmeter_collector.presentation import utc_text
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_collector.split import reaches
from flopmeter_collector.totals import Totals
from flopmeter_core.catalogue import Threshold
from flopmeter_core.counting import WorkPart
from flopmeter_core.errors import UsageError
from flopmeter_core.reports import LedgerPosition


@dataclass(frozen=True, slots=True)
class Times:
    """The three times of a report; None is now, today, and the newest declaration."""

    measured_to_ns: int | None = None
    law_as_of: datetime.date | None = None
    known_at: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A ledger as it stood: what is sure, what is at most, and when each run was at work.

    Attributes:
        sure, at_most: the totals of both sides; one and the same where nothing is cut.
        periods: run -> Unix times in ns of its first and last recorded hour.
        cut: whether work after `measured_to_ns` was left out; claims cannot be cut.
        register_counts: run -> rows of the ledger that its figure is made of.
        devices: run -> product and device -> devices behind the record.
        reviews: (model, threshold) -> the newest review opened by then.
        last_declaration: sequence of the last declaration that counts.
    """

    sure: TotalsSnapshot
    at_most: TotalsSnapshot
    position: LedgerPosition
    registers_sha256: str
    last_declaration: int
    measured_to_ns: int
    law_as_of: datetime.date | None
    cut: bool
    periods: Mapping[str, tuple[int, int]]
    register_counts: Mapping[str, int]
    devices: Mapping[str, Mapping[tuple[str, str], int]]
    reviews: Mapping[tuple[str, str], ReviewFacts]

    def day(self, row: Threshold) -> datetime.date:
        """The day whose law holds: the one asked for, or that of the measurement over there."""
        return self.law_as_of or local_date(self.measured_to_ns, row.time_zone)

    def model(self, name: str) -> ModelTotals:
        """The model's totals on the side of what is at most.

        Raises:
            UsageError: the ledger knew no such model then.
        """
        for model in self.at_most.models:
            if model.model == name:
                return model
        known = ", ".join(model.model for model in self.at_most.models[:20]) or "none"
        raise UsageError(
            f"no model {name!r} at {utc_text(self.measured_to_ns)}; the ledger has {known}"
        )

    def parts(self, model: ModelTotals) -> tuple[WorkPart, ...]:
        """The model's work between both sides; what was entered counts by its own period."""
        surely = {each.model: each for each in self.sure.models}.get(model.model)
        sure = surely.parts if surely is not None else ()
        return parts_between(
            (part for part in sure if self._entered(model, part, whole=True)),
            (part for part in model.parts if self._entered(model, part, whole=False)),
        )

    def _entered(self, model: ModelTotals, part: WorkPart, *, whole: bool) -> bool:
        """Whether a part that was entered by hand was over, or had begun; metered ones are cut."""
        if not part.origin.external:
            return True
        # A part is called by its entry, with its owner before it where that is another model.
        owner = part.origin.name.removesuffix(part.run).removesuffix(": ") or model.model
        (entry,) = (
            external
            for each in self.at_most.models
            if each.model == owner
            for external in each.externals
            if external.entry == part.run
        )
        return (entry.until_ns if whole else entry.from_ns) <= self.measured_to_ns


@contextlib.contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """A ledger for reading, all of one commit; `backends.read` tells the errors."""
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        yield ledger


def read(
    ledger: Ledger, times: Times, *, now_ns: int, law: Iterable[Threshold] | None = None
) -> Reading:
    """Add up a ledger as it stood at three times.

    Args:
        ledger: opened for reading.
        times: the three.
        now_ns: Unix time in ns.
        law: the rows in use; those of the site's usual folder when None.

    Raises:
        UsageError: a time ahead, or a declaration the ledger does not have.
    """
    newest = max((row.sequence for row in ledger.declarations()), default=0)
    known_at = newest if times.known_at is None else times.known_at
    if not 0 <= known_at <= newest:
        raise UsageError(
            f"the ledger has the declarations 1 to {newest} and none with sequence {known_at}; "
            "name one of them, or 0 for none"
        )
    to_ns = now_ns if times.measured_to_ns is None else times.measured_to_ns
    if to_ns > now_ns:
        raise UsageError(
            f"{utc_text(to_ns)} lies ahead; nothing was measured there yet: give an earlier time"
        )
    if to_ns < 0:
        raise UsageError("nothing was measured before 1970; give a later time")
    digest = Digest()
    position = ledger.position()
    reviews = _reviews(ledger, known_at, to_ns)
    if times.measured_to_ns is None:
        totals = load_totals(ledger, up_to=known_at, seen=digest.add, law=law)
        sure = at_most = totals.snapshot(to_ns, position)
    else:
        cut = {side: cast(Ledger, CutLedger(ledger, to_ns, side)) for side in Side}
        sure = load_totals(cut[Side.SURE], up_to=known_at, law=law).snapshot(to_ns, position)
        totals = load_totals(cut[Side.AT_MOST], up_to=known_at, seen=digest.add, law=law)
        at_most = totals.snapshot(to_ns, position)
        ledger = cut[Side.AT_MOST]
    rows = _rows(ledger, totals)
    return Reading(
        sure=sure,
        at_most=at_most,
        position=position,
        registers_sha256=digest.text,
        last_declaration=known_at,
        measured_to_ns=to_ns,
        law_as_of=times.law_as_of,
        cut=times.measured_to_ns is not None,
        periods=rows.periods,
        register_counts=rows.register_counts,
        devices=rows.devices,
        reviews=reviews,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a ledger's rows say of each run.

    Attributes:
        periods: Unix times in ns of its first and last recorded hour.
        register_counts: registers that its figure is made of.
        devices: product and device -> devices behind the record.
    """

    periods: dict[str, tuple[int, int]]
    register_counts: dict[str, int]
    devices: dict[str, dict[tuple[str, str], int]]


def _rows(ledger: Ledger, totals: Totals) -> _Rows:
    """Read when each run was at work, on which devices, and by how many registers."""
    rows = _Rows({}, {}, {})
    records = ledger.records()
    for stored in ledger.vectors():
        record = records[stored.key.record]
        device = (record.product_name or record.part or "unnamed device", record.device)
        for run in totals.runs_of(stored.key):
            rows.register_counts[run] = rows.register_counts.get(run, 0) + (not stored.branch)
            found = rows.devices.setdefault(run, {})
            found[device] = max(found.get(device, 0), record.device_count)
    for allocation in totals.allocations:
        for hour, first_ns, until_ns in reaches(ledger.hours(allocation)):
            for run in totals.runs_of(hour.key, first_ns, until_ns):
                before = rows.periods.get(run, (first_ns, hour.wall_ns))
                rows.periods[run] = (min(before[0], first_ns), max(before[1], hour.wall_ns))
    return rows


def _reviews(ledger: Ledger, known_at: int, to_ns: int) -> dict[tuple[str, str], ReviewFacts]:
    """The newest review of each model and line that a transition had opened by then."""
    found: dict[tuple[str, str], ReviewFacts] = {}
    for review in recorded(ledger, (), up_to=known_at).reviews.all():
        if review.transitions[0].occurred_at_ns > to_ns:
            continue
        said = review.determinations[-1] if review.determinations else None
        found[review.model, review.threshold] = ReviewFacts(
            number=review.number,
            earliest=review.earliest,
            due_on=review.due_on or review.due,
            determination=""
            if said is None
            else f"{said.author} determined on {utc_text(said.at_ns)}: "
            f"{said.finding.value.replace('_', ' ')} from {said.on.isoformat()}: {said.reason}",
        )
    return found
