"""What keeps the benchmark from slipping: ratios to a limit of the same run, judged in CI."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.quick import TRIES, Held, main
from bench.result import Result
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
