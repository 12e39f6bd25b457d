"""How many small changes to a module its own tests notice: mutation score and branch coverage.

Owns: which modules are held to it, by which tests, and the figures of a run.
May touch: build/mutants; starts mutmut and pytest there, in the environment it is given.
Called by tests/mutants/run.py.

mutmut wants packages beside each other, so the five packages are laid flat into a folder a module.
It changes bodies of functions and methods, one place at a time. What it never changes: decorated
functions (properties, context managers), constants of a module, and defaults of dataclasses.
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.tree import PACKAGES, tracked_files

LEAST_SCORE_PERCENT = 90.0

_SURVIVED = {0: "survived", 5: "no tests", 33: "no tests", None: "not checked"}
"""mutmut's exit codes of what no test noticed; every other one is a failed, hung or dead test."""

_SKIPPED = 34

_PATIENCE = 40
"""How often the time its tests usually take a mutant has until it counts as one that hangs, and
with that as found: on a machine that has much to do a sound one may take long."""


@dataclass(frozen=True, slots=True)
class Held:
    """One module, or folder of modules, and its own tests.

    Attributes:
        name: what it is called here.
        files: its files, with packages laid flat; may hold wildcards.
        tests: what its mutants are run against.
        select: pytest's expression of which of these tests.
        left: what remaining mutants change, and why no test can see it.
    """

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    select: str = ""
    left: tuple[str, ...] = ()


