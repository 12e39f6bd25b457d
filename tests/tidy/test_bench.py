"""What keeps the benchmark from slipping: ratios to a limit of the same run, judged in CI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.collector_cases import Stream, usual_p99_ms
from bench.quick import TRIES, Held, main
from bench.result import Result, table
from support.requirements import ROOT

KEYS = {"name", "value", "unit", "limit", "limit_name", "ratio", "budget", "ok"}


def measures(*values: float, limit: float = 10.0) -> Callable[[], Result]:
    """A measurement that gives these values, one after the other."""
    waiting = iter(values)
    return lambda: Result("a line", next(waiting), "us", limit, "a peer", 0)


def test_kept(tmp_path: Path) -> None:
    """A line at its greatest ratio is kept, whatever its absolute value, and written."""
    assert main([Held(measures(2e9, limit=1e9), 2.0)], tmp_path) == 0
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert set(row) == KEYS
    assert (row["ratio"], row["budget"], row["ok"]) == (2.0, 2e9, True)


def test_noise(tmp_path: Path) -> None:
    """A line that is slow once is measured again, and kept."""
    assert main([Held(measures(90.0, 20.0), 2.0)], tmp_path) == 0


def test_slowdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that stays slow fails with a sentence, and is written as it was."""
    assert main([Held(measures(*[21.0] * TRIES), 2.0)], tmp_path) == 1
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert not row["ok"]
    said = capsys.readouterr().err
    assert said == ("a line: 2.1 times a peer, where 2 is allowed; find what made it slower\n")


def test_ci() -> None:
    """CI measures before it tests, ends on what pytest says, and passes a slowdown on."""
    script = (ROOT / ".ci/run").read_text()
    measured, tested = script.index("make bench-quick"), script.index("make test")
    assert measured < tested
    assert script.rstrip().endswith('((status)) || status=$slow\nexit "$status"')


def test_a_line_without_a_budget() -> None:
    """It is shown without one, is neither kept nor broken, and fails nothing."""
    line = Result("a line", 7.0, "us", 10.0, "a peer", None)
    assert line.ok
    assert table([line]).splitlines()[-1] == "| a line | 7 us | 0 |  | a peer: 10 | 0.70 |  |"


def test_the_usual_second() -> None:
    """One second in which the machine stood still does not make the p99 of an answer."""
    usual = [(second + part / 200, 10.0) for second in range(4) for part in range(200)]
    assert usual_p99_ms(usual) == 10.0
    assert usual_p99_ms([*usual, *((4 + part / 200, 900.0) for part in range(200))]) == 10.0
    # What every second has is usual.
    slow = [(second + part / 200, 70.0) for second in range(4) for part in range(3)]
    assert usual_p99_ms([*usual, *slow]) == 70.0


def test_a_wait_that_the_server_made_is_counted() -> None:
    """A report that was due while the answer before was missing waits from when it was due."""
    stream = Stream.__new__(Stream)
    stream.waits, told = [], []

    async def send(due: float) -> None:
        told.append(due)
        if len(told) == 1:
            await asyncio.sleep(0.25)

    async def run() -> float:
        stream._send = send  # type: ignore[method-assign]
        began = asyncio.get_running_loop().time()
        await stream.keep_pace(began + 0.02, 0.1, began + 0.5)
        return began

    began = asyncio.run(run())
    late = [round(due - began, 2) for due in told]
    assert len(told) == 5 and late[1:3] == [0.12, 0.22]
