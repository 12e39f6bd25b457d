"""Nothing is too large to be read: files, functions, binary blobs."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import python_files, tracked_files

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
BLOB_BYTES_MAX = 1 << 20


def long_files(root: Path) -> list[str]:
    """Name the Python files above FILE_LINES_MAX lines."""
    return [
        f"{path.relative_to(root)}: {count} lines, at most {FILE_LINES_MAX}"
        for path in python_files(root)
        if (count := len(path.read_text().splitlines())) > FILE_LINES_MAX
    ]


def long_functions(root: Path) -> list[str]:
    """Name the functions above FUNCTION_LINES_MAX lines.

    Counted from `def` to the last line, less the docstring: describing a function well must not
    cost it its length.
    """
    found = []
    for path in python_files(root):
        for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            assert node.end_lineno is not None
            count = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                assert first.end_lineno is not None
                count -= first.end_lineno - first.lineno + 1
            if count > FUNCTION_LINES_MAX:
                found.append(
                    f"{path.relative_to(root)}:{node.lineno}: {node.name} has {count} lines,"
                    f" at most {FUNCTION_LINES_MAX}"
                )
    return found


def large_blobs(root: Path) -> list[str]:
    """Name the tracked files above BLOB_BYTES_MAX bytes."""
    return [
        f"{path.relative_to(root)}: {size} bytes, at most {BLOB_BYTES_MAX}"
        for path in tracked_files(root)
        if (size := path.stat().st_size) > BLOB_BYTES_MAX
    ]


def test_files() -> None:
    """A Python file can be read in one sitting."""
    assert long_files(ROOT) == []


def test_functions() -> None:
    """A function fits on one screen."""
    assert long_functions(ROOT) == []


def test_blobs() -> None:
    """A clone stays small for ever: what is committed once is never gone."""
    assert large_blobs(ROOT) == []


@pytest.mark.parametrize("folder", ["core/flopmeter_core", "tests/unit"])
def test_planted_long_file(tmp_path: Path, folder: str) -> None:
    """601 lines are refused, 600 are not."""
    file = tmp_path / folder / "planted.py"
    file.parent.mkdir(parents=True)
    file.write_text("x = 1\n" * FILE_LINES_MAX)
    assert long_files(tmp_path) == []
    file.write_text("x = 1\n" * (FILE_LINES_MAX + 1))
    assert long_files(tmp_path) == [f"{folder}/planted.py: 601 lines, at most 600"]


@pytest.mark.parametrize("head", ["def f():", "async def f():"])
def test_planted_long_function(tmp_path: Path, head: str) -> None:
    """61 lines of code are refused; 60 and a docstring are not."""
    file = tmp_path / "core/flopmeter_core/planted.py"
    file.parent.mkdir(parents=True)
    body = ['    """Describe.\n\n    At length.\n    """'] + ["    x = 1"] * (
        FUNCTION_LINES_MAX - 1
    )
    file.write_text("\n".join([head, *body]))
    assert long_functions(tmp_path) == []
    file.write_text("\n".join([head, *body, "    x = 2"]))
    assert long_functions(tmp_path) == [
        "core/flopmeter_core/planted.py:1: f has 61 lines, at most 60"
    ]


def test_planted_blob(tmp_path: Path) -> None:
    """A file above 1 MiB is named even before it is added; an ignored one is not."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    for name in ("planted", "ignored"):
        (tmp_path / name).write_bytes(b"x" * (BLOB_BYTES_MAX + 1))
    assert large_blobs(tmp_path) == ["planted: 1048577 bytes, at most 1048576"]