HELD = (
    Held("registers", ("flopmeter_core/registers.py",), ("tests/unit/core/test_registers.py",)),
    Held(
        "interval",
        ("flopmeter_core/interval.py",),
        ("tests/unit/core/test_interval.py",),
        left=("`invariant(None, ...)` fails as `invariant(False, ...)` does.",),
    ),
    Held("estimate", ("flopmeter_core/estimate.py",), ("tests/unit/core/test_estimate.py",)),
    Held(
        "merge kernel",
        ("flopmeter_core/kernels/merge.py",),
        ("tests/unit/core/kernels/test_merge.py",),
        left=("`above = below = None` is as false as `False`.",),
    ),
    Held(
        "journal",
        ("flopmeter_agent/journal.py",),
        (
            "tests/unit/agent/test_journal.py",
            "tests/unit/agent/test_journal_file.py",
            "tests/unit/agent/test_journal_steps.py",
            "tests/unit/agent/test_journal_trust.py",
        ),
        left=(
            "`None` in place of `False`, which only an `if` reads; a text for no slot.",
            "the name of a new file before it is renamed, and that a folder is opened as one.",
        ),
    ),
    Held(
        "closed registers",
        (
            "flopmeter_agent/closed.py",
            "flopmeter_agent/closed_room.py",
            "flopmeter_agent/closed_rows.py",
            "flopmeter_agent/packing.py",
        ),
        (
            "tests/unit/agent/test_closed.py",
            "tests/unit/agent/test_closed_disks.py",
            "tests/unit/agent/test_closed_formats.py",
            "tests/unit/agent/test_closed_room.py",
            "tests/unit/agent/test_packing.py",
        ),
        left=("`None` in place of `False`, which nobody but an `if` reads.",),
    ),
    Held("admit", ("flopmeter_collector/admit.py",), ("tests/unit/collector/test_admit.py",)),
    Held(
        "sqlite ledger",
        ("flopmeter_collector/ledger/sqlite/*.py",),
        (
            "tests/contract/test_ledger.py",
            "tests/contract/test_ledger_log.py",
            "tests/contract/test_ledger_words.py",
            "tests/integration/collector/test_sqlite_file.py",
            "tests/integration/collector/test_ledger_rights.py",
            "tests/unit/collector/ledger/test_sqlite_alone.py",
            "tests/unit/collector/ledger/test_sqlite_files.py",
            "tests/unit/collector/ledger/test_sqlite_sentences.py",
            "tests/unit/collector/ledger/test_sqlite_several.py",
            "tests/unit/collector/relay/test_ledger_rows.py",
        ),
        select="not postgres",
        left=(
            "how a copy is named where it would be foreign: it was made of a ledger.",
            "`None` in place of `False`, which nobody but an `if` reads.",
            "`uri=True`: an SQLite that was built with USE_URI reads an address without it.",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Score:
    """What became of a module's mutants.

    Attributes:
        name: the module.
        made: mutants, but for those that only write SQL in other letters.
        found: of them, those a test noticed.
        survivors: names of the others, with what became of them.
        covered_percent: branches and lines its tests go through, together.
        unmutated_count: functions mutmut leaves alone because they are decorated.
        seconds: processor time of its tests, unchanged, start and counting included.
        day: when it was measured, UTC.
    """

    name: str
    made: int
    found: int
    survivors: tuple[str, ...]
    covered_percent: float
    unmutated_count: int
    seconds: float
    day: str

    @property
    def percent(self) -> float:
        """Share of the mutants that a test noticed, in percent."""
        return 100 * self.found / self.made if self.made else 100.0

    @property
    def kept(self) -> bool:
        """Whether the module is as well tested as promised."""
        return self.percent >= LEAST_SCORE_PERCENT and self.covered_percent == 100


def lay_flat(root: Path, target: Path, held: Held) -> None:
    """Copy packages and tests beside each other, with mutmut's settings for one module."""
    shutil.rmtree(target, ignore_errors=True)
    roots = [Path(package) for package in PACKAGES]
    for path in tracked_files(root):
        inside = path.relative_to(root)
        package = next((each for each in roots if inside.is_relative_to(each)), None)
        if package is not None:
            inside = inside.relative_to(package.parent)
        elif inside.parts[0] not in ("tests", "docs") and len(inside.parts) > 1:
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / inside)
    own = held.files[0].split("/")[0]
    others = sorted(each.name for each in roots if each.name != own)
    settings: dict[str, list[str]] = {
        "source_paths": [own],
        "only_mutate": list(held.files),
        "pytest_add_cli_args_test_selection": list(held.tests),
        "pytest_add_cli_args": ["-k", held.select] if held.select else [],
        "also_copy": [*others, "tests", "docs", "pyproject.toml"],
    }
    lines = ["[mutmut]"]
    for name, given in settings.items():
        lines += [f"{name}=", *(f"  {each}" for each in given)] if given else []
    lines.append("use_git_change_detection=false")
    lines.append(f"timeout_multiplier={_PATIENCE}")
    (target / "setup.cfg").write_text("\n".join(lines) + "\n")


def covered(folder: Path, python: Path, held: Held) -> tuple[float, float]:
    """Lines and branches its own tests go through, in percent, and their processor time in s.

    Not the time by the clock: that is the machine's, and of its disks.
    """
    environ = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "COVERAGE_FILE": str(folder / ".coverage"),
        "FLOPMETER_MUTANTS": "1",
    }
    package = ",".join(f"*/{each}" for each in held.files)
    command = [str(python), "-m", "coverage", "run", "--branch", f"--include={package}"]
    command += ["-m", "pytest", "-q", "-p", "no:cacheprovider", *held.tests]
    command += ["-k", held.select] if held.select else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"the tests of {held.name} fail unchanged:\n{done.stdout[-3000:]}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = [str(python), "-m", "coverage", "json", "-q", "-o", "coverage.json"]
    subprocess.run(report, cwd=folder, env=environ, check=True)
    totals = json.loads((folder / "coverage.json").read_text())["totals"]
    return float(totals["percent_covered"]), seconds


def score(root: Path, build: Path, python: Path, held: Held, workers: int) -> Score:
    """Run a module's mutants against its own tests."""
    folder = build / held.name.replace(" ", "-")
    lay_flat(root, folder, held)
    covered_percent, seconds = covered(folder, python, held)
    environ = {**os.environ, "PYTHONPATH": "", "FLOPMETER_MUTANTS": "1"}
    command = [str(python.with_name("mutmut")), "run", "--max-children", str(workers)]
    with (folder / "mutmut.log").open("wb") as log:
        subprocess.run(command, cwd=folder, env=environ, stdout=log, stderr=log, check=True)
    codes: dict[str, int | None] = {}
    for pattern in held.files:
        for path in (folder / "mutants").glob(f"{pattern}.meta"):
            codes |= json.loads(path.read_text())["exit_code_by_key"]
    codes = {name: code for name, code in codes.items() if code != _SKIPPED}
    same = {
        name
        for pattern in held.files
        for path in (folder / "mutants").glob(pattern)
        for name in same_statements(path)
    }
    codes = {name: code for name, code in codes.items() if name.rpartition(".")[2] not in same}
    survivors = tuple(
        f"{name}: {_SURVIVED[code]}" for name, code in codes.items() if code in _SURVIVED
    )
    unmutated = sum(unmutated_functions(path) for each in held.files for path in folder.glob(each))
    return Score(
        held.name,
        len(codes),
        len(codes) - len(survivors),
        survivors,
        covered_percent,
        unmutated,
        seconds,
        datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


_SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA|FROM|WHERE|VALUES|AND|ORDER|CONFLICT|SET|RETURNING)\b"
    r"|\bexcluded\.|> \(sequence, "
)


def same_statements(path: Path) -> set[str]:
    """Mutants that only write SQL in other letters, which SQLite reads alike.

    Args:
        path: a file mutmut made, which holds every function's mutants beside its original.
    """
    text = path.read_text()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    rows = text.splitlines()
    functions = {
        node.name: rows[node.body[0].lineno - 1 : node.end_lineno]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds) and "__mutmut_" in node.name
    }
    same = set()
    for name, body in functions.items():
        whole = functions.get(f"{name.rpartition('__mutmut_')[0]}__mutmut_orig", body)
        if (
            whole != body
            and len(whole) == len(body)
            and all(
                before == after or (before.lower() == after.lower() and _SQL.search(before))
                for before, after in zip(whole, body, strict=True)
            )
        ):
            same.add(name)
    return same


def unmutated_functions(path: Path) -> int:
    """Functions of a module that are decorated."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return sum(
        isinstance(node, kinds) and bool(node.decorator_list)
        for node in ast.walk(ast.parse(path.read_text()))
    )
