"""The forecast keeps its promise on simulated runs; `make backtest` scores all two hundred."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flopmeter.lab import backtest
from flopmeter.lab.backtest import Score, Scored, failures, score, table
from flopmeter.lab.backtest_runs import known_run, known_runs
from flopmeter_core.pace import Pace, Point, pace_of
from support.requirements import ROOT

RUNS = 60


def test_the_stated_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The scored seeds' first runs: inside as often as promised, and near at the last point.

    Sixty runs alone wander by 3.6 points, so that the bounds of all two hundred are a little wide.
    """
    scores = score(known_runs(backtest.FIRST_SCORED_SEED, RUNS))
    for each in scores:
        assert 0.82 <= each.inside <= 0.985, each.share_percent
    assert scores[-1].median_error <= backtest.LARGEST_MEDIAN_ERROR


@pytest.mark.slow
def test_the_page_holds_the_last_figures() -> None:
    """docs/forecast.md prints what `make backtest` prints, and every promise is kept."""
    scores = score(known_runs(backtest.FIRST_SCORED_SEED, backtest.SCORED_RUNS))
    assert not failures(scores)
    assert table(scores) in (ROOT / "docs/forecast.md").read_text("utf-8")


def test_a_pace_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecaster that takes runs for a tenth faster is no longer inside its own interval."""

    def hasty(points: tuple[Point, ...], *, now_ns: int) -> Pace | None:
        found = pace_of(points, now_ns=now_ns)
        return found and replace(found, likely_flop_per_h=found.likely_flop_per_h * 13 // 10)

    monkeypatch.setattr(backtest, "pace_of", hasty)
    assert failures(score(known_runs(backtest.FIRST_SCORED_SEED, 30)))


def test_a_seed_is_one_run() -> None:
    """The same seed gives the same run and the same score; another one another run."""
    assert known_run(7) == known_run(7)
    assert known_run(7) != known_run(8)


def test_a_run_is_what_it_says() -> None:
    """The work until the crossing is the line, and what is known never exceeds what was done."""
    for run in known_runs(1, 20):
        assert sum(run.work_flop[: run.crossing_hour]) == run.value_flop
        known = run.known_at(run.crossing_hour)
        done = 0
        for point, work in zip(known[1:], run.work_flop, strict=False):
            done += work
            assert point.best_flop <= done
        if not any(g.first <= run.crossing_hour <= g.end for g in run.gaps):
            assert known[-1].best_flop == run.value_flop


def test_what_is_not_kept_is_said() -> None:
    """Too few inside, and too large an error, are named; the table shows all of it."""
    missed = Scored(1, 100.0, 10.0, 20.0, 30.0)
    held = Scored(2, 100.0, 90.0, 100.0, 110.0)
    bad, good = Score(25, (missed, held)), Score(75, tuple([held] * 9 + [missed]))
    sentences = failures([bad, good])
    assert len(sentences) == 1
    assert "at 25 % of the time 50.0% of the true dates" in sentences[0]
    assert failures([replace(good, scored=(missed,) * 10)])[-1].startswith("at 75 % the median")
    assert "| 25 % | 50.0% | 0.0% | 50.0% |" in table([bad, good])


def test_the_program_prints_the_table_and_what_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exit code says whether every promise was kept."""
    missed, held = Scored(1, 100.0, 10.0, 20.0, 30.0), Scored(2, 100.0, 90.0, 100.0, 110.0)
    good = Score(75, (*[held] * 9, missed))
    monkeypatch.setattr(backtest, "score", lambda runs: (good,))
    assert backtest.main(7, 2) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2 simulated runs, seeds 7 to 8") and table([good]) in out and not err
    monkeypatch.setattr(backtest, "score", lambda runs: (Score(25, (missed, held)),))
    assert backtest.main(7, 2) == 1
    assert capsys.readouterr().err.startswith("at 25 % of the time 50.0% of the true dates")


def test_a_run_without_a_pace_has_no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """No interval holds the truth then, and it counts as missed."""
    monkeypatch.setattr(backtest, "pace_of", lambda points, *, now_ns: None)
    (each, *_) = score(known_runs(1, 1))
    (one,) = each.scored
    assert (one.earliest_h, one.likely_h, one.latest_h) == (None, None, None)
    assert each.inside == 0.0
