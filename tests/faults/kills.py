"""Agent and collector are killed with SIGKILL, over and over, while they meter.

Owns: when who is killed, and the figures of the loop.
May touch: a site of its own.
Called by ``make faults`` (tests/faults/run.py) and by tests/integration/test_kills.py.
What must hold: whatever was acknowledged is in the ledger the moment its collector is dead, at most
one round of readings was in flight at each kill, and in the end ledger and truth agree to the unit.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults.site import SAMPLE_PERIOD_S, Result, Site, joined, site

LONGEST_LIFE_S = 1.5
"""A process is killed up to this long after its start: while it starts, catches up, or reports."""

KILLS_PER_SITE = 100
SITES_AT_ONCE = 2


def measure() -> Result:
    """Many sites, each killed a hundred times; KILLS=N sets how often in all."""
    kills = int(os.environ.get("KILLS", "2000"))
    with tempfile.TemporaryDirectory() as folder:

        def one(number: int) -> Result:
            own = Path(folder) / str(number)
            own.mkdir()
            todo = min(KILLS_PER_SITE, kills - number * KILLS_PER_SITE)
            result = kill_loop(own, kills=todo, seed=number)
            print(result.line(case="kills", seed=number), flush=True)
            return result

        with ThreadPoolExecutor(SITES_AT_ONCE) as pool:
            return joined(list(pool.map(one, range(-(-kills // KILLS_PER_SITE)))))


def kill_loop(folder: Path, *, kills: int, seed: int) -> Result:
    """Kill agent and collector in turn.

    Args:
        folder: an empty folder.
        kills: SIGKILLs of running processes.
        seed: decides the instants.
    """
    choice = random.Random(seed)
    with site(folder) as running:
        running.start_collector()
        running.start_agent()
        while running.kills < kills:
            agent_next = running.kills % 2 == 0
            # Every other one in a life that has come to metering, however slow the machine.
            if choice.random() < 0.5:
                running.wait_rounds(1)
                if agent_next:
                    time.sleep(choice.uniform(0.0, 3 * SAMPLE_PERIOD_S))
                else:
                    _next_answer(running)
            else:
                time.sleep(choice.uniform(0.0, LONGEST_LIFE_S))
            if agent_next:
                running.kill_agent()
            else:
                running.kill_collector()
        verdict = running.settle()
        if running.account.longest_drop > 1:
            rounds = running.account.longest_drop
            running.problems.append(f"{rounds} rounds in flight at one kill")
        return running.result(verdict)


def _next_answer(running: Site, limit_s: float = 5.0) -> None:
    """Wait for the instant an answer is read: what it promises must be on the disk by then."""
    running.read_witness()
    before = sum(running.account.acknowledged.values())
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        running.read_witness()
        if sum(running.account.acknowledged.values()) > before:
            return
        time.sleep(0.001)
