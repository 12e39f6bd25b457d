"""Becomes a training command after telling the node's agent which run it is.

Owns: the words of ``flopmeter exec``, the run file it leaves and the lock it holds, and the exec.
May touch: one new file in the runs folder, the environment, this process. Nothing of it waits, and
whatever fails, the command is started.
Called by the front door before the command line's libraries are loaded: from the start of the
process to the command there are 50 ms, so nothing is imported here that costs. docs/allocations.md.
"""

from __future__ import annotations

import os
import sys

from flopmeter.sdk import launch
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.run_file import RunFile

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

RUNS_FOLDER = "/run/flopmeter/runs"
RUNS_VARIABLE = "FLOPMETER_RUNS"
"""Another folder; empty leaves no run file."""

OPTIONS = ("run", "model", "activity", "format")

_HIGH_DESCRIPTOR = 200
"""The lock is held above the numbers that programs expect for their own files."""
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""Exit codes of env(1) and of shells for a command that cannot be started."""


def main(words: Sequence[str]) -> NoReturn:
    """Read the words behind ``exec``, leave the run file and become the command.

    Raises:
        UsageError: words that name no command, or an option that does not exist.
    """
    said, command = parse(words)
    execute(said, command)


def parse(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Divide words into options and the command behind ``--``.

    Raises:
        UsageError: as for `main`.
    """
    said: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0] != "--":
        name, separator, text = rest.pop(0).partition("=")
        if not name.startswith("--") or name[2:] not in OPTIONS:
            break
        if not separator:
            if not rest or rest[0] == "--":
                raise UsageError(f"{name} needs a text; write {name} TEXT before the --")
            text = rest.pop(0)
        said[name[2:]] = text
    else:
        if len(rest) > 1:
            return said, rest[1:]
    raise UsageError(
        "write flopmeter exec --run NAME [--model M] [--activity A] [--format F] -- COMMAND; "
        "see `flopmeter exec --help`"
    )


def execute(said: dict[str, str], command: Sequence[str]) -> NoReturn:
    """Leave the run file where there is a place for it, and become the command.

    Args:
        said: options by name; an empty text is none.
        command: the program and its arguments.
    """
    run = said.get("run") or os.environ.get(launch.RUN_VARIABLE, "")
    try:
        if not run:
            raise DataError("no run is named; write --run NAME")
        leave(
            RunFile(
                run,
                attempt=launch.attempt(),
                model=said.get("model", ""),
                activity=said.get("activity", ""),
                format=said.get("format", ""),
                job=os.environ.get("SLURM_JOB_ID", ""),
            )
        )
    except (DataError, OSError) as error:
        _say(f"the node's agent is not told of this run ({error}); the command starts all the same")
    environment = dict(os.environ)
    for name, text in {**said, "run": run}.items():
        if text:
            environment["FLOPMETER_" + name.upper()] = text
    _become(command, environment)


def leave(said: RunFile, folder: str | None = None) -> int:
    """Write a run file and take its lock, which the command inherits.

    Args:
        said: what the file says.
        folder: where to; None takes it from the environment.

    Returns:
        The descriptor that holds the lock; -1 where no file is wanted.

    Raises:
        DataError: a text that no run file can hold.
        OSError: there is no such folder, or it cannot be written.
    """
    import fcntl

    said.check()
    place = os.environ.get(RUNS_VARIABLE, RUNS_FOLDER) if folder is None else folder
    if not place:
        return -1
    name = f"{place}/{os.urandom(8).hex()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if not os.path.isdir(place):
        raise DataError(f"no agent keeps the folder {place} on this node")
    descriptor = os.open(f"{name}.new", flags, 0o644)
    try:
        os.fchmod(descriptor, 0o644)  # whatever the umask: the agent is another user
        os.write(descriptor, said.text.encode())
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now may it be seen: a file whose lock is free is one whose process has ended.
        os.rename(f"{name}.new", f"{name}.run")
    except OSError:
        os.close(descriptor)
        os.unlink(f"{name}.new")  # nobody else would, and a full folder hides runs
        raise
    try:
        try:
            held = fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH_DESCRIPTOR)
        except OSError:  # fewer descriptors are allowed
            held = os.dup(descriptor)
        os.set_inheritable(held, True)
    finally:
        os.close(descriptor)
    return held


def _become(command: Sequence[str], environment: dict[str, str]) -> NoReturn:
    # The module below `signal`, which would load `enum` for milliseconds.
    import _signal  # type: ignore[import-not-found,unused-ignore]

    # Python ignores these from its start, and what is ignored stays so over an exec.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environment)
    except FileNotFoundError:
        _say(f"the command {command[0]!r} is not found; check its name and PATH")
        os._exit(_NOT_FOUND)
    except OSError as error:
        _say(f"the command {command[0]!r} cannot be started ({error.strerror})")
        os._exit(_NOT_EXECUTABLE)


def _say(sentence: str) -> None:
    os.write(sys.stderr.fileno(), f"flopmeter: {' '.join(sentence.split())}\n".encode())
