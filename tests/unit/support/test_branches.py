"""What is promised of each module, and when it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from mutants.branches import Module, measured, page, promised_percent
from mutants.scores import HELD
from support.requirements import ROOT
from support.tree import modules


def figures(lines: tuple[int, int], branches: tuple[int, int]) -> dict[str, Any]:
    """Coverage's figures of one module."""
    return {
        "summary": {
            "covered_lines": lines[0],
            "num_statements": lines[1],
            "covered_branches": branches[0],
            "num_branches": branches[1],
        },
        "missing_lines": [7],
        "missing_branches": [[3, 9], [4, -1]],
    }


def of(path: str, lines: tuple[int, int], branches: tuple[int, int]) -> Module:
    """One module as it was measured."""
    (found,) = measured({"files": {path: figures(lines, branches)}}, [path])
    return found


def test_every_held_module_is_promised_whole() -> None:
    """Whatever has a mutation score has all its lines and branches promised, and nothing else."""
    promised = {
        str(path.relative_to(ROOT)): promised_percent(str(path.relative_to(ROOT)))
        for path in modules(ROOT)
    }
    whole = {path for path, percent in promised.items() if percent == 100}
    assert set(promised.values()) == {90.0, 100.0}
    assert len(whole) >= len(HELD)
    assert "core/flopmeter_core/registers.py" in whole
    assert "collector/flopmeter_collector/ledger/sqlite/store.py" in whole
    assert "collector/flopmeter_collector/registers.py" not in whole


@pytest.mark.parametrize(
    ("path", "lines", "branches", "kept"),
    [
        ("flopmeter/cli/run.py", (9, 10), (18, 20), True),
        ("flopmeter/cli/run.py", (9, 10), (17, 20), False),
        ("flopmeter/cli/run.py", (89, 100), (20, 20), False),
        ("flopmeter/cli/run.py", (5, 5), (0, 0), True),
        ("core/flopmeter_core/registers.py", (99, 100), (2, 2), False),
        ("core/flopmeter_core/registers.py", (100, 100), (2, 2), True),
    ],
)
def test_kept(path: str, lines: tuple[int, int], branches: tuple[int, int], kept: bool) -> None:
    """Lines and branches each have to reach the promise; many of one make up for no other."""
    found = of(path, lines, branches)
    assert found.kept == kept
    assert found.missing == ("7", "3->9", "4->-1")
    assert (f"| `{path}` |" in page([found], 3)) and (
        f"{int(kept)} of 1 modules" in page([found], 3)
    )


def test_a_module_nobody_imports() -> None:
    """It has no figures, and is not kept for that."""
    (found,) = measured({"files": {}}, ["flopmeter/cli/run.py"])
    assert not found.kept and found.percents[0] == 0
