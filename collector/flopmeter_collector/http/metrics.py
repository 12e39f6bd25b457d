"""The collector's Prometheus families of totals, and the whole exposition.

Owns: the metric names of runs, models and thresholds, their labels and the cap on series.
May touch: nothing; pure functions of an immutable snapshot and status.
Called by http.app; docs/metrics.md lists the families.
Bounds are families and never a label, so that sum() keeps its meaning; FLOP are exact digits.
Runs and models are told by opaque ids; their names only where the operator wants them (ADR 30).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flopmeter_collector.evaluate import applicable, model_standings
from flopmeter_collector.held import held_at
from flopmeter_collector.http.claims import claim_families, unmatched_families
from flopmeter_collector.http.kept import KeptBlocks, joined
from flopmeter_collector.http.legal import legal_families
from flopmeter_collector.http.relay import relay_families
from flopmeter_collector.http.status import ServiceStatus as ServiceStatus
from flopmeter_collector.http.status import node_families, service_families
from flopmeter_collector.legal_view import NO_LEGAL_VIEW, LegalView
from flopmeter_collector.metric_ids import MetricIds, ids_of
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_collector.sums import Account
from flopmeter_core.catalogue import State, Threshold
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.kernels.render import (
    REMEMBERED_LABELS,
    Family,
    decimal,
    labels,
    lines_of,
    render,
    with_label,
)

MAXIMUM_RUN_SERIES = 1_000
"""Runs (and models) shown one by one; the smaller rest is summed into OTHER."""

OTHER = "other"

_Law = tuple[Sequence[Threshold], MetricIds]
"""Whatever the lines of a run or model are made of beside itself."""

_Subject = TypeVar("_Subject")
_Name = TypeVar("_Name", bound=str)

_STATE_NAME = "flopmeter_model_threshold_state"

_BOUNDS = ("", "lower_", "upper_", "floor_", "ceiling_")


@dataclass(frozen=True, slots=True)
class _Row:
    """The part of a run (or of the rest) that has series."""

    labels: str
    figures: Figures
    runs: Sequence[RunTotals]
    alone: bool = True
    name: str = OTHER

    @property
    def accounts(self) -> Sequence[Account]:
        """What the runs add up to."""
        return [run.account for run in self.runs]


class Kept:
    """What a reader of metrics may keep between two scrapes."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.runs: KeptBlocks[RunTotals] = KeptBlocks()
        self.models: KeptBlocks[ModelTotals] = KeptBlocks()


