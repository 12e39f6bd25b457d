"""Every write and sync of agent and collector fails once, in turn, and for good, with real errors.

Owns: the sweep over calls and errors, and what is read of strace's log.
May touch: sites of its own, and strace, which makes the calls of one process on its own files fail.
Called by ``make faults`` (tests/faults/run.py).
What must hold: a process ends with a sentence or goes on, never with a crash; nothing that was
acknowledged is missing at any time; and once the disk works again, ledger and truth agree.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from faults.site import Result, Site, joined, site

CALLS = ("pwrite64", "write", "fsync", "fdatasync", "fallocate", "ftruncate", "rename")
ERRORS = ("EIO", "ENOSPC", "EINTR")
FILES = {
    "agent": ("journal", "closed", "hours", "lock"),
    "collector": ("ledger.db", "ledger.db-wal", "ledger.db-journal", "ledger.db-shm"),
}
FOR_GOOD = (1, 4)
"""From which call on a disk that has broken for good fails: at the start, and a moment later."""

ROUNDS, ANSWERED, AFTERMATH_S, LIFE_LIMIT_S = 8, 2, 1.0, 30.0
"""A life is over after so many rounds and answered keys, and so long after its fault; or this long.
"""

SITES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """One error of one call of one process.

    Attributes:
        target: ``agent`` or ``collector``.
        call, error: the system call, and what it returns.
        number: which call of that name on the process' own files, from 1.
        for_good: whether each later one fails too.
    """

    target: str
    call: str
    error: str
    number: int
    for_good: bool = False

    def inject(self) -> str:
        """As strace is told."""
        return f"{self.call}:error={self.error}:when={self.number}{'+' * self.for_good}"


def traced(running: Site, target: str, log: Path, fault: Fault | None) -> tuple[str, ...]:
    """The words before a command that make strace watch its own files, and break one call."""
    folder = running.state if target == "agent" else running.ledger.parent
    paths = [folder]
    for name in FILES[target]:
        paths += [folder / name, folder / f"{name}.new"]
    # -D: the process stays this one's child, so that signals reach it and not strace.
    words = ["strace", "-D", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    for path in paths:
        words += ["-P", str(path)]
    return (*words, *(["-e", f"inject={fault.inject()}"] if fault else ()))


def live(folder: Path, target: str, fault: Fault | None) -> tuple[Counter[str], Result]:
    """One life under strace, from an empty folder to an orderly stop, then a healed one.

    Returns:
        How often each call was made, and how it ended.
    """
    log = folder / "strace.log"
    with site(folder) as running:
        prefix = traced(running, target, log, fault)
        if target == "agent":
            running.agent_prefix = prefix
        else:
            running.collector_prefix = prefix
        running.start_collector()
        running.start_agent()
        running.wait_until_served()
        _wait(running, log if fault else None)
        process = running.agent if target == "agent" else running.collector
        running.end_in_order(process, target)
        running.agent_prefix = running.collector_prefix = ()
        if target == "collector":
            running.check_acknowledged()
        result = running.result(running.settle())
    text = log.read_text(errors="replace") if log.exists() else ""
    problems = [*result.problems, *_crashes(folder)]
    if fault is not None and "(INJECTED)" not in text:
        problems.append("the call was never made")
    counts = Counter(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    return counts, replace(result, problems=problems)


def _wait(running: Site, log: Path | None) -> None:
    """Let them live: until the call was broken, and a moment longer, so that its harm shows."""
    deadline = time.monotonic() + LIFE_LIMIT_S
    until = None if log else 0.0
    while time.monotonic() < deadline:
        running.read_witness()
        account = running.account
        if until is None and log is not None and log.exists():
            broken_now = "(INJECTED)" in log.read_text(errors="replace")
            until = time.monotonic() + AFTERMATH_S if broken_now else None
        metered = account.rounds >= ROUNDS and len(account.acknowledged) >= ANSWERED
        if metered and until is not None and time.monotonic() >= until:
            return
        for process in (running.agent, running.collector):
            if process is not None and process.poll() is not None:
                return
        time.sleep(0.02)


def _crashes(folder: Path) -> list[str]:
    """What a log must not hold, however the disk fails."""
    return [
        f"{log.name} holds a traceback"
        for log in folder.glob("*.log")
        if "Traceback (most recent call last)" in log.read_text(errors="replace")
    ]


def faults(target: str, counts: Counter[str], step: int) -> list[Fault]:
    """Every `step`th call with every error, and each call's disk broken for good."""
    found = [
        Fault(target, call, error, number)
        for call in CALLS
        for number in range(1, counts[call] + 1)
        for error in ERRORS
    ][::step]
    # For good only what a disk does for good: an interrupted call may be made again for ever.
    return found + [
        Fault(target, call, error, number, for_good=True)
        for call in CALLS
        for number in FOR_GOOD
        for error in ("EIO", "ENOSPC")
        if number <= counts[call]
    ]


@dataclass(frozen=True)
class Sweep:
    """What the sweep found.

    Attributes:
        lives: faults tried and faults there are, by process.
        made: calls of one life, by process.
        unmade: faults whose call that life did not make: a later start, a faster machine.
        result: all lives together.
    """

    lives: dict[str, tuple[int, int]]
    made: dict[str, int]
    unmade: int
    result: Result

    @property
    def kept(self) -> bool:
        """Whether what is promised held."""
        return self.result.kept

    def rows(self) -> Sequence[tuple[str, str, str]]:
        """Lines of the page: what, measured, promised."""
        return [
            *(
                (f"writes and syncs of one life, {who}", str(count), "")
                for who, count in self.made.items()
            ),
            *(
                (f"faults tried, {who}", f"{tried} of {there}", "")
                for who, (tried, there) in self.lives.items()
            ),
            ("of these, lives that did not make the call", str(self.unmade), ""),
            *(row for row in self.result.rows() if row[1:] != ("0", "")),
        ]


def measure() -> Sweep:
    """Count the calls of a life of each process, then break them; STEP=N takes every Nth fault."""
    step = int(os.environ.get("STEP", "1"))
    results: list[Result] = []
    lives, made, unmade = {}, {}, 0
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(SITES_AT_ONCE) as pool:
        for target in FILES:
            counts, result = live(_folder(Path(name), f"{target}-counted"), target, None)
            results.append(result)
            made[target] = counts.total()
            todo = faults(target, counts, step)
            lives[target] = len(todo), len(faults(target, counts, 1))
            for fault, result in zip(
                todo,
                pool.map(lambda each: broken(Path(name), each), todo),
                strict=True,
            ):
                if "the call was never made" in result.problems:
                    unmade += 1
                    kept = [each for each in result.problems if "never made" not in each]
                    result = replace(result, problems=kept)
                if not result.kept:
                    print(result.line(case="storage", fault=fault.inject(), target=target))
                results.append(result)
    whole = joined(results)
    print(whole.line(case="storage", faults=sum(tried for tried, _ in lives.values())), flush=True)
    return Sweep(lives, made, unmade, whole)


def broken(folder: Path, fault: Fault) -> Result:
    """A life with one fault."""
    own = _folder(folder, re.sub(r"\W+", "-", f"{fault.target} {fault.inject()}"))
    return live(own, fault.target, fault)[1]


def _folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
