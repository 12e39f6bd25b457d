"""The order of models' names is kept between snapshots, and is always that of sorting."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.kept import KeptTotals
from flopmeter_collector.snapshot import ModelTotals, RunTotals
from flopmeter_collector.sums import Sums, account_of
from flopmeter_core.interval import NO_FIGURES

RUN, OTHER = (
    RunTotals(run, RunDeclaration(run), account_of(Sums(), simulated=True)) for run in "ab"
)
MODEL = ModelTotals("a", ("a",), NO_FIGURES, simulated=True)

NAMES = st.sets(st.text("abc", max_size=3), max_size=12)


@given(rounds=st.lists(st.tuples(NAMES, NAMES), max_size=6))
def test_names_are_in_order_whatever_came_and_went(rounds: list[tuple[set[str], set[str]]]) -> None:
    """In every round exactly the names of that round, each once, as sorting has them."""
    kept = KeptTotals()
    for own, more in rounds:
        assert kept.in_order(dict.fromkeys(own), more) == sorted(own | more)


def test_nothing_is_sorted_again_where_nothing_changed() -> None:
    """The same list is given back, so a round costs a look at each name."""
    kept = KeptTotals()
    before = kept.in_order({"b": 1, "a": 2}, {"c"})
    assert kept.in_order({"a": 3, "b": 4}, {"c"}) is before


def test_models_of_runs_that_did_not_move() -> None:
    """They are those of the last round, until a run is another object or something is declared."""
    kept, runs, models = KeptTotals(), (RUN, OTHER), (MODEL,)
    assert kept.all_models(runs) is None
    assert kept.keep_all(runs, models) is models
    assert kept.all_models((RUN, OTHER)) is models
    assert kept.all_models((RUN, replace(OTHER))) is None
    assert kept.all_models((RUN,)) is None
    kept.forget_models()
    assert kept.all_models(runs) is None
