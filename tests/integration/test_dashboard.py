"""The Grafana dashboard is one Grafana can load, and asks only what Prometheus can answer.

Checked against Grafana's own type definitions, turned into JSON schemas (tests/data/grafana), and
by a PromQL parser. No Grafana is started: how it looks is not checked here.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from support.dashboard import expressions, load, panels, substituted
from support.requirements import ROOT, require

SCHEMAS = ROOT / "tests/data/grafana"

COLUMNS = 24
"""Width of Grafana's grid."""


def schema_findings(schema: Path, documents: list[Path]) -> str:
    """What a schema says of documents; empty when they are right."""
    program = require("check-jsonschema", "make venv-dev")
    completed = subprocess.run(
        [program, "--schemafile", schema, *documents], capture_output=True, text=True, timeout=60
    )
    return "" if completed.returncode == 0 else completed.stdout


def panel_findings(dashboard: dict[str, Any], folder: Path) -> str:
    """What the schemas of the panel types say of the dashboard's options and custom fields."""
    parts: dict[Path, list[Path]] = {}
    for panel in panels(dashboard):
        described = {
            "options": panel.get("options"),
            "custom": panel.get("fieldConfig", {}).get("defaults", {}).get("custom"),
        }
        for part, content in described.items():
            schema = SCHEMAS / f"{panel['type']}.{part}.schema.json"
            if content is None or not schema.exists():
                continue
            document = folder / f"panel-{panel['id']}-{part}.json"
            document.write_text(json.dumps(content))
            parts.setdefault(schema, []).append(document)
    assert parts
    return "".join(schema_findings(schema, documents) for schema, documents in parts.items())


def layout_findings(dashboard: dict[str, Any]) -> list[str]:
    """Name the panels that share an id or a place, or stand outside the grid."""
    found = []
    taken: dict[tuple[int, int], int] = {}
    ids = [panel["id"] for panel in panels(dashboard)]
    found += [f"id {number} twice" for number in sorted(set(ids)) if ids.count(number) > 1]
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > COLUMNS:
            found.append(f"panel {panel['id']} is wider than the grid")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["id"])
                if other != panel["id"]:
                    found.append(f"panels {other} and {panel['id']} overlap")
    return sorted(set(found))


def test_schema(tmp_path: Path) -> None:
    """Grafana's types hold the dashboard, and those of each panel hold its options."""
    path = tmp_path / "dashboard.json"
    path.write_text(json.dumps(load()))
    assert schema_findings(SCHEMAS / "dashboard.schema.json", [path]) == ""
    assert panel_findings(load(), tmp_path) == ""


@pytest.mark.parametrize(
    ("plant", "where"),
    [
        (lambda d: d["panels"][0]["gridPos"].update(w="wide"), "gridPos"),
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d.update(schemaVersion="42"), "schemaVersion"),
    ],
)
def test_planted_schema(
    tmp_path: Path, plant: Callable[[dict[str, Any]], None], where: str
) -> None:
    """The schema names a wrong type and an unknown key."""
    dashboard = load()
    plant(dashboard)
    path = tmp_path / "dashboard.json"
    path.write_text(json.dumps(dashboard))
    assert where in schema_findings(SCHEMAS / "dashboard.schema.json", [path])


def test_planted_panel_option(tmp_path: Path) -> None:
    """An option its panel type does not know, or of a wrong kind, is named."""
    dashboard = load()
    stat = next(panel for panel in panels(dashboard) if panel["type"] == "stat")
    stat["options"]["colorMode"] = "loud"
    lines = next(panel for panel in panels(dashboard) if panel["type"] == "timeseries")
    lines["fieldConfig"]["defaults"]["custom"]["lineThickness"] = 2
    findings = panel_findings(dashboard, tmp_path)
    assert "loud" in findings
    assert "lineThickness" in findings


def test_layout() -> None:
    """No two panels share an id or a place, and none stands outside the grid."""
    assert layout_findings(load()) == []


def test_planted_layout() -> None:
    """A doubled id, an overlap and a panel outside the grid are named."""
    dashboard = load()
    dashboard["panels"].append(copy.deepcopy(dashboard["panels"][0]))
    dashboard["panels"][-1]["gridPos"].update(x=20, w=8)
    findings = layout_findings(dashboard)
    assert findings == ["id 1 twice", "panel 1 is wider than the grid"]
    dashboard["panels"][-1].update(id=999)
    assert "panels 1 and 999 overlap" in layout_findings(dashboard)


def test_every_expression_parses() -> None:
    """Every query is PromQL once Grafana's variables have a value."""
    found = expressions(load())
    assert len(found) > 20
    for expression in found:
        promql_parser.parse(expression.promql)


def test_planted_expression() -> None:
    """A query that is no PromQL and a variable nobody knows are both noticed."""
    with pytest.raises(ValueError):
        promql_parser.parse(substituted("sum by (run (flopmeter_run_compute_flop)"))
    with pytest.raises(AssertionError, match="host"):
        substituted('up{instance=~"$host"}')


def test_every_metric_exists() -> None:
    """A query on a family nobody exports would show an empty panel for ever."""
    documented = set(re.findall(r"`(flopmeter_\w+)`", (ROOT / "docs/metrics.md").read_text()))
    used = {
        name
        for expression in expressions(load())
        for name in re.findall(r"\bflopmeter_\w+", expression.promql)
    }
    assert used
    assert used - documented == set()


def test_what_must_be_on_it() -> None:
    """The mark of a simulation comes first, figures have their range, ratios are logarithmic."""
    dashboard = load()
    first = dashboard["panels"][0]
    assert "SIMULATED" in json.dumps(first["fieldConfig"]["defaults"]["mappings"])
    assert first["gridPos"]["w"] == COLUMNS
    text = json.dumps(dashboard)
    for family in (
        "flopmeter_run_compute_lower_flop",
        "flopmeter_run_compute_upper_flop",
        "flopmeter_model_threshold_state",
        "flopmeter_run_unobserved_device_seconds",
        "flopmeter_run_evidence_compute_flop",
        "flopmeter_node_last_report_timestamp_seconds",
        "flopmeter_run_energy_joules",
    ):
        assert family in text
    (ratios,) = (p for p in panels(dashboard) if p["title"] == "Models against thresholds")
    scale = ratios["fieldConfig"]["defaults"]["custom"]["scaleDistribution"]
    assert scale == {"type": "log", "log": 10}


def test_datasource_is_the_provisioned_one() -> None:
    """Every panel asks the datasource variable, and its default is the one deploy/ provisions."""
    dashboard = load()
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    (variable,) = (v for v in dashboard["templating"]["list"] if v["type"] == "datasource")
    provisioned = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
    assert f"uid: {variable['current']['value']}\n" in provisioned.read_text()
