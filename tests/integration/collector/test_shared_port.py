"""Several collectors of a PostgreSQL ledger on one port: each has agents, totals have all."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import urllib.request
from collections.abc import Callable

import psycopg
import pytest

from support.collector import Child, child
from support.ingest import stream, vector
from support.postgres import shared_server
from support.processes import free_port

AGENTS = 40
LIMIT_S = 30.0


@pytest.fixture
def url() -> str:
    """An empty database."""
    return shared_server().create(f"ledger_{secrets.token_hex(8)}")


def metric(collector: Child, name: str) -> str:
    """The value of a metric, of whatever labels; empty where there is none."""
    with urllib.request.urlopen(f"http://{collector.http}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


async def report(address: str, seconds: int) -> None:
    """Let every agent report once, each on a connection of its own."""

    async def agent(phase: int) -> None:
        async with stream(address) as sender:
            await sender.greet()
            await sender.send(seconds, vector(seconds), phase=phase)

    await asyncio.gather(*map(agent, range(AGENTS)))


@pytest.mark.slow
def test_two_processes_on_one_port(url: str) -> None:
    """Two collectors share a port: each takes some of the agents, and the totals have all."""
    flags = (
        *("--grpc-listen", f"127.0.0.1:{free_port()}", "--share-grpc-port"),
        *("--http-listen", "127.0.0.1:0", "--evaluate-period-s", "0.5"),
    )
    with child(url, *flags) as first, child(url, *flags) as second:
        assert first.address == second.address
        asyncio.run(report(first.address, 10))
        taken = [int(metric(each, "flopmeter_reports_total")) for each in (first, second)]
        assert sum(taken) == 2 * AGENTS  # a hello is one too
        assert min(taken) > 0
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT count(*) FROM vector").fetchone()
        assert rows == (AGENTS,)
        exports, run = "flopmeter_exports_totals", "flopmeter_run_compute_flop"
        wait_for(lambda: "1" in (metric(first, exports), metric(second, exports)))
        leads = metric(first, exports) == "1"
        leader, other = (first, second) if leads else (second, first)
        wait_for(lambda: metric(leader, run) != "")
        before = metric(leader, run)
        # Whoever goes takes nothing with it: its agents connect again, to the other one.
        other.kill()
        asyncio.run(report(leader.address, 20))
        wait_for(lambda: metric(leader, run) != before)


def test_a_port_is_not_shared_in_silence(url: str) -> None:
    """A second collector on a port is refused where either of them was not told to share it."""
    flags = ("--grpc-listen", f"127.0.0.1:{free_port()}")
    with (
        child(url, *flags),
        pytest.raises(AssertionError, match="it is taken"),
        child(url, *flags, "--share-grpc-port"),
    ):
        pass
