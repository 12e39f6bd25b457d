"""Cases that a law's reader would ask for first, from registers or figures to states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.evaluate import model_standings
from flopmeter_collector.judge import Judge
from flopmeter_collector.rulings import Rulings
from flopmeter_collector.snapshot import ModelTotals
from flopmeter_collector.standing_words import state_words
from flopmeter_collector.totals import Totals
from flopmeter_core.catalogue import State, stand
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.threshold_files import parse_threshold
from flopmeter_core.units import NS_PER_HOUR
from support.totals import POSITION, busy_vector, feed, h100, key_of, table, thresholds

START_NS = 1_800_000_000 * 10**9
KOREA = parse_threshold(builtin_thresholds()["kr-ai-basic-act.toml"], name="Korea")
INDICATIVE = parse_threshold(builtin_thresholds()["eu-gpai-indicative.toml"], name="EU")
(EU,) = (row for row in thresholds() if row.id == "eu-ai-act-51-2")


def test_ten_runs_of_one_model_are_above() -> None:
    """No run reaches 10^25 by itself; ten of 3e24 each make a model that does."""
    totals = Totals(table())
    one = _run_flop(1)
    seconds = 3 * 10**24 // one + 1
    for number in range(10):
        record = h100(f"GPU-{number}", node=f"n{number}")
        run = f"r{number}"
        totals.declare(parse_run_declaration(run, {"format": "bf16=1", "model": "m"}))
        feed(totals, key_of(record, f"run:{run}"), record, busy_vector(seconds))
    shot = totals.snapshot(START_NS, POSITION)
    (model,) = shot.models
    for run_totals in shot.runs:
        assert run_totals.account.figures.total.best < 10**25
    ((standing, figures),) = model_standings(model, [EU])
    assert (standing.state, standing.decided) == (State.ABOVE, True)
    assert figures.total.best == pytest.approx(3 * 10**25, rel=1e-6)


def _run_flop(seconds: int) -> int:
    """What so many busy seconds of one device are, most likely."""
    totals = Totals(table())
    totals.declare(parse_run_declaration("r", {"format": "bf16=1"}))
    feed(totals, key_of(h100(), "run:r"), h100(), busy_vector(seconds))
    (run,) = totals.snapshot(START_NS, POSITION).runs
    return run.account.figures.total.best


def test_an_outage_of_a_month_starts_no_clock() -> None:
    """A thousand nodes that nobody heard of for a month lift the upper end alone."""
    judge = Judge([EU], horizon_ns=90 * 24 * NS_PER_HOUR)
    best = 6 * 10**24
    # 8 devices a node, 30 days, at the ceiling of an H100 SXM (FP8, dense): 1.98e15 FLOP/s.
    outage = 1_000 * 8 * 30 * 86_400 * 1_979 * 10**12
    observed = Interval(0, best * 9 // 10, best, best * 11 // 10, best * 2)
    shot = Totals(table()).snapshot(START_NS, POSITION)
    recorded = 0
    for unobserved in (0, outage):
        model = ModelTotals("m", ("m",), Figures(observed, unobserved), False)
        found = judge.judge(replace(shot, models=(model,)), declared_to=0, corrected=False)
        rows = [replace(row, sequence=n) for n, row in enumerate(found.transitions, recorded + 1)]
        recorded += len(rows)
        judge.recorded(rows)
    assert [row.after for row in rows] == [State.ABOVE_BY_UNOBSERVED_ONLY]
    assert "review_earliest" not in rows[0].figures
    assert (judge.alerts.all(), judge.reviews.all()) == ([], [])


@pytest.mark.parametrize(
    ("declared", "state", "words"),
    [
        ({}, "above", "compute test met, other conditions unknown"),
        ({"state-of-the-art": True}, "above", "compute test met, other conditions unknown"),
        (
            {"state-of-the-art": True, "broad-effect": True},
            "above",
            "compute test met, other conditions declared met",
        ),
        ({"broad-effect": False}, "conditions_not_met", "compute test met, "),
    ],
)
def test_koreas_three_tests_are_cumulative(
    declared: Mapping[str, bool], state: str, words: str
) -> None:
    """Exactly 10^26 meets the number; it takes both other tests to be declared for more."""
    exact = Interval(0, 10**26, 10**26, 10**26, 10**26)
    standing = stand(Figures(exact), KOREA, declared=declared)
    assert standing.state == state
    assert state_words(standing, Rulings()).startswith(words)
    below = Interval(0, 10**26 - 1, 10**26 - 1, 10**26 - 1, 10**26)
    assert stand(Figures(below), KOREA, declared=declared).state is State.BELOW


def test_the_eus_modality_is_a_condition() -> None:
    """Above 10^23 alone says nothing of a model that may not generate language."""
    above = Interval(0, 10**24, 10**24, 10**24, 10**25)
    unknown = stand(Figures(above), INDICATIVE)
    assert state_words(unknown, Rulings()) == "compute test met, other conditions unknown"
    assert stand(Figures(above), INDICATIVE, declared={"modality": False}).state is (
        State.CONDITIONS_NOT_MET
    )
