"""What a test needs beyond Python: a server program, a linter, an accelerator.

Owns: the rule that a missing program skips a test with its reason, and that REQUIRE_ALL=1 turns
the skip into a failure, so that CI cannot go green by testing less.
May touch: the environment, PATH and the existence of files; starts nothing.
Called by tests, before anything else they do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
"""The root of the source tree."""

TOOL_FOLDERS = (
    Path(".venv/bin"),
    Path("build/buf/node_modules/.bin"),
)
"""Where the project's own tools are installed, relative to the root; searched before PATH."""


def find(tool: str, *, root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Find a program among the project's own tools, then on PATH.

    Args:
        tool: The program's file name.
        root: The source tree whose tool folders are searched.
        environ: Where PATH is read.

    Returns:
        The program's path, or None where there is none.
    """
    folders = [str(root / folder) for folder in TOOL_FOLDERS] + [environ.get("PATH", "")]
    found = shutil.which(tool, path=os.pathsep.join(folders))
    return Path(found) if found else None


def nothing_left_out(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether every check is made in full, as CI does: a long sweep is shorter otherwise."""
    return environ.get("REQUIRE_ALL") == "1"


def missing(reason: str, *, environ: Mapping[str, str] = os.environ) -> NoReturn:
    """End the test that cannot run here: skipped with its reason, failed under REQUIRE_ALL=1.

    Args:
        reason: What is missing and how to get it, in one sentence.
        environ: Where REQUIRE_ALL is read.

    Raises:
        pytest.skip.Exception: Where REQUIRE_ALL is not 1.
        pytest.fail.Exception: Where REQUIRE_ALL is 1.
    """
    if nothing_left_out(environ):
        pytest.fail(f"REQUIRE_ALL=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def require(
    tool: str, hint: str = "", *, root: Path = ROOT, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return the path of a program, or end the test as `missing` does.

    Args:
        tool: The program's file name, such as `promtool`.
        hint: How to get it, such as `apt-get install prometheus`.
        root: The source tree whose tool folders are searched.
        environ: Where PATH and REQUIRE_ALL are read.

    Returns:
        The program's path.
    """
    path = find(tool, root=root, environ=environ)
    if path is None:
        missing(f"{tool} is not installed" + (f": {hint}" if hint else ""), environ=environ)
    return path
