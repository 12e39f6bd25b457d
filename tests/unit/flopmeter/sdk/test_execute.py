"""`flopmeter exec` up to the moment it becomes the command: words, run file, lock, sentences."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter import entry
from flopmeter.sdk import execute
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.run_file import RunFile


class BecameError(Exception):
    """The process would be another program now."""


class Exec:
    """What the process would become, and with which environment."""

    def __init__(self) -> None:
        self.command: list[str] = []
        self.environment: dict[str, str] = {}
        self.error: OSError | None = None

    def __call__(self, program: str, words: list[str], environment: dict[str, str]) -> None:
        """In place of the system call."""
        self.command, self.environment = words, environment
        raise self.error or BecameError

    def by(self, *words: str) -> None:
        """Say the words behind `flopmeter exec`."""
        with pytest.raises(BecameError):
            execute.main(words)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder an agent keeps."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def become(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exec]:
    """No exec, no signal changed, and whatever descriptor holds a lock is closed afterwards."""
    made = Exec()
    monkeypatch.setattr(os, "execvpe", made)
    monkeypatch.setenv(execute.RUNS_VARIABLE, str(runs))
    for name in ("FLOPMETER_RUN", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    before = set(os.listdir("/proc/self/fd"))
    yield made
    for number in set(os.listdir("/proc/self/fd")) - before:
        with contextlib.suppress(OSError):
            os.close(int(number))


def is_locked(path: Path) -> bool:
    """Whether somebody holds a file's lock."""
    with path.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_run_file_is_locked_for_the_command(
    become: Exec, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file says what was said, its lock is inherited, and the command knows its run."""
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    become.by("--run", "atlas", "--model=m", "--format", "fp8=1", "--", "train", "--run", "x")
    (file,) = runs.iterdir()
    assert file.suffix == ".run" and file.stat().st_mode & 0o777 == 0o644
    assert {"run atlas", "model m", "format fp8=1", "job 42"} <= set(file.read_text().splitlines())
    assert is_locked(file)
    assert become.command == ["train", "--run", "x"]
    said = {name: become.environment[f"FLOPMETER_{name}"] for name in ("RUN", "MODEL", "FORMAT")}
    assert said == {"RUN": "atlas", "MODEL": "m", "FORMAT": "fp8=1"}


def test_a_file_whose_process_ended_is_free(runs: Path) -> None:
    """Whoever closes the descriptor lets go of the lock."""
    descriptor = execute.leave(RunFile("atlas"), str(runs))
    (file,) = runs.iterdir()
    assert is_locked(file) and os.get_inheritable(descriptor)
    os.close(descriptor)
    assert not is_locked(file)


def test_few_descriptors(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no high descriptor is allowed, a low one holds the lock."""
    real = fcntl.fcntl

    def refused(descriptor: int, command: int, number: int) -> int:
        if command == fcntl.F_DUPFD:
            raise OSError(22, "Invalid argument")
        return int(real(descriptor, command, number))

    monkeypatch.setattr(fcntl, "fcntl", refused)
    descriptor = execute.leave(RunFile("atlas"), str(runs))
    (file,) = runs.iterdir()
    assert is_locked(file) and os.get_inheritable(descriptor)
    os.close(descriptor)


def test_no_file_is_wanted() -> None:
    """An empty folder's name leaves none."""
    assert execute.leave(RunFile("atlas"), "") == -1


@pytest.mark.parametrize(
    ("words", "folder", "why"),
    [
        (("--model", "m"), None, "no run is named; write --run NAME"),
        (("--run", "a\nb"), None, ""),
        (("--run", "a"), "/nonexistent/runs", "no agent keeps the folder /nonexistent/runs"),
        (("--run", "a"), "/proc", ""),
    ],
)
def test_the_command_starts_all_the_same(
    words: tuple[str, ...],
    folder: str | None,
    why: str,
    become: Exec,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever cannot be told is one line on standard error; the command is not held up."""
    if folder is not None:
        monkeypatch.setenv(execute.RUNS_VARIABLE, folder)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    become.by(*words, "--", "train")
    said = capfd.readouterr().err
    assert said.startswith("flopmeter: the node's agent is not told of this run (")
    assert why in said and said.count("\n") == 1
    assert become.command == ["train"] and list(runs.iterdir()) == []


def test_the_run_of_the_environment(
    become: Exec, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that the job's description names need not be said again."""
    monkeypatch.setenv("FLOPMETER_RUN", "atlas")
    become.by("--", "train")
    (file,) = runs.iterdir()
    assert "run atlas" in file.read_text().splitlines()


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FileNotFoundError(2, "No such file"), 127, "the command 'train' is not found"),
        (PermissionError(13, "Permission denied"), 126, "cannot be started (Permission denied)"),
    ],
)
def test_a_command_that_is_none(
    error: OSError,
    code: int,
    sentence: str,
    become: Exec,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The exit code is a shell's, with one sentence."""
    become.error = error

    def ended(found: int) -> Any:
        raise SystemExit(found)

    monkeypatch.setattr(os, "_exit", ended)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with pytest.raises(SystemExit) as caught:
        execute.main(["--run", "a", "--", "train"])
    assert caught.value.code == code
    assert sentence in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--run"], "--run needs a text; write --run TEXT before the --"),
        (["--run", "--", "x"], "--run needs a text"),
        (["--run", "a", "--"], "write flopmeter exec --run NAME"),
        (["--nonsense", "a", "--", "x"], "write flopmeter exec --run NAME"),
    ],
)
def test_words_that_name_no_command(words: list[str], sentence: str) -> None:
    """They are refused before anything is written."""
    with pytest.raises(UsageError, match=sentence):
        execute.parse(words)


def test_a_text_no_file_can_hold(runs: Path) -> None:
    """Nothing is left behind of a run that cannot be told."""
    with pytest.raises(DataError):
        execute.leave(RunFile("a\nb"), str(runs))
    assert list(runs.iterdir()) == []


# --- the front door ------------------------------------------------------------------------------


def test_exec_goes_to_the_sdk(become: Exec, monkeypatch: pytest.MonkeyPatch) -> None:
    """`flopmeter exec` becomes the command; help behind -- is the command's."""
    monkeypatch.setattr(sys, "argv", ["flopmeter", "exec", "--run", "a", "--", "train", "--help"])
    with pytest.raises(BecameError):
        entry.main()
    assert become.command == ["train", "--help"]


def test_wrong_words_end_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of a wrong use."""
    monkeypatch.setattr(sys, "argv", ["flopmeter", "exec", "--run", "a"])
    assert entry.main() == 64
    assert capsys.readouterr().err.startswith("flopmeter: write flopmeter exec --run NAME")


@pytest.mark.parametrize("words", [["exec", "--help"], ["--help"]])
def test_help_is_the_command_lines(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Help before the -- is ours."""
    monkeypatch.setattr(sys, "argv", ["flopmeter", *words])
    assert entry.main() == 0
    assert "Usage: flopmeter" in capsys.readouterr().out


@pytest.mark.parametrize("call", ["write", "rename"])
def test_full_folder(runs: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be finished is removed: left there, it would count for ever."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space left"):
        execute.leave(RunFile("atlas"), str(runs))
    assert list(runs.iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == before
