"""What people said of quarantined vectors: which words stand, and what a collector does."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.quarantine import quarantine_name
from flopmeter_collector.quarantine_acts import (
    parse_word,
    rejected_by,
    released_by,
    take_word,
)
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.errors import DataError
from flopmeter_core.reports import KeyedVector
from support.ingest import RECORD, key, vector

BAD = KeyedVector(key(), 3, vector(9))


def declared(kind: str, subject: str, body: Mapping[str, str], number: int = 1) -> Declaration:
    """One declaration."""
    return Declaration(number, 7, "ada", "cli", kind, subject, body)


def word(kind: str, subject: str, number: int = 1) -> Declaration:
    """A word on the third vector of a register."""
    return declared(kind, subject, {"sequence": "3", "reason": "looked at"}, number)


def holding() -> tuple[RegisterTable, str]:
    """A table with one vector in quarantine, and its name."""
    table = RegisterTable()
    table.hold(BAD, RECORD, boot_ns=None, reason="too much", at_ns=1)
    return table, quarantine_name(table.quarantine.held()[0])


@pytest.mark.parametrize("kind", ["quarantine", "rejection"])
@pytest.mark.parametrize(
    "body", [{}, {"sequence": "-1", "reason": "x"}, {"sequence": "5"}, {"sequence": "5٣"}]
)
def test_unreadable(kind: str, body: dict[str, str]) -> None:
    """A word names one sequence and a reason; one that does not changes nothing."""
    wrong = declared(kind, "0" * 16, body)
    with pytest.raises(DataError):
        parse_word(wrong)
    assert not released_by([wrong]) and not rejected_by([wrong])
    table, _ = holding()
    with pytest.raises(DataError):
        take_word(wrong, table, restored=True)
    assert table.quarantine.held_count() == 1


def test_each_word_is_of_its_kind() -> None:
    """Who reads releases finds no rejection and the other way round; other kinds are neither."""
    said = [
        word("quarantine", "a" * 16),
        word("rejection", "b" * 16, 2),
        word("rejection", "b" * 16, 3),
        declared("hold", "all", {"state": "held", "reason": "x"}, 4),
    ]
    assert released_by(said) == {("a" * 16, 3)}
    assert rejected_by(said) == {("b" * 16, 3): 3}


def test_a_rejected_vector_waits_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is in no register and is not counted as waiting; a later release still merges it."""
    table, name = holding()
    forwarded: list[object] = []
    table.on_change = lambda *changed: forwarded.append(changed)
    caplog.set_level(logging.WARNING)
    take_word(word("rejection", name), table, restored=True)
    assert table.quarantine.held_count() == 0 and table.branches(key()) == ()
    assert not forwarded, "a relay has nothing to tell of it"
    assert [row.released for row in table.quarantine.all()] == [0], "the row stays as it was"
    assert "was found untrue" in caplog.text
    take_word(word("quarantine", name, 2), table, restored=True)
    assert table.branches(key())[0].vector == BAD.vector and len(forwarded) == 1
    caplog.clear()
    take_word(word("rejection", name, 3), table, restored=True)
    assert "not in quarantine any more" in caplog.text
    assert table.branches(key())[0].vector == BAD.vector, "a register takes nothing back"


def test_a_start_tells_nothing_again(caplog: pytest.LogCaptureFixture) -> None:
    """What was said before is done anew and not logged anew; nor is what came to nothing."""
    table, name = holding()
    caplog.set_level(logging.WARNING)
    take_word(word("rejection", name), table, restored=False)
    take_word(word("rejection", "0" * 16), table, restored=False)
    assert table.quarantine.held_count() == 0
    assert not caplog.text
