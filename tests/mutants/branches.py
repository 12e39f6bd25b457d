"""How much of every module the whole suite goes through: lines and branches, children included.

Owns: which share is promised of which module, and docs/coverage.md.
May touch: build/coverage and docs/coverage.md; starts pytest and coverage there.
Called by ``make coverage``. ``TESTS=tests/unit`` runs one folder of the suite and keeps its
figures; when all of them were run, one by one or at once, the page is written. Figures of a module
that was changed since are left out, so after a change only the folders that test it are run again.
Any other ``TESTS`` are only printed, with ``MODULE=PATH`` that module alone. Exit 1 when a module
lies below its promise, or a test fails.
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
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coverage import CoverageData

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from mutants.scores import HELD  # noqa: E402
from support.tree import PACKAGES, modules  # noqa: E402

ROOT = TESTS.parent
BUILD = ROOT / "build" / "coverage"
SETTINGS = Path(__file__).with_name("coverage.toml")
PAGE = ROOT / "docs" / "coverage.md"

PARTS: Mapping[str, tuple[str, ...]] = {
    "tests/unit": (),
    "tests/contract": (),
    "tests/golden": (),
    "tests/tidy": (),
    "tests/integration": (
        "--ignore=tests/integration/collector",
        # Weeks of a fleet, which take many minutes where lines are counted.
        "--ignore=tests/integration/test_page_budget.py",
    ),
    "tests/integration/collector": (),
    # Planted defects: the same code again and again.
    "tests/simulation": ("--ignore=tests/simulation/test_planted.py",),
}
"""The suite, each folder a process of its own: one that dies takes no other's figures with it.
Each with what else pytest is told, so that no test runs in two."""

KERNELS = "tests/unit"
"""The part with the kernels' own tests, which go through all of them interpreted. In the others
they run compiled, so that what takes another way beside compiled ones is gone through as well."""

LONGEST_NAME = 200
"""Of a folder of figures: whoever names more tests than fit gets one named by their digest."""

LEAST_PERCENT = 90.0
HELD_PERCENT = 100.0

HEAD = """# What the tests go through

`make coverage` runs the whole suite, folder by folder, counts lines and branches in every process that it starts, names each module that falls short, and writes this page.
`make coverage TESTS=tests/unit` runs one folder and keeps its figures: the page is written when all folders were run, in one sitting or in several.
What a folder goes through of a module counts as long as the module's text is what it was then: after a change, run the folders that test the module again.
One module, by any tests: `make coverage MODULE=flopmeter/cli/ledger.py TESTS=tests/unit/flopmeter/cli/test_ledger.py` prints what they go through of it and what they miss.
Decided in [ADR 27](adr/0027-coverage.md); what the tests would notice is in [mutants.md](mutants.md).

Promised are 90 % of the lines and 90 % of the branches of every module, and all of them where [mutants.md](mutants.md) counts mutants.
Counted are the tests' own process and every process of this environment that they start, however deep: agents, collectors, commands, training scripts.
Kernels run interpreted in `tests/unit`, which has their own tests: of a compiled one no lines can be counted.
In the other folders they run compiled, as they do where they are installed.
Property tests try few examples, the same in every run, so that two counts of one state are equal.
Not run are `tests/integration/test_page_budget.py`, whose weeks of a fleet would take longer than the rest, and `tests/simulation/test_planted.py`, which goes through the same code again for every planted defect.
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


def digests() -> dict[str, str]:
    """A digest of every module, by its path from the root."""
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in modules(ROOT)
    }


