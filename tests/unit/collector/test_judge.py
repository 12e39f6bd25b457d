"""Rounds of the judge: what they record, once, and what a restart finds again."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.evaluate import Held, model_standings
from flopmeter_collector.held import RowsOfTheDay
from flopmeter_collector.judge import Judge, Judgement
from flopmeter_collector.ledger.base import Declaration, HistoryRow, Transition
from flopmeter_collector.legal_view import LegalView
from flopmeter_collector.model_statements import Planned
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_collector.spans import time_text
from flopmeter_collector.totals import Totals
from flopmeter_core.activities import Activity, WorkLabel
from flopmeter_core.catalogue import State, Threshold
from flopmeter_core.counting import OWN, Verdict, WorkPart
from flopmeter_core.errors import DataError
from flopmeter_core.forecast import Outlook
from flopmeter_core.interval import NO_FIGURES, Figures, Interval
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.recompute import factor_or_widest
from flopmeter_core.registers import Component
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_core.verification import Verification
from support.totals import (
    POSITION,
    busy_vector,
    feed,
    h100,
    key_of,
    table,
    thresholds,
    vector_of,
)

START_NS = 1_800_000_000 * NS_PER_S
EU = 10**25
HORIZON_NS = 90 * 24 * NS_PER_HOUR


def model(best: int, *, name: str = "m", unobserved: int = 0) -> ModelTotals:
    """A measured model of one run, with a likely range of a fifth to both sides."""
    observed = Interval(0, best * 4 // 5, best, best * 6 // 5, best * 2)
    return ModelTotals(name, (name,), Figures(observed, unobserved), False)


def shot(models: Iterable[ModelTotals], at_ns: int) -> TotalsSnapshot:
    """A snapshot of these models."""
    empty = Totals(table()).snapshot(at_ns, POSITION)
    return replace(empty, models=tuple(models))


class Ledger:
    """A ledger and whoever leads it: rounds, acts and restarts."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.history: list[HistoryRow] = []
        self.declarations: list[Declaration] = []
        self.hours = 0.0
        self.restart()

    @property
    def now_ns(self) -> int:
        """The time of the round."""
        return START_NS + round(self.hours * NS_PER_HOUR)

    def restart(self) -> None:
        """Somebody else leads from here, and knows what is recorded."""
        self.judge = Judge(thresholds(), horizon_ns=HORIZON_NS)
        for row in self.declarations:
            self.judge.apply(row)
        self.judge.restore(self.transitions, self.history)

    def round(self, *models: ModelTotals, hours: float = 0, fails: bool = False) -> Judgement:
        """One round so many hours later; its commit may fail."""
        self.hours += hours
        found = self.judge.judge(
            shot(models, self.now_ns), declared_to=len(self.declarations), corrected=False
        )
        if not fails:
            first = len(self.transitions) + 1
            rows = [replace(row, sequence=n) for n, row in enumerate(found.transitions, first)]
            self.transitions += rows
            self.history += found.history
            self.judge.written(found.history)
            self.judge.recorded(rows)
        self.view: LegalView = self.judge.view(found, self.now_ns)
        return found

    def declare(self, kind: str, subject: str, **body: str) -> None:
        """Somebody acts."""
        number = len(self.declarations) + 1
        row = Declaration(number, self.now_ns, "ada", "cli", kind, subject, body)
        self.declarations.append(row)
        self.judge.apply(row)

    def train(self, hours: int, *, per_hour: int, best: int = 0) -> int:
        """Rounds of a model that works for so many hours; returns what it has then."""
        for _ in range(hours):
            best += per_hour
            self.round(model(best), hours=1)
        return best

    @property
    def said(self) -> list[tuple[str, str]]:
        """(before, after) of everything recorded."""
        return [(row.before, row.after) for row in self.transitions]


