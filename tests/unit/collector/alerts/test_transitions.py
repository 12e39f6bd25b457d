"""Which transitions alert, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flopmeter_collector.alerts.transitions import alert_of, alerts, ends_at_ns
from flopmeter_collector.ledger.base import Transition
from flopmeter_core.catalogue import State
from support.totals import AS_OF_NS, thresholds

CATALOGUE = {row.id: row for row in thresholds()}
CROSSED = Transition(
    sequence=7,
    model="atlas",
    threshold="eu-ai-act-51-2",
    before="below",
    after="above",
    decided=False,
    occurred_at_ns=AS_OF_NS,
    commit_number=42,
    figures={
        "floor": "0",
        "lower": str(8 * 10**24),
        "best": str(10**25 + 1),
        "upper": str(14 * 10**24),
        "ceiling": str(9 * 10**25),
        "threshold_value": str(10**25),
        "method_version": "1",
        "simulated": "false",
    },
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("before", State)
def test_only_above_alerts(state: State, before: State) -> None:
    """Only the best figure going above alerts; a first look below and unobserved time do not."""
    transition = replace(CROSSED, before=before.value, after=state.value)
    assert alerts(transition) == (state is State.ABOVE)


def test_labels() -> None:
    """The labels identify the alert and hold no figure, so that they stay the same."""
    assert alert_of(CROSSED, CATALOGUE).labels == {
        "alertname": "FlopmeterThresholdCrossed",
        "model": "atlas",
        "threshold": "eu-ai-act-51-2",
        "jurisdiction": "European Union",
        "severity": "critical",
    }
    decided = alert_of(replace(CROSSED, decided=True), CATALOGUE)
    assert decided.labels == alert_of(CROSSED, CATALOGUE).labels
    assert "The whole likely range lies above it." in decided.annotations["description"]


def test_simulated_is_marked() -> None:
    """A simulated crossing is marked in its labels and in every sentence."""
    figures = {**CROSSED.figures, "simulated": "true"}
    alert = alert_of(replace(CROSSED, figures=figures), CATALOGUE)
    assert alert.labels["simulated"] == "true"
    assert alert.annotations["summary"].startswith("SIMULATED: ")
    assert alert.annotations["description"].startswith("SIMULATED: ")
    assert "simulated" not in alert_of(CROSSED, CATALOGUE).labels


def test_annotations() -> None:
    """Figures are text, rounded so that they stay on their side of the line, and exact beside."""
    annotations = alert_of(CROSSED, CATALOGUE).annotations
    assert "1." + "0" * 24 + "1e25 FLOP" in annotations["summary"]
    assert "(likely 8.0e24 to 1.4e25)" in annotations["description"]
    assert "The likely range reaches below it." in annotations["description"]
    assert "ledger commit 42, method 1" in annotations["description"]
    assert annotations["compute_flop"] == str(10**25 + 1)
    assert annotations["note"] == "draft for counsel, not legal advice"
    assert all(isinstance(text, str) for text in annotations.values())


def test_threshold_that_left_the_catalogue() -> None:
    """An old row is still told, by its id and its recorded value."""
    alert = alert_of(CROSSED, {})
    assert alert.labels["jurisdiction"] == "unknown"
    assert "eu-ai-act-51-2" in alert.annotations["summary"]


def test_end_lies_ahead() -> None:
    """An alert is shown for two weeks from the attempt, however old the crossing is."""
    assert ends_at_ns(10**18) - 10**18 == 14 * 86_400 * 10**9