def _coverage(folder: Path, *words: str) -> int:
    command = [sys.executable, "-m", "coverage", *words]
    # The mutants' profile: few examples, and the same ones in every run.
    environ = {**os.environ, "COVERAGE_FILE": str(folder / "data"), "FLOPMETER_MUTANTS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environ).returncode


def run(tests: str) -> None:
    """Run a folder of the suite, or any tests, and keep their figures and what became of them."""
    folder = folder_of(tests)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counted, began = digests(), time.monotonic()
    # Counting slows a test down: one that hangs still ends.
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600"]
    words += [*tests.split(), *PARTS.get(tests, ())]
    compiled = tests in PARTS and tests != KERNELS
    with contextlib.nullcontext() if compiled else interpreted():
        code = _coverage(folder, "run", "--rcfile", str(SETTINGS), *words)
    _coverage(folder, "combine", "-q", "--rcfile", str(SETTINGS))
    done = {"modules": counted, "code": code, "seconds": time.monotonic() - began}
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
    name = tests.replace("/", "-").replace(" ", "+")
    if len(name) > LONGEST_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return BUILD / name


def kept_figures(parts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What was run of these parts, by part."""
    told = {part: folder_of(part) / "done.json" for part in parts}
    done = {part: json.loads(path.read_text()) for part, path in told.items() if path.exists()}
    return {part: its for part, its in done.items() if "modules" in its}


def changed_since(done: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """The modules that a part was not run on as they are now."""
    then = done["modules"]
    return [path for path, digest in now.items() if then.get(path) != digest]


def put_together(done: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Coverage's report of the figures of these parts, without those of modules changed since."""
    folder = BUILD / "together"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    now, copies = digests(), []
    for number, (part, its) in enumerate(done.items()):
        copy = folder / f"part-{number}"
        shutil.copy(folder_of(part) / "data", copy)
        figures = CoverageData(str(copy))
        figures.read()
        if figures.measured_files():
            figures.purge_files([str(ROOT / path) for path in changed_since(its, now)])
        figures.close()
        copies.append(str(copy))
    settings = ("--rcfile", str(SETTINGS))
    _coverage(folder, "combine", "-q", *settings, *copies)
    _coverage(folder, "json", "-q", *settings, "-o", str(folder / "report.json"))
    report: Mapping[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def page(
    found: Sequence[Module],
    seconds: float,
    failed: Sequence[str] = (),
    changed: Collection[str] = (),
    *,
    commit: str = "",
) -> str:
    """docs/coverage.md.

    Args:
        found: every module.
        seconds: what all parts took.
        failed: the parts of which tests failed.
        changed: modules that some part was not run on as they are.
        commit: of the code that was counted; empty where nobody knows.
    """
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
        f"{seconds:.0f} s ({day}, {f'commit {commit}, ' if commit else ''}{os.cpu_count()} cores, "
        f"Python {platform.python_version()}).",
        *(f"Tests failed in `{part}`." for part in failed),
        *(
            f"`{path}` was changed since, so what some folders go through of it is not counted."
            for path in sorted(changed)
        ),
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


def commit_of(root: Path) -> str:
    """The commit that is checked out; empty where it is no checkout."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return found.stdout.strip()


def told_of(each: Module) -> str:
    """One line of a module."""
    lines, branches = each.percents
    return (
        f"{each.path}: {lines:.1f} % of lines, {branches:.1f} % of branches, promised "
        f"{each.promised_percent:.0f} %; missing {', '.join(each.missing) or 'nothing'}"
    )


def main(tests: str, module: str = "") -> int:
    """Run, print what falls short, and write the page when the whole suite was run.

    Args:
        tests: a part, any other tests, or all parts when empty.
        module: the only one that is printed; all that fall short when empty.
    """
    asked = [tests] if tests else list(PARTS)
    for part in asked:
        run(part)
    done = kept_figures(PARTS if tests in ("", *PARTS) else asked)
    whole = list(done) == list(PARTS)
    report, now = put_together(done), digests()
    changed = {path for its in done.values() for path in changed_since(its, now)}
    found = list(
        measured(report, [path for path in now if whole or path in {*report["files"], module}])
    )
    for each in found:
        if each.path == module or not (module or each.kept):
            print(told_of(each))
    if module and tests not in ("", *PARTS):
        return 0 if all(each.kept for each in found if each.path == module) else 1
    seconds = sum(each["seconds"] for each in done.values())
    kept = sum(each.kept for each in found)
    print(f"{kept} of {len(found)} modules keep what is promised, in {seconds:.0f} s")
    if tests in ("", *PARTS) and not whole:
        print(f"not run yet: {', '.join(part for part in PARTS if part not in done)}")
    if changed:
        print(f"changed since some folders were run: {', '.join(sorted(changed))}")
    failed = [part for part, each in done.items() if each["code"]]
    print(f"tests failed in {', '.join(failed)}" if failed else "no test failed")
    if whole:
        PAGE.write_text(page(found, seconds, failed, changed, commit=commit_of(ROOT)), "utf-8")
    return 0 if kept == len(found) and not failed else 1


if __name__ == "__main__":
    _words = [word for word in sys.argv[1:] if not word.startswith("--module=")]
    _modules = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--module=")]
    sys.exit(main(" ".join(_words), *_modules[:1]))
