"""Reports from a ledger: the facts of a model at three times, put into a form.

Owns: the order of the calls: read and cut the ledger, add up, count, hold against the law.
May touch: one ledger, through the collector's backends, reading; the clock it is given.
Called by `flopmeter report`. The figures are the collector's own (lab.ledger_totals).
Explained in docs/filings.md and docs/adr/0028-filings.md.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from flopmeter.lab.ledger_cut import CutLedger, Side
from flopmeter.lab.ledger_legal import recorded
from flopmeter.lab.ledger_totals import load_totals
from flopmeter.lab.registers_digest import Digest
from flopmeter.lab.two_sides import between, parts_between
from flopmeter_collector import backends
from flopmeter_collector.filings.facts import (
    Basis,
    ExternalFacts,
    HardwareUse,
    ModelFacts,
    OtherMethod,
    ReviewFacts,
    RunFacts,
    StandingFacts,
)
from flopmeter_collector.held import local_date
from flopmeter_collector.ledger.base import Ledger
from flopmeter_collector.presentation import utc_text
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_core.catalogue import Threshold, stand
from flopmeter_core.counting import Counted, WorkPart, count
from flopmeter_core.devices import EnergyScope
from flopmeter_core.errors import UsageError
from flopmeter_core.filings import Form
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.lawbook import LawBook
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.units import NS_PER_HOUR


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
        register_counts: run -> rows of the ledger that its figure is made of.
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
    periods: Mapping[str, tuple[int, int]]
    register_counts: Mapping[str, int]
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
        """The model's work between both sides."""
        surely = {each.model: each for each in self.sure.models}.get(model.model)
        return parts_between(surely.parts if surely is not None else (), model.parts)

    def run_figures(self, run: RunTotals) -> Figures:
        """A run's figures between both sides."""
        surely = {each.run: each for each in self.sure.runs}.get(run.run)
        none = Figures()
        return between(none if surely is None else surely.account.figures, run.account.figures)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """A ledger for reading, all of one commit; `backends.read` tells the errors."""
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        yield ledger


