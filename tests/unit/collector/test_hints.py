"""Hints: which runs are listed together, and that one likeness alone is never enough."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flopmeter.lab import hint_score
from flopmeter.lab.hint_score import measure
from flopmeter_collector.hints import NEAR_NS, RunTraits, hints, likenesses
from flopmeter_core.units import NS_PER_HOUR

ONE = RunTraits(
    run="a",
    model="a",
    first_ns=0,
    last_ns=100 * NS_PER_HOUR,
    parts=frozenset({"h100-sxm5-80gb"}),
    device_count=64,
    busy_share=0.95,
    flop_per_busy_s=4e14,
)
TWIN = replace(ONE, run="b", model="b", first_ns=NS_PER_HOUR)


def test_twins() -> None:
    """Same start, shape and cadence make one group with all three words."""
    (hint,) = hints([TWIN, ONE])
    assert hint.runs == ("a", "b")
    assert hint.likenesses == (
        "near in time",
        "same accelerators, and as many",
        "same cadence",
    )


def test_handover() -> None:
    """A run that starts as another ends is near it, one that starts much later is not."""
    after = replace(TWIN, first_ns=ONE.last_ns + NEAR_NS, last_ns=200 * NS_PER_HOUR)
    assert hints([ONE, after])
    assert not hints([ONE, replace(after, first_ns=after.first_ns + 1)])


@pytest.mark.parametrize(
    "other",
    [
        replace(TWIN, device_count=32),
        replace(TWIN, flop_per_busy_s=5e14),
        replace(TWIN, busy_share=0.9),
        replace(TWIN, model="a"),
        replace(TWIN, first_ns=NEAR_NS + 1),
    ],
)
def test_too_little(other: RunTraits) -> None:
    """One likeness, the same model, or another time: no hint."""
    assert not likenesses(ONE, other)
    assert hints([ONE, other]) == []


def test_checkpoint_and_image_count() -> None:
    """Two likenesses of any kind are enough."""
    apart = replace(TWIN, device_count=8, flop_per_busy_s=1e14)
    one = replace(ONE, image="x", parents=frozenset({"base"}))
    assert not likenesses(ONE, apart)
    assert likenesses(one, replace(apart, image="x", parents=frozenset({"base", "other"})))
    assert not likenesses(ONE, replace(apart, image=None, parents=frozenset({"base"})))


def test_three_runs_are_one_group_in_any_order() -> None:
    """A chain of likenesses is one group, whoever comes first."""
    third = replace(TWIN, run="c", model="c", first_ns=NEAR_NS, last_ns=90 * NS_PER_HOUR)
    runs = [ONE, TWIN, third]
    groups = {tuple(hints(order)) for order in (runs, runs[::-1], [third, ONE, TWIN])}
    assert {hint.runs for (hint,) in groups} == {("a", "b", "c")}
    assert len(groups) == 1


def test_error_rates() -> None:
    """On made-up runs few unrelated pairs are hinted at, and most halves are found."""
    rates = measure(1, pairs=2_000)
    assert rates.false_hints < 0.01
    assert rates.missed < 0.1


def test_the_program_prints_the_rates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line of JSON, of a fixed seed, with how many pairs it rests on."""
    monkeypatch.setattr(hint_score, "measure", lambda seed: hint_score.Rates(0.25, 0.5))
    assert hint_score.main() == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"pairs": hint_score.PAIRS, "false_hints": 0.25, "missed": 0.5}
