"""Measures the budgets of docs/performance.md beside their limits, in one run.

Owns: the order of the cases, docs/performance.md, build/bench.json and standard output.
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
    relay_cases,
    scrape_cases,
)
from bench.result import table  # noqa: E402

PAGE = """# Performance

`make bench` measures each line beside its limit or peer in the same run.
It writes this page and `build/bench.json`.
Times are processor time, save the time between reports and the p99 of an answer.
Machines are noisy: trust the ratios of one run, and absolute figures to about 40 %.
A live key is a user or phase of a device that changes between two reports.
Kernels over blocks ran {form} ([ADR 31](adr/0031-kernels-compiled-by-the-block.md)); their budgets are those of compiled ones.

`make bench-quick` measures in under 50 s what must not slip, and CI fails on its ratios, never on a time.
The budget of a line is there its limit in the same run times a greatest ratio, about 1.4 times the greatest seen in six runs on a loaded machine; `tests/bench/quick.py` has them.
A line above it is measured three times before it fails.

Measured {day} on {cores} cores ({machine}), Python {python}, load average {load:.1f} at the start:

{table}

The import is that of modules pip has compiled: a checkout that may write no bytecode takes 1.5 times as long.
Half of what the agent adds to its libraries are 81 dataclasses.
A scrape renders anew what changed since the last one; where every run changes between two scrapes it costs what the row says.

What is not measured: a real driver's calls, more than 100 connections, a fleet, a soak.
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
    ]
    page = PAGE.format(
        day=datetime.datetime.now(datetime.UTC).date(),
        cores=os.cpu_count(),
        machine=processor(),
        python=platform.python_version(),
        load=load,
        form="compiled" if kernel_cases.COMPILED else "interpreted",
        table=table(results),
    )
    print(page)
    (TESTS.parent / "docs" / "performance.md").write_text(page)
    build = TESTS.parent / "build"
    build.mkdir(exist_ok=True)
    rows = [result.to_json() for result in results]
    (build / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
