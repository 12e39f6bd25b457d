"""Many seeds on all cores, over any number of sittings.

Owns: which world a seed stands for, the pool of processes, and the record of what was reached.
May touch: one record file (a page of the documentation); processes of its own.
Called by `make simulate` (``python -m flopmeter.lab.simulation.campaign``) and tests/simulation.

A seed is an hour of 8 nodes with 8 devices; every hundredth is 45 days of 2 nodes with one device,
sampled once an hour. The record says how far the seeds were run without a gap, so that the next
sitting goes on there; a seed that fails is printed with its command and stays in the record.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.report import Outcome
from flopmeter.lab.simulation.world import Plan, plan_for, simulate

LONG_EVERY = 100
LONG_DAYS = 45
RECORD = Path("docs/fault-simulation-record.md")
SAVE_EVERY = 50
HOURS_PER_YEAR = 8_766


def plan_of(seed: int) -> Plan:
    """The world a seed stands for in a campaign."""
    faults = tuple(TABLE)
    if seed % LONG_EVERY == 0:
        return plan_for(seed, nodes=2, devices=1, hours=LONG_DAYS * 24, faults=faults)
    return plan_for(seed, faults=faults)


def outcomes(seeds: Sequence[int], processes: int | None = None) -> Iterator[Outcome]:
    """Simulate seeds on several processes; outcomes come in the seeds' order."""
    # Spawned, not forked: a fork would take locks and threads of the caller along.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
        yield from pool.map(_one, seeds, chunksize=4)


def _one(seed: int) -> Outcome:
    return simulate(plan_of(seed))


@dataclass(slots=True)
class Record:
    """What was reached.

    Attributes:
        seeds: from 1 on, without a gap.
        failed: those of them that failed.
        node_hours: simulated time x nodes.
        faults: how often each struck.
    """

    seeds: int = 0
    failed: list[int] = field(default_factory=list)
    node_hours: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Note the next seed's outcome."""
        self.seeds = outcome.seed
        if not outcome.equal:
            self.failed.append(outcome.seed)
        self.node_hours += outcome.virtual_s / 3_600 * plan_of(outcome.seed).nodes
        self.faults.update(outcome.faults)

    def text(self) -> str:
        """The page."""
        rows = [f"| `{kind}` | {count} |" for kind, count in sorted(self.faults.items())]
        return "\n".join(
            [
                "# Faults simulated so far",
                "",
                "Written by `make simulate SEEDS=N`, which goes on where this ends "
                "([fault-simulation.md](fault-simulation.md)).",
                "",
                f"- Seeds run: {self.seeds}",
                f"- Seeds failed: {', '.join(map(str, self.failed)) or 'none'}",
                f"- Simulated: {self.node_hours:.0f} node-hours, "
                f"{self.node_hours / HOURS_PER_YEAR:.1f} node-years",
                "",
                "| fault | times it struck |",
                "|---|---|",
                *rows,
                "",
            ]
        )

    @staticmethod
    def parse(text: str) -> Record:
        """Read a page back."""
        record = Record()
        seeds = re.search(r"^- Seeds run: (\d+)$", text, re.M)
        failed = re.search(r"^- Seeds failed: ([\d, ]+)$", text, re.M)
        hours = re.search(r"^- Simulated: (\d+) node-hours", text, re.M)
        record.seeds = int(seeds[1]) if seeds else 0
        record.failed = [int(seed) for seed in failed[1].split(",")] if failed else []
        record.node_hours = float(hours[1]) if hours else 0.0
        for kind, count in re.findall(r"^\| `(\w+)` \| (\d+) \|$", text, re.M):
            record.faults[kind] = int(count)
        return record


def run(count: int, path: Path, processes: int | None = None) -> int:
    """Run the next seeds and write the record; returns how many failed."""
    record = Record.parse(path.read_text("utf-8")) if path.exists() else Record()
    first = record.seeds + 1
    failed = 0
    for number, outcome in enumerate(outcomes(range(first, first + count), processes), start=1):
        record.add(outcome)
        if not outcome.equal:
            failed += 1
            sys.stdout.write("\n".join(outcome.to_text()) + "\n")
        if number % SAVE_EVERY == 0 or number == count:
            _save(path, record)
            sys.stdout.write(f"seeds {first} to {record.seeds}: {failed} failed\n")
            sys.stdout.flush()
    return failed


def _save(path: Path, record: Record) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(record.text(), "utf-8")
    os.replace(fresh, path)


def main() -> int:
    """Serve ``python -m flopmeter.lab.simulation.campaign``."""
    parser = argparse.ArgumentParser(prog="campaign", description="Simulate many seeds.")
    parser.add_argument("--seeds", type=int, required=True, help="how many more")
    parser.add_argument("--record", type=Path, default=RECORD, help="page to go on with")
    parser.add_argument("--processes", type=int, default=None, help="all cores by default")
    words = parser.parse_args()
    return 1 if run(words.seeds, words.record, words.processes) else 0


if __name__ == "__main__":
    sys.exit(main())
