"""The record of all seeds that were ever run: how far, of which version, with what result.

Owns: the record's page, as text and back, and the fingerprint that says which version ran.
May touch: the source files of this program, reading; the record's file is campaign's.
Called by campaign; the page is docs/fault-simulation-record.md.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import flopmeter_agent
import flopmeter_collector
import flopmeter_core
import flopmeter_proto
from flopmeter.lab.simulation.report import Outcome
from flopmeter_core.errors import DataError

HOURS_PER_YEAR = 8_766
FINGERPRINT_DIGITS = 12
_PROGRAM = (flopmeter_agent, flopmeter_collector, flopmeter_core, flopmeter_proto)
_SOURCES = (".py", ".toml", ".sql")


@dataclass(frozen=True, slots=True)
class Version:
    """What ran: fingerprints of the simulator and of the program it simulates."""

    simulator: str
    program: str


def version_now() -> Version:
    """The version of the files this process was started from."""
    here = Path(__file__).parent
    program = [Path(package.__path__[0]) for package in _PROGRAM]
    return Version(fingerprint([here]), fingerprint(program))


def fingerprint(folders: Iterable[Path]) -> str:
    """The first digits of a SHA-256 over the source files of folders, with their names."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SOURCES and path.is_file():
                digest.update(f"{folder.name}/{path.relative_to(folder)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


@dataclass(slots=True)
class Sitting:
    """Seeds in a row that one version ran.

    Attributes:
        first, last: the seeds.
        version: what ran them.
        failed: how many of them failed.
    """

    first: int
    last: int
    version: Version
    failed: int = 0


@dataclass(slots=True)
class Record:
    """What was reached.

    Attributes:
        seeds: from 1 on, without a gap.
        failed: those of them that failed.
        node_hours: simulated time x nodes.
        faults: how often each struck.
        sittings: which version ran which seeds.
    """

    seeds: int = 0
    failed: list[int] = field(default_factory=list)
    node_hours: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    sittings: list[Sitting] = field(default_factory=list)

    def add(self, outcome: Outcome, *, nodes: int, version: Version) -> None:
        """Note the next seed's outcome."""
        self.seeds = outcome.seed
        if not self.sittings or self.sittings[-1].version != version:
            self.sittings.append(Sitting(outcome.seed, outcome.seed, version))
        self.sittings[-1].last = outcome.seed
        if not outcome.equal:
            self.failed.append(outcome.seed)
            self.sittings[-1].failed += 1
        self.node_hours += outcome.virtual_s / 3_600 * nodes
        self.faults.update(outcome.faults)

    def text(self) -> str:
        """The page."""
        faults = [f"| `{kind}` | {count} |" for kind, count in sorted(self.faults.items())]
        sittings = [
            f"| {each.first}-{each.last} | `{each.version.simulator}` | "
            f"`{each.version.program}` | {each.failed} |"
            for each in self.sittings
        ]
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
                "Each version is told by a fingerprint of its source files: "
                "the simulator's, and those of the program it simulates.",
                "A seed is another world under another simulator.",
                "",
                "| seeds | simulator | program | failed |",
                "|---|---|---|---|",
                *sittings,
                "",
                "| fault | times it struck |",
                "|---|---|",
                *faults,
                "",
            ]
        )

    @staticmethod
    def parse(text: str) -> Record:
        """Read a page back.

        Raises:
            DataError: it is no record.
        """
        seeds = re.search(r"^- Seeds run: (\d+)$", text, re.M)
        failed = re.search(r"^- Seeds failed: (none|[\d, ]+)$", text, re.M)
        hours = re.search(r"^- Simulated: (\d+) node-hours", text, re.M)
        if seeds is None or failed is None or hours is None:
            raise DataError("the record cannot be read; put it back, or remove it to begin anew")
        record = Record(seeds=int(seeds[1]), node_hours=float(hours[1]))
        if failed[1] != "none":
            record.failed = [int(seed) for seed in failed[1].split(",")]
        for kind, count in re.findall(r"^\| `(\w+)` \| (\d+) \|$", text, re.M):
            record.faults[kind] = int(count)
        row = r"^\| (\d+)-(\d+) \| `(\w+)` \| `(\w+)` \| (\d+) \|$"
        for first, last, simulator, program, count in re.findall(row, text, re.M):
            version = Version(simulator, program)
            record.sittings.append(Sitting(int(first), int(last), version, int(count)))
        return record
