"""Which transitions alert, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flopmeter_collector.alerts.transitions import alerts, closes, words_of
from flopmeter_collector.duties import legal_fields
from flopmeter_collector.ledger.base import Transition
from flopmeter_core.catalogue import State
from flopmeter_core.forecast import Outlook
from support.totals import AS_OF_NS, IDS, thresholds

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
    assert words_of(CROSSED, CATALOGUE, IDS).labels == {
        "alertname": "FlopmeterThresholdCrossed",
        "model": IDS.model("atlas"),
        "threshold": "eu-ai-act-51-2",
        "jurisdiction": "European Union",
        "severity": "critical",
    }
    decided = words_of(replace(CROSSED, decided=True), CATALOGUE, IDS)
    assert decided.labels == words_of(CROSSED, CATALOGUE, IDS).labels
    assert "The whole likely range lies above it." in decided.annotations["description"]


def test_simulated_is_marked() -> None:
    """A simulated crossing is marked in its labels and in every sentence."""
    figures = {**CROSSED.figures, "simulated": "true"}
    alert = words_of(replace(CROSSED, figures=figures), CATALOGUE, IDS)
    assert alert.labels["simulated"] == "true"
    assert alert.annotations["summary"].startswith("SIMULATED: ")
    assert alert.annotations["description"].startswith("SIMULATED: ")
    assert "simulated" not in words_of(CROSSED, CATALOGUE, IDS).labels


def test_annotations() -> None:
    """Figures are text, rounded so that they stay on their side of the line, and exact beside."""
    annotations = words_of(CROSSED, CATALOGUE, IDS).annotations
    assert "1." + "0" * 24 + "1e25 FLOP" in annotations["summary"]
    assert "(likely 8.0e24 to 1.4e25)" in annotations["description"]
    assert "The likely range reaches below it." in annotations["description"]
    assert "ledger commit 42, method 1" in annotations["description"]
    assert annotations["compute_flop"] == str(10**25 + 1)
    assert annotations["note"] == "draft for counsel, not legal advice"
    assert all(isinstance(text, str) for text in annotations.values())


def test_no_name_leaves_the_house() -> None:
    """An alert tells the model by its id; its name stands in the text only where that is wanted."""
    for row in (CROSSED, FORESEEN):
        words = words_of(row, CATALOGUE, IDS)
        assert IDS.model("atlas") in words.annotations["summary"]
        assert "atlas" not in repr(words)
        named = words_of(row, CATALOGUE, replace(IDS, named=True))
        assert f"{IDS.model('atlas')} (atlas)" in named.annotations["summary"]
        assert named.labels == words.labels


def test_threshold_that_left_the_catalogue() -> None:
    """An old row is still told, by its id and its recorded value."""
    alert = words_of(CROSSED, {}, IDS)
    assert alert.labels["jurisdiction"] == "unknown"
    assert "eu-ai-act-51-2" in alert.annotations["summary"]


def test_an_alert_ends_under_the_labels_it_began_with() -> None:
    """Whose line it is stands in the transition: a row that is changed or gone moves no label."""
    (row,) = (row for row in CATALOGUE.values() if row.id == CROSSED.threshold)
    crossed = replace(CROSSED, figures={**CROSSED.figures, **legal_fields(row)})
    began = words_of(crossed, CATALOGUE, IDS).labels
    renamed = {**CATALOGUE, row.id: replace(row, jurisdiction="elsewhere")}
    assert words_of(crossed, {}, IDS).labels == began
    assert words_of(crossed, renamed, IDS).labels == began


FORESEEN = replace(
    CROSSED,
    before="not_foreseen",
    after="foreseen",
    figures={
        **CROSSED.figures,
        "best": str(5 * 10**24),
        "earliest_date": "2026-12-10T00:00:00Z",
        "likely_date": "2026-12-20T00:00:00Z",
        "forecast_basis": "pace",
    },
)


def test_a_forecast_alerts_under_a_name_of_its_own() -> None:
    """Foreseen and crossed are two alerts; an open end of the dates is said as open."""
    words = words_of(FORESEEN, CATALOGUE, IDS)
    assert words.labels["alertname"] == "FlopmeterThresholdForeseen"
    assert words.labels["severity"] == "warning"
    assert "on 2026-12-20" in words.annotations["summary"]
    assert "between 2026-12-10 and open" in words.annotations["description"]
    assert alerts(FORESEEN)
    assert not alerts(replace(FORESEEN, before="foreseen", after="not_foreseen"))
    planned = replace(FORESEEN, figures={**FORESEEN.figures, "forecast_basis": "plan"})
    assert words_of(planned, CATALOGUE, IDS).annotations["summary"].startswith("by its plan")


def test_a_source_nobody_verified_never_alerts() -> None:
    """A transition against an unverified row is recorded, and alerts nobody."""
    for row in (CROSSED, FORESEEN):
        assert not alerts(replace(row, figures={**row.figures, "may_alert": "false"}))


def test_conditions_are_said_to_be_unknown() -> None:
    """Where a law asks for more than compute, the alert says that nobody knows of that."""
    figures = {**CROSSED.figures, "conditions": "state-of-the-art technology"}
    text = words_of(replace(CROSSED, figures=figures), CATALOGUE, IDS).annotations["description"]
    assert "Compute test only; other conditions unknown: state-of-the-art technology." in text


def test_what_closes_what() -> None:
    """Going back closes the crossing; crossing, and foreseen no more, close the forecast."""
    assert closes(replace(CROSSED, after=State.BELOW)) == (False,)
    assert closes(CROSSED) == (True,)
    assert closes(replace(FORESEEN, after=Outlook.NOT_FORESEEN)) == (True,)
    assert closes(FORESEEN) == ()
