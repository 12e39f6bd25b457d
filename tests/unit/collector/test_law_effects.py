"""States that another law changes: which carry its cause, and which end."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest

from flopmeter_collector.alerts.transitions import words_of
from flopmeter_collector.judge import Judge, Judgement
from flopmeter_collector.law_effects import law_basis
from flopmeter_collector.law_memory import law_row, memory_in
from flopmeter_collector.ledger.base import AuditRow, HistoryRow, Transition
from flopmeter_collector.metric_ids import MetricIds
from flopmeter_collector.snapshot import ModelTotals
from flopmeter_collector.totals import Totals
from flopmeter_core.catalogue import Kind, Operator, Threshold
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.legal_status import Event, EventKind
from flopmeter_core.profiles import builtin_profiles, parse_profile
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_core.verification import Verification
from support.own_law import profile
from support.totals import POSITION, table, thresholds

START_NS = 1_800_000_000 * 10**9
EU = 10**25
(ROW,) = (row for row in thresholds() if row.id == "eu-ai-act-51-2")


def model(best: int, *, simulated: bool = False) -> ModelTotals:
    """A model whose likely range is narrow."""
    interval = Interval(0, best, best, best, best * 2)
    return ModelTotals("m", ("m",), Figures(interval), simulated)


class Ledger:
    """A ledger, and a judge whose law can be changed."""

    def __init__(self, rows: Iterable[Threshold] = (ROW,)) -> None:
        """Judge by these rows."""
        self.transitions: list[Transition] = []
        self.history: list[HistoryRow] = []
        self.audit: list[AuditRow] = []
        self.hours = 0
        self.restart(rows)

    def restart(self, rows: Iterable[Threshold]) -> None:
        """Another process leads from here, by these rows; it knows what is recorded."""
        self.judge = Judge(tuple(rows), horizon_ns=NS_PER_HOUR)
        law = memory_in(self.audit[-1]) if self.audit else None
        self.judge.restore(self.transitions, self.history, law)

    def round(self, *models: ModelTotals, fails: bool = False) -> list[tuple[str, str, str]]:
        """One round an hour later: what is new, as (before, after, cause)."""
        self.hours += 1
        empty = Totals(table()).snapshot(START_NS + self.hours * NS_PER_HOUR, POSITION)
        found: Judgement = self.judge.judge(
            replace(empty, models=models), declared_to=0, corrected=False
        )
        if not fails:
            first = len(self.transitions) + 1
            rows = [replace(row, sequence=n) for n, row in enumerate(found.transitions, first)]
            self.transitions += rows
            self.history += found.history
            if found.law is not None:
                self.audit.append(law_row(found.law, START_NS))
            self.judge.remembered(found.law)
            self.judge.written(found.history)
            self.judge.recorded(rows)
        return [(row.before, row.after, row.figures.get("cause", "")) for row in found.transitions]


def valued(flop: int, row: Threshold = ROW) -> Threshold:
    """The row with another number."""
    return replace(row, exact=Fraction(flop), value_text=str(flop))


def test_a_lower_line_is_the_laws_doing() -> None:
    """The same figures under other rows: the change says so, once, and a commit may fail."""
    ledger = Ledger()
    assert ledger.round(model(EU - 1)) == []
    ledger.judge.take_law([valued(EU // 2)])
    assert ledger.round(model(EU - 1), fails=True) == [("unknown", "above", "law")]
    assert ledger.round(model(EU - 1)) == [("unknown", "above", "law")]
    assert ledger.round(model(EU - 1)) == []
    assert words_of(ledger.transitions[0], {}, MetricIds("x")).annotations["cause"] == "law"
    assert ledger.round(model(EU // 3)) == [("above", "below", "")]


def test_work_that_crosses_in_the_same_round_is_not_the_laws() -> None:
    """Figures that would have crossed the old line too crossed it themselves."""
    ledger = Ledger()
    ledger.round(model(EU - 1))
    ledger.judge.take_law([valued(EU // 2)])
    assert ledger.round(model(EU + 1)) == [("unknown", "above", "")]


def test_a_law_that_changed_while_nobody_served() -> None:
    """The next start says so, until it is recorded; later changes are the work's."""
    ledger = Ledger()
    assert ledger.round(model(EU - 1)) == []
    ledger.restart([ROW])
    assert ledger.round(model(EU - 1)) == []
    ledger.restart([valued(EU // 2)])
    assert ledger.round(model(EU - 1), fails=True) == [("unknown", "above", "law")]
    ledger.restart([valued(EU // 2)])
    assert ledger.round(model(EU - 1)) == [("unknown", "above", "law")]
    ledger.restart([valued(EU // 2)])
    assert ledger.round(model(EU // 3)) == [("above", "below", "")]
    assert len(ledger.audit) == 2


def test_work_that_came_while_the_law_changed_and_nobody_served() -> None:
    """What would have crossed the line of before as well crossed it by itself."""
    ledger = Ledger()
    ledger.round(model(EU - 1))
    ledger.restart([valued(EU // 2)])
    assert ledger.round(model(EU + 1)) == [("unknown", "above", "")]


def test_a_line_that_counts_otherwise_after_a_restart() -> None:
    """Nothing can be held against rules that are gone: the change is put down to the law."""
    ledger = Ledger()
    ledger.round(model(EU))
    ledger.restart([replace(ROW, operator=Operator.AT_LEAST)])
    assert ledger.round(model(EU)) == [("unknown", "above", "law")]


def test_a_ledger_that_remembers_no_law() -> None:
    """Of an earlier version: no cause is told where nobody knows it."""
    ledger = Ledger()
    ledger.round(model(EU - 1))
    ledger.audit.clear()
    ledger.restart([valued(EU // 2)])
    assert ledger.round(model(EU - 1)) == [("unknown", "above", "")]


@pytest.mark.parametrize("known", [True, False])
def test_a_line_that_is_held_no_more_ends_what_was_recorded(known: bool) -> None:
    """Repealed, or its file taken away: the alert ends, and coming back opens another."""
    ledger = Ledger()
    ledger.round(model(EU + 1))
    assert ledger.judge.alerts.firing(START_NS + NS_PER_HOUR)
    day = datetime.date(2026, 1, 1)
    gone = Event(EventKind.REPEALED, day, "a test", Verification.PRIMARY)
    ledger.judge.take_law([replace(ROW, events=(*ROW.events, gone))] if known else [])
    assert ledger.round(model(EU + 2)) == [("above", "unknown", "law")]
    assert not ledger.judge.alerts.firing(START_NS + 9 * NS_PER_HOUR)
    assert ledger.round(model(EU + 3)) == []
    ledger.judge.take_law([ROW])
    assert ledger.round(model(EU + 4)) == [("unknown", "above", "law")]
    assert ledger.judge.alerts.firing(START_NS + 9 * NS_PER_HOUR)


def test_simulated_figures_open_no_review_of_guidance() -> None:
    """Guidance asks nobody anything about figures that are made up; a measured crossing does."""
    guidance = replace(ROW, kind=Kind.GUIDANCE)
    for simulated in (True, False):
        ledger = Ledger([guidance])
        ledger.round(model(EU + 1, simulated=simulated))
        assert bool(ledger.judge.reviews.all()) is not simulated
    ledger = Ledger()
    ledger.round(model(EU + 1, simulated=True))
    assert ledger.judge.reviews.all()


def test_growth_is_not_read_out_of_two_laws() -> None:
    """A site's own profile, and a built-in one that was changed, are another basis of history."""
    assert law_basis([ROW]) == ""
    assert law_basis([replace(ROW, rules=builtin_profiles()["everything"])]) == ""
    ours = parse_profile(profile(), name="board")
    other = parse_profile(profile(evaluation="count"), name="board")
    bases = [law_basis([replace(ROW, rules=rules)]) for rules in (ours, other, ours)]
    assert bases[0] == bases[2] != bases[1]
    assert all(basis.startswith("/law ") for basis in bases)
