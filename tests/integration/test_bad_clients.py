"""Clients that lie, flood, fork and die: training goes on, and the meter's own figure stands.

One agent meters a scripted run to its end; each bad client then does its worst, and every figure
that the meter gives has to be the same afterwards, to the last FLOP.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.training_site import Site, until

LIMIT_S = 30.0

OPENING = """
import os, signal, socket, sys
import flopmeter
"""

LIAR = """
with flopmeter.meter(run="alpha", attempt="0", format="fp8=1", activity="inference") as meter:
    for step in range(1, 101):
        meter.step(step, flop=10**28, tokens=10**12)
"""

NONSENSE = """
with flopmeter.meter(run="alpha", attempt="0") as meter:
    for wrong in (float("nan"), float("inf"), -1, "many", None, 10**400):
        meter.step(1, flop=wrong)
        meter.step(1, tokens=wrong)
        meter.step(wrong)
        meter.phase(wrong)
    meter.step(1, flop=1)
assert meter.ignored >= 20, meter.ignored
"""

FLOOD = """
import json
said = {"v": 1, "run": "alpha", "attempt": "0", "scope": "rank", "stretches": [[0, 1, 1, 1, 0, 5]]}
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect(os.environ["FLOPMETER_SOCKET"])
client.setblocking(False)
sent = 0
for number in range(50_000):
    said["rank"], said["phase"], said["attempt"] = number, number, str(number)
    try:
        client.send(json.dumps(said).encode())
        sent += 1
    except BlockingIOError:
        pass
assert sent < 25_000, sent
"""

GARBAGE = """
for packet in (b"\\0" * 60_000, b"{", b"[]", b"null", b"\\xff" * 9_000, b"[" * 9_000):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(os.environ["FLOPMETER_SOCKET"])
    client.send(packet)
    client.close()
"""

FORKING = """
meter = flopmeter.meter(run="alpha", attempt="0")
meter.step(1, flop=7, scope="rank", rank=0)
meter.phase(1)
children = []
for rank in range(1, 6):
    pid = os.fork()
    if pid == 0:
        meter.step(1, flop=7, scope="rank", rank=rank)
        os.kill(os.getpid(), signal.SIGKILL) if rank % 2 else os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
meter.step(2, flop=7, scope="rank", rank=0)
meter.close()
"""

DYING = """
meter = flopmeter.meter(run="alpha", attempt="0")
meter.step(1, flop=7)
meter.phase(3)
os.kill(os.getpid(), signal.SIGKILL)
"""

BAD = {
    "lies": LIAR,
    "nonsense": NONSENSE,
    "floods": FLOOD,
    "garbage": GARBAGE,
    "forks": FORKING,
    "dies": DYING,
}


def metered(run: Any) -> dict[str, Any]:
    """Everything of a run that the meter says."""
    return {name: run[name] for name in run if name not in ("claims", "warnings")}


def test_the_meters_figure_stands(tmp_path: Path) -> None:
    """After each bad client every metered figure is what it was, and the agent still listens."""

    async def scenario() -> None:
        site = Site(tmp_path)
        async with site.collecting(), site.metering():
            before = await site.metered()
            for what, body in BAD.items():
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    OPENING + body,
                    env={**os.environ, "FLOPMETER_SOCKET": str(site.socket)},
                )
                code = await asyncio.wait_for(process.wait(), LIMIT_S)
                assert code == (-9 if what == "dies" else 0), what
                await site.claim(1, 1, "global", f"after-{what}", 1)

                run = await until(site.alpha, lambda r: r["claims"] is not None)
                assert metered(run) == metered(before), what
            # What the liar said stands beside the meter, flagged, and is merged into nothing.
            assert run["claims"]["agreement"] == "impossible"
            assert run["claims"]["executed_flop"] >= 10**30
            assert "fp8=1" in run["claims"]["formats"]
            assert run["declared"]["format"] is None
            assert run["declared"]["activity"] is None

    asyncio.run(scenario())


@pytest.mark.parametrize("agent", ["absent", "deaf"])
def test_training_never_waits(tmp_path: Path, agent: str) -> None:
    """Without an agent, or with one that reads nothing, a loop of steps costs next to nothing."""
    path = tmp_path / "agent.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if agent == "deaf":
        listener.bind(str(path))
        listener.listen(1)
    body = OPENING + (
        "import json, time\n"
        "started = time.perf_counter()\n"
        "with flopmeter.meter(run='a') as meter:\n"
        "    for step in range(20_000):\n"
        "        meter.step(step, flop=10**18, tokens=8)\n"
        "        if step % 100 == 0: meter.phase(step // 1000), meter.flush()\n"
        "print(json.dumps([time.perf_counter() - started, meter.ignored]))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", body],
        env={**os.environ, "FLOPMETER_SOCKET": str(path)},
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    listener.close()
    took_s, ignored = json.loads(answer.stdout)
    assert ignored == 0
    assert took_s / 20_000 < 200e-6
