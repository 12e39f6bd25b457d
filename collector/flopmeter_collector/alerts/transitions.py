"""Which transitions alert, and what the alert says.

Owns: the rule, the alerts' names and labels, and their words.
May touch: nothing; pure functions of ledger rows and the catalogue.
Called by alerts.lifecycle and alerts.sender; the shipped Prometheus rules use the same names and
labels, so that both make one alert. docs/alerts.md explains each label.
An alert says what was measured. It never says that a law is met: that is for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.metric_ids import MetricIds
from flopmeter_collector.rounding import percent_text, round_flop, round_range
from flopmeter_collector.spans import time_text
from flopmeter_collector.standing_words import MET, UNKNOWN_WORDS
from flopmeter_core.catalogue import State, Threshold
from flopmeter_core.forecast import Outlook
from flopmeter_core.units import NS_PER_S

ALERT_NAME = "FlopmeterThresholdCrossed"
FORECAST_NAME = "FlopmeterThresholdForeseen"

JURISDICTION = "jurisdiction"
"""Field of a transition's figures."""

SEVERITY = "critical"
FORECAST_SEVERITY = "warning"
"""Constants: a label is identity, and whether the likely range decides a crossing changes while it
stands; the description says which it was."""

DISCLAIMER = "draft for counsel, not legal advice"


@dataclass(frozen=True, slots=True)
class Words:
    """One alert in words, free of any receiver's encoding.

    Attributes:
        labels: identity; the same transition always has the same ones.
        annotations: text for people.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def alerts(transition: Transition) -> bool:
    """Tell whether a transition opens an alert.

    Only the most likely figure going above a threshold, and the forecast that it will, do. A
    crossing that rests on time nobody measured starts nothing, neither does the first look at a
    model that is below, nor a threshold whose source nobody has verified.
    """
    opens = transition.after in (State.ABOVE, Outlook.FORESEEN)
    return opens and transition.figures.get("may_alert", "true") == "true"


def closes(transition: Transition) -> tuple[bool, ...]:
    """Which open alerts of its model and threshold a transition closes.

    Returns:
        False for the alert of the crossing, True for that of the forecast: what was foreseen and
        has come is foreseen no more.
    """
    if transition.foresight:
        return () if transition.after == Outlook.FORESEEN else (True,)
    return (True,) if transition.after == State.ABOVE else (False,)


def words_of(transition: Transition, thresholds: Mapping[str, Threshold], ids: MetricIds) -> Words:
    """Put a transition into words.

    Args:
        transition: a row that `alerts`.
        thresholds: the catalogue by id; a row that has left it is told by its id alone.
        ids: what the model is told by, for an alert is read by more people than the page.
    """
    threshold = thresholds.get(transition.threshold)
    simulated = transition.figures.get("simulated") == "true"
    labels = {
        "alertname": FORECAST_NAME if transition.foresight else ALERT_NAME,
        "model": ids.model(transition.model),
        "threshold": transition.threshold,
        "jurisdiction": _jurisdiction(transition, threshold),
        "severity": FORECAST_SEVERITY if transition.foresight else SEVERITY,
    }
    if simulated:
        labels["simulated"] = "true"
    return Words(labels, _annotations(transition, threshold, ids, simulated=simulated))


def _jurisdiction(transition: Transition, threshold: Threshold | None) -> str:
    """Whose line it was when it was recorded.

    By a row that was changed or taken away since, an alert would end under other labels than it
    began with.
    """
    now = threshold.jurisdiction if threshold else "unknown"
    return transition.figures.get(JURISDICTION, now)


def _annotations(
    transition: Transition, threshold: Threshold | None, ids: MetricIds, *, simulated: bool
) -> dict[str, str]:
    figures = transition.figures
    mark = "SIMULATED: " if simulated else ""
    law = threshold.instrument if threshold else transition.threshold
    told = {
        "compute_flop": figures["best"],
        "compute_lower_flop": figures["lower"],
        "compute_upper_flop": figures["upper"],
        "threshold_flop": figures["threshold_value"],
        "as_of": _utc(transition.occurred_at_ns),
        "ledger_commit": str(transition.commit_number),
        "alert_number": str(transition.sequence),
        "note": DISCLAIMER,
    }
    for name in ("review_earliest", "review_due_on", "conditions", "cause"):
        if figures.get(name):
            told[name] = figures[name]
    say = _foreseen if transition.foresight else _crossed
    model = ids.model(transition.model)
    if ids.named:
        model += f" ({transition.model})"
    summary, description = say(transition, law, model)
    return {"summary": mark + summary, "description": mark + description, **told}


def _crossed(transition: Transition, law: str, model: str) -> tuple[str, str]:
    """Summary and description of a crossing."""
    figures = transition.figures
    value_flop = int(figures["threshold_value"])
    exact = {name: int(figures[name]) for name in ("lower", "best", "upper")}
    best = str(round_flop(exact["best"], thresholds=[value_flop]))
    lower, upper = round_range(exact["lower"], exact["upper"], thresholds=[value_flop])
    doubt = (
        "The whole likely range lies above it."
        if transition.decided
        else "The likely range reaches below it."
    )
    return (
        f"model {model} has most likely used {best} FLOP, "
        f"above the {round_flop(value_flop)} of {transition.threshold}{_short(figures)}",
        f"{best} FLOP (likely {lower} to {upper}), {percent_text(exact['best'], value_flop)} of "
        f"{law}. {doubt}{_conditions(figures)} {_basis(transition)}",
    )


def _foreseen(transition: Transition, law: str, model: str) -> tuple[str, str]:
    """Summary and description of a forecast."""
    figures = transition.figures
    value_flop = int(figures["threshold_value"])
    best = round_flop(int(figures["best"]), thresholds=[value_flop])
    day = figures.get("likely_date", "")[:10]
    basis = "its plan" if figures.get("forecast_basis") == "plan" else "its pace"
    dates = [figures.get(name, "")[:10] or "open" for name in ("earliest_date", "latest_date")]
    return (
        f"by {basis}, model {model} will most likely be above the "
        f"{round_flop(value_flop)} of {transition.threshold} on {day}{_short(figures)}",
        f"{best} FLOP so far, {percent_text(int(figures['best']), value_flop)} of {law}; the line "
        f"is reached between {dates[0]} and {dates[1]}.{_conditions(figures)} {_basis(transition)}",
    )


def _short(figures: Mapping[str, str]) -> str:
    """That the number is one test of several, where nobody declared the others."""
    if not figures.get("conditions"):
        return ""
    met = figures.get("conditions_state") == MET
    return f" (compute test; {'other conditions declared met' if met else UNKNOWN_WORDS})"


def _conditions(figures: Mapping[str, str]) -> str:
    """What else the law asks for, which no meter sees."""
    if not figures.get("conditions"):
        return ""
    met = figures.get("conditions_state") == MET
    said = "other conditions, declared met" if met else UNKNOWN_WORDS
    return f" Compute test only; {said}: {figures['conditions']}."


def _basis(transition: Transition) -> str:
    return (
        f"Figures as of {_utc(transition.occurred_at_ns)}, "
        f"ledger commit {transition.commit_number}, method {transition.figures['method_version']}."
    )


def _utc(at_ns: int) -> str:
    """A time to the second."""
    return time_text(at_ns // NS_PER_S * NS_PER_S)
