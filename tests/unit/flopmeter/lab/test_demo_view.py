"""The demo's lines: counts are said as people say them."""

from __future__ import annotations

from typing import Any

import pytest

from flopmeter.lab.demo_view import Moment, plain_lines
from flopmeter_core.units import NS_PER_S


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
