"""One seed decides everything: the same seed gives the same events, whatever process runs it."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys

import pytest

from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.plan import plan_for, replay_command
from flopmeter.lab.simulation.world import simulate

SEED = 11


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flopmeter", *arguments]


def test_same_seed_same_events() -> None:
    """Two runs in one process have the same trace; another seed has another one."""
    plans = [plan_for(seed, nodes=3, devices=2, faults=tuple(TABLE)) for seed in (SEED, SEED, 12)]
    first, second, other = (simulate(plan).trace for plan in plans)
    assert first == second != other


@pytest.mark.parametrize("hash_seed", ["0", "7"])
def test_printed_command_replays(hash_seed: str) -> None:
    """The printed command repeats every event in a process of its own, whatever its hash seed."""
    plan = plan_for(SEED, nodes=3, devices=2, faults=tuple(TABLE))
    here = simulate(plan, keep_trace=True)
    words = shlex.split(replay_command(plan))
    assert words[0] == "flopmeter"
    done = subprocess.run(
        _command(*words[1:], "--trace", "--json"),
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert _digest(done.stderr.splitlines()) == _digest(here.lines)
    wanted = here.to_json()
    printed = json.loads(done.stdout)
    assert list(printed) == list(wanted)
    took = {"wall_seconds": 0, "processor_seconds": 0}
    assert {**printed, **took} == {**wanted, **took}


def _digest(lines: list[str] | tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
