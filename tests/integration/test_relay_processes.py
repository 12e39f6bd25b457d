"""An agent, two relays and a root as processes: kills, an outage, an empty disk lose nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from flopmeter_agent.scenario import parse_scenario
from flopmeter_collector import backends
from flopmeter_core.registers import Component
from support.collector import Child, child, command
from support.processes import free_port

SCENARIO = """
seed = 3
acceleration = 600
duration_s = 6000
[node]
count = 1
devices = 2
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "a"
start_s = 600
stop_s = 5400
nodes = ["n0"]
tensor_activity = 0.4
clock_mhz = 1700
power_w = 650
"""

FLAGS = ("--simulated", "--forward-period-s", "0.1", "--evaluate-period-s", "0.2")


def collector(folder: Path, name: str, port: int, upstream: int | None = None) -> list[str]:
    """The flags of one collector of the chain, behind its ledger."""
    flags = [*FLAGS, "--grpc-listen", f"127.0.0.1:{port}"]
    if upstream is not None:
        flags += ["--upstream", f"127.0.0.1:{upstream}", "--relay-name", name]
    return [str(folder / f"{name}.db"), *flags]


@contextlib.contextmanager
def agent(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """An agent whose scenario runs 600 times as fast as the clock."""
    scenario = folder / "scenario.toml"
    scenario.write_text(SCENARIO)
    process = subprocess.Popen(
        command(
            *("agent", "--sensor", "simulated", "--scenario", str(scenario), "--node", "n0"),
            *("--collector", f"127.0.0.1:{port}", "--state", str(folder / "agent")),
            *("--sample-period-s", "0.1", "--report-period-s", "0.2"),
        ),
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def measured(ledger: Path) -> int:
    """Tensor megacycles of run a in a ledger."""
    with contextlib.closing(backends.read(str(ledger))) as opened:
        return sum(
            stored.vector[Component.HMMA_MEGACYCLES]
            for stored in opened.vectors()
            if stored.key.allocation == "run:a"
        )


def until(done: object, what: str, seconds: float = 60) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_kills_outages_and_an_empty_disk(tmp_path: Path) -> None:
    """The root's figure is the scenario's truth to the unit, whatever happened on the way."""
    (tmp_path / "agent").mkdir()
    root_port, middle_port, leaf_port = free_port(), free_port(), free_port()
    root = collector(tmp_path, "root", root_port)
    middle = collector(tmp_path, "middle", middle_port, root_port)
    leaf = collector(tmp_path, "leaf", leaf_port, middle_port)

    def start(stack: contextlib.ExitStack, arguments: list[str]) -> Child:
        return stack.enter_context(child(Path(arguments[0]), *arguments[1:]))

    scenario = parse_scenario(SCENARIO)
    truth = sum(scenario.tensor_cycles("n0", device, 6000 * 10**9) // 10**6 for device in range(2))
    root_ledger = tmp_path / "root.db"
    with contextlib.ExitStack() as stack:
        first_root = start(stack, root)
        start(stack, middle)
        first_leaf = start(stack, leaf)
        stack.enter_context(agent(tmp_path, leaf_port))
        until(lambda: measured(root_ledger) > 0, "nothing reached the root")
        first_leaf.kill()
        second_leaf = start(stack, leaf)
        before = measured(root_ledger)
        until(lambda: measured(root_ledger) > before, "nothing after the kill of the leaf")
        first_root.kill()
        time.sleep(1.0)
        second_leaf.kill()
        for name in ("leaf.db", "leaf.db-wal", "leaf.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        start(stack, leaf)
        start(stack, root)
        until(lambda: measured(root_ledger) == truth, f"{truth} never came")
        time.sleep(0.5)
        assert measured(root_ledger) == truth
