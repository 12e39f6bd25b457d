"""Real faults against real processes, too long for every run of the suite.

Owns: the list of cases, docs/faults.md and standard output.
May touch: everything the cases touch, and docs/faults.md.
Called by ``make faults`` (``CASE=failover``: one of them). Exit 1 when a promise is not kept.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from faults import failover, full, kills, network, shift, storage, takeover  # noqa: E402


class Outcome(Protocol):
    """What a case measured."""

    @property
    def kept(self) -> bool:
        """Whether what is promised held."""

    def rows(self) -> Iterable[tuple[str, str, str]]:
        """Lines of the page: what, measured, promised."""


CASES: dict[str, tuple[str, Callable[[], Outcome]]] = {
    "kills": (
        "An agent that samples every 0.1 s and reports every 0.2 s, and its collector on a SQLite "
        "ledger, are killed by SIGKILL in turn: up to "
        f"{kills.LONGEST_LIFE_S} s after their start, or as an answer is read. Each reading and "
        "each answer is written down before the agent sees it; after each kill of a collector its "
        "ledger is held against the answers, and in the end against the readings.",
        kills.measure,
    ),
    "storage": (
        "strace makes one call of one process on its own files fail: every write, sync, allocation "
        f"and rename of a life in turn (all or each STEP-th), with {', '.join(storage.ERRORS)} "
        "each; then each kind of call for good. The life ends in order, the disk works again, and "
        "the next life has to make ledger and truth agree.",
        storage.measure,
    ),
    "full": (
        f"The agent's state folder on a disk (tmpfs) of {full.ROOMY} that is filled to the last "
        f"byte while it meters, with two SIGKILLs; on one of {full.SIZE}, which does not hold what "
        f"an agent reserves; the ledger on one of {full.SIZE} until no commit is possible. Then "
        "there is room again.",
        full.measure,
    ),
    "network": (
        "Agent and collector in two network namespaces; "
        f"{network.FAULT_S:.0f} s each of {network.LOSS_PERCENT} % loss of reports, of as much of "
        "answers, of no answer at all, of a partition, and of an unplugged link, with three "
        "SIGKILLs in between.",
        network.measure,
    ),
    "shift": (
        "An agent is killed and comes back in a time namespace whose boot time is a week ahead, "
        "then ten years more, then in one whose clocks are an hour further.",
        shift.measure,
    ),
    "failover": (
        "The primary of three PostgreSQL servers under Patroni (strict synchronous mode; "
        f"{failover.settings()}) is killed with its Patroni by SIGKILL, while nodes report every "
        "5 s to two collectors.",
        failover.measure,
    ),
    "takeover": (
        "Of two collectors on one PostgreSQL ledger the one that leads is killed; of the next two "
        "it is stopped, and later let run on.",
        takeover.measure,
    ),
}
"""Name: what is done, and the measurement."""

BEGIN, END = "<!-- {} begins -->", "<!-- {} ends -->"

PAGE = """# Real faults

`make faults` runs each case against real processes and writes this page.
`make faults CASE=NAME` runs one of them and replaces its part.
`KILLS=N` sets how often `kills` kills (2,000 without); with `STEP=N` every Nth fault of
`storage` is tried (all without).
The cases `kills`, `storage`, `full`, `network` and `shift` end on a line of JSON each.
They need root on Debian 12, and strace, nftables and util-linux.
An agent process there is the one in production, but that its readings and answers are written
down before it sees them; truth is worked out from that file alone.
The simulated ones are in [fault-simulation.md](fault-simulation.md).
"""


def part(name: str, told: str, outcome: Outcome, seconds: float) -> str:
    """One case's part of the page."""
    day = datetime.datetime.now(datetime.UTC).date()
    lines = [
        BEGIN.format(name),
        f"## {name}",
        "",
        told,
        f"Measured {day} on {os.cpu_count()} cores, Python {platform.python_version()}, in "
        f"{seconds:.0f} s.",
        "",
        "| what | measured | promised |",
        "|---|---|---|",
        *(f"| {what} | {found} | {promised} |" for what, found, promised in outcome.rows()),
        END.format(name),
    ]
    return "\n".join(lines) + "\n"


def placed(page: str, name: str, text: str) -> str:
    """The page with a case's part in its place, or at the end."""
    begin, end = BEGIN.format(name), END.format(name) + "\n"
    if begin not in page:
        return f"{page.rstrip()}\n\n{text}"
    return page[: page.index(begin)] + text + page[page.index(end) + len(end) :]


def main(names: list[str]) -> int:
    """Run cases, print, write."""
    target = TESTS.parent / "docs" / "faults.md"
    kept = True
    for name in names or list(CASES):
        told, measure = CASES[name]
        began = time.monotonic()
        outcome = measure()
        text = part(name, told, outcome, time.monotonic() - began)
        print(text)
        page = target.read_text() if target.exists() else PAGE
        target.write_text(placed(page, name, text))
        kept &= outcome.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
