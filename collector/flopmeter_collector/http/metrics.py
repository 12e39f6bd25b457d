"""The collector's Prometheus families of totals, and the whole exposition.

Owns: the labels of runs, models and thresholds, the cap on series, and states against thresholds.
May touch: nothing; pure functions of an immutable snapshot and status.
Called by http.app; docs/metrics.md lists the families.
Bounds are families and never a label, so that sum() keeps its meaning; FLOP are exact digits.
Runs and models are told by opaque ids; their names only where the operator wants them (ADR 30).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from flopmeter_collector.evaluate import applicable, standings_of
from flopmeter_collector.held import held_at
from flopmeter_collector.http.claims import ClaimRow, claim_families, unmatched_families
from flopmeter_collector.http.figures import (
    Summed,
    account_families,
    bounds_of,
    compute_families,
    info_family,
    ratio_families,
    summed,
)
from flopmeter_collector.http.kept import KeptBlocks, joined
from flopmeter_collector.http.legal import legal_families
from flopmeter_collector.http.nodes import KeptLines, node_families
from flopmeter_collector.http.relay import relay_families
from flopmeter_collector.http.starts import (
    UNDECLARED,
    KeptStarts,
    Starts,
    starts_of,
    state_lines,
    threshold_name,
)
from flopmeter_collector.http.status import ServiceStatus as ServiceStatus
from flopmeter_collector.http.status import service_families
from flopmeter_collector.legal_view import NO_LEGAL_VIEW, LegalView
from flopmeter_collector.metric_ids import MetricIds, ids_of
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_collector.sums import Account
from flopmeter_collector.turns import Pause, go_on
from flopmeter_core.catalogue import Standing, Threshold
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.kernels.render import (
    Family,
    decimal,
    labels,
    numbered,
    render,
)

MAXIMUM_RUN_SERIES = 1_000
"""Runs (and models) shown one by one; the smaller rest is summed into OTHER."""

OTHER = "other"
"""What the rest is called."""

_Law = tuple[Sequence[Threshold], MetricIds]
"""Whatever the lines of a run or model are made of beside itself."""

_Subject = TypeVar("_Subject")


class Kept:
    """What a reader of metrics may keep between two scrapes."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.runs: KeptBlocks[RunTotals] = KeptBlocks()
        self.models: KeptBlocks[ModelTotals] = KeptBlocks()
        self.run_starts, self.model_starts = KeptStarts(), KeptStarts()
        self.nodes = KeptLines()


def exposition(
    snapshot: TotalsSnapshot | None,
    thresholds: Iterable[Threshold],
    status: ServiceStatus,
    legal: LegalView = NO_LEGAL_VIEW,
    kept: Kept | None = None,
    *,
    named: bool = False,
    pause: Pause = go_on,
) -> str:
    """The whole text.

    Args:
        snapshot: the totals; None before the first one, when only the collector itself is shown.
        thresholds: the catalogue.
        status: the collector itself.
        legal: forecasts, alerts and reviews.
        kept: what the last scrape left, which spares what did not change.
        named: whether the names of runs and models stand beside their ids.
        pause: lets answers go first, in a thread.
    """
    families: list[Family] = []
    kept = kept or Kept()
    if snapshot is not None:
        rows = held_at(thresholds, snapshot.as_of_ns)
        law = (rows, ids_of(snapshot.position, named=named))
        families += [
            *_run_families(snapshot, law, kept),
            *unmatched_families(len(snapshot.unmatched_claims)),
            *_model_families(snapshot.models, law, legal, kept),
            *_unattributed_families(snapshot),
            *_enrolment_families(snapshot),
            *_threshold_families(rows),
            *_ledger_families(snapshot, status),
        ]
    return render(
        [
            *families,
            *node_families(
                status.nodes,
                snapshot.residual.down if snapshot else frozenset(),
                kept.nodes,
                pause,
            ),
            *service_families(status),
            *relay_families(status.relay),
        ]
    )


def _run_families(snapshot: TotalsSnapshot, law: _Law, kept: Kept) -> Iterator[Family]:
    thresholds, ids = law
    shown, rest = _capped(snapshot.runs, lambda run: run.account.figures, lambda run: run.run)
    known = kept.run_starts.among(law)

    def starts_for(run: RunTotals) -> Starts:
        name, simulated = run.run, run.account.simulated
        starts = known.get(name)
        if starts is None or starts.shown != run.name or starts.simulated is not simulated:
            starts = known[name] = _starts_of_run(run, thresholds, ids)
        return starts

    def families_of(runs: Sequence[RunTotals], rest: Sequence[RunTotals]) -> Iterator[Family]:
        return _families_of_runs(runs, [starts_for(run) for run in runs], rest, thresholds)

    fresh, blocks = kept.runs.split(shown, law, lambda run: families_of((run,), ()))
    return joined(families_of(fresh, rest), blocks)


def _starts_of_run(run: RunTotals, thresholds: Sequence[Threshold], ids: MetricIds) -> Starts:
    simulated, own_id = run.account.simulated, ids.run(run.run)
    return starts_of(
        "run",
        labels(run=own_id, simulated=_mark(simulated)),
        name=ids.shown(own_id, run.name or run.run),
        shown=run.name,
        simulated=simulated,
        thresholds=[t.id for t in applicable(thresholds, simulated=simulated)],
    )


