"""Measures the budgets of docs/performance.md beside their limits, in one run.

Owns: the order of the cases, the table of docs/performance.md, build/bench.json, standard output.
May touch: everything the cases touch; build/ and docs/performance.md.
Called by ``make bench``. Exit 1 when a budget is not kept.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from bench import (  # noqa: E402
    agent_cases,
    collector_cases,
    kernel_cases,
    kernel_peers,
    relay_cases,
    scrape_cases,
)
from bench.result import table  # noqa: E402
from support.page_part import put  # noqa: E402

PART = """Measured {day} on {cores} cores ({machine}), Python {python}, kernels {form}, load average {load:.1f} by other work at the start:

{table}
"""  # noqa: E501 - one sentence a line


def processor() -> str:
    """The processor's own name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> int:
    """Measure, print, write."""
    load = os.getloadavg()[0]
    results = [
        *agent_cases.cases(),
        *collector_cases.cases(),
        *scrape_cases.cases(),
        *relay_cases.cases(),
        *kernel_cases.cases(),
        *kernel_peers.cases(),
    ]
    text = PART.format(
        day=datetime.datetime.now(datetime.UTC).date(),
        cores=os.cpu_count(),
        machine=processor(),
        python=platform.python_version(),
        load=load,
        form="compiled" if kernel_cases.COMPILED else "interpreted",
        table=table(results),
    )
    print(text)
    put(TESTS.parent / "docs" / "performance.md", "bench", text)
    build = TESTS.parent / "build"
    build.mkdir(exist_ok=True)
    rows = [result.to_json() for result in results]
    (build / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
