"""Many seeds on all cores, over any number of sittings.

Owns: which world a seed stands for, and how a sitting goes on, is stopped and is recorded.
May touch: one record file (a page of the documentation); processes of its own; two signals.
Called by `make simulate` (``python -m flopmeter.lab.simulation.campaign``) and tests/simulation.

A seed is an hour of 8 nodes with 8 devices; every hundredth is 45 days of 2 nodes with one device,
sampled once an hour. The record says how far the seeds were run without a gap, so that the next
sitting goes on there; a seed that fails is printed with its command and stays in the record.
It is written after every seed. SIGTERM and Ctrl-C let the seeds in hand end, and begin no more.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flopmeter.lab.simulation import pool
from flopmeter.lab.simulation.clones import Forks
from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.plan import Plan, plan_for, replay_command
from flopmeter.lab.simulation.record import Record, version_now
from flopmeter.lab.simulation.report import Outcome
from flopmeter.lab.simulation.world import simulate
from flopmeter_core.errors import FlopmeterError, UsageError

LONG_EVERY = 100
LONG_DAYS = 45
RECORD = Path("docs/fault-simulation-record.md")
SAY_EVERY = 50


def plan_of(seed: int) -> Plan:
    """The world a seed stands for in a campaign."""
    faults = tuple(TABLE)
    if seed % LONG_EVERY == 0:
        return plan_for(seed, nodes=2, devices=1, hours=LONG_DAYS * 24, faults=faults)
    return plan_for(seed, faults=faults)


def outcomes(
    seeds: Sequence[int],
    processes: int | None = None,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Simulate seeds on several processes; outcomes come in the seeds' order."""
    for done in pool.run(_one, seeds, processes, stopping=stopping):
        yield done.returned or _lost(done.seed, done.reason)


def _one(seed: int) -> Outcome:
    return simulate(plan_of(seed))


def _lost(seed: int, reason: str) -> Outcome:
    """A seed that came to no end: it failed, whatever it would have found."""
    return Outcome(
        seed=seed,
        truth={},
        ledger={},
        equal=False,
        in_flight_lost_ns=0,
        reverted_ns=0,
        acknowledged_lost=0,
        double_counted=0,
        forks=Forks(),
        virtual_s=0,
        wall_s=0,
        processor_s=0,
        faults=Counter(),
        violations=(f"the simulation itself failed: {reason}",),
        trace="",
        lines=(),
        command=replay_command(plan_of(seed)),
    )


def run(
    count: int,
    path: Path,
    processes: int | None = None,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Run the next seeds and write the record; returns how many failed.

    Raises:
        DataError: the record cannot be read.
        UsageError: another sitting writes it now.
    """
    with _alone(path.parent):
        record = Record.parse(path.read_text("utf-8")) if path.exists() else Record()
        version = version_now()
        first = record.seeds + 1
        failed = 0
        done = 0
        for outcome in outcomes(range(first, first + count), processes, stopping=stopping):
            done += 1
            record.add(outcome, nodes=plan_of(outcome.seed).nodes, version=version)
            _save(path, record)
            if not outcome.equal:
                failed += 1
                sys.stdout.write("\n".join(outcome.to_text()) + "\n")
            if done % SAY_EVERY == 0 or done == count:
                _say(f"seeds {first} to {record.seeds}: {failed} failed")
        if done < count:
            _say(f"stopped after seed {record.seeds}: {failed} failed; run it again to go on")
        return failed


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only sitting that writes a record in a folder."""
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError("another sitting is running; wait for it, or stop it") from error
        yield
    finally:
        os.close(place)


def _save(path: Path, record: Record) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(record.text(), "utf-8")
    os.replace(fresh, path)


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve ``python -m flopmeter.lab.simulation.campaign``."""
    parser = argparse.ArgumentParser(prog="campaign", description="Simulate many seeds.")
    parser.add_argument("--seeds", type=int, required=True, help="how many more")
    parser.add_argument("--record", type=Path, default=RECORD, help="page to go on with")
    parser.add_argument("--processes", type=int, default=None, help="all cores by default")
    words = parser.parse_args()
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: asked.append(got))
    try:
        failed = run(words.seeds, words.record, words.processes, stopping=lambda: bool(asked))
    except FlopmeterError as error:
        sys.stderr.write(f"campaign: {error}\n")
        return error.exit_code
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
