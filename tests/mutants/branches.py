"""How much of every module the whole suite goes through: lines and branches, children included.

Owns: which share is promised of which module, and docs/coverage.md.
May touch: build/coverage and docs/coverage.md; starts pytest and coverage there.
Called by ``make coverage``. ``TESTS=tests/unit`` runs one folder of the suite and keeps its
figures; when all of them were run on the code as it is, one by one or at once, the page is written.
Any other ``TESTS`` are only printed. Exit 1 when a module lies below its promise, or a test fails.
Explained in docs/adr/0027-coverage.md.

A process that is killed by SIGKILL leaves no figures, so what only such processes run counts as not
covered.
"""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import hashlib
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

PARTS = (
    "tests/unit",
    "tests/contract",
    "tests/golden",
    "tests/tidy",
    "tests/integration",
    "tests/simulation",
)
"""The suite, each folder a process of its own: one that dies takes no other's figures with it."""

LEAST_PERCENT = 90.0
HELD_PERCENT = 100.0

HEAD = """# What the tests go through

`make coverage` runs the whole suite, folder by folder, counts lines and branches in every process that it starts, names each module that falls short, and writes this page.
`make coverage TESTS=tests/unit` runs one folder and keeps its figures: the page is written when all folders were run on the code as it is, in one sitting or in several.
Decided in [ADR 27](adr/0027-coverage.md); what the tests would notice is in [mutants.md](mutants.md).

Promised are 90 % of the lines and 90 % of the branches of every module, and all of them where [mutants.md](mutants.md) counts mutants.
Counted are the tests' own process and every process of this environment that they start, however deep: agents, collectors, commands, training scripts.
Kernels run interpreted meanwhile: of a compiled one no lines can be counted.
Not counted is what a process did that SIGKILL ended, and what runs in a namespace or container with an environment of its own.
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


def code_state() -> str:
    """A digest of all modules: figures are of one state of the code."""
    digest = hashlib.sha256()
    for path in modules(ROOT):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _coverage(folder: Path, *words: str) -> int:
    command = [sys.executable, "-m", "coverage", *words]
    environ = {**os.environ, "COVERAGE_FILE": str(folder / "data")}
    return subprocess.run(command, cwd=ROOT, env=environ).returncode


def run(tests: str) -> None:
    """Run a folder of the suite, or any tests, and keep their figures and what became of them."""
    folder = folder_of(tests)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state, began = code_state(), time.monotonic()
    # Counting slows a test down: one that hangs still ends.
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600", *tests.split()]
    with interpreted():
        code = _coverage(folder, "run", "--rcfile", str(SETTINGS), *words)
    _coverage(folder, "combine", "-q", "--rcfile", str(SETTINGS))
    done = {"state": state, "code": code, "seconds": time.monotonic() - began}
    (folder / "done.json").write_text(json.dumps(done))


@contextlib.contextmanager
def interpreted(root: Path = ROOT) -> Iterator[None]:
    """Have kernels run as Python meanwhile, whose lines can be counted; nothing else changes.

    Where this is killed, they stay interpreted until they are built again.
    """
    compiled = [path for package in PACKAGES for path in (root / package).rglob("*.abi3.so")]
    aside = [path.with_name(f"{path.name}.aside") for path in compiled]
    for path, other in zip(compiled, aside, strict=True):
        path.rename(other)
    try:
        yield
    finally:
        for path, other in zip(compiled, aside, strict=True):
            if not path.exists():
                other.rename(path)


def folder_of(tests: str) -> Path:
    """Where the figures of some tests lie."""
    return BUILD / tests.replace("/", "-").replace(" ", "+")


def kept_figures(parts: Sequence[str], state: str) -> dict[str, dict[str, Any]]:
    """What was run of these parts on this state of the code, by part."""
    found = {}
    for part in parts:
        told = folder_of(part) / "done.json"
        done = json.loads(told.read_text()) if told.exists() else {}
        if done.get("state") == state:
            found[part] = done
    return found


def put_together(parts: Sequence[str]) -> Mapping[str, Any]:
    """Coverage's report of the figures of these parts."""
    folder = BUILD / "together"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    settings = ("--rcfile", str(SETTINGS))
    data = [str(folder_of(part) / "data") for part in parts]
    _coverage(folder, "combine", "-q", "--keep", *settings, *data)
    _coverage(folder, "json", "-q", *settings, "-o", str(folder / "report.json"))
    report: Mapping[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def page(found: Sequence[Module], seconds: float, failed: Sequence[str] = ()) -> str:
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
        *(f"Tests failed in `{part}`." for part in failed),
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


def main(tests: str) -> int:
    """Run, print what falls short, and write the page when the whole suite was run."""
    asked = [tests] if tests else list(PARTS)
    for part in asked:
        run(part)
    parts = list(PARTS) if tests in ("", *PARTS) else asked
    done = kept_figures(parts, code_state())
    whole = list(done) == list(PARTS)
    report = put_together(list(done))
    paths = [str(path.relative_to(ROOT)) for path in modules(ROOT)]
    if not whole:
        paths = [path for path in paths if path in report["files"]]
    found = list(measured(report, paths))
    for each in found:
        if not each.kept:
            lines, branches = each.percents
            print(
                f"{each.path}: {lines:.1f} % of lines, {branches:.1f} % of branches, promised "
                f"{each.promised_percent:.0f} %; missing {', '.join(each.missing)}"
            )
    seconds = sum(each["seconds"] for each in done.values())
    kept = sum(each.kept for each in found)
    print(f"{kept} of {len(found)} modules keep what is promised, in {seconds:.0f} s")
    if missing := [part for part in PARTS if part not in done]:
        print(f"not run on the code as it is: {', '.join(missing)}")
    failed = [part for part, each in done.items() if each["code"]]
    print(f"tests failed in {', '.join(failed)}" if failed else "no test failed")
    if whole:
        PAGE.write_text(page(found, seconds, failed), encoding="utf-8")
    return 0 if kept == len(found) and not failed else 1


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
