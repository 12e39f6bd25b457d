"""Answers of the past are compared by what they say, not by which fields their writer knew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flopmeter.lab.recompute import _same
from flopmeter_collector.ledger.base import AuditRow

BASIS = {
    "ledger_id": "5eed",
    "registers_sha256": "0",
    "as_of_declaration": 1,
    "method_version": "3",
    "device_table_version": "1",
}
FIGURES = {"best": "7"}


def answer(declared: dict[str, Any], figures: dict[str, str] = FIGURES) -> dict[str, Any]:
    """An answer about one run."""
    return {**BASIS, "runs": {"a": {"declared": declared, "compute_flop_str": figures}}}


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (answer({"format": "fp8", "activity": None}), True),
        (answer({"format": "fp8", "activity": None, "disposition": None}), True),
        (answer({"format": "fp8", "disposition": "discarded"}), False),
        (answer({"format": None}), False),
        (answer({"format": "fp8"}, {"best": "8"}), False),
        ({**answer({"format": "fp8"}), "as_of_declaration": 2}, False),
    ],
)
def test_an_older_answer(now: dict[str, Any], same: bool) -> None:
    """A field that an older version did not know is no difference; one that was declared is."""
    before = json.dumps({"after": answer({"format": "fp8", "activity": None})})
    row = AuditRow(1, 0, "ada", "", "recompute", before)
    assert _same(row, now) == same
