"""The facts of a model, from a ledger as it stood: counted, and held against the law.

Owns: which figures, times and sentences a report rests on.
May touch: nothing; pure functions of a reading.
Called by the lab's filing acts. Explained in docs/filings.md and docs/adr/0028-filings.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from flopmeter.lab.report_reading import Reading
from flopmeter_collector.filings.facts import (
    Basis,
    ExternalFacts,
    ModelFacts,
    ModificationFacts,
    OtherMethod,
    RunFacts,
    StandingFacts,
)
from flopmeter_collector.held import local_date
from flopmeter_collector.lowerings import lowerings_of, rules_by_lowering
from flopmeter_collector.modifications import APPLIES, lines_of
from flopmeter_collector.presentation import utc_text
from flopmeter_collector.snapshot import ModelTotals, RunTotals
from flopmeter_collector.sums import DeviceUse
from flopmeter_core.catalogue import Subject, Threshold, stand
from flopmeter_core.counting import Counted, WorkPart, count
from flopmeter_core.devices import EnergyScope
from flopmeter_core.errors import UsageError
from flopmeter_core.filings import Form
from flopmeter_core.interval import sum_figures
from flopmeter_core.lawbook import LawBook


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
    counted = {
        each: count(parts, profile, decision=model.rulings.decision(profile))
        for each, profile in profiles.items()
    }
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
        hardware=_hardware(reading, runs),
        energy_mj=_energy(runs),
        observed_share=_observed_share(runs),
        standings=standings(model, counted, rows, reading),
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
        assumptions=_assumptions(reading, model, runs),
        lowering=_lowerings(reading, model),
        rulings=model.rulings,
        modifications=tuple(_modifications(reading, model, parts, form, law)),
    )


def _modifications(
    reading: Reading,
    model: ModelTotals,
    parts: tuple[WorkPart, ...],
    form: Form,
    law: LawBook,
) -> Iterable[ModificationFacts]:
    """The model's own work over that of each model its weights came from, cut as all figures are.

    Only lines of the form's jurisdiction are told.
    """
    whose = {row.jurisdiction for row in law.rows if row.id in form.thresholds}
    rows = [
        row
        for row in law.rows
        if row.subject is Subject.MODIFICATION
        and row.jurisdiction in whose
        and row.status_on(reading.day(row)) in APPLIES
    ]
    by_name = {each.model: each for each in reading.at_most.models}
    for each in model.modifications:
        original = by_name.get(each.original)
        if original is not None:
            original = replace(original, parts=reading.parts(original))
        cut = replace(model, parts=parts)
        lines = tuple(lines_of(cut, each, original, rows))
        yield ModificationFacts(each.original, each.edge.value, lines)


def standings(
    model: ModelTotals,
    counted: Mapping[str, Counted],
    rows: Iterable[Threshold],
    reading: Reading,
) -> tuple[StandingFacts, ...]:
    """Hold a model against lines, each under its own counting profile.

    Args:
        model: its totals.
        counted: profile id -> the model's work under it.
        rows: lines in FLOP.
        reading: says whose law holds.
    """
    found = []
    for row in rows:
        figures = counted[row.counting_profile].decided
        status = row.status_on(reading.day(row))
        found.append(
            StandingFacts(
                standing=stand(figures, row, declared=model.rulings.declared(row.id)),
                counted=figures,
                status=None if status is None else status.value,
                rulings=model.rulings,
                review=reading.reviews.get((model.model, row.id)),
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


def _hardware(reading: Reading, runs: Iterable[RunTotals]) -> tuple[DeviceUse, ...]:
    """Device time by product; a device that several runs used is one device."""
    times: dict[str, tuple[int, int]] = {}
    devices: dict[str, dict[str, int]] = {}
    for run in runs:
        for use in run.account.uses:
            busy_ns, observed_ns = times.get(use.product, (0, 0))
            times[use.product] = (busy_ns + use.busy_ns, observed_ns + use.observed_ns)
        for (product, device), count_ in reading.devices.get(run.run, {}).items():
            devices.setdefault(product, {})[device] = count_
    return tuple(
        DeviceUse(product, sum(devices.get(product, {}).values()), *amounts)
        for product, amounts in sorted(times.items())
    )


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
    return "" if stated is None else f"{stated.complete}: {stated.statement}"


def _assumptions(
    reading: Reading, model: ModelTotals, runs: Iterable[RunTotals]
) -> tuple[str, ...]:
    told = [f"{run.run}: {warning}" for run in runs for warning in run.warnings]
    if reading.cut:
        told.append(
            "what the training scripts claim is not known by the hour, so it is not held against "
            "figures that end earlier"
        )
    else:
        told.append(
            "everything the ledger held counts, the running hour too: the same time asked for "
            "later leaves out the hour it lies in"
        )
    known = {each.model for each in reading.at_most.models if each.figures.total.ceiling}
    told += [
        f"the compute of {parent} is not known here and counts nothing"
        for parent, _ in model.parents
        if parent not in known
    ]
    return tuple(told)


def _lowerings(reading: Reading, model: ModelTotals) -> tuple[str, ...]:
    """Statements that make a legal total of the model smaller, and who stands behind each."""
    rules = rules_by_lowering(reading.at_most)
    return tuple(
        f"declaration {each.sequence} of {each.subject}: {each.label}"
        f"{f', {each.place}' if each.place else ''} ({each.state}), by "
        f"{each.author}: {each.reason or 'no reason given'}; less under "
        f"{', '.join(each.profiles)}; approved by "
        + (", ".join(name for name, _ in each.people) or "nobody")
        + "".join(
            f"; work to come is under it by the rule {rule.pattern} for {rule.text}"
            for rule in rules.get(each.sequence, ())
        )
        for each in lowerings_of(reading.at_most, model)
    )
