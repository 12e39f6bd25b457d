"""Which transitions alert, and what the alert says.

Owns: the rule, the alert's name and labels, and its words.
May touch: nothing; pure functions of ledger rows and the catalogue.
Called by alerts.alertmanager; the shipped Prometheus rule uses the same name and labels, so that
both make one alert. docs/alerts.md explains each label.
An alert says what was measured. It never says that a law is met: that is for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.presentation import utc_text
from flopmeter_collector.rounding import Rounding, percent_text, round_flop
from flopmeter_core.catalogue import State, Threshold
from flopmeter_core.units import NS_PER_S

ALERT_NAME = "FlopmeterThresholdCrossed"

SEVERITY = "critical"
"""Constant: a label is identity, and whether the likely range decides a crossing changes while it
stands; the description says which it was."""

FIRING_PERIOD_S = 14 * 24 * 3_600
"""How long a receiver shows the alert unless a person silences it: the two weeks in which the
EU wants to be told (Regulation (EU) 2024/1689, Article 52(1))."""

DISCLAIMER = "draft for counsel, not legal advice"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, free of any receiver's encoding.

    Attributes:
        labels: identity; the same transition always has the same ones.
        annotations: text for people.
        started_at_ns: Unix time in ns of the totals that crossed.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    started_at_ns: int


def alerts(transition: Transition) -> bool:
    """Tell whether a transition alerts.

    Only the most likely figure going above a threshold does. A crossing that rests on time
    nobody measured starts nothing, and neither does the first look at a model that is below.
    """
    return transition.after == State.ABOVE


def alert_of(transition: Transition, thresholds: Mapping[str, Threshold]) -> Alert:
    """Put a transition into words.

    Args:
        transition: a row that `alerts`.
        thresholds: the catalogue by id; a row that has left it is told by its id alone.
    """
    threshold = thresholds.get(transition.threshold)
    figures = transition.figures
    simulated = figures.get("simulated") == "true"
    labels = {
        "alertname": ALERT_NAME,
        "model": transition.model,
        "threshold": transition.threshold,
        "jurisdiction": threshold.jurisdiction if threshold else "unknown",
        "severity": SEVERITY,
    }
    if simulated:
        labels["simulated"] = "true"
    return Alert(labels, _annotations(transition, threshold, simulated), transition.occurred_at_ns)


def _annotations(
    transition: Transition, threshold: Threshold | None, simulated: bool
) -> dict[str, str]:
    figures = transition.figures
    value_flop = int(figures["threshold_value"])
    exact = {name: int(figures[name]) for name in ("lower", "best", "upper")}
    best = str(round_flop(exact["best"], thresholds=[value_flop]))
    lower = str(round_flop(exact["lower"], thresholds=[value_flop], rounding=Rounding.DOWN))
    upper = str(round_flop(exact["upper"], thresholds=[value_flop], rounding=Rounding.UP))
    mark = "SIMULATED: " if simulated else ""
    law = threshold.instrument if threshold else transition.threshold
    doubt = (
        "The whole likely range lies above it."
        if transition.decided
        else "The likely range reaches below it."
    )
    return {
        "summary": (
            f"{mark}model {transition.model} has most likely used {best} FLOP, "
            f"above the {round_flop(value_flop)} of {transition.threshold}"
        ),
        "description": (
            f"{mark}{best} FLOP executed (likely {lower} to {upper}), "
            f"{percent_text(exact['best'], value_flop)} of {law}. {doubt} "
            f"Figures as of {utc_text(transition.occurred_at_ns)}, "
            f"ledger commit {transition.commit_number}, method {figures['method_version']}."
        ),
        "compute_flop": figures["best"],
        "compute_lower_flop": figures["lower"],
        "compute_upper_flop": figures["upper"],
        "threshold_flop": figures["threshold_value"],
        "as_of": utc_text(transition.occurred_at_ns),
        "ledger_commit": str(transition.commit_number),
        "note": DISCLAIMER,
    }


def ends_at_ns(now_ns: int) -> int:
    """Until when a receiver that is told now shows the alert, as Unix time in ns."""
    return now_ns + FIRING_PERIOD_S * NS_PER_S
