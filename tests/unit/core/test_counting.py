"""Counting: no work is lost between the verdicts, and only a cited rule leaves any out."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.activities import (
    Activity,
    DataVisibility,
    Disposition,
    Edge,
    WorkLabel,
    every_label,
)
from flopmeter_core.counting import OWN, Decision, Origin, Profile, Verdict, WorkPart, count
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Figures, Interval, sum_figures
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.recompute import Factor
from flopmeter_core.standing import Standing

PROFILES = builtin_profiles()
EU = PROFILES["eu-cumulative"]
UPDATES = PROFILES["eu-parameter-updates"]
NONE_AGAIN = Factor(Fraction(1), Fraction(1), Fraction(1), "test", Standing.UNVERIFIED)
THIRD_AGAIN = Factor(Fraction(1), Fraction(4, 3), Fraction(4, 3), "test", Standing.UNVERIFIED)
TRAINING = WorkLabel(Activity.PRETRAINING)
FLOP = 12 * 10**24


def part(
    label: WorkLabel = TRAINING,
    flop: int = FLOP,
    *,
    factor: Factor = NONE_AGAIN,
    origin: Origin = OWN,
) -> WorkPart:
    """Work whose every bound is `flop`."""
    return WorkPart(label, Figures(Interval(flop, flop, flop, flop, flop)), factor, origin, "r")


def over(*ways: tuple[Edge, ...]) -> Origin:
    """Work that came to a model by these ways."""
    return Origin(frozenset(ways), name="parent")


FIGURES = st.lists(st.integers(0, 10**30), min_size=8, max_size=8).map(
    lambda n: Figures(Interval(*sorted(n[:5])), n[5], n[6], n[6] + n[7])
)
FACTORS = st.lists(st.fractions(1, 4), min_size=3, max_size=3).map(
    lambda f: Factor(min(f), sorted(f)[1], max(f), "drawn", Standing.UNVERIFIED)
)
ORIGINS = st.builds(
    Origin,
    st.frozensets(st.lists(st.sampled_from(Edge), max_size=3).map(tuple), min_size=1, max_size=3),
    st.booleans(),
)
PARTS = st.lists(
    st.builds(WorkPart, st.sampled_from(every_label()), FIGURES, FACTORS, ORIGINS, st.text()),
    max_size=12,
)


@given(PARTS, st.sampled_from(sorted(PROFILES)))
def test_sums(parts: list[WorkPart], name: str) -> None:
    """The verdicts part the work exactly, and no permitted total is above the whole one."""
    counted = count(parts, PROFILES[name])
    assert sum_figures(counted.by_verdict.values()) == sum_figures(p.figures for p in parts)
    assert counted.decided == counted.everything
    everything, permitted = counted.everything.total, counted.permitted.total
    for bound in ("floor", "lower", "best", "upper", "ceiling"):
        assert getattr(permitted, bound) <= getattr(everything, bound)


@given(PARTS, PARTS, st.sampled_from(sorted(PROFILES)))
def test_order_and_split(first: list[WorkPart], second: list[WorkPart], name: str) -> None:
    """How the work is listed does not matter, and two lists add up."""
    profile = PROFILES[name]
    whole = count([*second, *first], profile)
    assert whole.everything == count(first, profile).everything + count(second, profile).everything
    assert whole.permitted == count(first, profile).permitted + count(second, profile).permitted


def test_every_label_has_a_cited_verdict() -> None:
    """No built-in profile leaves a piece of work, an edge or recomputation without a source."""
    for profile in PROFILES.values():
        assert set(profile.entries) == set(every_label())
        assert set(profile.inherited) == set(Edge)
        everything = [*profile.entries.values(), *profile.inherited.values()]
        everything += [profile.recomputation, profile.unattributed, profile.external]
        assert all(entry.citation for entry in everything)


def test_eu_two_quantities() -> None:
    """Data generation counts for the cumulative quantity and updates no parameters."""
    work = [part(), part(WorkLabel(Activity.SYNTHETIC_DATA, Disposition.DISCARDED))]
    assert count(work, EU).everything.total.best == 2 * FLOP
    assert count(work, EU).permitted.total.best == 2 * FLOP
    assert count(work, UPDATES).everything.total.best == FLOP


def test_eu_public_synthetic_data() -> None:
    """Generating public data may be left out; unknown visibility is taken as not public, aloud."""
    public = part(WorkLabel(Activity.SYNTHETIC_DATA, visibility=DataVisibility.PUBLIC))
    assert count([public], EU).everything.total.best == FLOP
    assert count([public], EU).permitted.total.best == 0
    unknown = count([part(WorkLabel(Activity.SYNTHETIC_DATA))], EU)
    assert unknown.permitted.total.best == FLOP
    assert unknown.assumptions == ("the data of synthetic data are taken as not public",)


def test_unaddressed_counts_and_is_said() -> None:
    """Where the law is silent the work counts, and the silence is among the assumptions."""
    counted = count([part(WorkLabel(Activity.ROLLOUT))], EU)
    assert counted.by_verdict[Verdict.UNADDRESSED].total.best == FLOP
    assert counted.permitted.total.best == FLOP
    assert len(counted.assumptions) == 1 and "does not name it" in counted.assumptions[0]


def test_nothing_is_assumed_of_no_work() -> None:
    """A part of 0 FLOP needs no assumption."""
    assert count([part(WorkLabel(Activity.ROLLOUT), 0)], EU).assumptions == ()


def test_recomputation() -> None:
    """Recomputation leaves the permitted total only: everything stays what was executed."""
    counted = count([part(factor=THIRD_AGAIN)], EU)
    assert counted.everything.total.best == FLOP
    assert counted.permitted.total.best == FLOP * 3 // 4
    assert count([part(factor=THIRD_AGAIN)], PROFILES["everything"]).permitted.total.best == FLOP
    decided = count([part(factor=THIRD_AGAIN)], EU, decision=Decision(recomputation=True))
    assert decided.decided.total.best == FLOP * 3 // 4


def test_inherited_work() -> None:
    """A parent's weights count; a teacher's training may be left out; its evaluation too."""
    assert count([part(origin=over((Edge.WEIGHTS,)))], EU).permitted.total.best == FLOP
    taught = part(origin=over((Edge.DISTILLED_FROM,)))
    assert count([taught], EU).everything.total.best == FLOP
    assert count([taught], EU).permitted.total.best == 0
    assert count([taught], UPDATES).everything.total.best == 0
    checked = part(WorkLabel(Activity.EVALUATION), origin=over((Edge.WEIGHTS,)))
    assert count([checked], EU).permitted.total.best == 0


def test_several_ways() -> None:
    """Work that may be left out on one way and counts on another counts, once."""
    both = over((Edge.DISTILLED_FROM,), (Edge.MERGE, Edge.WEIGHTS))
    assert count([part(origin=both)], EU).permitted.total.best == FLOP
    within = over((Edge.WEIGHTS, Edge.DISTILLED_FROM))
    assert count([part(origin=within)], EU).permitted.total.best == 0


def test_decision() -> None:
    """A decision leaves out what it names and the law permits, and nothing else."""
    evaluation = WorkLabel(Activity.EVALUATION)
    reward = WorkLabel(Activity.AUXILIARY_MODEL)
    taught = part(origin=over((Edge.DISTILLED_FROM,)))
    work = [part(), part(evaluation), part(reward), taught]
    counted = count(work, EU, decision=Decision(frozenset({evaluation})))
    assert counted.everything.total.best == 4 * FLOP
    assert counted.decided.total.best == 3 * FLOP
    assert counted.permitted.total.best == FLOP
    edges = Decision(edges=frozenset({Edge.DISTILLED_FROM}))
    assert count(work, EU, decision=edges).decided.total.best == 3 * FLOP


@pytest.mark.parametrize(
    ("profile", "decision", "name"),
    [
        (EU, Decision(frozenset({TRAINING})), "pretraining"),
        (EU, Decision(frozenset({WorkLabel(Activity.ROLLOUT)})), "rollout"),
        (EU, Decision(edges=frozenset({Edge.WEIGHTS})), "edge weights"),
        (PROFILES["everything"], Decision(recomputation=True), "recomputation"),
    ],
)
def test_decision_without_permission(profile: Profile, decision: Decision, name: str) -> None:
    """What a profile does not permit cannot be decided; the sentence names it and the rule."""
    with pytest.raises(DataError, match=f"does not permit leaving out {name}"):
        count([], profile, decision=decision)
