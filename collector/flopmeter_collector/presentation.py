"""The JSON contract: what `flopmeter totals --json`, `replay --json` and the API say.

Owns: the names and units of the JSON documents; a field is only ever added.
May touch: nothing; pure functions of a snapshot and the catalogue.
Called by http, the command line and the lab; docs/api.md describes the documents.
FLOP are exact integers with a decimal string beside them, because many JSON readers hold numbers
as doubles; a ratio, a share and an energy are floats, made here and nowhere before.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from fractions import Fraction

from flopmeter_collector.approvals import Lowering
from flopmeter_collector.documents import Json
from flopmeter_collector.evaluate import applicable, counts_of, model_standings
from flopmeter_collector.held import held_at
from flopmeter_collector.intake import NodeStatus
from flopmeter_collector.label_presentation import (
    BOUNDS,
    bounds_text,
    lowering_json,
    model_json,
    parts_json,
)
from flopmeter_collector.legal_presentation import (
    alert_document,
    forecast_document,
    review_document,
)
from flopmeter_collector.legal_view import NO_LEGAL_VIEW, LegalView
from flopmeter_collector.lowerings import (
    lowerings_by_model,
    lowerings_by_run,
    rules_by_lowering,
)
from flopmeter_collector.metric_ids import MetricIds, ids_of
from flopmeter_collector.modifications import modification_rows
from flopmeter_collector.residual import Residual
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_collector.spans import time_text
from flopmeter_collector.standing_words import condition_state, conditions_json, state_words
from flopmeter_collector.sums import Account
from flopmeter_collector.weighed import STRADDLE
from flopmeter_core.catalogue import Standing, Threshold, stand
from flopmeter_core.claim_agreement import Reconciliation
from flopmeter_core.claim_sums import ClaimTotals
from flopmeter_core.counting import Counted
from flopmeter_core.devices import EnergyScope
from flopmeter_core.interval import COVERAGE, Figures, Interval
from flopmeter_core.recompute import Factor
from flopmeter_core.units import MJ_PER_KWH, NS_PER_S

SCHEMA = 1


def totals_document(
    snapshot: TotalsSnapshot,
    thresholds: Iterable[Threshold],
    legal: LegalView = NO_LEGAL_VIEW,
    *,
    law_as_of_ns: int | None = None,
) -> Json:
    """All totals of a snapshot.

    Args:
        snapshot: the totals.
        thresholds: the catalogue; of it the rows of the day, the demonstration's only against
            simulated figures.
        legal: forecasts, alerts and reviews.
        law_as_of_ns: Unix time in ns whose law applies; that of the snapshot when None.
    """
    catalogue = tuple(thresholds)
    law_ns = snapshot.as_of_ns if law_as_of_ns is None else law_as_of_ns
    rows, lines = held_at(catalogue, law_ns), modification_rows(catalogue, law_ns)
    by_name = {model.model: model for model in snapshot.models}
    position, ids = snapshot.position, ids_of(snapshot.position)
    of_run, of_model = lowerings_by_run(snapshot), lowerings_by_model(snapshot)
    rules = rules_by_lowering(snapshot)
    return {
        "schema": SCHEMA,
        "as_of": utc_text(snapshot.as_of_ns),
        "method_version": snapshot.method_version,
        "device_table_version": snapshot.table_version,
        "simulated": snapshot.simulated,
        "ledger": None
        if position is None
        else {
            "id": position.ledger_id,
            "generation": position.generation,
            "commit_number": position.commit_number,
        },
        "runs": [
            {**_run(run, rows, ids), "lowerings": _numbers(of_run.get(run.run, ()))}
            for run in snapshot.runs
        ],
        "models": [
            {
                **_model(model, rows, model_json(model, by_name, lines), legal, ids),
                "lowerings": _numbers(of_model.get(model.model, ())),
            }
            for model in snapshot.models
        ],
        "unattributed": {
            **_account(snapshot.unattributed),
            "could_add_up_to_flop_str": str(snapshot.unattributed.figures.total.upper),
        },
        "alerts": [alert_document(alert, ids) for alert in legal.alerts],
        "reviews": [review_document(review, ids) for review in legal.reviews],
        "overflow": _overflow(snapshot.overflow),
        "enrolled": _enrolled(snapshot.residual),
        "lowerings": [
            lowering_json(each, rules.get(each.sequence, ())) for each in snapshot.lowerings
        ],
        "unmatched_claims": [
            {
                "run": run,
                **_claim_totals(totals[0]),
                "by_quantity": [_claim_totals(t) for t in totals],
            }
            for run, totals in snapshot.unmatched_claims
        ],
    }


def _numbers(lowerings: Iterable[Lowering]) -> list[int]:
    return [each.sequence for each in lowerings]


def nodes_document(nodes: Mapping[str, NodeStatus]) -> Json:
    """What the collector knows of each node's agent; labels, none of it enters a total.

    Args:
        nodes: node -> what its agent said of itself.
    """
    return {
        "schema": SCHEMA,
        "nodes": [
            {
                "node": node,
                "cluster": status.hello.cluster if status.hello else None,
                "agent_version": status.hello.agent_version if status.hello else None,
                "sensor": status.hello.sensor if status.hello else None,
                "sensor_reason": status.hello.sensor_reason if status.hello else None,
                "simulated": status.hello.simulated if status.hello else None,
                "open_streams": status.streams,
                "last_report": utc_text(status.last_report_ns) if status.last_report_ns else None,
                "display_estimate": {
                    "method_version": status.hello.method_version if status.hello else None,
                    "compute_flop_str": {
                        allocation: str(flop) for allocation, flop in status.display_flop.items()
                    },
                },
            }
            for node, status in sorted(nodes.items())
        ],
    }


def utc_text(unix_ns: int) -> str:
    """Unix time in ns as ISO 8601 in UTC, whole seconds: a label, never compared."""
    instant = datetime.datetime.fromtimestamp(unix_ns // NS_PER_S, tz=datetime.UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def energy_scope_text(account: Account) -> str:
    """What the energy covers: gpu, module or node; mixed for several, none for no energy."""
    scopes = [scope for scope in EnergyScope if account.energy_mj.get(scope)]
    if not scopes:
        return EnergyScope.NONE.value
    return scopes[0].value if len(scopes) == 1 else "mixed"


def shares(account: Account) -> list[tuple[str, float]]:
    """Evidence level and its share of best FLOP (of busy time where best is 0), best first."""
    return [
        (level, float(Fraction(amount, total))) for level, amount, total in account.evidence_shares
    ]


def unmeasured_share(account: Account) -> float:
    """Share of the covered device time that holds no usable measurement, 0 to 1."""
    covered_ns = account.covered_ns
    return float(Fraction(account.unmeasured_ns, covered_ns)) if covered_ns else 0.0


def _run(run: RunTotals, thresholds: tuple[Threshold, ...], ids: MetricIds) -> Json:
    declared = run.declaration
    held = applicable(thresholds, simulated=run.account.simulated)
    return {
        "run": run.run,
        "name": run.name,
        "metrics_id": ids.run(run.run),
        "merged": list(run.merged),
        "model": None if declared.model is None and run.model == run.run else run.model,
        "declared": {
            "format": declared.formats.text if declared.formats else None,
            "workload": declared.workload.value if declared.workload else None,
            "activity": declared.activity.value if declared.activity else None,
            "disposition": declared.disposition.value if declared.disposition else None,
            "data_visibility": declared.visibility.value if declared.visibility else None,
            "recompute": declared.recompute.text if declared.recompute else None,
        },
        "warnings": list(run.warnings),
        "claims": _claims(run),
        **_account(run.account),
        "model_flop": _model_flop(run),
        "split": _split(run),
        "parts": parts_json(run.parts),
        "waiting_labels": run.waiting_label_count,
        "thresholds": [
            {
                "id": row.id,
                "value_flop": row.value_flop,
                "value_flop_str": str(row.value_flop),
                "scope": "run_alone",
                "ratio": _ratio(stand(run.account.figures, row)),
            }
            for row in held
        ],
    }


def _split(run: RunTotals) -> Json | None:
    """The figures of declared spans and phases; None where nothing splits the run."""
    if run.split is None:
        return None
    parts = run.split.parts
    straddling, whole = run.split.straddling_share
    return {
        "spans": [
            {
                "from": None if span.from_ns is None else time_text(span.from_ns),
                "until": None if span.until_ns is None else time_text(span.until_ns),
                "phase": span.phase,
                "format": span.formats.text,
                "compute_flop_str": bounds_text(parts[span].total),
            }
            for span in run.declaration.spans
        ],
        "rest": {"compute_flop_str": bounds_text(parts[None].total)},
        "straddle": {"compute_flop_str": bounds_text(parts[STRADDLE].total)},
        "straddling_share": float(Fraction(straddling, whole)) if whole else 0.0,
    }


def _model_flop(run: RunTotals) -> Json | None:
    """Executed less recomputed FLOP; None where nobody declared how much was recomputed."""
    if run.declaration.recompute is None:
        return None
    return {
        "quantity": "model",
        "compute_flop": _exact(run.model_flop),
        "compute_flop_str": bounds_text(run.model_flop),
        "recompute_factor": _factor(run.factor),
    }


def _factor(factor: Factor) -> Json:
    return {
        "lower": float(factor.lower),
        "likely": float(factor.likely),
        "upper": float(factor.upper),
        "source": factor.source,
        "standing": factor.standing.value,
    }


def _claims(run: RunTotals) -> Json | None:
    """A run's claims beside its meter, like held against like; None where nobody claimed.

    What stands at the top is the first quantity's, model FLOP where they are claimed; only the
    agreement is the worst of all.
    """
    if run.agreement is None:
        return None
    return {
        **_reconciliation(run.claims[0]),
        "agreement": run.agreement.value,
        "executed_flop_metered_str": bounds_text(run.account.figures.total),
        "model_flop_metered_str": bounds_text(run.model_flop),
        "recompute_factor": _factor(run.factor),
        "by_quantity": [_reconciliation(each) for each in run.claims],
    }


def _reconciliation(claims: Reconciliation) -> Json:
    return {
        **_claim_totals(claims.totals),
        "metered_flop_str": bounds_text(claims.metered),
        "ratio": None if claims.ratio is None else float(claims.ratio),
        "bound": claims.bound,
        "agreement": claims.agreement.value,
    }


def _claim_totals(totals: ClaimTotals) -> Json:
    return {
        "quantity": totals.quantity.text,
        "executed_flop": totals.executed_flop,
        "executed_flop_str": str(totals.executed_flop),
        "unique_flop": totals.unique_flop,
        "unique_flop_str": str(totals.unique_flop),
        "executed_tokens": totals.executed_token_count,
        "unique_tokens": totals.unique_token_count,
        "executed_steps": totals.executed_step_count,
        "unique_steps": totals.unique_step_count,
        "attempts": totals.attempt_count,
        "processes": totals.writer_count,
        "models": list(totals.models),
        "formats": list(totals.formats),
        "activities": list(totals.activities),
    }


def _model(
    model: ModelTotals,
    thresholds: tuple[Threshold, ...],
    made_of: Json,
    legal: LegalView,
    ids: MetricIds,
) -> Json:
    counts = counts_of(model, thresholds)
    return {
        "model": model.model,
        "metrics_id": ids.model(model.model),
        "runs": list(model.runs),
        "simulated": model.simulated,
        "quantity": "executed",
        **_figures(model.figures),
        **made_of,
        "coverage": COVERAGE,
        "thresholds": [
            {
                "id": standing.threshold.id,
                "value_flop": standing.threshold.value_flop,
                "value_flop_str": str(standing.threshold.value_flop),
                "state": standing.state.value,
                "state_words": state_words(standing, model.rulings),
                "decided": standing.decided,
                "ratio": _ratio(standing),
                "counting_profile": standing.threshold.counting_profile,
                "counted_flop_str": bounds_text(figures.total),
                **_both(counts[standing.threshold.counting_profile]),
                "decision": _decision(model, standing.threshold),
                "conditions": [c.text for c in standing.threshold.required_conditions],
                "conditions_state": condition_state(standing.threshold, standing.conditions),
                "declared_conditions": conditions_json(standing.threshold, model.rulings),
                "may_alert": standing.threshold.may_alert,
                "forecast": forecast_document(legal, (model.model, standing.threshold.id)),
            }
            for standing, figures in model_standings(model, thresholds, counts)
        ],
    }


def _both(counted: Counted) -> Json:
    """Both totals of a profile, whichever the state rests on."""
    return {
        "everything_flop_str": bounds_text(counted.everything.total),
        "permitted_flop_str": bounds_text(counted.permitted.total),
    }


def _decision(model: ModelTotals, threshold: Threshold) -> int | None:
    """The declaration that leaves permitted work out of what is counted; None where none does."""
    used = model.rulings.used(threshold.counting_profile)
    return None if used is None else used.sequence


def _account(account: Account) -> Json:
    """The figures of a run or of the remainder."""
    return {
        "simulated": account.simulated,
        "quantity": "executed",
        **_figures(account.figures),
        "coverage": COVERAGE,
        "energy_kwh": float(Fraction(sum(account.energy_mj.values()), MJ_PER_KWH)),
        "energy_scope": energy_scope_text(account),
        "busy_device_seconds": _seconds(account.busy_ns),
        "idle_device_seconds": _seconds(account.idle_ns),
        "suspended_device_seconds": _seconds(account.suspended_ns),
        "unobserved_device_seconds": _seconds(account.unmeasured_ns),
        "residual_device_seconds": _seconds(account.residual_ns),
        "residual_ceiling_flop_str": str(account.residual_flop),
        "nodes": account.node_count,
        "devices": account.device_count,
        "evidence": [{"level": level, "share": share} for level, share in shares(account)],
        "forks": account.fork_count,
        "unknown_parts": list(account.unknown_parts),
    }


def _overflow(account: Account) -> Json:
    """What of the unattributed account had users that agents had no room to tell apart."""
    return {
        "simulated": account.simulated,
        "quantity": "executed",
        "compute_flop": _exact(account.figures.total),
        "compute_flop_str": bounds_text(account.figures.total),
        "device_seconds": _seconds(account.covered_ns),
        "nodes": account.node_count,
        "devices": account.device_count,
    }


def _enrolled(residual: Residual) -> Json:
    """The devices whose time has to be accounted for."""
    return {
        "devices": residual.enrolled_device_count,
        "silent_devices": residual.silent_device_count,
        "declared_down_device_seconds": _seconds(residual.declared_down_ns),
        "doubled_devices": residual.doubled_device_count,
        "doubled_device_seconds": _seconds(residual.doubled_ns),
    }


def _figures(figures: Figures) -> Json:
    """The total, and the addends of upper and ceiling that are kept apart from it."""
    return {
        "compute_flop": _exact(figures.total),
        "compute_flop_str": bounds_text(figures.total),
        "compute_flop_without_unobserved_str": bounds_text(figures.without_unobserved),
        "boundary_flop_str": {
            "upper": str(figures.boundary_upper),
            "ceiling": str(figures.boundary_ceiling),
        },
    }


def _exact(interval: Interval) -> dict[str, int]:
    return {bound: getattr(interval, bound) for bound in BOUNDS}


def _ratio(standing: Standing) -> dict[str, float]:
    return {
        "lower": standing.ratio_lower,
        "best": standing.ratio_best,
        "upper": standing.ratio_upper,
    }


def _seconds(device_ns: int) -> float:
    return float(Fraction(device_ns, NS_PER_S))
