"""What is promised of each module, and when it is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coverage import CoverageData

from mutants import branches
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


def test_figures_of_other_code_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a module that was changed since, a folder's figures do not count; those of others do."""
    monkeypatch.setattr(branches, "BUILD", tmp_path)
    now = branches.digests()
    kept, changed = "flopmeter/entry.py", "flopmeter/cli/run.py"
    for part, then in (("tests/unit", now), ("tests/golden", {**now, changed: "old"})):
        folder = branches.folder_of(part)
        folder.mkdir()
        figures = CoverageData(str(folder / "data"))
        line = 30 if part == "tests/unit" else 31
        figures.add_arcs({str(ROOT / path): [(line, line + 1)] for path in (kept, changed)})
        figures.write()
        figures.close()
        (folder / "done.json").write_text(json.dumps({"modules": then, "code": 0, "seconds": 1}))
    done = branches.kept_figures(("tests/unit", "tests/contract", "tests/golden"))
    assert list(done) == ["tests/unit", "tests/golden"]
    branches.put_together(done)
    together = CoverageData(str(tmp_path / "together" / "data"))
    together.read()
    assert set(together.arcs(str(ROOT / kept)) or ()) == {(30, 31), (31, 32)}
    assert together.arcs(str(ROOT / changed)) == [(30, 31)]
    together.close()
    said = page([of(changed, (9, 10), (9, 10))], 3, changed=[changed])
    assert f"`{changed}` was changed since" in said


def test_every_folder_of_tests_is_a_part() -> None:
    """No folder with tests is left out, and one inside another is left out of that."""
    here = {
        f"tests/{path.relative_to(ROOT / 'tests').parts[0]}"
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    assert here == {part for part in branches.PARTS if part.count("/") == 1}
    for inner in set(branches.PARTS) - here:
        assert f"--ignore={inner}" in branches.PARTS[str(Path(inner).parent)]


def test_a_failed_test_is_said() -> None:
    """The page says in which folder tests failed: what they go through then means little."""
    found = of("flopmeter/cli/run.py", (9, 10), (18, 20))
    assert "failed" not in page([found], 3)
    assert "Tests failed in `tests/unit`." in page([found], 3, ["tests/unit"])


def test_any_number_of_tests_has_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of other tests lie elsewhere, however many are named."""
    monkeypatch.setattr(branches, "BUILD", tmp_path)
    many = [" ".join(f"tests/unit/test_{n}.py" for n in range(count)) for count in (1, 40, 41)]
    folders = {branches.folder_of(tests) for tests in many}
    for folder in folders:
        folder.mkdir()
    assert len(folders) == 3


def test_kernels_are_interpreted_meanwhile(tmp_path: Path) -> None:
    """Compiled kernels are out of the way while lines are counted, and back afterwards."""
    kernel = tmp_path / "core" / "flopmeter_core" / "kernels" / "merge.abi3.so"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(b"compiled")
    with pytest.raises(ZeroDivisionError), branches.interpreted(tmp_path):
        assert not kernel.exists()
        1 / 0  # noqa: B018
    assert kernel.read_bytes() == b"compiled"


@pytest.mark.parametrize(
    ("tests", "interpreted"),
    [("tests/unit", True), ("tests/integration", False), ("tests/contract/test_ledger.py", True)],
)
def test_where_kernels_are_interpreted(
    tests: str, interpreted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder of their own tests, and where any tests are asked what they go through."""
    told: list[str] = []

    @contextlib.contextmanager
    def out_of_the_way() -> Iterator[None]:
        told.append("interpreted")
        yield
        told.append("back")

    def coverage(folder: Path, *words: str) -> int:
        told.append(words[0])
        return 0

    monkeypatch.setattr(branches, "BUILD", tmp_path)
    monkeypatch.setattr(branches, "interpreted", out_of_the_way)
    monkeypatch.setattr(branches, "_coverage", coverage)
    branches.run(tests)
    assert told == (["interpreted", "run", "back"] if interpreted else ["run"]) + ["combine"]


def test_the_page_names_the_commit(tmp_path: Path) -> None:
    """Which code was counted is said where it is known."""
    found = of("flopmeter/cli/run.py", (9, 10), (18, 20))
    assert ", commit abc1234, " in page([found], 3, commit="abc1234")
    assert "commit" not in page([found], 3).split("modules keep that")[1]
    assert branches.commit_of(tmp_path) == ""
