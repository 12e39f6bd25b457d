"""An agent finds that its node slept for a week, then for ten years, then that an hour is missing.

Owns: the time namespaces and their offsets.
May touch: time namespaces (root; program unshare), and a site in which readings are stamped with
the kernel's own clocks.
Called by ``make faults`` (tests/faults/run.py).
What must hold: no work register changes by it, the time is in the register it belongs to, and
ledger and truth agree. A time namespace moves boot and monotonic time only; steps of the wall
clock, which is a label, are simulated (docs/fault-simulation.md).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from faults.site import Result, site, steady_scenario

WEEK_S, TEN_YEARS_S, HOUR_S = 7 * 86_400, 3_653 * 86_400, 3_600

SHIFTS = ((0, WEEK_S), (0, WEEK_S + TEN_YEARS_S), (HOUR_S, WEEK_S + TEN_YEARS_S + HOUR_S))
"""Offsets of monotonic and boot time against the kernel's own, in s, of one agent after another."""

SUSPENDED_NS = (WEEK_S + TEN_YEARS_S) * 10**9
DEVICES = 2
ROUNDS = 8
"""Readings in each life."""


def shifted(monotonic_s: int, boottime_s: int) -> tuple[str, ...]:
    """Words that start a program with other clocks."""
    words = ("unshare", "--time", "--fork", "--kill-child")
    return (*words, "--monotonic", str(monotonic_s), "--boottime", str(boottime_s))


def shift_clocks(folder: Path) -> Result:
    """One agent in the kernel's own time, then one in each shifted one."""
    with site(folder, scenario=steady_scenario(), system_clock=True) as running:
        running.start_collector()
        running.start_agent()
        running.wait_rounds(ROUNDS)
        for monotonic_s, boottime_s in SHIFTS:
            running.agent_prefix = shifted(monotonic_s, boottime_s)
            running.kill_agent()
            running.wait_rounds(ROUNDS)
        verdict = running.settle()
        # The clocks are read one after the other, so that each restart may be told some more.
        slept_ns = verdict.ledger["suspended_ns"] - DEVICES * SUSPENDED_NS
        if not 0 <= slept_ns < 10**9:
            running.problems.append(f"{slept_ns} ns too much or too little suspended")
        return running.result(verdict)


def measure() -> Result:
    """All shifts."""
    with tempfile.TemporaryDirectory() as folder:
        result = shift_clocks(Path(folder))
    print(result.line(case="shift"), flush=True)
    return result
