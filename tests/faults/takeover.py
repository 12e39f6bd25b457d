"""The collector that leads stops without ending: another one of the same ledger takes over.

Owns: how the leader is stopped, and the time until another exports the fleet's totals.
May touch: a PostgreSQL server and two collector processes of its own.
Called by ``make faults`` (tests/faults/run.py).
A stopped process is the hard case: its kernel still answers for it, so only the server can tell.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from support.collector import Child, child
from support.ingest import stream, vector
from support.low_line import low_line
from support.postgres import serving

LONGEST_S = 30.0


@dataclass(frozen=True)
class Takeover:
    """What was measured.

    Attributes:
        killed_s, frozen_s: time until another collector exported the totals, after SIGKILL and
            after SIGSTOP of the one that led.
        both_s: how long both showed totals once the stopped one ran on.
        transitions, repeated_transitions: rows of states, and those that stand twice.
    """

    killed_s: float
    frozen_s: float
    both_s: float
    transitions: int
    repeated_transitions: int

    @property
    def kept(self) -> bool:
        """Whether what is promised held."""
        return (
            max(self.killed_s, self.frozen_s) <= LONGEST_S
            and self.both_s < 1
            and self.transitions > 0
            and self.repeated_transitions == 0
        )

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Lines of the page: what, measured, promised."""
        limit = f"{LONGEST_S:.0f} s"
        yield "until another exports the totals, after SIGKILL", f"{self.killed_s:.1f} s", limit
        yield "the same, after SIGSTOP", f"{self.frozen_s:.1f} s", limit
        yield "both show totals once the stopped one runs on", f"{self.both_s:.1f} s", "below 1 s"
        yield "state transitions recorded", str(self.transitions), ""
        yield "of these twice", str(self.repeated_transitions), "0"


def measure() -> Takeover:
    """Kill the leader of two, then stop the leader of two."""
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        lines = str(low_line(Path(folder)))
        flags = ("--http-listen", "127.0.0.1:0", "--thresholds-dir", lines)
        url = server.create("ledger")
        with child(url, *flags) as first:
            asyncio.run(_report(first))
            _wait(lambda: _exports(first))
            with child(url, *flags) as second:
                began = time.monotonic()
                first.kill()
                killed_s = _wait(lambda: _exports(second)) - began
                with child(url, *flags) as third:
                    began = time.monotonic()
                    second.process.send_signal(signal.SIGSTOP)
                    frozen_s = _wait(lambda: _exports(third)) - began
                    began = time.monotonic()
                    second.process.send_signal(signal.SIGCONT)
                    both_s = _wait(lambda: not _exports(second)) - began
                    assert _exports(third)
        with psycopg.connect(url) as connection:
            rows = connection.execute(
                "SELECT model, threshold, state_before, state_after FROM transition"
            ).fetchall()
    return Takeover(killed_s, frozen_s, both_s, len(rows), len(rows) - len(set(rows)))


async def _report(collector: Child) -> None:
    async with stream(collector.address) as sender:
        await sender.greet()
        await sender.send(1, vector(100))


def _exports(collector: Child) -> bool:
    with urllib.request.urlopen(f"http://{collector.http}/metrics", timeout=60) as answer:
        return "\nflopmeter_exports_totals 1\n" in answer.read().decode()


def _wait(condition: object, limit_s: float = 2 * LONGEST_S) -> float:
    """Wait until a condition holds; returns the instant."""
    assert callable(condition)
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return time.monotonic()
