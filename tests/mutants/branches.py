"""How much of every module the whole suite goes through: lines and branches, children included.

Owns: which share is promised of which module, and docs/coverage.md.
May touch: build/coverage and docs/coverage.md; starts pytest and coverage there.
Called by ``make coverage`` (``TESTS="tests/unit tests/contract"``: a part, which is only printed).
Exit 1 when a module lies below what is promised of it, or a test fails.
Explained in docs/adr/0027-coverage.md.

A process that is killed by SIGKILL leaves no figures, so what only such processes run counts as not
covered.
"""

from __future__ import annotations

import datetime
import fnmatch
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from mutants.scores import HELD  # noqa: E402
from support.tree import PACKAGES, modules  # noqa: E402

ROOT = TESTS.parent
BUILD = ROOT / "build" / "coverage"
SETTINGS = Path(__file__).with_name("coverage.toml")
PAGE = ROOT / "docs" / "coverage.md"

LEAST_PERCENT = 90.0
HELD_PERCENT = 100.0

HEAD = """# What the tests go through

`make coverage` runs the whole suite, counts lines and branches in every process it starts, and writes this page.
`make coverage TESTS=tests/unit` runs a part of it and prints the modules that fall short, without a page.
Decided in [ADR 27](adr/0027-coverage.md); what the tests would notice is in [mutants.md](mutants.md).

Promised are 90 % of the lines and 90 % of the branches of every module, and all of them where [mutants.md](mutants.md) counts mutants.
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Module:
    """What the suite goes through of one module.

    Attributes:
        path: from the root.
        lines, branches: gone through, and there are.
        promised_percent: of both.
        missing: lines it does not go through, and branches as `line->line`.
    """

    path: str
    lines: tuple[int, int]
    branches: tuple[int, int]
    promised_percent: float
    missing: tuple[str, ...]

    @property
    def percents(self) -> tuple[float, float]:
        """Lines and branches gone through, in percent."""
        return _percent(*self.lines), _percent(*self.branches)

    @property
    def kept(self) -> bool:
        """Whether both are what is promised."""
        return min(self.percents) >= self.promised_percent


def _percent(done: int, there: int) -> float:
    return 100 * done / there if there else 100.0


def promised_percent(path: str) -> float:
    """What is promised of a module, by its path from the root."""
    flat = next(
        path.removeprefix(package.removesuffix(name))
        for package in PACKAGES
        if path.startswith(f"{package}/")
        for name in [package.split("/")[-1]]
    )
    held = any(fnmatch.fnmatch(flat, pattern) for each in HELD for pattern in each.files)
    return HELD_PERCENT if held else LEAST_PERCENT


def measured(report: Mapping[str, Any], paths: Sequence[str]) -> Iterator[Module]:
    """Read coverage's figures of some modules; a package nobody imports has none at all.

    Args:
        report: what `coverage json` writes.
        paths: the modules, from the root.
    """
    for path in paths:
        found = report["files"].get(path)
        if found is None:
            yield Module(path, (0, 1), (0, 0), promised_percent(path), ("all of it",))
            continue
        totals = found["summary"]
        branches = [f"{start}->{end}" for start, end in found.get("missing_branches", ())]
        yield Module(
            path,
            (totals["covered_lines"], totals["num_statements"]),
            (totals["covered_branches"], totals["num_branches"]),
            promised_percent(path),
            (*map(str, found["missing_lines"]), *branches),
        )


def run(tests: Sequence[str]) -> tuple[int, float]:
    """Run the suite, or a part, and put the figures of its processes together.

    Returns:
        pytest's exit code, and the duration in s.
    """
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    environ = {**os.environ, "COVERAGE_FILE": str(BUILD / "data")}
    coverage = [sys.executable, "-m", "coverage"]
    began = time.monotonic()
    # Counting slows a test down: one that hangs still ends.
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600", *tests]
    done = subprocess.run(
        [*coverage, "run", "--rcfile", str(SETTINGS), *pytest], cwd=ROOT, env=environ
    )
    seconds = time.monotonic() - began
    for command in (["combine"], ["json", "-q", "-o", str(BUILD / "coverage.json")]):
        subprocess.run(
            [*coverage, *command, "--rcfile", str(SETTINGS)],
            cwd=ROOT,
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return done.returncode, seconds


def page(found: Sequence[Module], seconds: float) -> str:
    """docs/coverage.md."""
    day = datetime.datetime.now(datetime.UTC).date()
    kept = sum(each.kept for each in found)
    lines, branches = (
        [sum(getattr(each, what)[place] for each in found) for place in (0, 1)]
        for what in ("lines", "branches")
    )
    text = [
        HEAD,
        f"{kept} of {len(found)} modules keep that; together {_percent(*lines):.1f} % of "
        f"{lines[1]} lines and {_percent(*branches):.1f} % of {branches[1]} branches, in "
        f"{seconds:.0f} s ({day}, {os.cpu_count()} cores, Python {platform.python_version()}).",
        "",
        "The modules with the least, and every one below its promise:",
        "",
        "| module | lines | branches | promised |",
        "|---|---|---|---|",
    ]
    ordered = sorted(found, key=lambda each: (each.kept, min(each.percents), each.path))
    least = [each for each in ordered if not each.kept]
    least += [each for each in ordered if each.kept][: max(0, 20 - len(least))]
    text += [
        f"| `{each.path}` | {each.percents[0]:.1f} % | {each.percents[1]:.1f} % | "
        f"{each.promised_percent:.0f} % |"
        for each in least
    ]
    return "\n".join(text) + "\n"


def main(tests: Sequence[str]) -> int:
    """Run, print what falls short, and write the page after a whole run."""
    code, seconds = run(tests)
    report = json.loads((BUILD / "coverage.json").read_text())
    paths = [str(path.relative_to(ROOT)) for path in modules(ROOT)]
    if tests:
        paths = [path for path in paths if path in report["files"]]
    found = list(measured(report, paths))
    for each in found:
        if not each.kept:
            lines, branches = each.percents
            print(
                f"{each.path}: {lines:.1f} % of lines, {branches:.1f} % of branches, promised "
                f"{each.promised_percent:.0f} %; missing {', '.join(each.missing)}"
            )
    kept = sum(each.kept for each in found)
    print(f"{kept} of {len(found)} modules keep what is promised, in {seconds:.0f} s")
    if not tests:
        PAGE.write_text(page(found, seconds), encoding="utf-8")
    return 0 if kept == len(found) and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
