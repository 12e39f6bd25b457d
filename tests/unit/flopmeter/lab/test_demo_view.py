"""The demo's lines: counts are said as people say them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flopmeter.lab.demo_view import (
    Addresses,
    Crossings,
    Moment,
    head_view,
    live_view,
    plain_lines,
)
from flopmeter.lab.ledger_totals import empty_totals
from flopmeter.lab.supervisor import Child
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock


@pytest.mark.parametrize(("nodes", "said"), [(1, "1 node"), (4, "4 nodes")])
def test_nodes(nodes: int, said: str) -> None:
    """One node is no nodes."""
    figures = {"floor": 0, "lower": 1, "best": 2, "upper": 3, "ceiling": 4}
    run: dict[str, Any] = {
        "run": "r",
        "model": None,
        "compute_flop": figures,
        "evidence": [],
        "busy_device_seconds": 1.0,
        "idle_device_seconds": 0.0,
        "unobserved_device_seconds": 0.0,
        "nodes": nodes,
        "devices": nodes,
        "thresholds": [],
    }
    document = {"runs": [run], "models": []}
    (line,) = plain_lines(Moment(NS_PER_S, 10 * NS_PER_S, document, fresh=True, children=()))
    assert said in line.split(" | ")


class Process(Child):
    """A child whose last words are given."""

    def stderr_tail(self) -> str:
        """What it said last."""
        return "" if self.log == Path() else str(self.log)


def child(
    name: str, *, alive: bool = True, failures: int = 0, restarts: int = 0, said: str = ""
) -> Child:
    """One of the demo's processes."""
    made = Process(name, (), Path(said), restarts=restarts, failures=failures)
    made.process = object() if alive else None  # type: ignore[assignment]
    return made


def seen(moment: Moment, crossings: Crossings | None = None) -> str:
    """What stands on the terminal."""
    screen = Console(width=160, file=io.StringIO(), force_terminal=False)
    screen.print(live_view(moment, crossings or Crossings()))
    found = screen.file.getvalue()  # type: ignore[attr-defined]
    return str(found)


HALF = (5 * NS_PER_S, 10 * NS_PER_S)


def test_before_the_first_report() -> None:
    """It is waited for, and the processes are counted."""
    told = seen(Moment(*HALF, None, fresh=False, children=(child("collector"), child("agent"))))
    assert "waiting for the first report" in told
    assert "2 of 2 processes alive" in told and "restarted" not in told
    assert "collector silent" not in told


def test_while_it_runs() -> None:
    """Totals, crossings, and how far the scenario is."""
    document = empty_totals((), SystemClock())
    crossings = Crossings()
    above = {"models": [{"model": "m", "thresholds": [{"id": "line", "state": "above"}]}]}
    crossings.note(above, 90 * NS_PER_S)
    crossings.note(above, 99 * NS_PER_S)
    told = seen(Moment(*HALF, document, fresh=True, children=()), crossings)
    assert "unattributed" in told and told.count("m crossed line at about") == 1
    assert "5 s of 10 s" in told


@pytest.mark.parametrize(("restarts", "words"), [(1, "restarted once"), (3, "restarted 3 times")])
def test_trouble(restarts: int, words: str) -> None:
    """A silent collector, restarts, and the last words of what fails again and again are shown."""
    children = (
        child("collector", alive=False, failures=2, restarts=restarts, said="x\nno port is free"),
        child("agent", failures=2),
        child("other", failures=1, said="not shown"),
    )
    document = empty_totals((), SystemClock())
    told = seen(Moment(*HALF, document, fresh=False, children=children))
    assert f"2 of 3 processes alive, {words}; collector silent, last figures shown" in told
    assert "collector: no port is free" in told and "agent: ended in silence" in told
    assert "not shown" not in told


def test_the_head_names_the_addresses() -> None:
    """For a browser, for Prometheus, and for agents."""
    screen = Console(width=160, file=io.StringIO())
    screen.print(head_view(Addresses(http="127.0.0.1:2", grpc="127.0.0.1:1")))
    told = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "http://127.0.0.1:2/metrics" in told and "127.0.0.1:1 (gRPC)" in told


def test_plain_lines_before_a_figure() -> None:
    """A pipe is told that there is none yet, and how often something was started again."""
    (line,) = plain_lines(Moment(*HALF, None, fresh=False, children=(child("a", restarts=2),)))
    assert line.endswith("waiting for the first figure | restarts 2")
