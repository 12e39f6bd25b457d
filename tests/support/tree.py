"""The source tree as the tidy checks see it.

Owns: the list of packages, and the walk over their modules and over the files git would commit.
May touch: files under the root it is given (reading), and `git ls-files` there.
Called by tests/tidy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "flopmeter",
    "core/flopmeter_core",
    "agent/flopmeter_agent",
    "collector/flopmeter_collector",
    "proto/flopmeter_proto",
)
"""The five packages, as paths from the root."""

GENERATED = "proto/flopmeter_proto/ingest"
"""Code that protoc writes of the wire format: no check of style applies to it."""

GENERATED_TOO = "proto/flopmeter_proto/podresources"
"""The same of what is read from a kubelet."""


def modules(root: Path) -> Iterator[Path]:
    """Yield every hand-written module of the packages, in order of path."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            if not any(path.is_relative_to(root / each) for each in (GENERATED, GENERATED_TOO)):
                yield path


def python_files(root: Path) -> Iterator[Path]:
    """Yield every hand-written Python file: modules, then tests."""
    yield from modules(root)
    yield from sorted((root / "tests").rglob("*.py"))


def tracked_files(root: Path) -> Iterator[Path]:
    """Yield every file git tracks or would add, in order of path.

    New files count, so that a defect is found before it is committed.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in sorted(set(listing.split("\0")) - {""}):
        path = root / name
        if path.is_file() and not path.is_symlink():
            yield path
