"""`make test`: processes of pytest that are one result, and miss no test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.suite import LANES, PYTEST, main


def says(text: str, code: int) -> Sequence[str]:
    """A command that prints this and ends so."""
    return (sys.executable, "-S", "-c", f"import sys; print({text!r}); sys.exit({code})")


PASSED = "tests/a.py ...   [100%]\n=========== 3 passed, 1 skipped in 2.50s ==========="


@pytest.mark.parametrize(
    ("first", "second", "code", "closing"),
    [
        ((PASSED, 0), ("= 4 passed in 61.00s (0:01:01) =", 0), 0,
         "7 passed, 1 skipped in 61.00s"),
        ((PASSED, 0), ("= 1 failed, 2 errors in 1.00s =", 1), 1,
         "1 failed, 3 passed, 1 skipped, 2 errors in 2.50s"),
        (("= 1 failed in 9.00s =", 1), (PASSED, 0), 1,
         "1 failed, 3 passed, 1 skipped in 9.00s"),
        # One that was killed said nothing: that is no success of the other.
        ((PASSED, 0), ("tests/b.py ..", 137), 137, "3 passed, 1 skipped, 1 error in 2.50s"),
        ((PASSED, 0), ("= no tests ran in 0.01s =", 5), 5,
         "3 passed, 1 skipped, 1 error in 2.50s"),
        # Never a success that says so with the wrong code, nor without a word.
        ((PASSED, 0), ("", 0), 1, "3 passed, 1 skipped, 1 error in 2.50s"),
    ],
)  # fmt: skip
def test_one_result(
    first: tuple[str, int],
    second: tuple[str, int],
    code: int,
    closing: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Counts are added up, the longest time stands, and the worst exit code is the whole's."""
    assert main({"first": says(*first), "second": says(*second)}) == code
    last = capfd.readouterr().out.splitlines()[-1]
    assert last.strip("= ") == closing
    # .ci/run looks for such a line.
    assert re.match(r"=+ .*(passed|failed|error).* in [0-9.]+s", last)


def test_failures_are_named_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    """A report is not torn by the other's progress, and failed tests stand above the last line."""
    named = "FAILED tests/x.py::test_y - assert"
    failed = f"== FAILURES ==\nassert 1 == 2\n{named}\n= 1 failed in 1.00s ="
    assert main({"first": says(failed, 1), "second": says(PASSED, 0)}) == 1
    said = capfd.readouterr().out
    assert failed in said
    assert said.splitlines()[-2] == named


def test_every_test_is_in_one_lane() -> None:
    """What lanes are given one leaves out, so that no folder can fall between them."""
    words = {name: [word for word in lane if "tests/" in word] for name, lane in LANES.items()}
    left_out = sorted(words.pop("computing"))
    given = sorted(word for lane in words.values() for word in lane)
    assert left_out == [f"--ignore={folder}" for folder in given]
    assert all((ROOT / folder).is_dir() for folder in given)


@pytest.mark.parametrize("of_the_machine", [{}, {"CI": "true", "GITHUB_ACTIONS": "true"}])
@pytest.mark.parametrize(("require_all", "same"), [("1", "True"), ("", "False")])
def test_ci_says_the_same_twice(
    require_all: str, same: str, of_the_machine: dict[str, str]
) -> None:
    """Under REQUIRE_ALL=1 a property is tried on the same examples in every run, by hand on new.

    Whatever the machine calls itself.
    """
    script = "import conftest, hypothesis; print(hypothesis.settings().derandomize)"
    named = {"FLOPMETER_MUTANTS", "CI", "GITHUB_ACTIONS"}
    environ = {name: held for name, held in os.environ.items() if name not in named}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT / "tests",
        env={**environ, **of_the_machine, "REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == same


TWO = """
import gc, logging, sys
before = logging.getLogger().handlers[:], gc.get_threshold(), sys.getswitchinterval()

def test_that_sets_everything():
    logging.getLogger().handlers[:] = [logging.StreamHandler()]
    gc.set_threshold(1, 2, 3)
    sys.setswitchinterval(0.25)

def test_that_comes_after():
    handlers = {type(each) for each in logging.getLogger().handlers} & {logging.StreamHandler}
    assert (handlers, gc.get_threshold(), sys.getswitchinterval()) == (set(), *before[1:])
"""


@pytest.mark.parametrize(("plugin", "code"), [("conftest", 0), ("no:conftest", 1)])
def test_no_test_leaves_its_process_to_the_next(tmp_path: Path, plugin: str, code: int) -> None:
    """What a test sets for the whole process is put back; without that the next one sees it."""
    (tmp_path / "test_two.py").write_text(TWO)
    done = subprocess.run(
        [*PYTEST, "-q", "-c", "/dev/null", "-p", plugin, "--rootdir", tmp_path, tmp_path],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
