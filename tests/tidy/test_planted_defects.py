"""Every planted defect still fits its code, and names a test that exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutants.defects import Defect, load, planted
from support.requirements import ROOT

LEAST_COUNT = 90


def wrong(root: Path, defect: Defect) -> str:
    """What is wrong with a defect; empty when nothing is."""
    try:
        changed = planted(root, defect)
        ast.parse(changed)
    except (OSError, SyntaxError, ValueError) as error:
        return str(error)
    if changed == (root / defect.file).read_text():
        return f"defect {defect.name!r} changes nothing"
    file, _, name = defect.test.partition("::")
    path = root / file
    if not path.is_file() or f"def {name.partition('[')[0]}(" not in path.read_text():
        return f"defect {defect.name!r} names a test that does not exist: {defect.test}"
    return ""


@pytest.mark.parametrize("defect", load(), ids=lambda defect: defect.name)
def test_defect(defect: Defect) -> None:
    """Its code occurs once, the changed file is Python, and its test is there."""
    assert wrong(ROOT, defect) == ""


def test_many() -> None:
    """There are at least ninety, each under a name and a change of its own."""
    defects = load()
    assert len(defects) >= LEAST_COUNT
    assert len({defect.name for defect in defects}) == len(defects)
    assert len({(defect.file, defect.before, defect.after) for defect in defects}) == len(defects)


@pytest.mark.parametrize(
    ("before", "after", "test", "sentence"),
    [
        ("x = 1", "x = 2", "tests/test_x.py::test_x", ""),
        ("y", "x = 2", "tests/test_x.py::test_x", "fits 0 times"),
        ("=", "= 2 +", "tests/test_x.py::test_x", "fits 2 times"),
        ("x = 1", "x = 1", "tests/test_x.py::test_x", "changes nothing"),
        ("x = 1", "x =", "tests/test_x.py::test_x", "invalid syntax"),
        ("x = 1", "x = 2", "tests/test_x.py::test_z", "does not exist"),
        ("x = 1", "x = 2", "tests/test_y.py::test_x", "does not exist"),
    ],
)
def test_planted_wrong(tmp_path: Path, before: str, after: str, test: str, sentence: str) -> None:
    """A defect that fell behind its code is named."""
    (tmp_path / "x.py").write_text("x = 1\nz = 3\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_x.py").write_text("def test_x() -> None:\n    pass\n")
    found = wrong(tmp_path, Defect("d", "x.py", before, after, test))
    assert sentence in found
    assert bool(sentence) == bool(found)