def read(ledger: Ledger, times: Times, *, now_ns: int) -> Reading:
    """Add up a ledger as it stood at three times.

    Args:
        ledger: opened for reading.
        times: the three.
        now_ns: Unix time in ns.

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
    digest = Digest()
    position = ledger.position()
    reviews = _reviews(ledger, known_at, to_ns)
    if times.measured_to_ns is None:
        totals = load_totals(ledger, up_to=known_at, seen=digest.add)
        sure = at_most = totals.snapshot(to_ns, position)
    else:
        cut = {side: cast(Ledger, CutLedger(ledger, to_ns, side)) for side in Side}
        sure = load_totals(cut[Side.SURE], up_to=known_at).snapshot(to_ns, position)
        totals = load_totals(cut[Side.AT_MOST], up_to=known_at, seen=digest.add)
        at_most = totals.snapshot(to_ns, position)
        ledger = cut[Side.AT_MOST]
    periods, counts = _periods(ledger, totals.allocations)
    return Reading(
        sure=sure,
        at_most=at_most,
        position=position,
        registers_sha256=digest.text,
        last_declaration=known_at,
        measured_to_ns=to_ns,
        law_as_of=times.law_as_of,
        periods=periods,
        register_counts=counts,
        reviews=reviews,
    )


def facts_of(reading: Reading, name: str, form: Form, law: LawBook) -> ModelFacts:
    """Gather the facts of a model.

    Args:
        reading: the ledger as it stood.
        name: the model.
        form: decides which profiles count and which lines are shown.
        law: rows and counting profiles.

    Raises:
        UsageError: the ledger knew no such model then, or had nothing of it.
    """
    model = reading.model(name)
    parts = reading.parts(model)
    if not any(part.figures.total.ceiling for part in parts):
        raise UsageError(
            f"nothing of model {name!r} was recorded up to {utc_text(reading.measured_to_ns)}; "
            "give a later time"
        )
    rows = [row for row in law.rows if row.id in form.thresholds]
    wanted = dict.fromkeys((*form.profiles, *(row.counting_profile for row in rows)))
    profiles = {each: law.profiles[each] for each in wanted}
    counted = {each: count(parts, profile) for each, profile in profiles.items()}
    by_run = {run.run: run for run in reading.at_most.runs}
    runs = [by_run[run] for run in dict.fromkeys(part.run for part in parts) if run in by_run]
    return ModelFacts(
        model=model.model,
        simulated=model.simulated,
        basis=Basis(
            measured_to_ns=reading.measured_to_ns,
            law_as_of=reading.law_as_of or local_date(reading.measured_to_ns, "UTC"),
            known_at=reading.last_declaration,
            position=reading.position,
            registers_sha256=reading.registers_sha256,
            method_version=reading.at_most.method_version,
            device_table_version=reading.at_most.table_version,
        ),
        counted=counted,
        profiles=profiles,
        executed=sum_figures(part.figures for part in parts),
        runs=tuple(_run_facts(reading, run, parts) for run in runs),
        hardware=_hardware(runs),
        energy_mj=_energy(runs),
        observed_share=_observed_share(runs),
        standings=standings(model.model, counted, rows, reading),
        dependencies=tuple((name, edge.value) for name, edge in model.parents),
        externals=_externals(model),
        other_methods=tuple(
            OtherMethod(
                run.run,
                str(claim.totals.quantity),
                claim.totals.executed_flop,
                claim.metered,
                claim.agreement,
            )
            for run in runs
            for claim in run.claims
            if claim.totals.executed_flop
        ),
        completeness=_completeness(model),
        unattributed_upper_flop=reading.at_most.unattributed.figures.total.upper,
        assumptions=tuple(f"{run.run}: {warning}" for run in runs for warning in run.warnings),
        lowering=_lowerings(reading, model),
    )


def standings(
    model: str,
    counted: Mapping[str, Counted],
    rows: Iterable[Threshold],
    reading: Reading,
) -> tuple[StandingFacts, ...]:
    """Hold a model against lines, each under its own counting profile.

    Args:
        model: its name.
        counted: profile id -> the model's work under it.
        rows: lines in FLOP.
        reading: says whose law holds.
    """
    found = []
    for row in rows:
        figures = counted[row.counting_profile].everything
        status = row.status_on(reading.day(row))
        found.append(
            StandingFacts(
                standing=stand(figures, row),
                counted=figures,
                status=None if status is None else status.value,
                undecided_conditions=tuple(each.text for each in row.required_conditions),
                review=reading.reviews.get((model, row.id)),
            )
        )
    return tuple(found)


def _run_facts(reading: Reading, run: RunTotals, parts: Iterable[WorkPart]) -> RunFacts:
    own = [part for part in parts if part.run == run.run]
    period = reading.periods.get(run.run)
    formats = run.declaration.formats
    return RunFacts(
        run=run.run,
        activity=", ".join(sorted({str(part.label.activity) for part in own})),
        number_format="undeclared" if formats is None else formats.text,
        figures=sum_figures(part.figures for part in own),
        evidence={level: (amount, whole) for level, amount, whole in run.account.evidence_shares},
        first_ns=None if period is None else period[0],
        last_ns=None if period is None else period[1],
        register_count=reading.register_counts.get(run.run, 0),
        origin=", ".join(sorted({part.origin.name or "own" for part in own})),
    )


def _periods(
    ledger: Ledger, runs_of: Mapping[str, frozenset[str | None]]
) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """When each run was at work by its hours, and how many registers it has."""
    periods: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    for stored in ledger.vectors():
        for run in runs_of.get(stored.key.allocation, frozenset()) - {None}:
            assert run is not None
            counts[run] = counts.get(run, 0) + 1
    for allocation, runs in runs_of.items():
        for row in ledger.hours(allocation):
            first_ns = row.first_hour * NS_PER_HOUR + row.wall_ns - row.boot_ns
            for run in runs - {None}:
                assert run is not None
                before = periods.get(run, (first_ns, row.wall_ns))
                periods[run] = (min(before[0], first_ns), max(before[1], row.wall_ns))
    return periods, counts


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


def _hardware(runs: Iterable[RunTotals]) -> tuple[HardwareUse, ...]:
    """Device time by product; a device that two runs used is counted in each."""
    found: dict[str, tuple[int, int, int]] = {}
    for run in runs:
        for use in run.account.uses:
            devices, busy_ns, observed_ns = found.get(use.product, (0, 0, 0))
            found[use.product] = (
                max(devices, use.device_count),
                busy_ns + use.busy_ns,
                observed_ns + use.observed_ns,
            )
    return tuple(HardwareUse(product, *amounts) for product, amounts in sorted(found.items()))


def _energy(runs: Iterable[RunTotals]) -> dict[EnergyScope, int]:
    found: dict[EnergyScope, int] = {}
    for run in runs:
        for scope, mj in run.account.energy_mj.items():
            found[scope] = found.get(scope, 0) + mj
    return found


def _observed_share(runs: Iterable[RunTotals]) -> Fraction:
    accounts = [run.account for run in runs]
    covered = sum(account.covered_ns for account in accounts)
    unmeasured = sum(account.unmeasured_ns for account in accounts)
    return Fraction(covered - unmeasured, covered) if covered else Fraction(0)


def _externals(model: ModelTotals) -> tuple[ExternalFacts, ...]:
    return tuple(
        ExternalFacts(
            name=each.entry,
            interval=each.compute,
            activity=", ".join(filter(None, (each.label.activity, each.label.disposition))),
            period=f"{utc_text(each.from_ns)} to {utc_text(each.until_ns)}",
            party=each.party,
            source=each.source,
            source_sha256=each.sha256,
        )
        for each in model.externals
    )


def _completeness(model: ModelTotals) -> str:
    stated = model.completeness
    return "" if stated is None else f"{stated.complete}: {stated.statement} ({stated.author})"


def _lowerings(reading: Reading, model: ModelTotals) -> tuple[str, ...]:
    """Labels that make a legal total of the model smaller, and who stands behind each."""
    subjects = {f"run {run}" for run in (*model.runs, *model.inherited)}
    subjects |= {f"external {each.entry} of model {model.model}" for each in model.externals}
    return tuple(
        f"declaration {each.sequence} of {each.subject}: {each.label} ({each.state}), by "
        f"{each.author}: {each.reason or 'no reason given'}; less under "
        f"{', '.join(each.profiles)}; approved by "
        + (", ".join(name for name, _ in each.people) or "nobody")
        for each in reading.at_most.lowerings
        if each.subject in subjects
    )