def test_a_crossing_is_recorded_once_over_restarts() -> None:
    """Above is recorded in its round, and neither later rounds nor a restart repeat it."""
    ledger = Ledger()
    for best in (EU // 2, EU + 1, EU + 2):
        ledger.round(model(best))
        ledger.restart()
        ledger.round(model(best))
    assert ledger.said == [("unknown", "above")]
    assert ledger.view.firing == {("m", "eu-ai-act-51-2", False)}


def test_what_was_not_recorded_is_found_again() -> None:
    """A round whose commit failed leaves the change to the next one, though nothing moved."""
    ledger = Ledger()
    above = model(EU + 1)
    assert len(ledger.round(above, fails=True).transitions) == 1
    assert len(ledger.round(above).transitions) == 1
    assert ledger.round(above).transitions == ()
    assert ledger.said == [("unknown", "above")]


def test_only_what_moved_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose totals are the same object as before cost nothing."""
    import flopmeter_collector.judge as module

    judged: list[str] = []

    def counting(model: ModelTotals, rows: Iterable[Threshold]) -> Held:
        judged.append(model.model)
        return model_standings(model, rows)

    monkeypatch.setattr(module, "model_standings", counting)
    ledger = Ledger()
    still = [model(10**20, name=f"m{n}") for n in range(50)]
    ledger.round(*still)
    ledger.round(*still)
    assert len(judged) == 50
    ledger.round(*still[1:], model(10**21, name="m0"))
    assert judged[50:] == ["m0"]


def test_ten_runs_of_one_model_count_together() -> None:
    """Ten runs of 3e24 each are a model above 1e25, though no run alone is."""
    totals = Totals(table())
    record = h100()
    for number in range(10):
        run = f"r{number}"
        totals.declare(parse_run_declaration(run, {"format": "bf16=1", "model": "atlas"}))
        device = replace(record, device=f"GPU-{number}")
        feed(totals, key_of(device, f"run:{run}"), device, busy_vector(18_500_000_000))
    snapshot = totals.snapshot(START_NS, POSITION)
    assert all(3 * 10**24 < run.account.figures.total.best < EU for run in snapshot.runs)
    judge = Judge(thresholds(), horizon_ns=HORIZON_NS)
    rows = judge.judge(snapshot, declared_to=0, corrected=False).transitions
    assert [(row.model, row.threshold, row.after) for row in rows] == [
        ("atlas", "eu-ai-act-51-2", State.ABOVE)
    ]


def test_a_month_long_outage_of_a_thousand_nodes_starts_no_clock() -> None:
    """Time nobody measured alone makes a state of its own: no alert, no review, no forecast."""
    totals = Totals(table())
    totals.declare(parse_run_declaration("alpha", {"format": "bf16=1", "model": "m"}))
    ledger = Ledger()
    for day in range(31):
        for number in range(1_000):
            record = replace(h100(), node=f"n{number}", device=f"GPU-{number}", device_count=8)
            lost = vector_of(
                {
                    Component.BUSY_NS: NS_PER_S,
                    Component.UNOBSERVED_NS: day * 24 * NS_PER_HOUR,
                }
            )
            if number % 100 == 0 or day in (0, 30):
                feed(totals, key_of(record, "run:alpha"), record, lost)
        snapshot = totals.snapshot(ledger.now_ns, POSITION)
        ledger.round(*snapshot.models, hours=24)
    assert ledger.said == [("unknown", State.ABOVE_BY_UNOBSERVED_ONLY)]
    assert (ledger.view.alerts, ledger.view.reviews) == ((), ())
    assert not [f for f in ledger.view.forecasts.values() if f.outlook is Outlook.FORESEEN]


def test_foreseen_once_and_then_crossed() -> None:
    """A steady run is foreseen when its date comes within the horizon, and crosses once."""
    ledger = Ledger()
    best = ledger.train(48, per_hour=10**22)
    assert ledger.said == [("not_foreseen", "foreseen")]
    row = ledger.transitions[0]
    assert row.threshold == "eu-ai-act-51-2"
    assert row.figures["likely_date"] > row.figures["earliest_date"]
    assert ledger.view.firing == {("m", "eu-ai-act-51-2", True)}
    assert len(ledger.view.reviews) == 1
    ledger.restart()
    best = ledger.train(24, per_hour=10**22, best=best)
    assert len(ledger.transitions) == 1
    ledger.round(model(EU + 1), hours=1)
    assert ledger.said[1:] == [("unknown", "above")]
    assert ledger.view.firing == {("m", "eu-ai-act-51-2", False)}
    assert len(ledger.view.reviews) == 1
    assert ledger.view.reviews[0].transitions == (1, 2)


def test_a_forecast_survives_a_restart() -> None:
    """The dates after a restart are those before it: the history is in the ledger."""
    ledger = Ledger()
    best = ledger.train(48, per_hour=10**22)
    before = dict(ledger.view.forecasts)
    ledger.restart()
    ledger.round(model(best))
    assert ledger.view.forecasts == before
    assert before[("m", "eu-ai-act-51-2")].by_pace is not None


def test_foreseen_no_more() -> None:
    """Two weeks of standstill end the pace; what was foreseen is then not any more."""
    ledger = Ledger()
    best = ledger.train(48, per_hour=10**22)
    for _ in range(16):
        ledger.round(model(best), hours=24)
    assert ledger.said == [("not_foreseen", "foreseen"), ("foreseen", "not_foreseen")]
    assert ledger.view.firing == frozenset()


def test_a_determination_ends_alerts_and_review() -> None:
    """After it nothing fires; a later crossing opens another review; a restart finds the same."""
    ledger = Ledger()
    best = ledger.train(48, per_hour=10**22)
    ledger.declare("review", "1", determination="will_be_met", date="2027-01-20", reason="counted")
    ledger.round(model(best))
    assert ledger.view.firing == frozenset()
    assert not ledger.view.reviews[0].open
    ledger.round(model(EU + 1), hours=1)
    for _ in range(2):
        assert [(r.number, r.open) for r in ledger.view.reviews] == [(1, False), (2, True)]
        assert ledger.view.firing == {("m", "eu-ai-act-51-2", False)}
        ledger.restart()
        ledger.round(model(EU + 1))


def test_acts_by_a_clock_that_is_behind_are_found_again() -> None:
    """What a person did about an alert stands after a restart, whatever that person's clock."""
    ledger = Ledger()
    ledger.round(model(EU + 1), hours=10)
    ledger.hours = -500.0
    ledger.declare("alert", "1", action="acknowledge", reason="seen")
    ledger.hours = 11.0
    for _ in range(2):
        ledger.round(model(EU + 1))
        assert [alert.status for alert in ledger.view.alerts] == ["acknowledged"]
        ledger.restart()


def test_other_declarations_are_not_its_own() -> None:
    """It says which declarations it took, and refuses what it cannot understand."""
    judge = Judge(thresholds(), horizon_ns=1)
    assert not judge.apply(Declaration(1, 1, "ada", "cli", "run", "a", {"model": "m"}))
    with pytest.raises(DataError):
        judge.apply(Declaration(1, 1, "ada", "cli", "alert", "x", {}))


def test_a_new_run_writes_nothing() -> None:
    """A thousand new runs below every line leave no row at all."""
    ledger = Ledger()
    ledger.round(*(model(10**18, name=f"m{n}") for n in range(1_000)))
    assert (ledger.transitions, ledger.history) == ([], [])


def test_many_forecasts_take_turns() -> None:
    """Of many models a bounded number of paces is worked out a round; all have one in the end."""
    ledger = Ledger()
    names = [f"m{n}" for n in range(20)]
    for hour in range(30):
        ledger.round(*(model(EU // 100 + hour * 10**22, name=n) for n in names), hours=1)
    for _ in itertools.repeat(None, 8):
        ledger.round(*(model(EU // 100 + 30 * 10**22, name=n) for n in names), hours=0.01)
    known = {subject[0] for subject, f in ledger.view.forecasts.items() if f.by_pace is not None}
    assert known == set(names)


@pytest.mark.parametrize(
    ("crossed", "due", "day"),
    [
        # A Monday: the day of the event is not counted, two weeks later is a Monday.
        ("2026-11-30T10:00:00Z", "2026-12-14T23:00:00Z", "2026-12-14"),
        # 23:30 in UTC is the next day in Brussels, and one more day to count from.
        ("2026-11-30T23:30:00Z", "2026-12-15T23:00:00Z", "2026-12-15"),
        # Two weeks from a Saturday end on a Saturday and run to the end of Monday.
        ("2026-09-05T10:00:00Z", "2026-09-21T22:00:00Z", "2026-09-21"),
    ],
)
def test_the_due_date_is_counted_in_brussels(crossed: str, due: str, day: str) -> None:
    """Two weeks, day of the event excluded, weekends move on, by the clock of Brussels."""
    at_ns = int(datetime.datetime.fromisoformat(crossed).timestamp()) * NS_PER_S
    ledger = Ledger()
    ledger.hours = (at_ns - START_NS) / NS_PER_HOUR
    ledger.round(model(EU + 1))
    (review,) = ledger.view.reviews
    assert (review.threshold, review.earliest) == ("eu-ai-act-51-2", crossed)
    assert (review.due, review.due_on) == (due, f"{day} (Europe/Brussels)")


def test_a_late_correction_dates_the_review_back() -> None:
    """A format declared late shows that the line was met days ago: the review says since when."""
    ledger = Ledger()
    best = ledger.train(40, per_hour=10**23, best=4 * 10**24)
    assert best < EU
    found = ledger.judge.judge(
        shot([model(2 * best)], ledger.now_ns), declared_to=1, corrected=True
    )
    (row,) = [row for row in found.transitions if row.threshold == "eu-ai-act-51-2"]
    assert row.after == State.ABOVE
    # 2 x 5e24 is the line; 5e24 was there after 10 of the 40 hours.
    earliest = datetime.datetime.fromisoformat(row.figures["review_earliest"]).timestamp()
    assert (ledger.now_ns // NS_PER_S - earliest) / 3_600 == pytest.approx(30, abs=0.1)


def test_a_row_nobody_verified_is_a_note() -> None:
    """A model above an unverified row is recorded; it alerts nobody and opens no review."""
    unverified = replace(
        thresholds()[1], id="rumour", verification=Verification.UNVERIFIED, value_text="10^22"
    )
    judge = Judge([replace(unverified, exact=Fraction(10**22))], horizon_ns=HORIZON_NS)
    rows = judge.judge(shot([model(EU)], START_NS), declared_to=0, corrected=False).transitions
    assert [(row.after, row.figures["may_alert"]) for row in rows] == [("above", "false")]
    judge.recorded([replace(row, sequence=1) for row in rows])
    assert (judge.alerts.all(), judge.reviews.all()) == ([], [])


def test_another_day_is_another_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """When other rows are held, every model is judged anew, moved or not."""
    ledger = Ledger()
    above = model(EU + 1)
    monkeypatch.setattr(RowsOfTheDay, "at", lambda _, rows, at_ns: ())
    ledger.round(above)
    assert ledger.said == []
    monkeypatch.setattr(RowsOfTheDay, "at", lambda _, rows, at_ns: rows)
    ledger.round(above)
    assert ledger.said == [("unknown", "above")]


def planned(best: int, *, plan: int) -> ModelTotals:
    """A model that is planned to have so much in a hundred days."""
    compute = Interval(0, plan * 9 // 10, plan, plan * 11 // 10, plan * 11 // 10)
    until_ns = START_NS + 100 * 24 * NS_PER_HOUR
    return replace(
        model(best), planned=Planned(compute, START_NS, until_ns, 3, START_NS - 24 * NS_PER_HOUR)
    )


def test_a_plan_is_foreseen_from_its_first_day() -> None:
    """Compute that is only intended is foreseen before a single FLOP, dated to the plan."""
    ledger = Ledger()
    ledger.round(planned(0, plan=12 * 10**25))
    assert {(row.threshold, row.after) for row in ledger.transitions} == {
        (threshold, Outlook.FORESEEN)
        for threshold in ("eu-ai-act-51-2", "ca-sb53")
        if next(t for t in thresholds() if t.id == threshold).planned_counts
    }
    assert {row.threshold for row in ledger.transitions} >= {"ca-sb53"}
    assert {review.earliest for review in ledger.view.reviews} == {
        time_text(START_NS - 24 * NS_PER_HOUR)
    }
    ledger.round(planned(0, plan=10**24), hours=1)
    assert {row.after for row in ledger.transitions[-2:]} == {Outlook.NOT_FORESEEN}


def test_a_model_that_left_crosses_anew_when_it_comes_back() -> None:
    """Leaving the totals is recorded once and ends the alert; coming back above opens another."""
    ledger = Ledger()
    ledger.round(model(3 * EU), model(1, name="other"))
    opened = {alert.number for alert in ledger.judge.alerts.all()}
    assert opened
    ledger.declare("alert", str(min(opened)), action="acknowledge", reason="wrong model")
    ledger.round(model(1, name="other"), hours=1, fails=True)
    ledger.round(model(1, name="other"), hours=1)
    left = ledger.transitions[-1]
    assert (left.model, left.before, left.after) == ("m", State.ABOVE, State.UNKNOWN)
    assert not ledger.judge.alerts.firing(ledger.now_ns)
    assert not ledger.round(model(1, name="other"), hours=1).transitions
    ledger.round(model(3 * EU), hours=1)
    assert {alert.number for alert in ledger.judge.alerts.all()} > opened
    assert ledger.judge.alerts.firing(ledger.now_ns)


def test_a_model_that_left_does_not_fire_after_a_restart() -> None:
    """Whoever leads next ends the alerts of a model that has no work any more."""
    ledger = Ledger()
    ledger.round(model(3 * EU))
    ledger.restart()
    ledger.round(hours=1)
    assert not ledger.judge.alerts.firing(ledger.now_ns)
    ledger.restart()
    assert not ledger.round(hours=24 * 365).transitions
    assert not ledger.judge.alerts.firing(ledger.now_ns)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_plan_that_was_given_up_is_foreseen_no_more(left: bool, restarts: bool) -> None:
    """Neither a forecast nor its alert outlives the plan, whether or not the model goes on."""
    ledger = Ledger()
    ledger.round(planned(0, plan=12 * 10**25))
    assert ledger.judge.alerts.firing(ledger.now_ns)
    if restarts:
        ledger.restart()
    ledger.round(*([] if left else [model(1)]), hours=1)
    assert not ledger.view.forecasts
    assert not ledger.judge.alerts.firing(ledger.now_ns)
    assert ledger.transitions[-1].after == Outlook.NOT_FORESEEN
    assert not ledger.round(*([] if left else [model(1)]), hours=24 * 60).transitions


def test_each_threshold_counts_by_its_own_profile() -> None:
    """What one law excludes and another counts makes two figures, and two states."""
    label = WorkLabel(Activity.PREPROCESSING)
    own = Figures(Interval(0, EU * 3, EU * 4, EU * 5, EU * 6))
    part = WorkPart(label, own, factor_or_widest(None, activity=None, workload=None), OWN, "r")
    totals = ModelTotals("m", ("r",), own, False, parts=(part,))
    rows = [
        replace(thresholds()[1], counting_profile=profile.id, id=profile.id)
        for profile in builtin_profiles().values()
    ]
    states = {
        standing.threshold.id: (standing.state, figures)
        for standing, figures in model_standings(totals, rows)
    }
    excluding = 0
    for name, profile in builtin_profiles().items():
        excluded = profile.entry_of(part).verdict is Verdict.EXCLUDE
        assert states[name][1] == (NO_FIGURES if excluded else own), name
        assert states[name][0] == (State.UNKNOWN if excluded else State.ABOVE), name
        excluding += excluded
    assert 0 < excluding < len(states)


def test_who_takes_over_before_it_heard_of_a_determination() -> None:
    """What was recorded after a determination is not ended by it, whoever reads it later."""
    ledger = Ledger()
    ledger.round(model(EU + 1))
    ledger.round(model(EU // 2), hours=1)
    ledger.declare("review", "1", determination="not_met", date="2027-01-01", reason="a test")
    ledger.round(model(EU + 2), hours=1)
    late = Judge(thresholds(), horizon_ns=HORIZON_NS)
    late.restore(ledger.transitions, ledger.history)
    for row in ledger.declarations:
        late.apply(row)
    for judge in (ledger.judge, late):
        now_ns = ledger.now_ns
        assert [alert.status(now_ns) for alert in judge.alerts.all()] == ["over", "firing"]
        assert [(review.number, review.open) for review in judge.reviews.all()] == [
            (1, False),
            (3, True),
        ]
