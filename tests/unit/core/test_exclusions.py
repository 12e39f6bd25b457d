"""Permitted exclusions as people name them: chosen, spelled out, and never more than permitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.activities import Activity, Disposition, Edge, every_label
from flopmeter_core.counting import Decision, Verdict
from flopmeter_core.errors import DataError
from flopmeter_core.exclusions import (
    choose,
    leaves_out_more,
    permitted,
    read_spelled,
    spelled,
    still_permitted,
)
from flopmeter_core.profiles import builtin_profiles

EU = builtin_profiles()["eu-cumulative"]
PROFILES = tuple(builtin_profiles().values())

decisions = st.builds(
    Decision,
    st.frozensets(st.sampled_from(every_label()), max_size=20),
    st.frozensets(st.sampled_from(list(Edge))),
    st.booleans(),
)


@given(decision=decisions)
def test_what_is_spelled_is_read_again(decision: Decision) -> None:
    """A ledger gives back exactly what was decided."""
    assert read_spelled(spelled(decision)) == decision


@given(decision=decisions, profile=st.sampled_from(PROFILES))
def test_a_decision_never_leaves_out_what_has_to_count(decision: Decision, profile: object) -> None:
    """What of it still holds passes the profile's own check, and adds nothing to it."""
    for each in PROFILES:
        if each is profile:
            kept = still_permitted(decision, each)
            kept.check(each)
            assert not leaves_out_more(kept, decision)
            for label in kept.labels:
                assert each.entry(label).verdict is Verdict.MAY_EXCLUDE


def test_words_take_what_they_say() -> None:
    """An activity takes all of it, a star what is permitted, an edge a parent's work."""
    whole = choose(["evaluation"], EU)
    assert {label.activity for label in whole.labels} == {Activity.EVALUATION}
    assert len(whole.labels) == 12
    failed = choose(["*/failed_experiment"], EU)
    assert {label.disposition for label in failed.labels} == {Disposition.FAILED_EXPERIMENT}
    assert Activity.PRETRAINING in {label.activity for label in failed.labels}
    assert Activity.PREPROCESSING not in {label.activity for label in failed.labels}
    assert choose(["parent:distilled_from", "recomputation"], EU) == Decision(
        frozenset(), frozenset({Edge.DISTILLED_FROM}), True
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pretraining"], "does not permit leaving out pretraining"),
        (["synthetic_data"], "does not permit leaving out synthetic data"),
        (["pretraining/kept/*"], "permits leaving out nothing of"),
        (["parent:weights"], "does not permit leaving out edge weights"),
        (["parent:nothing"], "names no edge"),
        (["cooking"], "no word for work"),
        (["evaluation/burnt"], "no word for work"),
        (["evaluation/kept/public/x"], "names no work"),
        ([""], "names no work"),
        ([], "leaves nothing out"),
    ],
)
def test_bad_words(words: list[str], sentence: str) -> None:
    """One sentence, and what the profile permits."""
    with pytest.raises(DataError, match=sentence):
        choose(words, EU)


def test_what_is_permitted_is_named() -> None:
    """Every word of it is one that can be chosen, alone."""
    for profile in PROFILES:
        words = permitted(profile)
        if words != "nothing":
            for word in words.split(", "):
                if "/" not in word:
                    choose([word], profile)
    assert "evaluation" in permitted(EU) and "recomputation" in permitted(EU)
    assert "pretraining," not in permitted(EU)


@pytest.mark.parametrize("text", ["evaluation", "evaluation/kept", "x/kept/public", "parent:x"])
def test_a_spelling_nobody_wrote(text: str) -> None:
    """A ledger's text that names no single piece of work is refused."""
    with pytest.raises(DataError):
        read_spelled(text)
