"""How long honest agents wait alone, and beside a peer that means harm; and what that peer leaves.

Owns: the measurement: honest agents, the peer's process, and what is read of the collector.
May touch: loopback; child processes; the ledger of a folder it is given.
Called by tests/integration/collector/test_hostile.py, small, and by `make hostile` in full size.

Honest agents speak from 127.0.0.1 and the peer from ::1, because an address is held to a share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from flopmeter_core.reports import KeyedVector
from flopmeter_proto.wire.stream import StreamWriter
from support.collector import Child, child
from support.hostile_peer import METHOD
from support.ingest import channel, hello, key, report, vector

TESTS = Path(__file__).parents[1]

AGENTS = 4
PAUSE_S = 0.04
"""Between two reports of an agent: 100 a second of all together, as 1,000 nodes would send."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long answers took: when each came, in s, and the wait for it, in ms."""

    found: Sequence[tuple[float, float]]

    def all_ms(self, share: float) -> float:
        """The wait that so many of all do not exceed."""
        return quantile(sorted(wait for _, wait in self.found), share)

    def usual_ms(self, share: float) -> float:
        """The wait that so many of a second's do not exceed, in the median second.

        What else runs on the machine stops a process for tens of ms now and then; it does so in
        few seconds, and a collector that makes others wait does so in most of them.
        """
        seconds: dict[int, list[float]] = {}
        for at, wait in self.found:
            seconds.setdefault(int(at), []).append(wait)
        return quantile(sorted(quantile(sorted(waits), share) for waits in seconds.values()), 0.5)


@dataclass(frozen=True, slots=True)
class Beside:
    """One measurement.

    Attributes:
        done: what the peer says it did, in its own words.
        alone, beside: waits of honest agents.
        rss_mib: resident memory before and after, and the most there was.
        rows: registers and hours in the ledger before and after.
        series: runs in the exposition.
        exact: whether the exposition's runs add up to the totals', to the last FLOP.
    """

    done: str
    alone: Waits
    beside: Waits
    rss_mib: tuple[int, int, int]
    rows: tuple[int, int]
    series: int
    exact: bool

    @property
    def ratio(self) -> float:
        """p99 beside the peer over p99 alone, each in a usual second."""
        return self.beside.usual_ms(0.99) / self.alone.usual_ms(0.99)


def quantile(waits_ms: Sequence[float], share: float) -> float:
    """The wait that so many do not exceed."""
    return waits_ms[min(len(waits_ms) - 1, int(len(waits_ms) * share))]


async def honest(address: str, seconds: float) -> Waits:
    """Waits for the answers to four agents that report 25 times a second."""
    waits: list[tuple[float, float]] = []

    async def agent(number: int) -> None:
        writer = StreamWriter()
        async with channel(address) as opened:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = opened.stream_stream(METHOD)()
            greeting = hello(node=f"honest-{number}", incarnation=f"{number + 99:032x}")
            await call.write(writer.hello(greeting).SerializeToString())
            await call.read()
            until = time.monotonic() + seconds
            sequence = 1
            named = key(incarnation=f"{number + 99:032x}")
            while time.monotonic() < until:
                raw = writer.report(report([KeyedVector(named, sequence, vector(sequence))]))
                began = time.monotonic()
                await call.write(raw.SerializeToString())
                await call.read()
                now = time.monotonic()
                waits.append((now, (now - began) * 1e3))
                sequence += 1
                await asyncio.sleep(PAUSE_S)
            call.cancel()

    await asyncio.gather(*(agent(number) for number in range(AGENTS)))
    return Waits(waits)


@contextlib.contextmanager
def peer(kind: str, address: str, seconds: float, size: int) -> Iterator[subprocess.Popen[str]]:
    """A hostile peer that has begun."""
    arguments = ["-m", "support.hostile_peer", kind, address, str(seconds), str(size)]
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def measure(kind: str, folder: Path, *, seconds: float, size: int, flags: Sequence[str]) -> Beside:
    """Measure honest agents alone, and then beside a hostile peer.

    Args:
        kind: of the peer.
        folder: for the ledger.
        seconds: of honest agents beside the peer; alone they take as long, 10 s at most.
        size: how much the peer is to do.
        flags: of the collector.
    """
    ledger = folder / "ledger.db"
    with child(
        ledger, "--grpc-listen", "localhost:0", "--http-listen", "127.0.0.1:0", *flags
    ) as collector:
        # A full pipe of log lines would hold the collector up.
        assert collector.process.stderr is not None
        threading.Thread(target=collector.process.stderr.read, daemon=True).start()
        port = collector.address.rpartition(":")[2]
        alone = asyncio.run(honest(f"127.0.0.1:{port}", min(10.0, seconds)))
        rss_before, _ = _rss_mib(collector.process.pid)
        rows_before = _rows(ledger)
        with peer(kind, f"[::1]:{port}", seconds + 1, size) as hostile:
            beside = asyncio.run(honest(f"127.0.0.1:{port}", seconds))
            done = hostile.communicate(timeout=600)[0].strip()
        rss_after, rss_most = _rss_mib(collector.process.pid)
        series, exact = _exposed(collector)
    return Beside(
        done=done,
        alone=alone,
        beside=beside,
        rss_mib=(rss_before, rss_after, rss_most),
        rows=(rows_before, _rows(ledger)),
        series=series,
        exact=exact,
    )


def _exposed(collector: Child) -> tuple[int, bool]:
    """How many runs the exposition has, and whether they add up to the totals.

    Both pages are read until no round came in between.
    """
    for _ in range(20):
        before = _read(collector, "/api/v1/totals")
        text = _read(collector, "/metrics")
        after = _read(collector, "/api/v1/totals")
        if json.loads(before)["runs"] == json.loads(after)["runs"]:
            break
    name = "flopmeter_run_compute_flop{"
    shown = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)]
    runs = json.loads(after)["runs"]
    return len(shown), sum(map(int, shown)) == sum(run["compute_flop"]["best"] for run in runs)


def _read(collector: Child, path: str) -> str:
    with urllib.request.urlopen(f"http://{collector.http}{path}", timeout=120) as response:
        text: str = response.read().decode()
        return text


def _rss_mib(pid: int) -> tuple[int, int]:
    """Resident memory now, and the most there was."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now // 1024, most // 1024


def _rows(ledger: Path) -> int:
    """Registers and hours in a ledger that others write."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM vector) + (SELECT count(*) FROM hour_vector)"
        ).fetchone()
    return int(found[0])
