"""The shipped Prometheus rules and Alertmanager routes do what they say, by promtool and amtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from flopmeter_collector.alerts.transitions import (
    ALERT_NAME,
    FORECAST_NAME,
    alerts,
    words_of,
)
from flopmeter_collector.evaluate import evaluate
from flopmeter_collector.metric_ids import MetricIds
from support.requirements import ROOT, require
from support.totals import scenario, thresholds

# It takes ten seconds of one core; a busy machine may not have them for minutes.
LIMIT_S = 900
pytestmark = pytest.mark.timeout(LIMIT_S + 60)

PROMETHEUS = ROOT / "deploy/prometheus"
IDS = MetricIds("00112233445566778899aabbccddeeff")
ALERTMANAGER = ROOT / "deploy/alertmanager/alertmanager.yml"


def rules(path: Path = PROMETHEUS / "rules.yml") -> dict[str, Any]:
    """The rule file."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def alert_rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The alerting rules of a rule file."""
    return [rule for group in document["groups"] for rule in group["rules"] if "alert" in rule]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    program = require("promtool", "apt-get install prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S)


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run amtool."""
    program = require("amtool", "apt-get install prometheus-alertmanager")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S)


def failures(folder: Path, expression: str) -> set[str]:
    """Alerts that fail their own tests once each of them has this expression instead of its own."""
    shutil.copy(PROMETHEUS / "rules_test.yml", folder)
    document = rules()
    for rule in alert_rules(document):
        rule["expr"] = expression
    (folder / "rules.yml").write_text(yaml.safe_dump(document))
    completed = promtool("test", "rules", folder / "rules_test.yml")
    found = set(re.findall(r"alertname: ?(\w+)", completed.stdout + completed.stderr))
    assert completed.returncode != 0
    return found


def test_files_are_valid() -> None:
    """Prometheus and Alertmanager take their files."""
    for completed in (
        promtool("check", "rules", PROMETHEUS / "rules.yml"),
        promtool("check", "config", PROMETHEUS / "prometheus.yml"),
        amtool("check-config", ALERTMANAGER),
    ):
        assert completed.returncode == 0, completed.stdout + completed.stderr


def test_rules_do_what_their_tests_say() -> None:
    """Each alert fires, does not fire, and does what it should when its data are missing."""
    completed = promtool("test", "rules", PROMETHEUS / "rules_test.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.parametrize("planted", ["vector(1) < 0", "vector(1)"], ids=["never", "always"])
def test_every_alert_is_held_from_both_sides(tmp_path: Path, planted: str) -> None:
    """An alert that never fires and one that always does are both noticed, whichever it is."""
    assert failures(tmp_path, planted) == {rule["alert"] for rule in alert_rules(rules())}


@pytest.mark.parametrize("name", [ALERT_NAME, FORECAST_NAME])
def test_a_legal_alert_is_the_collectors_own(name: str) -> None:
    """Rule and collector give an alert the same name and labels, so that both make one alert."""
    catalogue = {row.id: row for row in thresholds()}
    crossed = next(row for row in evaluate(scenario(), thresholds(), {}).transitions if alerts(row))
    expected = [
        alert["exp_labels"]
        for test in yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
        for alert_test in test["alert_rule_test"]
        if alert_test["alertname"] == name
        for alert in alert_test["exp_alerts"]
    ]
    assert {labels.get("simulated") for labels in expected} == {"true", None}
    for labels in expected:
        mark = labels.get("simulated", "false")
        for decided in (False, True):
            transition = replace(
                crossed,
                model=labels["model"],
                threshold=labels["threshold"],
                decided=decided,
                after="above" if name == ALERT_NAME else "foreseen",
                figures={**crossed.figures, "simulated": mark},
            )
            for ids in (IDS, replace(IDS, named=True)):
                assert words_of(transition, catalogue, ids).labels == {
                    "alertname": name,
                    **labels,
                    "model": ids.model(labels["model"]),
                }


def test_no_label_is_added_to_an_alert() -> None:
    """An external label would make Prometheus' alert another than the collector's."""
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert "external_labels" not in configuration["global"]


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=FlopmeterThresholdCrossed", "simulated=true"], "simulated"),
        (["alertname=FlopmeterNodeSilent", "simulated=true"], "simulated"),
        (["alertname=FlopmeterThresholdCrossed"], "compliance"),
        (["alertname=FlopmeterThresholdForeseen"], "compliance"),
        (["alertname=FlopmeterReviewDue"], "compliance"),
        (["alertname=FlopmeterNodeSilent"], "meter"),
    ],
)
def test_routes(labels: list[str], receiver: str) -> None:
    """Nothing simulated reaches the people who would have to act on a measured crossing."""
    completed = amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert completed.stdout.split() == [receiver], completed.stderr


def test_every_metric_of_the_rules_exists() -> None:
    """A rule on a family nobody exports would be silent for ever."""
    used = {
        name
        for group in rules()["groups"]
        for rule in group["rules"]
        for name in re.findall(r"\bflopmeter_\w+", rule["expr"])
    }
    documented = set(re.findall(r"`(flopmeter_\w+)`", (ROOT / "docs/metrics.md").read_text()))
    assert used
    assert used - documented == set()


def test_every_alert_is_in_the_readme() -> None:
    """Who is woken by an alert finds it in deploy/README.md, and finds no other there."""
    named = set(re.findall(r"^\| `(Flopmeter\w+)`", (ROOT / "deploy/README.md").read_text(), re.M))
    assert named == {rule["alert"] for rule in alert_rules(rules())}
