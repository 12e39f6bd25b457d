"""The Grafana dashboard as its checks see it: panels, queries, and PromQL that can be parsed.

Owns: finding every expression of the dashboard and putting values for Grafana's variables.
May touch: dashboards/flopmeter.json (reading).
Called by the integration tests and by the end-to-end run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from support.requirements import ROOT

PATH = ROOT / "dashboards/flopmeter.json"

VARIABLES = {
    # What Grafana puts for "All" (the variables' own allValue) and, at a scrape every 5 s, for
    # the window of a rate; the shorter test period still holds several samples in it.
    "$run": ".*",
    "$model": ".*",
    "$__rate_interval": "1m",
}
"""Variable -> what the checks put for it."""


@dataclass(frozen=True)
class Expression:
    """One query of the dashboard.

    Attributes:
        panel: the panel's title, or its number where it has none.
        promql: the query with every variable replaced.
    """

    panel: str
    promql: str


def load() -> dict[str, Any]:
    """Read the dashboard."""
    dashboard: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, those inside collapsed rows included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions(dashboard: Mapping[str, Any]) -> list[Expression]:
    """Every query of every panel.

    Raises:
        AssertionError: a variable nobody gave a value for.
    """
    found = []
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            title = panel["title"] or f"panel {panel['id']}"
            found.append(Expression(title, substituted(target["expr"])))
    return found


def substituted(expression: str) -> str:
    """Put a value for each of Grafana's variables.

    Raises:
        AssertionError: a variable nobody gave a value for.
    """
    for variable, replacement in VARIABLES.items():
        expression = expression.replace(variable, replacement)
    left = re.findall(r"\$\{?\w+", expression)
    assert not left, f"{left} have no value in VARIABLES"
    return expression
