"""Every planted defect still fits its code, and names a test that exists."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

from mutants import defects
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


def test_one_defect_runs_its_test_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workers there are: without a test to run pytest would run the whole suite."""
    ran: list[Sequence[str]] = []

    def run_tests(tree: Path, python: Path, tests: Sequence[str]) -> tuple[int, str]:
        ran.append(list(tests))
        return 0, "1 passed"

    (tmp_path / "x.py").write_text("x = 1\n")
    for tree in ("tree-0", "tree-1", "tree-2"):
        (tmp_path / tree).mkdir()
        (tmp_path / tree / "x.py").write_text("x = 1\n")
    monkeypatch.setattr(defects, "run_tests", run_tests)
    monkeypatch.setattr(defects, "copy_tree", lambda root, target: None)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    one = Defect("d", "x.py", "x = 1", "x = 2", "tests/test_x.py::test_x")
    (found,) = defects.find_all(tmp_path, tmp_path, Path("python"), [one], lambda found: None)
    assert (found.failed, found.told) == ("", "1 passed")
    assert ran == [[one.test]] * 2
