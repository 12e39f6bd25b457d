"""Honest agents beside hostile peers in full size.

Owns: the measurement and its part of docs/security.md.
May touch: loopback and processes of its own, with priority where it may take one;
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

from support.beside import Beside, measure  # noqa: E402
from support.page_part import put  # noqa: E402

SECONDS = 20.0

PRIORITY = -19
"""Of the collector and the honest agents; the peer takes ten less."""

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


def row(name: str, found: Beside) -> str:
    """One line of the table."""
    half, usual, every = (
        f"{alone(share):.1f} -> {beside(share):.1f}"
        for alone, beside, share in (
            (found.alone.all_ms, found.beside.all_ms, 0.5),
            (found.alone.usual_ms, found.beside.usual_ms, 0.99),
            (found.alone.all_ms, found.beside.all_ms, 0.99),
        )
    )
    before, after, most = found.rss_mib
    return (
        f"| {name} | {found.done} | {half} | {usual} | {found.ratio:.1f} | {every} "
        f"| {before} -> {after}, at most {most} | {found.rows[0]:,} -> {found.rows[1]:,} "
        f"| {found.series:,}{', exact' if found.exact else ', NOT exact'} |"
    )


def lines(preferred: bool) -> Iterator[str]:
    """The part of the page."""
    day = datetime.datetime.now(datetime.UTC).date()
    yield (
        f"Measured {day} by `make hostile` on {os.cpu_count()} cores, the ledger in memory, "
        f"{'priority' if preferred else 'no priority'} for the collector, the honest "
        f"agents and, below them, the peer; load average {os.getloadavg()[0]:.0f} by other work."
    )
    yield (
        "Four honest agents send 100 reports a second together; waits in ms, alone -> beside. "
        "The ratio is of p99 in the median second: a collector that makes others wait does so in "
        "most seconds, and other work on the machine in a few."
    )
    yield ""
    yield "| a peer that | did | p50 | p99 | ratio | p99 of all seconds | MiB | rows | runs shown |"
    yield "|---|---|---|---|---|---|---|---|---|"
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
    """Go before other work, as on a machine of its own.

    Not in real time: the kernel stops a real-time process that computed for a whole second, for
    50 ms, and that would be measured.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    except PermissionError:
        return False
    return True


def main() -> int:
    """Measure, print, write."""
    text = "\n".join(lines(_take_priority())) + "\n"
    print(text)
    if not sys.argv[1:]:
        put(TESTS.parent / "docs" / "security.md", "hostile", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
