"""Runs every test in three processes of pytest, and ends on one line as pytest would.

Owns: which tests run beside which, and the closing line of both.
May touch: three processes of pytest; standard output.
Called by ``make test``. Explained in docs/adr/0040-lanes-of-tests.md.

Tests of processes wait most of their time, for ports, periods and ends; the others compute, and the
simulation does so on every core. Each fills what those before it leave, and gives way to them.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

PYTEST = (sys.executable, "-m", "pytest")

LANES: Mapping[str, tuple[str, ...]] = {
    "waiting": (*PYTEST, "tests/integration"),
    "computing": (
        *("nice", "-n", "10"),
        *(*PYTEST, "--ignore=tests/integration", "--ignore=tests/simulation"),
    ),
    "simulating": ("nice", "-n", "15", *PYTEST, "tests/simulation"),
}
"""What each process runs: together every test there is, whatever folder it is born in."""

REPORT = re.compile(r"=+ (ERRORS|FAILURES|warnings summary|slowest|short test summary)\b")
CLOSING = re.compile(r"(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in ([\d.]+)s\b")
OUTCOMES = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
PLURALS = {"warning": "warnings", "error": "errors"}
WIDTH = 80


@dataclass
class Lane:
    """One process of pytest.

    Attributes:
        name: of the lane.
        counts: outcome -> tests, by its closing line; empty where it has none yet.
        seconds: how long it took by that line.
        bad: what its summary says of tests that failed.
        code: its exit code.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    bad: list[str] = field(default_factory=list)
    code: int = 0

    def follow(self, lines: IO[str], printing: threading.Lock) -> None:
        """Print progress as it comes, and the report at its end in one piece."""
        report: list[str] = []
        with lines:
            for line in lines:
                self._note(line)
                if report or REPORT.match(line):
                    report.append(line)
                else:
                    with printing:
                        print(line, end="", flush=True)
        with printing:
            print(*report, sep="", end="", flush=True)

    def _note(self, line: str) -> None:
        if line.startswith(("FAILED ", "ERROR ")):
            self.bad.append(line)
        closing = CLOSING.match(line)
        if closing:
            self.seconds = float(closing[2])
            self.counts = Counter()
            for said in closing[1].split(", "):
                number, _, outcome = said.partition(" ")
                self.counts[outcome.removesuffix("s")] += int(number)


def closing_line(lanes: Sequence[Lane]) -> str:
    """What pytest would have said of all lanes in one; a lane without an end is an error."""
    counts: Counter[str] = Counter()
    for lane in lanes:
        counts += lane.counts
        counts["error"] += not lane.counts
    said = [
        f"{counts[name]} {PLURALS.get(name, name) if counts[name] > 1 else name}"
        for name in OUTCOMES
        if counts[name]
    ]
    seconds = max(lane.seconds for lane in lanes)
    return f" {', '.join(said)} in {seconds:.2f}s ".center(WIDTH, "=")


def main(commands: Mapping[str, Sequence[str]] = LANES) -> int:
    """Run all lanes; returns the greatest of their exit codes."""
    printing = threading.Lock()
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands.values()
    ]
    # They hear an interrupt too, end, and say what they have.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    lanes = [Lane(name) for name in commands]
    followers = []
    for lane, process in zip(lanes, processes, strict=True):
        assert process.stdout is not None
        followers.append(threading.Thread(target=lane.follow, args=(process.stdout, printing)))
        followers[-1].start()
    for lane, process, follower in zip(lanes, processes, followers, strict=True):
        follower.join()
        lane.code = abs(process.wait()) or int(not lane.counts)
        if not lane.counts:
            print(f"The {lane.name} tests ended with {lane.code} and without a closing line.")
    signal.signal(signal.SIGINT, before)
    print(*(line for lane in lanes for line in lane.bad), sep="", end="")
    print(closing_line(lanes))
    return max(lane.code for lane in lanes)


if __name__ == "__main__":
    sys.exit(main())
