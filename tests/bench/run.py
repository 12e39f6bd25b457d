"""Measures the budgets of docs/performance.md beside their limits, in one run.

Owns: the order of the cases, the table on standard output and build/bench.json.
May touch: everything the cases touch; build/.
Called by ``make bench``. Exit 1 when a budget is not kept.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from bench import agent_cases, collector_cases  # noqa: E402
from bench.result import table  # noqa: E402


def main() -> int:
    """Measure, print, write."""
    results = [*agent_cases.cases(), *collector_cases.cases()]
    print(f"Python {platform.python_version()}, {platform.machine()}, interpreted kernels\n")
    print(table(results))
    build = TESTS.parent / "build"
    build.mkdir(exist_ok=True)
    rows = [result.to_json() for result in results]
    (build / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
