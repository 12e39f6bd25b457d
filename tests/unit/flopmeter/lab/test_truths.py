"""truth.toml: what is written is read, and what cannot be true is refused."""

from __future__ import annotations

import pytest

from flopmeter.lab.truths import TimedTruth, parse_truths, truth_text
from flopmeter_core.errors import DataError

TRUTHS = [
    TimedTruth(
        workload="bf16-8192",
        family="matmul",
        start_ns=5,
        stop_ns=1_000_000_005,
        steps=3,
        flop_model=10**26,
        flop_issued=10**26 + 1,
        integer_operations=0,
        source='2 m n k, "quoted" \\ and ü',
        declared={"format": "fp8=0.9,bf16=rest", "workload": "dense-transformer"},
    ),
    TimedTruth(workload="mma-sync", family="mma-sync", not_run="no compiler"),
]


def test_round_trip() -> None:
    """Every field comes back; a count beyond 64 bits is refused by no one."""
    text = truth_text(TRUTHS[1:])
    assert parse_truths(text, name="t") == TRUTHS[1:]
    assert parse_truths(truth_text(TRUTHS), name="t") == TRUTHS


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("schema = 1", "schema = 2", "has schema 2"),
        ("schema = 1", "schema = ", "is no TOML"),
        ("[[workload]]", "[[other]]", "lists no workload"),
        ("steps = 3", "", "workload 1 lacks steps"),
        ("steps = 3", 'steps = "3"', "workload 1 lacks steps, or it is no int"),
        ("steps = 3", "steps = true", "it is no int"),
        ("steps = 3", "steps = -3", "less than no work"),
        ("start_ns = 5", "start_ns = 2000000005", "stops before it starts"),
        ('"mma-sync"', '"bf16-8192"', "states bf16-8192 twice"),
        ('format = "fp8=0.9,bf16=rest"', "format = 8", "no table of texts"),
    ],
)
def test_refused(before: str, after: str, sentence: str) -> None:
    """Each wrong field ends in one sentence that names it."""
    text = truth_text(TRUTHS)
    assert before in text
    with pytest.raises(DataError, match=sentence) as caught:
        parse_truths(text.replace(before, after), name="truth.toml")
    assert str(caught.value).startswith("truth.toml")
