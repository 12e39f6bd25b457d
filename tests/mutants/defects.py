"""Planted defects: each is put into a copy of the tree, where the test it names has to fail.

Owns: the reading of defects.toml, the copy, and what counts as found.
May touch: build/mutants; starts pytest there.
Called by tests/mutants/run.py; the tidy tests call `load` and `planted`.
"""

from __future__ import annotations

import concurrent.futures
import os
import queue
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.tree import PACKAGES, tracked_files

TABLE = Path(__file__).with_name("defects.toml")

_FAILED = 1
"""pytest's exit code when tests failed; a tree that cannot even be imported is another one."""

_LONGEST_S = 900
_LONGEST_MORE_S = 20
"""A run of several tests may take so much longer for each, on a machine that has much to do."""

_LONGEST_TEST_S = 240


@dataclass(frozen=True, slots=True)
class Defect:
    """One change of the code, and the test that has to fail with it.

    Attributes:
        name: in a few words.
        file: what is changed, from the root.
        before: text that occurs there once.
        after: what takes its place.
        test: pytest's name of the test.
    """

    name: str
    file: str
    before: str
    after: str
    test: str


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one defect.

    Attributes:
        defect: which.
        failed: the first test that failed; empty where none did.
        told: how its run ended.
    """

    defect: Defect
    failed: str
    told: str


def load(table: Path = TABLE) -> tuple[Defect, ...]:
    """Read the table."""
    rows = tomllib.loads(table.read_text(encoding="utf-8"))["defect"]
    return tuple(Defect(**row) for row in rows)


def planted(root: Path, defect: Defect) -> str:
    """The text of the changed file.

    Raises:
        ValueError: the defect fits in no place of its file, or in several.
    """
    text = (root / defect.file).read_text(encoding="utf-8")
    count = text.count(defect.before)
    if count != 1:
        raise ValueError(
            f"defect {defect.name!r} fits {count} times into {defect.file}: its code was changed, "
            "so write the defect anew"
        )
    return text.replace(defect.before, defect.after)


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git would commit."""
    shutil.rmtree(target, ignore_errors=True)
    for path in tracked_files(root):
        place = target / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def run_tests(tree: Path, python: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests on a copy of the tree, its packages before the installed ones."""
    roots = dict.fromkeys(str((tree / package).parent) for package in PACKAGES)
    longest_s = _LONGEST_S + _LONGEST_MORE_S * len(tests)
    # No bytecode: two versions of a file within a second and of one length look the same to it.
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(roots),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FLOPMETER_MUTANTS": "1",
    }
    command = [str(python), "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["--timeout", str(_LONGEST_TEST_S)]
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=tree,
            env=environ,
            capture_output=True,
            text=True,
            timeout=longest_s,
        )
    except subprocess.TimeoutExpired:
        return -1, f"did not end in {longest_s} s"
    return done.returncode, done.stdout


def find(tree: Path, python: Path, defect: Defect) -> Found:
    """Plant one defect in a copy of the tree, run its test, and take the defect out again."""
    path = tree / defect.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(planted(tree, defect), encoding="utf-8")
    try:
        code, output = run_tests(tree, python, [defect.test])
    finally:
        path.write_text(sound, encoding="utf-8")
    # A test that hangs says nothing of what is wrong.
    failed = re.search(r"^FAILED (?!.*Timeout)(.+?)(?: - .*)?$", output, re.MULTILINE)
    last = output.strip().splitlines()[-1] if output.strip() else f"exit code {code}"
    return Found(defect, failed[1] if failed and code == _FAILED else "", last)


def find_all(
    root: Path, build: Path, python: Path, defects: Sequence[Defect], say: Callable[[Found], None]
) -> list[Found]:
    """Plant each defect by itself, on as many copies of the tree as there are cores.

    A test that fails without any defect finds none.

    Raises:
        RuntimeError: the tests cannot be run at all.
    """
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    workers = os.cpu_count() or 1
    for number in range(workers):
        copy_tree(root, build / f"tree-{number}")
        trees.put(build / f"tree-{number}")
    tests = sorted({defect.test for defect in defects})

    def unchanged(number: int) -> tuple[int, str]:
        return run_tests(build / f"tree-{number}", python, tests[number::workers])

    failing: set[str] = set()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        # No worker without a test of its own: pytest would run the whole suite there.
        for code, output in pool.map(unchanged, range(min(workers, len(tests)))):
            named = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
            if code and not named:
                raise RuntimeError(f"the tests cannot be run:\n{output[-3000:]}")
            failing.update(named)

    def one(defect: Defect) -> Found:
        if any(name == defect.test or name.startswith(f"{defect.test}[") for name in failing):
            found = Found(defect, "", "its test fails without it")
        else:
            tree = trees.get()
            try:
                found = find(tree, python, defect)
            finally:
                trees.put(tree)
        say(found)
        return found

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, defects))
