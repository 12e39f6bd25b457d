"""A healthy fleet wakes nobody: a simulated week of 500 nodes against the shipped rules."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from support.healthy_week import NODES, RULES, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

PAGES_A_WEEK = 1

IMPATIENT = "PlantedNodeImpatient"


def test_a_healthy_week_wakes_nobody_more_than_once(tmp_path: Path) -> None:
    """500 nodes with ordinary reboots, late reports, drains and restarts: at most one page.

    A planted rule that wakes somebody for every reboot is found in the same week: it has them.
    """
    document = yaml.safe_load(RULES.read_text())
    (group,) = (
        group
        for group in document["groups"]
        if any(rule.get("alert") == "FlopmeterNodeSilent" for rule in group["rules"])
    )
    (silent,) = (rule for rule in group["rules"] if rule.get("alert") == "FlopmeterNodeSilent")
    planted = copy.deepcopy(silent)
    planted["alert"], planted["labels"]["severity"] = IMPATIENT, "critical"
    planted["expr"] = planted["expr"].replace("> 1800", "> 300")
    assert planted["expr"] != silent["expr"]
    group["rules"].append(planted)
    rules = tmp_path / "planted.yml"
    rules.write_text(yaml.safe_dump(document))
    folder = tmp_path / "week"
    folder.mkdir()

    assert NODES == 500
    fired = {each.alert: each for each in play(folder, seed=1, rules=rules)}
    impatient = fired.pop(IMPATIENT)
    assert impatient.severity == "critical"
    assert impatient.count > 20
    pages = sum(each.count for each in fired.values() if each.severity == "critical")
    assert pages <= PAGES_A_WEEK, fired
