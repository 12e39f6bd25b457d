"""Each method says in its docstring what it rests on, in words a reader can look for."""

from __future__ import annotations

import re
import sys

import pytest

from flopmeter_core.methods.table import METHODS
from flopmeter_core.registers import Evidence
from support.documents import document

MODULES = {method.__module__ for method in METHODS.values()}


@pytest.mark.parametrize("name", sorted(MODULES))
@pytest.mark.parametrize("word", ["Formula: ", "Assumptions: ", "Error budget: "])
def test_docstring(name: str, word: str) -> None:
    """Formula, assumptions and error budget stand there, and where the sources are."""
    said = sys.modules[name].__doc__ or ""
    assert word in said
    assert re.search(r"arXiv|Sevilla|docs/estimation\.md", said)


@pytest.mark.parametrize("evidence", Evidence)
def test_documented(evidence: Evidence) -> None:
    """Each level has a row in the table of rungs, and every level a method of its own."""
    assert evidence in METHODS
    rows = [
        line for line in document("estimation.md").splitlines() if re.match(r"\| \d \| \w+: ", line)
    ]
    assert any(f" {evidence.level}: " in row for row in rows)


def test_sampling_is_told() -> None:
    """Which levels integrate is a property of the level, and the page says it of each rung."""
    integrating = {level.level for level in Evidence if level.integrates}
    assert integrating == {"cycles", "gpm", "energy"}
    rows = [
        line for line in document("estimation.md").splitlines() if re.match(r"\| \d \| \w+: ", line)
    ]
    for row in rows:
        level = re.search(r"\| (\w+): ", row)
        assert level is not None
        assert ("integrates" in row) == (level[1] in integrating), row
        assert ("samples" in row.split(" | ")[1]) == (level[1] in ("dcgm", "busy", "energy")), row