def _families_of_runs(
    runs: Sequence[RunTotals],
    alone: list[Starts],
    rest: Sequence[RunTotals],
    thresholds: Sequence[Threshold],
) -> Iterator[Family]:
    """Those of runs with series of their own, and of the rest together."""
    accounts: list[Account | Summed] = [run.account for run in runs]
    figures = [run.account.figures for run in runs]
    undeclared = ["1" if run.declaration.formats is None else "0" for run in runs]
    # Of most runs nobody claims or declared anything.
    noted: list[ClaimRow] = [
        (each.labels, (run,))
        for each, run in zip(alone, runs, strict=True)
        if run.claims or run.declaration.recompute is not None
    ]
    starts = alone
    if rest:
        simulated = any(run.account.simulated for run in rest)
        marked = labels(run=OTHER, simulated=_mark(simulated))
        starts = [*alone, starts_of("run", marked, name=OTHER, simulated=simulated)]
        accounts.append(summed([run.account for run in rest]))
        figures.append(sum_figures(run.account.figures for run in rest))
        undeclared.append(str(int(any(run.declaration.formats is None for run in rest))))
        noted.append((marked, rest))
    bounds = bounds_of(figures)
    yield info_family("run", starts)
    yield from compute_families("run", starts, bounds)
    yield from account_families("run", starts, accounts)
    yield Family(
        UNDECLARED,
        "gauge",
        "1 where nobody declared the number format, which widens the interval most.",
        text=numbered([each.undeclared for each in starts], undeclared),
    )
    yield from claim_families(noted)
    values = {
        simulated: [t.value_flop for t in applicable(thresholds, simulated=simulated)]
        for simulated in (False, True)
    }
    held = [values[each.simulated] for each in alone]
    # As in `stand`; of a run alone nothing but the ratios is told.
    best, lower, upper = (
        [amount / value for amount, against in zip(column, held, strict=False) for value in against]
        for column in bounds[:3]
    )
    yield from ratio_families("run", alone, (best, lower, upper))


def _model_families(
    models: Sequence[ModelTotals], law: _Law, legal: LegalView, kept: Kept
) -> Iterator[Family]:
    thresholds, ids = law
    shown, rest = _capped(models, lambda model: model.figures, lambda model: model.model)
    lines = {simulated: applicable(thresholds, simulated=simulated) for simulated in (False, True)}
    told = {simulated: [t.id for t in lines[simulated]] for simulated in lines}
    known = kept.model_starts.among(law)

    def starts_for(model: ModelTotals) -> Starts:
        name, simulated = model.model, model.simulated
        starts = known.get(name)
        if starts is None or starts.simulated is not simulated:
            own_id = ids.model(name)
            starts = known[name] = starts_of(
                "model",
                labels(model=own_id, simulated=_mark(simulated)),
                name=ids.shown(own_id, name),
                simulated=simulated,
                thresholds=told[simulated],
            )
        return starts

    def families_of(fresh: Sequence[ModelTotals], rest: Sequence[ModelTotals]) -> Iterator[Family]:
        standings = standings_of(fresh, lines)
        return _families_of_models(fresh, [starts_for(each) for each in fresh], standings, rest)

    fresh, blocks = kept.models.split(shown, law, lambda model: families_of((model,), ()))
    yield from joined(families_of(fresh, rest), blocks)
    starts = [starts_for(model) for model in shown]
    held = (starts, [model.model for model in shown], [told[each.simulated] for each in starts])
    yield from legal_families(legal, held, ids)


def _families_of_models(
    models: Sequence[ModelTotals],
    alone: list[Starts],
    standings: Sequence[Standing],
    rest: Sequence[ModelTotals],
) -> Iterator[Family]:
    """Those of models with series of their own, and of the rest together."""
    figures, starts = [model.figures for model in models], alone
    if rest:
        simulated = any(model.simulated for model in rest)
        marked = labels(model=OTHER, simulated=_mark(simulated))
        starts = [*alone, starts_of("model", marked, name=OTHER, simulated=simulated)]
        figures.append(sum_figures(model.figures for model in rest))
    yield info_family("model", starts)
    yield from compute_families("model", starts, bounds_of(figures))
    ratios = (
        [standing.ratio_best for standing in standings],
        [standing.ratio_lower for standing in standings],
        [standing.ratio_upper for standing in standings],
    )
    yield from ratio_families("model", alone, ratios)
    rendered = chain.from_iterable([each.held for each in alone])
    yield Family(
        threshold_name("state"),
        "gauge",
        "1 for the state the best figure of a model is in against a threshold, 0 for the others.",
        text=state_lines(alone, [standing.state for standing in standings]),
    )
    yield Family(
        threshold_name("conditions_unknown"),
        "gauge",
        "1 where a law asks for more than compute and nobody declared whether that holds.",
        [
            (each, str(int(standing.conditions is None)))
            for each, standing in zip(rendered, standings, strict=True)
            if standing.threshold.required_conditions
        ],
    )
    yield Family(
        threshold_name("decided"),
        "gauge",
        "1 where the whole likely range of a model lies on one side of a threshold.",
        text=numbered(
            list(chain.from_iterable([each.decided for each in alone])),
            ["1" if standing.decided else "0" for standing in standings],
        ),
    )


def _unattributed_families(snapshot: TotalsSnapshot) -> Iterator[Family]:
    account = snapshot.unattributed
    starts = [starts_of("unattributed", labels(simulated=_mark(account.simulated)))]
    yield from compute_families("unattributed", starts, bounds_of([account.figures]))
    yield from account_families("unattributed", starts, [account])
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
    # No addend enters the best figure, so that of the total is that of what was observed.
    by_size = sorted(subjects, key=lambda s: (-figures(s).observed.best, name(s)))
    largest = {name(s) for s in by_size[:MAXIMUM_RUN_SERIES]}
    kept = [s for s in subjects if name(s) in largest]
    return kept, [s for s in subjects if name(s) not in largest]


def _mark(simulated: bool) -> str:
    return "true" if simulated else "false"
