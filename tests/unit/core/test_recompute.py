"""Model FLOP are executed FLOP over a declared factor, rounded outward and never above executed."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.data import builtin_table
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Interval
from flopmeter_core.methods.base import Workload
from flopmeter_core.recompute import (
    FORWARD_ACTIVITIES,
    MODES,
    builtin_rows,
    factor_of,
    model_flop,
    parse_recompute,
    parse_rows,
)

WORKLOADS = [None, *Workload]
ACTIVITIES = [None, "pretraining", "finetuning", "rl_update", "unlabelled", *FORWARD_ACTIVITIES]

intervals = st.lists(st.integers(0, 10**28), min_size=5, max_size=5).map(
    lambda bounds: Interval(*sorted(bounds))
)
ranges = st.lists(st.integers(100, 400), min_size=2, max_size=2).map(
    lambda cents: "..".join(f"{c / 100:.2f}" for c in sorted(cents))
)


@given(intervals, st.one_of(st.sampled_from(MODES), ranges))
def test_contains_every_factor(executed: Interval, text: str) -> None:
    """Whatever the factor in its range, executed over it lies inside; order is kept."""
    factor = factor_of(parse_recompute(text), activity="pretraining", workload="moe")
    model = model_flop(executed, factor)
    assert model.lower * factor.upper <= executed.lower
    assert model.upper * factor.lower >= executed.upper
    assert model.best <= executed.best
    assert (model.floor, model.ceiling) == (0, executed.ceiling)


def test_none_changes_nothing() -> None:
    """Without recomputation the likely interval of model FLOP is that of executed FLOP."""
    executed = Interval(1, 2, 3, 4, 5)
    factor = factor_of(parse_recompute("none"), activity=None, workload=None)
    assert model_flop(executed, factor) == Interval(0, 2, 3, 4, 5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("activity", ACTIVITIES)
def test_every_case_has_a_row(mode: str, workload: str | None, activity: str | None) -> None:
    """No combination is left out; forward work is never divided, an unknown workload is wider."""
    factor = factor_of(parse_recompute(mode), activity=activity, workload=workload)
    if activity in FORWARD_ACTIVITIES:
        assert factor.lower == factor.upper == 1
    unknown = factor_of(parse_recompute(mode), activity=activity, workload=None)
    assert unknown.lower <= factor.lower
    assert unknown.upper >= factor.upper


@pytest.mark.parametrize(
    ("mode", "workload", "printed"),
    [("full", "dense-transformer", "578/462"), ("selective", "dense-transformer", "570/563")],
)
def test_printed_pairs(mode: str, workload: str, printed: str) -> None:
    """HFU / MFU as PaLM and Megatron 1T print them lie inside their rows."""
    factor = factor_of(parse_recompute(mode), activity="pretraining", workload=workload)
    assert factor.lower <= Fraction(printed) <= factor.upper


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("some", "no recompute mode"),
        ("", "no recompute mode"),
        ("1.3", "no recompute mode"),
        ("1..x", "no recompute mode"),
        ("1..1e9", "no recompute mode"),
        ("1..nan", "no recompute mode"),
        ("1.0..1." + "3" * 99, "no recompute mode"),
        ("0.9..1.2", "within 1 to 4"),
        ("1.3..1.2", "smaller number first"),
        ("1..5", "within 1 to 4"),
    ],
)
def test_refused(text: str, sentence: str) -> None:
    """A mode nobody knows and a factor that cannot be are refused in one sentence."""
    with pytest.raises(DataError, match=sentence) as caught:
        parse_recompute(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('lower = "1.33"', 'lower = "1.6"', "order it"),
        ('upper = "1.5"', 'upper = "5"', "order it"),
        ('standing = "unverified"', 'standing = "sure"', "cannot be read"),
        ("activities =", "activity =", "unknown field"),
        ('"forward"', '"backward"', "'forward' or 'training'"),
        ('lower = "1.25"', "", "cannot be read"),
    ],
)
def test_spoiled_table(before: str, after: str, sentence: str) -> None:
    """A row that lacks, contradicts or misspells something is refused."""
    text = builtin_table("recompute.toml")
    assert before in text
    with pytest.raises(DataError, match=sentence):
        parse_rows(text.replace(before, after))


def test_no_row() -> None:
    """A table without a row for any workload says so, rather than divide by nothing."""
    rows = [row for row in builtin_rows() if row.workloads]
    with pytest.raises(DataError, match="no row for 'full'"):
        factor_of(parse_recompute("full"), activity=None, workload="vision", table=rows)


@given(intervals, st.one_of(st.sampled_from(MODES), ranges))
def test_division_is_exact(executed: Interval, text: str) -> None:
    """Whole numbers divide as fractions do: down, to the nearest (the even one of two), and up."""
    factor = factor_of(parse_recompute(text), activity="pretraining", workload="moe")
    model = model_flop(executed, factor)
    lower = math.floor(Fraction(executed.lower) / factor.upper)
    upper = math.ceil(Fraction(executed.upper) / factor.lower)
    assert (model.lower, model.upper) == (lower, upper)
    assert model.best == max(lower, min(round(Fraction(executed.best) / factor.likely), upper))
