"""Honest agents beside hostile peers in full size.

Owns: the measurement and its part of docs/security.md.
May touch: loopback and processes of its own, with real-time priority where it may take one;
docs/security.md.
Called by ``make hostile``. What is measured stands in tests/support/beside.py.
"""

from __future__ import annotations

import datetime
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from support.beside import Beside, measure, quantile  # noqa: E402

SECONDS = 20.0

NO_PACE = ("--maximum-work-per-node-s", "0", "--maximum-work-per-address-s", "0")

CASES: tuple[tuple[str, str, float, int, tuple[str, ...]], ...] = (
    ("sends garbage", "garbage", SECONDS, 1_000_000, ()),
    ("sends a year-old stream again", "replay", SECONDS, 1_000_000, ()),
    ("floods on 50 streams", "flood", SECONDS, 50, ()),
    ("opens 10,000 streams", "streams", SECONDS, 10_000, ()),
    ("100 peers that read no answer", "deaf", SECONDS, 100, ()),
    ("names 1,000,000 users", "allocations", SECONDS, 1_000_000, ()),
    ("the same, with no pace set", "allocations", 90.0, 1_000_000, NO_PACE),
)

BEGIN, END = "<!-- hostile begins -->\n", "<!-- hostile ends -->\n"


def row(name: str, found: Beside) -> str:
    """One line of the table."""
    waits = (
        f"{quantile(found.alone_ms, share):.1f} -> {quantile(found.beside_ms, share):.1f}"
        for share in (0.5, 0.99)
    )
    before, after, most = found.rss_mib
    return (
        f"| {name} | {found.done} | {' | '.join(waits)} | {found.ratio:.1f} "
        f"| {before} -> {after}, at most {most} | {found.rows[0]:,} -> {found.rows[1]:,} "
        f"| {found.series:,}{', exact' if found.exact else ', NOT exact'} |"
    )


def lines(real_time: bool) -> Iterator[str]:
    """The part of the page."""
    day = datetime.datetime.now(datetime.UTC).date()
    yield (
        f"Measured {day} by `make hostile` on {os.cpu_count()} cores, the ledger in memory, "
        f"{'real-time priority' if real_time else 'no priority'} for the collector, the honest "
        f"agents and, below them, the peer; load average {os.getloadavg()[0]:.0f} by other work."
    )
    yield "Four honest agents send 100 reports a second together; waits in ms, alone -> beside:"
    yield ""
    yield "| a peer that | did | p50 | p99 | ratio | MiB | rows | runs shown |"
    yield "|---|---|---|---|---|---|---|---|"
    wanted = sys.argv[1:]
    for name, kind, seconds, size, flags in CASES:
        if wanted and kind not in wanted:
            continue
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            found = measure(kind, Path(folder), seconds=seconds, size=size, flags=flags)
        line = row(name, found)
        print(line, flush=True)
        yield line


def _take_priority() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    except PermissionError:
        return False
    return True


def main() -> int:
    """Measure, print, write."""
    text = "\n".join(lines(_take_priority())) + "\n"
    print(text)
    if not sys.argv[1:]:
        target = TESTS.parent / "docs" / "security.md"
        before, _, rest = target.read_text().partition(BEGIN)
        target.write_text(before + BEGIN + text + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