def exposition(
    snapshot: TotalsSnapshot | None,
    thresholds: Iterable[Threshold],
    status: ServiceStatus,
    legal: LegalView = NO_LEGAL_VIEW,
    kept: Kept | None = None,
    *,
    named: bool = False,
) -> str:
    """The whole text.

    Args:
        snapshot: the totals; None before the first one, when only the collector itself is shown.
        thresholds: the catalogue.
        status: the collector itself.
        legal: forecasts, alerts and reviews.
        kept: what the last scrape left, which spares what did not change.
        named: whether the names of runs and models stand beside their ids.
    """
    families: list[Family] = []
    kept = kept or Kept()
    if snapshot is not None:
        rows = held_at(thresholds, snapshot.as_of_ns)
        law = (rows, ids_of(snapshot.position, named=named))
        families += [
            *_run_families(snapshot, law, kept.runs),
            *unmatched_families(len(snapshot.unmatched_claims)),
            *_model_families(snapshot.models, law, legal, kept.models),
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


def _run_families(
    snapshot: TotalsSnapshot, law: _Law, kept: KeptBlocks[RunTotals]
) -> Iterator[Family]:
    thresholds, ids = law
    shown, rest = _capped(snapshot.runs, lambda run: run.account.figures, lambda run: run.run)

    def named(runs: Iterable[RunTotals]) -> list[_Row]:
        return [
            _Row(
                labels(run=ids.run(run.run), simulated=_mark(run.account.simulated)),
                run.account.figures,
                (run,),
                name=ids.shown(ids.run(run.run), run.name or run.run),
            )
            for run in runs
        ]

    fresh, blocks = kept.split(shown, law, lambda run: _families_of_runs(named([run]), thresholds))
    rows = named(fresh)
    if rest:
        simulated = any(run.account.simulated for run in rest)
        figures = sum_figures(run.account.figures for run in rest)
        marked = labels(run=OTHER, simulated=_mark(simulated))
        rows.append(_Row(marked, figures, rest, alone=False))
    return joined(_families_of_runs(rows, thresholds), blocks)


def _families_of_runs(rows: Sequence[_Row], thresholds: Sequence[Threshold]) -> Iterator[Family]:
    yield _info_family("run", rows)
    yield from _compute_families("run", rows)
    yield from _account_families("run", [(row.labels, row.accounts) for row in rows])
    yield Family(
        "flopmeter_run_format_undeclared",
        "gauge",
        "1 where nobody declared the number format, which widens the interval most.",
        [
            (row.labels, str(int(any(run.declaration.formats is None for run in row.runs))))
            for row in rows
        ],
    )
    yield from claim_families([(row.labels, row.runs) for row in rows])
    lines = {
        simulated: [(t, t.value_flop) for t in applicable(thresholds, simulated=simulated)]
        for simulated in (False, True)
    }
    ratios = []
    for row in rows:
        if row.alone:
            total = row.figures.total
            for threshold, value in lines[row.runs[0].account.simulated]:
                # As in `stand`; of a run alone nothing but the ratios is told.
                told = (total.best / value, total.lower / value, total.upper / value)
                ratios.append((_at(row.labels, threshold), told))
    yield from _ratio_families("run", ratios)


def _model_families(
    models: Sequence[ModelTotals], law: _Law, legal: LegalView, kept: KeptBlocks[ModelTotals]
) -> Iterator[Family]:
    thresholds, ids = law
    shown, rest = _capped(models, lambda model: model.figures, lambda model: model.model)
    fresh, blocks = kept.split(shown, law, lambda model: _families_of_models([model], [], law))
    yield from joined(_families_of_models(fresh, rest, law), blocks)
    held = [
        (_at(marked, threshold), model.model, threshold.id)
        for model in shown
        for marked in [_marked(model, ids)]
        for threshold in applicable(thresholds, simulated=model.simulated)
    ]
    yield from legal_families(legal, held, ids)


def _marked(model: ModelTotals, ids: MetricIds) -> str:
    return labels(model=ids.model(model.model), simulated=_mark(model.simulated))


def _families_of_models(
    shown: Sequence[ModelTotals], rest: Sequence[ModelTotals], law: _Law
) -> Iterator[Family]:
    thresholds, ids = law
    rows = [
        _Row(
            _marked(model, ids),
            model.figures,
            (),
            name=ids.shown(ids.model(model.model), model.model),
        )
        for model in shown
    ]
    standings = [
        (_at(row.labels, standing.threshold), standing)
        for row, model in zip(rows, shown, strict=True)
        for standing, _ in model_standings(model, thresholds)
    ]
    if rest:
        marked = labels(model=OTHER, simulated=_mark(any(m.simulated for m in rest)))
        rows.append(_Row(marked, sum_figures(m.figures for m in rest), (), alone=False))
    yield _info_family("model", rows)
    yield from _compute_families("model", rows)
    yield from _ratio_families(
        "model",
        [
            (rendered, (standing.ratio_best, standing.ratio_lower, standing.ratio_upper))
            for rendered, standing in standings
        ],
    )
    yield Family(
        _STATE_NAME,
        "gauge",
        "1 for the state the best figure of a model is in against a threshold, 0 for the others.",
        [],
        text="".join([_state_lines(rendered, standing.state) for rendered, standing in standings]),
    )
    yield Family(
        "flopmeter_model_threshold_conditions_unknown",
        "gauge",
        "1 where a law asks for more than compute and nobody declared whether that holds.",
        [
            (rendered, str(int(standing.conditions is None)))
            for rendered, standing in standings
            if standing.threshold.required_conditions
        ],
    )
    yield Family(
        "flopmeter_model_threshold_decided",
        "gauge",
        "1 where the whole likely range of a model lies on one side of a threshold.",
        [(rendered, "1" if standing.decided else "0") for rendered, standing in standings],
    )


@functools.lru_cache(maxsize=REMEMBERED_LABELS)
def _state_lines(rendered: str, held: State) -> str:
    """The lines of a model's state against a threshold: a fifth of all, and they hardly change."""
    samples = [(with_label(rendered, "state", each), str(int(each is held))) for each in State]
    return lines_of(Family(_STATE_NAME, "gauge", "", samples))


def _unattributed_families(snapshot: TotalsSnapshot) -> Iterator[Family]:
    account = snapshot.unattributed
    row = _Row(labels(simulated=_mark(account.simulated)), account.figures, ())
    yield from _compute_families("unattributed", [row])
    yield from _account_families("unattributed", [(row.labels, [account])])
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


def _info_family(subject: str, rows: Sequence[_Row]) -> Family:
    """What stands for a name, for queries that join it to any other family by the id."""
    return Family(
        f"flopmeter_{subject}_info",
        "gauge",
        f"Name of a {subject}; its id again where names are not wanted in metrics. Always 1.",
        [(with_label(row.labels, "name", row.name), "1") for row in rows],
    )


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


def _account_families(
    subject: str, rows: Sequence[tuple[str, Sequence[Account]]]
) -> Iterator[Family]:
    """Device time, energy, evidence and forks of runs or of the remainder."""
    for name, help_text, amount in _TIMES:
        yield Family(
            f"flopmeter_{subject}_{name}_device_seconds",
            "gauge",
            help_text,
            [(marked, decimal(_sum(amount, found), digits=9)) for marked, found in rows],
        )
    yield Family(
        f"flopmeter_{subject}_energy_joules",
        "gauge",
        "Energy measured so far, by what the measurement covers.",
        [
            (with_label(marked, "scope", scope), decimal(millijoules, digits=3))
            for marked, found in rows
            for scope, millijoules in _added(a.energy_mj for a in found).items()
        ],
    )
    yield Family(
        f"flopmeter_{subject}_evidence_compute_flop",
        "gauge",
        "Most likely FLOP executed so far, by how the time was measured.",
        [
            (with_label(marked, "level", level), str(best))
            for marked, found in rows
            for level, best in _added(a.best_flop_by_level for a in found).items()
        ],
    )
    yield Family(
        f"flopmeter_{subject}_forked_registers",
        "gauge",
        "Registers of which two contradicting histories exist; a person has to look.",
        [(marked, str(sum(a.fork_count for a in found))) for marked, found in rows],
    )
    yield Family(
        f"flopmeter_{subject}_unknown_parts",
        "gauge",
        "Kinds of accelerator that the device table lacks; counted at a stated ceiling.",
        [
            (marked, str(len({part for a in found for part in a.unknown_parts})))
            for marked, found in rows
        ],
    )


def _ratio_families(
    subject: str, rows: Sequence[tuple[str, tuple[float, float, float]]]
) -> Iterator[Family]:
    """Figure over threshold: best and both ends of the likely range, in this order."""
    texts = {"": "Most likely FLOP", "lower_": "Lower FLOP", "upper_": "Upper FLOP"}
    alone = " of the run alone" if subject == "run" else " of the model"
    for place, (bound, text) in enumerate(texts.items()):
        yield Family(
            f"flopmeter_{subject}_threshold_{bound}ratio",
            "gauge",
            f"{text}{alone} over the threshold's value.",
            [(rendered, repr(ratios[place])) for rendered, ratios in rows],
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
    """The largest subjects in the order given, and the rest."""
    if len(subjects) <= MAXIMUM_RUN_SERIES:
        return list(subjects), []
    by_size = sorted(subjects, key=lambda s: (-figures(s).total.best, name(s)))
    largest = {name(s) for s in by_size[:MAXIMUM_RUN_SERIES]}
    kept = [s for s in subjects if name(s) in largest]
    return kept, [s for s in subjects if name(s) not in largest]


def _at(rendered: str, threshold: Threshold) -> str:
    return with_label(rendered, "threshold", threshold.id)


def _sum(amount: Callable[[Account], int], found: Sequence[Account]) -> int:
    """What some accounts add up to; of nearly every row there is one."""
    return amount(found[0]) if len(found) == 1 else sum(map(amount, found))


def _added(tables: Iterable[Mapping[_Name, int]]) -> Mapping[_Name, int]:
    first, *others = tables
    if not others:
        return first  # of nearly every row there is one run
    added = dict(first)
    for table in others:
        for name, amount in table.items():
            added[name] = added.get(name, 0) + amount
    return added


def _mark(simulated: bool) -> str:
    return "true" if simulated else "false"
