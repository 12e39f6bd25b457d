"""A collector and one agent that takes claims, both in this process, on a scripted node.

Owns: their settings, the training scripts that claim at them, and the waiting for what comes of it.
May touch: a folder of the test, loopback sockets, child processes.
Called by the integration tests of claims and phases.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from flopmeter_agent.app import AgentApp
from flopmeter_agent.config import AgentConfig
from flopmeter_collector.app import CollectorApp
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running

LIMIT_S = 40.0

SCENARIO = """
seed = 1
acceleration = 600
duration_s = 100_000
[node]
count = 1
devices = 8
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "alpha"
start_s = 600
stop_s = 3_000
nodes = ["n0"]
tensor_activity = 0.4
clock_mhz = 1755
power_w = 600
"""
"""The run is on for four seconds of ours: a machine that stalls for two meters some of it."""

MOST_IDLE_BEFORE_S = 8 * 600
"""Device seconds of our scenario in which nobody works before the run."""

SCRIPT = """
import sys
import flopmeter
step_flop, scope, attempt, first = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
with flopmeter.meter(attempt=attempt, model="atlas", format="bf16=1", run=sys.argv[5]) as meter:
    for step in range(first, 101):
        meter.step(step, flop=step_flop, tokens=8, scope=scope)
"""


class Site:
    """A collector and one agent that takes claims."""

    def __init__(self, folder: Path, scenario: str = SCENARIO) -> None:
        """In a folder, on the node of a scenario."""
        self.folder = folder
        self._epoch_ns: int | None = None
        self.socket = folder / "agent.sock"
        (folder / "scenario.toml").write_text(scenario)
        self.collector: CollectorApp | None = None

    @contextlib.asynccontextmanager
    async def collecting(self) -> AsyncIterator[CollectorApp]:
        """Run the collector."""
        async with running(
            self.folder, simulated=True, http_listen="127.0.0.1:0", evaluate_period_s=0.1
        ) as collector:
            self.collector = collector
            yield collector

    @contextlib.asynccontextmanager
    async def metering(self, *, sample_period_s: float = 0.1) -> AsyncIterator[AgentApp]:
        """Run the agent."""
        assert self.collector is not None
        # A second agent goes on in the scenario where the first one was.
        self._epoch_ns = self._epoch_ns or SystemClock().wall_ns()
        config = AgentConfig(
            collector=self.collector.grpc_address,
            node="n0",
            state=self.folder / "agent",
            sensor="simulated",
            scenario=self.folder / "scenario.toml",
            scenario_epoch=self._epoch_ns,
            claims_socket=str(self.socket),
            sample_period_s=sample_period_s,
            report_period_s=sample_period_s,
        )
        agent, stop = AgentApp(config, SystemClock()), asyncio.Event()
        task = asyncio.create_task(agent.serve(stop))
        try:
            yield agent
        finally:
            stop.set()
            await task
            agent.close()

    async def claim(self, ranks: int, *arguments: object, run: str = "alpha") -> None:
        """Run a training script on some ranks."""
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                SCRIPT,
                *map(str, arguments),
                run,
                env={**os.environ, "FLOPMETER_SOCKET": str(self.socket), "RANK": str(rank)},
            )
            for rank in range(ranks)
        ]
        codes = await asyncio.wait_for(asyncio.gather(*(p.wait() for p in processes)), LIMIT_S)
        assert codes == [0] * ranks

    async def document(self) -> Any:
        """What the API says."""
        assert self.collector is not None
        url = f"http://{self.collector.http_address}/api/v1/totals"
        return json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))

    async def page(self, path: str) -> str:
        """What a reader of the collector sees."""
        assert self.collector is not None
        url = f"http://{self.collector.http_address}{path}"
        text: bytes = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        return text.decode()

    async def alpha(self) -> Any:
        """The run."""
        return alpha_in(await self.document())

    async def metered(self) -> Any:
        """The run of our scenario once all of it is in the ledger."""

        def over(document: Any) -> bool:
            # A report says all that its agent has, so what follows the run came after it.
            idle_s: float = document["unattributed"]["idle_device_seconds"]
            return alpha_in(document) is not None and idle_s > MOST_IDLE_BEFORE_S

        return alpha_in(await until(self.document, over))


def alpha_in(document: Any) -> Any:
    """The run, by an answer of the API; None where it is not known."""
    return next((run for run in document["runs"] if run["run"] == "alpha"), None)


async def until(ask: Callable[[], Awaitable[Any]], reached: Callable[[Any], bool]) -> Any:
    """Ask again until the answer is the awaited one."""
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while True:
        answer = await ask()
        if answer is not None and reached(answer):
            return answer
        assert asyncio.get_running_loop().time() < deadline, answer
        await asyncio.sleep(0.05)
