"""A healthy fleet wakes nobody: a simulated week of 500 nodes against the shipped rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.healthy_week import NODES, RULES, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

PAGES_A_WEEK = 1


def test_a_healthy_week_wakes_nobody_more_than_once(tmp_path: Path) -> None:
    """500 nodes with ordinary reboots, late reports, drains and restarts: at most one page."""
    assert NODES == 500
    fired = play(tmp_path, seed=1)
    assert sum(each.count for each in fired if each.severity == "critical") <= PAGES_A_WEEK, fired


def test_an_impatient_rule_is_found(tmp_path: Path) -> None:
    """A rule that wakes somebody for every reboot breaks the budget: the week does have them."""
    rules = tmp_path / "impatient.yml"
    text = RULES.read_text()
    start = text.index("- alert: FlopmeterNodeSilent")
    end = text.index("- alert: FlopmeterFleetSilent")
    silent = (
        text[start:end]
        .replace("> 1800", "> 300")
        .replace("&meter\n          severity: warning", "&meter\n          severity: critical")
    )
    rules.write_text(text[:start] + silent + text[end:])
    folder = tmp_path / "week"
    folder.mkdir()
    fired = {each.alert: each for each in play(folder, seed=1, rules=rules)}
    assert fired["FlopmeterNodeSilent"].severity == "critical"
    assert fired["FlopmeterNodeSilent"].count > 20
