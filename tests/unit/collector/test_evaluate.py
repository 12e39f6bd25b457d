"""Standings and transitions: recorded once, never repeated, demonstration lines kept apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.evaluate import (
    applicable,
    evaluate,
    model_standings,
    previous_states,
    standings_of,
)
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_core.catalogue import State
from flopmeter_core.registers import Component
from flopmeter_core.units import NS_PER_S
from support.totals import (
    AS_OF_NS,
    POSITION,
    busy_vector,
    feed,
    h100,
    key_of,
    table,
    thresholds,
    vector_of,
)


def site(seconds: int, *, simulated: bool = True, unobserved_s: int = 0) -> TotalsSnapshot:
    """One run of one device, as busy for so long."""
    totals = Totals(table())
    record = h100(simulated=simulated)
    feed(totals, key_of(record), record, busy_vector(seconds))
    if unobserved_s:
        gap = vector_of({Component.UNOBSERVED_NS: unobserved_s * NS_PER_S})
        feed(totals, key_of(record, phase=1), record, gap)
    return totals.snapshot(AS_OF_NS, POSITION)


def test_demonstration_lines_only_for_simulated_models() -> None:
    """A measured model is never held against a line no law knows; a law is held against both."""
    laws = {"eu-ai-act-51-2", "ca-sb53"}
    assert {t.id for t in applicable(thresholds(), simulated=False)} == laws
    assert {t.id for t in applicable(thresholds(), simulated=True)} == laws | {"demo-line"}
    measured = evaluate(site(10**6, simulated=False), thresholds(), {})
    assert {s.threshold.id for s in measured.standings["alpha"]} == laws
    assert measured.transitions == ()


def test_crossing_is_recorded_once() -> None:
    """First below is nothing to record, above is, once; a restart from the ledger adds nothing."""
    assert evaluate(site(1_000), thresholds(), {}).transitions == ()
    crossed = evaluate(site(400_000), thresholds(), {}).transitions
    assert [(row.threshold, row.before, row.after) for row in crossed] == [
        ("demo-line", "unknown", "above")
    ]
    recorded = list(crossed)
    assert evaluate(site(400_001), thresholds(), previous_states(recorded)).transitions == ()


def test_transition_carries_its_figures() -> None:
    """A row holds the exact bounds as text, the position, the method and the simulated mark."""
    shot = site(400_000)
    row = next(r for r in evaluate(shot, thresholds(), {}).transitions if r.after == "above")
    total = shot.models[0].figures.total
    assert row.figures["best"] == str(total.best)
    assert row.figures["upper"] == str(total.upper)
    assert row.figures["threshold_value"] == str(10**20)
    assert row.figures["simulated"] == "true"
    assert row.figures["method_version"] == shot.method_version
    assert (row.commit_number, row.occurred_at_ns, row.sequence) == (42, AS_OF_NS, 0)
    assert not row.decided


def test_unobserved_only_is_its_own_state() -> None:
    """Time nobody measured moves a model into its own state, never above."""
    shot = site(1, unobserved_s=10**6)
    rows = evaluate(shot, thresholds(), {}).transitions
    assert [(row.threshold, row.after) for row in rows] == [
        ("demo-line", State.ABOVE_BY_UNOBSERVED_ONLY)
    ]


def test_model_without_figures_records_nothing() -> None:
    """A run that is only declared is unknown, which is no transition."""
    totals = Totals(table())
    totals.declare(parse_run_declaration("a", {"model": "m"}))
    shot = totals.snapshot(AS_OF_NS, POSITION)
    result = evaluate(shot, thresholds(), {})
    assert result.transitions == ()
    assert {s.state for s in result.standings["m"]} == {State.UNKNOWN}


def test_going_back_is_recorded_too() -> None:
    """A correction that takes a model below again is a transition of its own."""
    recorded = evaluate(site(400_000), thresholds(), {}).transitions
    back = evaluate(site(10), thresholds(), previous_states(recorded)).transitions
    assert [(row.before, row.after) for row in back] == [("above", "below")]
    again = evaluate(site(400_000), thresholds(), previous_states([*recorded, *back])).transitions
    assert [(row.before, row.after) for row in again] == [("below", "above")]


def test_old_ledgers_go_on() -> None:
    """A ledger that recorded first states below, as earlier versions did, repeats nothing."""
    crossed = evaluate(site(400_000), thresholds(), {}).transitions[0]
    old = {("alpha", t.id): State.BELOW for t in thresholds()}
    assert evaluate(site(10), thresholds(), old).transitions == ()
    moved = evaluate(site(400_000), thresholds(), old).transitions
    assert [(row.threshold, row.before) for row in moved] == [(crossed.threshold, "below")]


def test_forecasts_are_no_states() -> None:
    """What was recorded of a forecast is passed over when states are read."""
    crossed = evaluate(site(400_000), thresholds(), {}).transitions[0]
    foreseen = replace(crossed, before="not_foreseen", after="foreseen")
    assert previous_states([crossed, foreseen]) == {("alpha", "demo-line"): State.ABOVE}


def test_unreadable_state_is_refused() -> None:
    """A state this version does not know is not taken for another one."""
    row = evaluate(site(400_000), thresholds(), {}).transitions[0]
    with pytest.raises(ValueError, match="sideways"):
        previous_states([replace(row, after="sideways")])


def test_a_model_is_counted_once_for_all_who_ask() -> None:
    """Round, page and scrape share what was made of a model; other totals are counted anew."""
    laws = thresholds()
    (model, *_) = site(1_000).models
    first = model_standings(model, laws)
    assert all(one is other for one, other in zip(first, model_standings(model, laws), strict=True))
    doubled = replace(model, figures=model.figures + model.figures, parts=())
    assert not doubled.held
    assert [figures for _, figures in model_standings(doubled, laws)] != [
        figures for _, figures in first
    ]
    assert doubled != model
    assert replace(model) == model


def test_standings_of_many_are_those_of_each() -> None:
    """Asked together, models stand as each alone does, whether or not it was asked before."""
    laws = thresholds()
    models = site(1_000).models
    model_standings(models[-1], laws)
    lines = {mark: applicable(laws, simulated=mark) for mark in (False, True)}
    of_each = [standing for model in models for standing, _ in model_standings(model, laws)]
    for _ in range(2):
        assert standings_of(site(1_000).models, lines) == of_each
        assert standings_of(models, lines) == of_each
