"""The size of an agent's memory after 90 days without a collector, and after 10,000 starts.

Owns: two virtual lives of one node of 8 devices, and the line printed of each.
May touch: a temporary folder.
Called by ``make journal-days``; tests/unit/agent/test_agent_memory.py runs shorter ones.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.registers import SM_CYCLE_COMPONENTS
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.counting_node import CountingNode

STEP_NS = 600 * NS_PER_S
STEPS_OF_90_DAYS = 90 * 24 * 6


def equal(node: CountingNode, from_ns: int) -> bool:
    """Whether what is held is what was counted, to the sub-unit."""
    held, truth = node.subunits(), node.truth(from_ns)
    return all(held[place] == truth[place] for place in SM_CYCLE_COMPONENTS)


def say(what: str, node: CountingNode, began_s: float, *, exact: bool) -> None:
    """One line."""
    loop = node.loop
    assert loop is not None
    held = loop.held()
    print(
        f"{what}: {node.disk_bytes()} bytes reserved, {len(held)} vectors, "
        f"{len({key.allocation for key in held})} allocations, "
        f"overflow {any(key.allocation == OVERFLOW for key in held)}, equal {exact}, "
        f"{time.monotonic() - began_s:.0f} s"
    )


def days(folder: Path) -> bool:
    """90 days of 10-minute samples, 100 users, a start a week."""
    began_s = time.monotonic()
    node = CountingNode(folder, period_ns=STEP_NS)
    node.start()
    node.step(NS_PER_HOUR)
    for step in range(STEPS_OF_90_DAYS):
        node.sensor.allocation = f"run:{step * 100 // STEPS_OF_90_DAYS}"
        if step % (7 * 144) == 500:
            node.start()
        node.step()
    exact = equal(node, NS_PER_HOUR)
    say("90 days", node, began_s, exact=exact)
    return exact


def starts(folder: Path) -> bool:
    """10,000 agents that live for a sample each."""
    began_s = time.monotonic()
    node = CountingNode(folder)
    node.start()
    node.step()
    for number in range(10_000):
        node.sensor.allocation = f"run:{number // 1_000}"
        node.start()
        node.step()
    exact = equal(node, NS_PER_S)
    say("10,000 starts", node, began_s, exact=exact)
    return exact


def main() -> int:
    """Both; 1 where a sum is not exact."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        outcomes = [days(Path(first)), starts(Path(second))]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
