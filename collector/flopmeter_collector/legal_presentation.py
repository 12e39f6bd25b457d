"""The JSON of forecasts, alerts and reviews.

Owns: the names and units of these parts of the JSON documents; a field is only ever added.
May touch: nothing; pure functions of a legal view.
Called by presentation and the commands; docs/cli.md and docs/api.md describe the documents.
"""

from __future__ import annotations

from flopmeter_collector.documents import Json
from flopmeter_collector.evaluate import Subject
from flopmeter_collector.legal_view import AlertView, LegalView, ReviewView
from flopmeter_collector.metric_ids import MetricIds
from flopmeter_collector.outlook import Forecast
from flopmeter_collector.spans import time_text
from flopmeter_core.forecast import FORECAST_COVERAGE, Basis, Crossing, Plan


def forecast_document(legal: LegalView, subject: Subject) -> Json | None:
    """When a model crosses a line; None where nothing can be said, or it is above already."""
    found = legal.forecasts.get(subject)
    return None if found is None else _forecast(found)


def _forecast(found: Forecast) -> Json:
    pace = found.pace
    return {
        "outlook": found.outlook.value,
        "by_pace": _crossing(found.by_pace),
        "by_plan": _crossing(found.by_plan),
        "pace": None
        if pace is None
        else {
            "flop_per_hour": pace.likely_flop_per_h,
            "flop_per_hour_str": str(pace.likely_flop_per_h),
            "level_flop_per_hour_str": str(pace.level_flop_per_h),
            "history_hours": pace.history_h,
            "standing_hours": pace.stopped_h,
        },
        "plan": _plan(found.plan),
    }


def _crossing(crossing: Crossing | None) -> Json | None:
    if crossing is None:
        return None
    return {
        "crosses": crossing.likely_ns is not None,
        "earliest": _date(crossing.earliest_ns),
        "likely": _date(crossing.likely_ns),
        "latest": _date(crossing.latest_ns),
        "coverage": FORECAST_COVERAGE if crossing.basis is Basis.PACE else None,
    }


def _plan(plan: Plan | None) -> Json | None:
    if plan is None:
        return None
    return {
        "compute_flop_str": {
            "lower": str(plan.lower_flop),
            "best": str(plan.best_flop),
            "upper": str(plan.upper_flop),
        },
        "start": time_text(plan.start_ns),
        "end": time_text(plan.end_ns),
    }


def alert_document(alert: AlertView, ids: MetricIds) -> Json:
    """One alert."""
    return {
        "number": alert.number,
        "name": alert.name,
        "model": alert.model,
        "model_metrics_id": ids.model(alert.model),
        "threshold": alert.threshold,
        "status": alert.status,
        "opened": time_text(alert.opened_ns),
        "why": alert.why or None,
    }


def review_document(review: ReviewView, ids: MetricIds) -> Json:
    """One review."""
    determined = review.determination
    return {
        "number": review.number,
        "model": review.model,
        "model_metrics_id": ids.model(review.model),
        "threshold": review.threshold,
        "opened": time_text(review.opened_ns),
        "earliest_arguable": review.earliest,
        "due": review.due or None,
        "due_on": review.due_on or None,
        "transitions": list(review.transitions),
        "open": review.open,
        "determination_count": review.determination_count,
        "determination": None
        if determined is None
        else {
            "determination": determined.finding.value,
            "date": determined.on.isoformat(),
            "recorded": time_text(determined.at_ns),
            "author": determined.author,
            "reason": determined.reason,
            "evidence": determined.evidence or None,
        },
    }


def _date(at_ns: int | None) -> str | None:
    return None if at_ns is None else time_text(at_ns)
