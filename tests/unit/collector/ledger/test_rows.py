"""Rows of a ledger that is damaged are said to be, whichever text it is."""

from __future__ import annotations

import pytest

from flopmeter_collector.ledger.base import HistoryRow
from flopmeter_collector.ledger.rows import history_of, history_row, record_of
from flopmeter_core.errors import DataError


def test_history_round_trip() -> None:
    """Totals beyond 64 bits come back exactly."""
    row = HistoryRow("m", 7, {"": 10**26, "eu": 3}, revalued=True, basis="declared")
    assert history_of(history_row(row), "x.db") == row


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "holds text that is not JSON; restore it from a backup"),
        ("[1]", "is damaged; restore it from a backup"),
        ('{"": "many"}', "is damaged; restore it from a backup"),
    ],
)
def test_damage(text: str, said: str) -> None:
    """One sentence with the ledger's name."""
    with pytest.raises(DataError, match=f"the ledger x.db {said}"):
        history_of(("m", 7, text, 0, ""), "x.db")


def test_a_damaged_device_record() -> None:
    """It says which ledger has it, and which of its fields is wrong."""
    with pytest.raises(
        DataError,
        match=r"in the ledger x.db a stored device record .* sm_count .*; restore it from",
    ):
        record_of('{"node": "n", "device": "d", "sm_count": "many"}', "x.db")
