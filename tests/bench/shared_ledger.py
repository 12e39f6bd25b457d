"""What several collectors commit to one PostgreSQL ledger in the same time as one.

Owns: the measurement and its part of docs/scaling.md.
May touch: a PostgreSQL server and processes of its own; docs/scaling.md.
Called by ``make shared-ledger``. Commits stand in one line, so this shows what that costs.
"""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from flopmeter_collector import backends  # noqa: E402
from flopmeter_collector.ledger.base import Batch, StoredVector  # noqa: E402
from support.ingest import RECORD, key, vector  # noqa: E402
from support.page_part import put  # noqa: E402
from support.postgres import serving  # noqa: E402

SECONDS = 8.0
KEYS = 2_000
"""Vectors in one commit: 250 nodes of 8 devices that reported during the commit before."""

COLLECTORS = (1, 2, 4)


def commit(place: str, number: int, start: object, results: object) -> None:
    """Be one collector: commit a vector of each of its keys again and again."""
    record = replace(RECORD, node=f"n{number}", device=f"GPU-{number}")
    with contextlib.closing(backends.collect(place, simulated=False)) as ledger:
        keys = [key(record, phase=phase) for phase in range(KEYS)]
        records = {record.record_id: record}
        waits = []
        sequence = 0
        start.wait()  # type: ignore[attr-defined]
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            sequence += 1
            values = vector(sequence)
            began = time.monotonic()
            ledger.commit(
                Batch(records, tuple(StoredVector(of, 0, sequence, values) for of in keys))
            )
            waits.append(time.monotonic() - began)
        # The first commit adds the keys; that is not the usual case.
        results.put((len(waits) - 1, sorted(waits[1:])))  # type: ignore[attr-defined]


def measure(collectors: int) -> tuple[float, float]:
    """Vectors a second of all collectors together, and the median time of a commit in ms."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(collectors), context.Queue()
    with serving({"max_wal_size": "4GB", "shared_buffers": "256MB"}) as server:
        place = server.create("ledger")
        backends.collect(place, simulated=False).close()
        processes = [
            context.Process(target=commit, args=(place, number, start, results))
            for number in range(collectors)
        ]
        for process in processes:
            process.start()
        found = [results.get(timeout=120) for _ in processes]
        for process in processes:
            process.join()
    waits = sorted(wait for _, some in found for wait in some)
    return sum(count for count, _ in found) * KEYS / SECONDS, waits[len(waits) // 2] * 1e3


def lines() -> Iterator[str]:
    """The part of the page."""
    day = datetime.datetime.now(datetime.UTC).date()
    load = os.getloadavg()[0]
    yield (
        f"Measured {day} by `make shared-ledger`, server and collectors on the same "
        f"{os.cpu_count()} cores, fsync on, no standby, load average {load:.1f} at the start; "
        f"{KEYS} vectors a commit, each compared with the row that is there."
    )
    yield ""
    yield "| collectors | vectors committed a second, all together | median time of a commit |"
    yield "|---|---|---|"
    for collectors in COLLECTORS:
        rate, wait_ms = measure(collectors)
        yield f"| {collectors} | {rate:,.0f} | {wait_ms:.0f} ms |"


def main() -> int:
    """Measure, print, write."""
    text = "\n".join(lines()) + "\n"
    print(text)
    put(TESTS.parent / "docs" / "scaling.md", "shared-ledger", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
