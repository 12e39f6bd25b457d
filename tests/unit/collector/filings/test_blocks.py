"""Words of a report that only some models need: decisions, modifications, conditions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flopmeter_collector.filings import blocks
from flopmeter_collector.filings.blocks import Points, Table
from flopmeter_collector.filings.document import _compute_precision
from flopmeter_core.filings import FieldId, Precision, builtin_forms

USED = {
    "profile": "board",
    "leaves_out": "evaluation",
    "author": "ada",
    "date": "2026-11-29",
    "declaration": 4,
    "reason": "never deployed",
    "evidence": "memo.pdf sha256:ab",
    "approved_by": [{"person": "ben"}, {"person": "eva"}],
}


def test_a_decision_names_its_people() -> None:
    """Who decided what and when, what it rests on, and who stands behind it."""
    told = blocks._decided(USED)
    assert told.startswith("board: evaluation left out, decided by ada on 2026-11-29")
    assert "Evidence: memo.pdf sha256:ab." in told and told.endswith("Behind it: ben, eva.")
    bare = blocks._decided({**USED, "evidence": "", "approved_by": []})
    assert "Evidence" not in bare and bare.endswith("Behind it: nobody.")


def line(ratio: dict[str, Any] | None, *, met: bool | None) -> dict[str, Any]:
    """A modification of one original."""
    return {
        "threshold": "eu-mod",
        "instrument": "guidelines",
        "original": "llama",
        "by": "another provider",
        "value": "a third",
        "unit": "of its compute",
        "ratio": ratio,
        "number_met": met,
        "decided_by_likely_range": met is not None,
    }


def test_modifications() -> None:
    """Own compute over the original's; what nobody knows is said to be unknown."""
    assert blocks._modifications([]) == []
    half = {"best": "0.5", "lower": "0.4", "upper": None}
    _, table = blocks._modifications(
        [line(half, met=True), line(None, met=None), line({**half, "best": ""}, met=False)]
    )
    assert isinstance(table, Table)
    rows = [[str(cell) for cell in row[3:]] for row in table.rows]
    assert rows == [
        ["0.5", "0.4 to ?", "met", "yes"],
        ["-", "-", "not known", "no"],
        ["not known", "0.4 to ?", "not met", "yes"],
    ]


def condition(**declared: Any) -> dict[str, Any]:
    """What a line also asks for."""
    return {"text": "it is offered to the public", "state": "unknown", **declared}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({}, "(unknown: nobody declared it)"),
        (
            {
                **{"state": "not_met", "author": "ada", "date": "2026-11-29", "reason": "internal"},
                **{"evidence": "", "approved_by": []},
            },
            "(declared not met by ada on 2026-11-29: internal)",
        ),
        (
            {
                **{"state": "met", "author": "ada", "date": "2026-11-29", "reason": "sold"},
                **{"evidence": "memo.pdf", "approved_by": [{"person": "ben"}]},
            },
            "(declared met by ada on 2026-11-29: sold; evidence: memo.pdf; behind it: ben)",
        ),
    ],
)
def test_conditions(declared: dict[str, Any], said: str) -> None:
    """No condition is told without what is known of it."""
    (points,) = blocks._conditions(
        [{"threshold": "board-line", "declared_conditions": [condition(**declared)]}]
    )
    assert isinstance(points, Points)
    assert points.items == (f"board-line also asks: it is offered to the public {said}",)
    assert blocks._conditions([{"threshold": "x", "declared_conditions": []}]) == []


def test_who_is_not_told_of_compute_is_told_no_figure() -> None:
    """A form without that field withholds every figure, wherever it would stand."""
    form = builtin_forms()["eu-ai-act"]
    assert _compute_precision(form, "internal") is Precision.FULL
    others = tuple(field for field in form.fields if field.id is not FieldId.COMPUTE)
    assert _compute_precision(replace(form, fields=others), "internal") is Precision.WITHHELD
