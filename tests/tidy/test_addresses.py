"""The tree stands by itself: no registry's address and no path of somebody's machine in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import tracked_files

# Put together from parts, so that this file does not find itself.
BANNED = {
    "a registry's address": (
        r"https?://[\w.-]*(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|yarnpkg\.com|debian\.org)\b"
    ),
    "an index option": r"--(extra-)?index" + r"-url[ =]+\S|--find" + r"-links[ =]+\S",
    "a path outside the tree": r"(?<![\w.:/-])/(work|root|home/\w+)"
    + r"/|\.\./(shared|\.library)\b",
}


def findings(root: Path) -> list[str]:
    """Name the lines of tracked text files that point outside the tree."""
    found = []
    for path in tracked_files(root):
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            found += [
                f"{path.relative_to(root)}:{number}: {what}"
                for what, pattern in BANNED.items()
                if re.search(pattern, line)
            ]
    return found


def test_tree() -> None:
    """A clone works anywhere: each machine's own settings say where packages come from."""
    assert findings(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        "see https://" + "pypi.org/project/x",
        '"resolved": "' + "https://" + 'registry.npmjs.org/x"',
        "deb http://" + "deb.debian.org/debian bookworm main",
        "pip install --index-" + "url somewhere",
        "--find-" + "links=wheels",
        "cd /" + "work/tree",
        "HOME=/" + "root/",
        "read ../" + "shared/notes",
    ],
)
def test_planted(tmp_path: Path, line: str) -> None:
    """Each kind of address is found in a file git would add."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "planted.txt").write_text(f"first\n{line}\n")
    assert [entry.split(": ")[0] for entry in findings(tmp_path)] == ["planted.txt:2"]


def test_good_lines(tmp_path: Path) -> None:
    """Other addresses, relative paths and system paths pass."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "planted.txt").write_text(
        "https://example.org/" + "work/x\n/var/lib/flopmeter/" + "root/x\nframework/x\n"
        "uv pip compile --no-emit-index-" + "url\n"
    )
    assert findings(tmp_path) == []
