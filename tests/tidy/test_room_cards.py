"""Every module opens with its room card: what it owns and what it may touch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import modules

LINES = ("Owns:", "May touch:")


def findings(root: Path) -> list[str]:
    """Name the modules under root without a room card.

    A package __init__ that holds no code needs none: the package is described by its modules.
    """
    found = []
    for path in modules(root):
        tree = ast.parse(path.read_text(), filename=str(path))
        docstring = ast.get_docstring(tree)
        if path.name == "__init__.py" and len(tree.body) == (docstring is not None):
            continue
        opening = [line.strip() for line in (docstring or "").splitlines()]
        found += [
            f"{path.relative_to(root)}: the module docstring has no line starting {wanted!r}"
            for wanted in LINES
            if not any(line.startswith(wanted) for line in opening)
        ]
    return found


def test_tree() -> None:
    """Each module of the five packages says where a line of code in it stands."""
    assert findings(ROOT) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("import abc\n", 2),
        ('"""A module.\n\nOwns: all.\n"""\n', 1),
        ('"""A module.\n\nIt Owns: all. May touch: all.\n"""\n', 2),
        ('"""A module.\n\nOwns: all.\nMay touch: nothing.\n"""\n', 0),
    ],
)
def test_planted(tmp_path: Path, text: str, count: int) -> None:
    """A module without one of the lines is named."""
    module = tmp_path / "core/flopmeter_core/planted.py"
    module.parent.mkdir(parents=True)
    module.write_text(text)
    assert len(findings(tmp_path)) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ('"""Sensors."""\n', 0), ('"""Sensors."""\nimport abc\n', 2)],
)
def test_planted_init(tmp_path: Path, text: str, count: int) -> None:
    """Only an __init__ that holds code owes a room card."""
    module = tmp_path / "agent/flopmeter_agent/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(text)
    assert len(findings(tmp_path)) == count
