"""Keeps the demo's child processes alive, and stops exactly those it started.

Owns: child processes by their pid, the backoff between their restarts, their captured stderr.
May touch: processes it started, one log file a child in the folder it is given; the clock it is
given. Starts no thread: the caller steps it.
Called by lab.demo. A child is told by the kernel to stop when its supervisor dies, however that
dies, so that no demo leaves a process behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from flopmeter_core.errors import FlopmeterError, invariant
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

BACKOFF_FIRST_NS = NS_PER_S // 5
BACKOFF_MAX_NS = 5 * NS_PER_S
HEALTHY_NS = 5 * NS_PER_S
"""A child that lived this long did start well: its next failure is a first one again."""

GIVE_UP_AFTER = 5
"""Failures in a row after which a child will not start by being tried again."""

STDERR_TAIL_BYTES = 4_096

# PR_SET_PDEATHSIG (1) outlives the exec that follows. The parent may be gone before it is set.
_PRELUDE = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, {signal}, 0, 0, 0)
if os.getppid() != {parent}:
    sys.exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class ChildFailedError(FlopmeterError):
    """A child process ended again and again; its own words say why."""

    exit_code = 69


@dataclass(slots=True)
class Child:
    """One supervised process.

    Attributes:
        name: what the demo calls it.
        arguments: program and arguments.
        log: file its standard error is appended to.
        restarts: how often it was started again.
        failures: ends in a row without a healthy life between them.
        started_ns: monotonic time of its last start in ns.
        due_ns: monotonic time in ns before which it is not started again.
        finished: whether it ended by itself with exit code 0; it is then not restarted.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    restarts: int = 0
    failures: int = 0
    started_ns: int = 0
    due_ns: int = 0
    finished: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """Its process id while it lives."""
        return self.process.pid if self.process is not None else None

    @property
    def alive(self) -> bool:
        """Whether it was alive at the last step."""
        return self.process is not None

    def stderr_tail(self) -> str:
        """The last lines it wrote on standard error."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - STDERR_TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""


class Supervisor:
    """Starts children, restarts those that die, stops them by their pids."""

    def __init__(
        self, clock: Clock, folder: Path, *, environ: Mapping[str, str] | None = None
    ) -> None:
        """Supervise nothing yet.

        Args:
            clock: gives the backoff its time.
            folder: where each child's ``NAME.log`` is written.
            environ: the environment of every child; this process's own when None.
        """
        self._environ = environ
        self._clock = clock
        self._folder = folder
        self._children: dict[str, Child] = {}

    @property
    def children(self) -> tuple[Child, ...]:
        """All children in the order they were added."""
        return tuple(self._children.values())

    @property
    def restarts(self) -> int:
        """How often any child was started again."""
        return sum(child.restarts for child in self._children.values())

    def add(self, name: str, arguments: Sequence[str]) -> Child:
        """Start a child and keep it alive from now on."""
        invariant(name not in self._children, f"there is one child named {name}")
        child = Child(name, tuple(arguments), self._folder / f"{name}.log")
        self._children[name] = child
        self._start(child)
        return child

    def step(self) -> None:
        """Look at every child once: note who died, start again who is due.

        Raises:
            ChildFailedError: a child ended GIVE_UP_AFTER times in a row soon after its start.
        """
        now_ns = self._clock.monotonic_ns()
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, child.process.returncode, now_ns)
            if child.process is None and not child.finished and now_ns >= child.due_ns:
                child.restarts += 1
                self._start(child)

    def stop(self, names: Iterable[str] | None = None, *, patience_s: float = 10) -> None:
        """Ask children to end, wait, and kill those that do not; they are not started again.

        Args:
            names: which; None for all.
            patience_s: how long all of them together may take to end by themselves.
        """
        chosen = [self._children.pop(name) for name in list(names or self._children)]
        living = [child.process for child in chosen if child.process is not None]
        for process in living:
            process.terminate()
        deadline_ns = self._clock.monotonic_ns() + int(patience_s * NS_PER_S)
        for process in living:
            left_s = max(0, deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
            try:
                process.wait(left_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, child: Child) -> None:
        prelude = _PRELUDE.format(signal=int(signal.SIGTERM), parent=os.getpid())
        with _append(child.log) as log:
            child.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", prelude, *child.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                # Ctrl-C on the terminal is for the demo, which then ends its children in order.
                start_new_session=True,
            )
        child.started_ns = self._clock.monotonic_ns()

    def _note_end(self, child: Child, returncode: int, now_ns: int) -> None:
        child.process = None
        if returncode == 0:
            child.finished = True
            return
        healthy = now_ns - child.started_ns >= HEALTHY_NS
        child.failures = 1 if healthy else child.failures + 1
        if child.failures >= GIVE_UP_AFTER:
            words = child.stderr_tail().splitlines()
            raise ChildFailedError(
                f"{child.name} ended {child.failures} times in a row, last with exit code "
                f"{returncode}: {words[-1] if words else 'it said nothing'}"
            )
        backoff_ns = min(BACKOFF_MAX_NS, BACKOFF_FIRST_NS << (child.failures - 1))
        child.due_ns = now_ns + backoff_ns


def _append(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
