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

## The collector at load

Profiles by py-spy (a collector as installed, streams that report every ten seconds, one core; shares of the processor time of its Python threads):

| what | before | now |
|---|---:|---:|
| a report: read, admitted, merged, answered | 43 % | 48 % |
| the totals: each key that changed, and each round's look at all devices | 40 % | 34 % |
| the commit, on its own thread | 6 % | 7 % |

The three largest costs now are reading a message into a key and a vector of integers (12 %), adding up what keys grew by (10 %), and admission with the merge (13 %).
The rest of a round's share is what a new fleet costs once.
What a report of 8 keys costs by itself, in us of processor time, both in one run: totals 155 -> 50, a round's look at its devices 50 -> 1, reading 57, merge 35, commit 35 to 40, admission 21, answer 14.
A streamed report of 1,000 nodes cost 391 us, and 337 with this, beside 90 of a bare echo; the rate that one core sustained rose from 2,100 to 2,600 a second.

The same report costs more in a large fleet: 600 us of 30,000 nodes, 532 of 20,000, 337 of 1,000.
Registers are Python objects, about 250 of them a report, and most of that is taken for memory that is in no cache; it was not separated.
So 2,000 reports a second (20,000 nodes) took 94 % of a core with a p99 of 154 ms, 1,000 a second 64 % with 20 to 24 ms, and 3,000 are more than one core of this machine does.
[Several processes on one port](scaling.md) are the way to more until registers lie in rows.

Tried, and did not help:

- To tell of a usual report, before its devices are looked at, that it places none of them better: 15 us a report, and 16 with it.
- A round that waits for answers after every 10 registers: an answer waits for its commit most of the time, so there is always one, and a round of 240,000 registers took half a minute.
- A timer for each unread answer: 7 us a report; one timer looks at all.

What is not measured: a real driver's calls. A fleet is measured by `make bench-fleet` ([scaling](scaling.md)).
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
