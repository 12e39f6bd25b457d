"""Forecasts, alerts and reviews in words: every phrase, and figures on their side of a line."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, RenderableType

from flopmeter.lab.legal_view_text import (
    alerts_view,
    dated,
    forecast_text,
    forecast_view,
    review_text,
    reviews_view,
)
from flopmeter_collector.forecast_words import NO_PACE

DATES = {
    "crosses": True,
    "earliest": "2026-12-21T10:00:00Z",
    "likely": "2027-01-23T10:00:00Z",
    "latest": "2027-03-01T10:00:00Z",
}
NEVER = {"crosses": False, "earliest": None, "likely": None, "latest": None}
PACE = {"flop_per_hour_str": str(10**22), "history_hours": 300, "standing_hours": 0}
PLAN = {"compute_flop_str": {"best": str(2 * 10**25)}, "end": "2027-04-01T00:00:00Z"}


def found(**more: Any) -> dict[str, Any]:
    """A forecast."""
    return {"by_pace": None, "by_plan": None, "pace": PACE, "plan": PLAN, **more}


def row(state: str = "below", forecast: Any = None, **more: Any) -> dict[str, Any]:
    """A model against one line."""
    return {
        "id": "eu", "value_flop": 10**25, "state": state, "decided": True, "forecast": forecast,
        **more,
    }  # fmt: skip


def model(*rows: dict[str, Any]) -> dict[str, Any]:
    """A model at 9.96e24."""
    flop = 9_960 * 10**21
    bounds = {"lower": flop, "best": flop, "upper": flop}
    return {"model": "atlas", "compute_flop": bounds, "thresholds": list(rows)}


def document(*models: dict[str, Any], simulated: bool = False) -> dict[str, Any]:
    """A totals document."""
    return {
        "simulated": simulated,
        "models": list(models),
        "unattributed": {"compute_flop_str": {"upper": str(3 * 10**22 + 1)}},
    }


def text(view: RenderableType) -> str:
    """What is printed."""
    out = Console(file=io.StringIO(), width=200, highlight=False)
    out.print(view)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def shown(*rows: dict[str, Any]) -> str:
    """The forecasts of one model."""
    one = model(*rows)
    return text(forecast_view(document(one), [one]))


def test_one_phrase_for_when() -> None:
    """Dates, a pace that never gets there, a plan that does not, and nothing known yet."""
    assert forecast_text(row()) == ""
    assert forecast_text(row(forecast=found())) == NO_PACE
    assert forecast_text(row(forecast=found(by_pace=NEVER))) == "not at this pace"
    assert forecast_text(row(forecast=found(by_plan=NEVER))) == "not by its plan"
    assert forecast_text(row(forecast=found(by_pace=DATES))) == (
        "2027-01-23 (2026-12-21 to 2027-03-01)"
    )
    late = {**DATES, "latest": None}
    assert forecast_text(row(forecast=found(by_plan=late))) == "2027-01-23 (2026-12-21 to open)"
    assert [dated(row(forecast=f)) for f in (None, found(), found(by_pace=NEVER))] == [
        False, False, True,
    ]  # fmt: skip


def test_the_table_says_what_the_phrase_says() -> None:
    """A line that is not crossed, and a model without a pace, in the words of the page."""
    plan = {
        "compute_flop_str": {"lower": "1", "best": "1", "upper": "1"},
        "start": "2026-12-01T00:00:00Z",
        "end": "2027-01-01T00:00:00Z",
    }
    assert "not by its plan" in shown(row(forecast=found(by_plan=NEVER, plan=plan)))
    assert "no day of history yet" in shown(row(forecast=found()))


def test_what_a_forecast_rests_on() -> None:
    """The pace by the day with its history, a plan beside it, and who is above needs no date."""
    told = shown(row(forecast=found(by_pace=DATES, by_plan=NEVER)))
    assert "2.4e23 FLOP a day over 300 h; by its plan never" in told
    assert "99.6 %" in told and "2026-12-21" in told
    told = shown(row(forecast=found(by_pace=DATES, by_plan=DATES)))
    assert "by its plan 2027-01-23" in told
    stopped = found(by_pace=NEVER, pace={**PACE, "standing_hours": 9})
    told = shown(row(forecast=stopped))
    assert "standing still for 9 h" in told and "not at this pace" in told
    told = shown(row(forecast=found(by_plan=DATES)))
    assert "plan of 2.0e25 FLOP until 2027-04-01" in told
    assert "no plan that this law counts" in shown(row(forecast=found()))
    assert "ABOVE" in shown(row("above"))
    assert "declared not met" in shown(row("conditions_not_met"))
    assert "unknown" not in shown(row("unknown"))


def test_what_rests_on_the_same_is_said_once() -> None:
    """At a model's first line; and what nobody is known to have done stands below all."""
    told = shown(row(forecast=found(by_pace=DATES)), row(forecast=found(by_pace=DATES), id="ca"))
    assert told.count("FLOP a day") == 1
    assert "could add up to 3.1e22 FLOP to any model" in told
    one = model(row())
    assert "SIMULATED" in text(forecast_view(document(one, simulated=True), [one]))


def test_alerts() -> None:
    """Each with its number and the id that metrics call the model by."""
    assert "no alert fires or waits" in text(alerts_view(document(), []))
    alert = {
        "number": 7, "name": "FlopmeterThresholdCrossed", "model": "atlas", "threshold": "eu",
        "opened": "2026-11-30T10:11:12Z", "status": "firing", "model_metrics_id": "m-x",
        "why": None,
    }  # fmt: skip
    told = text(
        alerts_view(document(), [alert, {**alert, "number": 8, "status": "resolved", "why": "ada"}])
    )
    for words in ("7", "m-x", "2026-11-30 10:11", "firing", "resolved", "ada"):
        assert words in told


def test_reviews() -> None:
    """An open one is open, a determined one names who did and when."""
    assert "no review is open" in text(reviews_view(document(), []))
    open_one = {
        "number": 3, "model": "atlas", "threshold": "eu", "due_on": "2026-12-14",
        "earliest_arguable": "2026-11-30T10:11:12Z", "determination": None,
    }  # fmt: skip
    said = {"determination": "met", "date": "2026-12-01", "author": "Ada"}
    told = text(
        reviews_view(document(), [open_one, {**open_one, "due_on": None, "determination": said}])
    )
    assert "open" in told and "met on 2026-12-01 by Ada" in told and "none set" in told
    assert "A person determines, not the meter" in told


def test_a_review_keeps_its_figures_on_their_side() -> None:
    """Of the line that was crossed, a site's own one as well."""
    flop = 4_996 * 10**20
    change = {
        "number": 1, "before": "below", "after": "above", "ledger_commit": 9,
        "figures": {
            "lower": str(flop), "best": str(flop), "upper": str(flop),
            "threshold_value": str(5 * 10**23),
        },
    }  # fmt: skip
    said = {
        "determination": "not_met", "date": "2026-12-01", "author": "Ada", "reason": "counted anew",
        "evidence": "memo.pdf sha256:ab",
    }  # fmt: skip
    details = {
        "number": 3, "model": "atlas", "threshold": "own", "open": True, "due_on": "",
        "earliest_arguable": "2026-11-30T10:11:12Z", "transitions": [change],
        "determinations": [said, {**said, "evidence": None}],
    }  # fmt: skip
    told = text(review_text(details))
    assert "4.996e23" in told and "5.0e23" not in told
    assert told.count("counted anew") == 2 and told.count("evidence: memo.pdf") == 1
    assert "(no period is set)" in told and "no person has determined anything yet" in told
    assert "no person" not in text(review_text({**details, "open": False}))
