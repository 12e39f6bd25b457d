"""The collector's Prometheus families of totals, and the whole exposition.

Owns: the metric names of runs, models and thresholds, their labels and the cap on series.
May touch: nothing; pure functions of an immutable snapshot and status.
Called by http.app; docs/metrics.md lists the families.
Bounds are families and never a label, so that sum() keeps its meaning; FLOP are exact digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flopmeter_collector.evaluate import model_standings, standings_of
from flopmeter_collector.held import held_at
from flopmeter_collector.http.claims import claim_families
from flopmeter_collector.http.legal import legal_families
from flopmeter_collector.http.relay import relay_families
from flopmeter_collector.http.status import ServiceStatus as ServiceStatus
from flopmeter_collector.http.status import node_families, service_families
from flopmeter_collector.legal_view import NO_LEGAL_VIEW, LegalView
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_collector.sums import Account
from flopmeter_core.catalogue import Standing, State, Threshold
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.kernels.render import Family, decimal, labels, render, with_label

MAXIMUM_RUN_SERIES = 1_000
"""Runs (and models) shown one by one; the smaller rest is summed into OTHER."""

OTHER = "other"

_Subject = TypeVar("_Subject")
_Name = TypeVar("_Name", bound=str)

_BOUNDS = ("", "lower_", "upper_", "floor_", "ceiling_")


@dataclass(frozen=True, slots=True)
class _Row:
    """The part of a run (or of the rest) that has series."""

    labels: str
    figures: Figures
    accounts: Sequence[Account]
    undeclared: bool


def exposition(
    snapshot: TotalsSnapshot | None,
    thresholds: Iterable[Threshold],
    status: ServiceStatus,
    legal: LegalView = NO_LEGAL_VIEW,
) -> str:
    """The whole text.

    Args:
        snapshot: the totals; None before the first one, when only the collector itself is shown.
        thresholds: the catalogue.
        status: the collector itself.
        legal: forecasts, alerts and reviews.
    """
    families: list[Family] = []
    if snapshot is not None:
        rows = held_at(thresholds, snapshot.as_of_ns)
        families += [
            *_run_families(snapshot, rows),
            *_model_families(snapshot.models, rows, legal),
            *_unattributed_families(snapshot),
            *_enrolment_families(snapshot),
            *_threshold_families(rows),
            *_ledger_families(snapshot, status),
        ]
    return render(
        [
            *families,
            *node_families(status, snapshot.residual.down if snapshot else frozenset()),
            *service_families(status),
            *relay_families(status.relay),
        ]
    )


def _run_families(snapshot: TotalsSnapshot, thresholds: Sequence[Threshold]) -> Iterator[Family]:
    kept, rest = _capped(snapshot.runs, lambda run: run.account.figures, lambda run: run.run)
    named = [
        _Row(
            labels(run=run.run, simulated=_mark(run.account.simulated)),
            run.account.figures,
            (run.account,),
            run.declaration.formats is None,
        )
        for run in kept
    ]
    rows = list(named)
    if rest:
        accounts = [run.account for run in rest]
        rows.append(
            _Row(
                labels(run=OTHER, simulated=_mark(any(a.simulated for a in accounts))),
                sum_figures(account.figures for account in accounts),
                accounts,
                any(run.declaration.formats is None for run in rest),
            )
        )
    yield from _compute_families("run", rows)
    yield from _account_families("run", rows)
    yield Family(
        "flopmeter_run_format_undeclared",
        "gauge",
        "1 where nobody declared the number format, which widens the interval most.",
        [(row.labels, str(int(row.undeclared))) for row in rows],
    )
    behind: list[Sequence[RunTotals]] = [[run] for run in kept]
    yield from claim_families(
        [(row.labels, runs) for row, runs in zip(rows, [*behind, rest], strict=False)],
        unmatched_count=len(snapshot.unmatched_claims),
    )
    standings = [
        (_at(row.labels, standing), standing)
        for row in named
        for standing in standings_of(row.figures, thresholds, simulated=row.accounts[0].simulated)
    ]
    yield from _ratio_families("run", standings)


def _model_families(
    models: Sequence[ModelTotals], thresholds: Sequence[Threshold], legal: LegalView
) -> Iterator[Family]:
    kept, rest = _capped(models, lambda model: model.figures, lambda model: model.model)
    rows = [
        _Row(labels(model=m.model, simulated=_mark(m.simulated)), m.figures, (), False)
        for m in kept
    ]
    held = [
        (_at(row.labels, standing), model.model, standing)
        for row, model in zip(rows, kept, strict=True)
        for standing, _ in model_standings(model, thresholds)
    ]
    standings = [(rendered, standing) for rendered, _, standing in held]
    if rest:
        rendered = labels(model=OTHER, simulated=_mark(any(m.simulated for m in rest)))
        rows.append(_Row(rendered, sum_figures(m.figures for m in rest), (), False))
    yield from _compute_families("model", rows)
    yield from _ratio_families("model", standings)
    yield Family(
        "flopmeter_model_threshold_state",
        "gauge",
        "1 for the state the best figure of a model is in against a threshold, 0 for the others.",
        [
            (with_label(rendered, "state", state), str(int(standing.state == state)))
            for rendered, standing in standings
            for state in State
        ],
    )
    yield Family(
        "flopmeter_model_threshold_decided",
        "gauge",
        "1 where the whole likely range of a model lies on one side of a threshold.",
        [(rendered, str(int(standing.decided))) for rendered, standing in standings],
    )
    yield from legal_families(legal, held)


def _unattributed_families(snapshot: TotalsSnapshot) -> Iterator[Family]:
    account = snapshot.unattributed
    row = _Row(labels(simulated=_mark(account.simulated)), account.figures, (account,), False)
    yield from _compute_families("unattributed", [row])
    yield from _account_families("unattributed", [row])
    overflow = snapshot.overflow
    marked = labels(simulated=_mark(overflow.simulated))
    for name, help_text, value in (
        (
            "device_seconds",
            "Device time of users that agents had no room to tell apart, in device-seconds; "
            "part of unattributed.",
            decimal(overflow.covered_ns, digits=9),
        ),
        (
            "compute_flop",
            "Most likely FLOP of that time; part of unattributed and of no run.",
            str(overflow.figures.total.best),
        ),
        (
            "compute_upper_flop",
            "Upper end of the likely range of those FLOP; part of unattributed.",
            str(overflow.figures.total.upper),
        ),
    ):
        yield Family(f"flopmeter_overflow_{name}", "gauge", help_text, [(marked, value)])


def _enrolment_families(snapshot: TotalsSnapshot) -> Iterator[Family]:
    """The devices whose time has to be accounted for."""
    residual = snapshot.residual
    for name, help_text, value in (
        (
            "enrolled_devices",
            "Devices whose time has to be accounted for.",
            str(residual.enrolled_device_count),
        ),
        (
            "silent_devices",
            "Enrolled devices nobody reports for now; their time is residual.",
            str(residual.silent_device_count),
        ),
        (
            "declared_down_device_seconds",
            "Enrolled device time declared down and seen by no agent, in device-seconds.",
            decimal(residual.declared_down_ns, digits=9),
        ),
        (
            "doubled_devices",
            "Devices of which two agents measured the same time; lower counts it once.",
            str(residual.doubled_device_count),
        ),
        (
            "doubled_device_seconds",
            "Device time that two agents measured, counted once, in device-seconds.",
            decimal(residual.doubled_ns, digits=9),
        ),
    ):
        yield Family(f"flopmeter_{name}", "gauge", help_text, [("", value)])


def _compute_families(subject: str, rows: Sequence[_Row]) -> Iterator[Family]:
    """One family a bound, each an exact integer in FLOP."""
    texts = {
        "": "Most likely FLOP executed so far.",
        "lower_": "Lower end of the likely range of the FLOP executed so far (coverage 95 %).",
        "upper_": "Upper end of the likely range, with what unobserved time could hold.",
        "floor_": "FLOP executed at least, by physics.",
        "ceiling_": "FLOP executed at most, by physics, with what unobserved time could hold.",
    }
    totals = [(row.labels, row.figures.total) for row in rows]
    for bound in _BOUNDS:
        attribute = bound.rstrip("_") or "best"
        yield Family(
            f"flopmeter_{subject}_compute_{bound}flop",
            "gauge",
            texts[bound],
            [(rendered, str(getattr(total, attribute))) for rendered, total in totals],
        )


_TIMES: Sequence[tuple[str, str, Callable[[Account], int]]] = (
    ("busy", "Device time with work, in device-seconds.", lambda a: a.busy_ns),
    ("idle", "Device time without work, in device-seconds.", lambda a: a.idle_ns),
    (
        "unobserved",
        "Device time without a usable measurement, in device-seconds.",
        lambda a: a.unmeasured_ns,
    ),
    (
        "suspect",
        "Device time whose readings cannot be believed, in device-seconds; part of unobserved.",
        lambda a: a.suspect_ns,
    ),
    (
        "residual",
        "Enrolled device time no agent classified, in device-seconds; part of unobserved.",
        lambda a: a.residual_ns,
    ),
)


def _account_families(subject: str, rows: Sequence[_Row]) -> Iterator[Family]:
    """Device time, energy, evidence and forks of runs or of the remainder."""
    for name, help_text, amount in _TIMES:
        yield Family(
            f"flopmeter_{subject}_{name}_device_seconds",
            "gauge",
            help_text,
            [(r.labels, decimal(sum(map(amount, r.accounts)), digits=9)) for r in rows],
        )
    yield Family(
        f"flopmeter_{subject}_energy_joules",
        "gauge",
        "Energy measured so far, by what the measurement covers.",
        [
            (with_label(row.labels, "scope", scope), decimal(millijoules, digits=3))
            for row in rows
            for scope, millijoules in _added(a.energy_mj for a in row.accounts).items()
        ],
    )
    yield Family(
        f"flopmeter_{subject}_evidence_compute_flop",
        "gauge",
        "Most likely FLOP executed so far, by how the time was measured.",
        [
            (with_label(row.labels, "level", level), str(best))
            for row in rows
            for level, best in _added(a.best_flop_by_level for a in row.accounts).items()
        ],
    )
    yield Family(
        f"flopmeter_{subject}_forked_registers",
        "gauge",
        "Registers of which two contradicting histories exist; a person has to look.",
        [(row.labels, str(sum(a.fork_count for a in row.accounts))) for row in rows],
    )
    yield Family(
        f"flopmeter_{subject}_unknown_parts",
        "gauge",
        "Kinds of accelerator that the device table lacks; counted at a stated ceiling.",
        [
            (row.labels, str(len({part for a in row.accounts for part in a.unknown_parts})))
            for row in rows
        ],
    )


def _ratio_families(subject: str, standings: Sequence[tuple[str, Standing]]) -> Iterator[Family]:
    """Figure over threshold, best and both ends of the likely range."""
    texts = {"": "Most likely FLOP", "lower_": "Lower FLOP", "upper_": "Upper FLOP"}
    for bound, text in texts.items():
        attribute = f"ratio_{bound.rstrip('_') or 'best'}"
        alone = " of the run alone" if subject == "run" else " of the model"
        yield Family(
            f"flopmeter_{subject}_threshold_{bound}ratio",
            "gauge",
            f"{text}{alone} over the threshold's value.",
            [(rendered, repr(getattr(standing, attribute))) for rendered, standing in standings],
        )


def _threshold_families(thresholds: Sequence[Threshold]) -> Iterator[Family]:
    yield Family(
        "flopmeter_threshold_compute_flop",
        "gauge",
        "Exact value of a threshold.",
        [
            (labels(threshold=t.id, jurisdiction=t.jurisdiction), str(t.value_flop))
            for t in thresholds
        ],
    )


def _ledger_families(snapshot: TotalsSnapshot, status: ServiceStatus) -> Iterator[Family]:
    yield Family(
        "flopmeter_totals_timestamp_seconds",
        "gauge",
        "Unix time the totals were taken at.",
        [("", decimal(snapshot.as_of_ns, digits=9))],
    )
    yield Family(
        "flopmeter_collector_quarantined_compute_flop",
        "gauge",
        "Most likely FLOP of the quarantined vectors as they were sent; in no other figure.",
        [("", str(status.quarantined_flop))],
    )
    if snapshot.position is not None:
        yield Family(
            "flopmeter_ledger_commit_number",
            "gauge",
            "Number of the ledger's commit that holds everything shown.",
            [("", str(snapshot.position.commit_number))],
        )
        yield Family(
            "flopmeter_ledger_generation",
            "gauge",
            "Generation of the ledger; it grows when one is restored.",
            [("", str(snapshot.position.generation))],
        )
    rendered = labels(
        version=status.version,
        method_version=snapshot.method_version,
        device_table_version=snapshot.table_version,
        simulated=_mark(snapshot.simulated),
    )
    yield Family(
        "flopmeter_build_info",
        "gauge",
        "Versions of the program, its method and its device table.",
        [(rendered, "1")],
    )


def _capped(
    subjects: Sequence[_Subject],
    figures: Callable[[_Subject], Figures],
    name: Callable[[_Subject], str],
) -> tuple[list[_Subject], list[_Subject]]:
    """The largest subjects in the order given, and the rest.

    Where there is a rest, a subject that is itself called like it belongs to it: one name, one
    series.
    """
    if len(subjects) <= MAXIMUM_RUN_SERIES:
        return list(subjects), []
    by_size = sorted(subjects, key=lambda s: (-figures(s).total.best, name(s)))
    largest = {name(s) for s in by_size[:MAXIMUM_RUN_SERIES]} - {OTHER}
    kept = [s for s in subjects if name(s) in largest]
    return kept, [s for s in subjects if name(s) not in largest]


def _at(rendered: str, standing: Standing) -> str:
    return with_label(rendered, "threshold", standing.threshold.id)


def _added(tables: Iterable[Mapping[_Name, int]]) -> dict[_Name, int]:
    added: dict[_Name, int] = {}
    for table in tables:
        for name, amount in table.items():
            added[name] = added.get(name, 0) + amount
    return added


def _mark(simulated: bool) -> str:
    return "true" if simulated else "false"
