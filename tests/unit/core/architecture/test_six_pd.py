"""6PD stands in for a count only where its assumptions hold, and says which fail."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from flopmeter_core.architecture.count import train_flop
from flopmeter_core.architecture.shape import Experts, ModelShape
from flopmeter_core.architecture.six_pd import executed_note, objections, six_pd, six_pd_of
from flopmeter_core.architecture.training import Adapters, Recompute, Training
from flopmeter_core.errors import DataError

DENSE = ModelShape(70, 14336, 112, 112, 128, 57344, False, 250880)
MIXTRAL = ModelShape(
    32, 4096, 32, 8, 128, 0, True, 32000, tied_embedding=False, experts=Experts(8, 2, 14336)
)
SMALL = ModelShape(12, 768, 12, 12, 64, 3072, False, 50304)


def test_dense_and_large_is_within_the_bound() -> None:
    """Where nothing is objected, 6PD and the count differ by a few percent at most."""
    training = Training(2048, Recompute.FULL)
    assert objections(DENSE, training) == ()
    counted = train_flop(DENSE, training).model * 1000
    ratio = Fraction(six_pd_of(DENSE, training, tokens=2048 * 1000), counted)
    assert Fraction(95, 100) < ratio < Fraction(105, 100)
    assert "full recomputation" in executed_note(training)
    assert executed_note(Training(2048)) == ""


@pytest.mark.parametrize(
    ("shape", "training", "sentence"),
    [
        (MIXTRAL, Training(4096), r"12879925248 of 46702792704 parameters.*3\.63 times too high"),
        (DENSE, Training(2048, adapters=Adapters(8, ("query",))), "frozen base .* 4PD"),
        (SMALL, Training(8192), r"attention over 8192 tokens is 37.93% of the FLOP"),
        (dataclasses.replace(SMALL, tied_embedding=False), Training(128), "only looked up"),
    ],
)
def test_refused_with_the_reason(shape: ModelShape, training: Training, sentence: str) -> None:
    """Experts, frozen weights, long contexts and large embeddings are each named."""
    with pytest.raises(DataError, match=sentence):
        six_pd_of(shape, training, tokens=10**9)


def test_several_reasons_are_all_said() -> None:
    """A mixture fine-tuned by adapters over a long context fails three times."""
    said = objections(MIXTRAL, Training(32768, adapters=Adapters(8, ("query",))))
    assert len(said) == 3


@pytest.mark.parametrize(("parameters", "tokens"), [(0, 1), (1, 0), (-7, 10), (10, -1)])
def test_nothing_to_multiply(parameters: int, tokens: int) -> None:
    """P and D are positive."""
    with pytest.raises(DataError, match="each 1 or more"):
        six_pd(parameters, tokens)
