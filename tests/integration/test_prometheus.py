"""A simulated run crosses its line in front of a real Prometheus and a real Alertmanager.

Collector and agents are child processes, the servers are Debian's packages, all on free ports of
127.0.0.1, with the shipped configuration but for addresses and paces. tests/e2e does the same in
containers.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from support import collector
from support.dashboard import expressions, load
from support.processes import free_port, serving
from support.prometheus import counted, firing, get_json, get_text, query, wait_until
from support.requirements import ROOT, require

pytestmark = [pytest.mark.needs_server, pytest.mark.slow]

NODES = ("n0", "n1")

SCENARIO = """
seed = 3
acceleration = 2_000
duration_s = 60_000

[node]
count = 2
devices = 8
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980

# 16 devices x 132 SM x 1755 MHz x 42 % x 4096 FLOP a cycle = 6.4e15 FLOP/s: 10^20 in 8 s of ours.
[[run]]
name = "atlas-pretrain"
start_s = 600
stop_s = 60_000
nodes = ["n0", "n1"]
tensor_activity = 0.42
clock_mhz = 1755
power_w = 640
"""

CROSSING_LIMIT_S = 30.0

LABELS = {
    "alertname": "FlopmeterThresholdCrossed",
    "threshold": "demo-line",
    "jurisdiction": "none, demonstration only",
    "severity": "critical",
    "simulated": "true",
}


@dataclass(frozen=True)
class Site:
    """Where everything listens."""

    collector: str
    prometheus: str
    alertmanager: str
    folder: Path
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def wait_crossed(self) -> None:
        """Wait until the rule fires; an agent that has ended says why at once."""

        def reached() -> bool:
            ended = [node for node, agent in zip(NODES, self.agents, strict=True) if agent.poll()]
            assert not ended, "".join((self.folder / f"{node}.log").read_text() for node in ended)
            return bool(crossed(self))

        wait_until(reached, limit_s=CROSSING_LIMIT_S, what="the rule fires")


@contextlib.contextmanager
def agents(folder: Path, grpc: str, children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """The simulated nodes, added to `children` and ended by process id."""
    scenario = folder / "scenario.toml"
    scenario.write_text(SCENARIO)
    try:
        for node in NODES:
            arguments = ["agent", "--sensor", "simulated", "--scenario", str(scenario)]
            arguments += ["--collector", grpc, "--node", node, "--state", str(folder / node)]
            arguments += ["--sample-period-s", "0.25", "--report-period-s", "0.5"]
            with (folder / f"{node}.log").open("wb") as log:
                children.append(subprocess.Popen(collector.command(*arguments), stderr=log))
        yield
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(15)


@contextlib.contextmanager
def prometheus(folder: Path, port: int, *, scrape: str, alertmanager: str) -> Iterator[None]:
    """A Prometheus with the shipped configuration, on other addresses and at a faster pace."""
    program = require("prometheus", "apt-get install prometheus")
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    shipped["global"].update(scrape_interval="1s", evaluation_interval="1s")
    shipped["rule_files"] = [str(ROOT / "deploy/prometheus/rules.yml")]
    (manager,) = shipped["alerting"]["alertmanagers"]
    manager["static_configs"] = [{"targets": [alertmanager]}]
    (job,) = shipped["scrape_configs"]
    job["static_configs"] = [{"targets": [scrape]}]
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(shipped))
    command: list[str | Path] = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with serving(command, port, folder / "prometheus.log"):
        yield


@contextlib.contextmanager
def alertmanager(folder: Path, port: int) -> Iterator[None]:
    """An Alertmanager with the shipped routes."""
    program = require("prometheus-alertmanager", "apt-get install prometheus-alertmanager")
    command: list[str | Path] = [
        program,
        f"--config.file={ROOT / 'deploy/alertmanager/alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with serving(command, port, folder / "alertmanager.log"):
        yield


def declare(ledger: Path) -> None:
    """Say which model the run makes, from another process, as a person would."""
    arguments = ["run", "declare", "atlas-pretrain", "--model", "atlas", "--format", "bf16"]
    arguments += ["--ledger", str(ledger), "--author", "a test"]
    subprocess.run(
        collector.command(*arguments), check=True, capture_output=True, env=dict(os.environ)
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything, started; the run has a model before it begins to matter."""
    folder = tmp_path_factory.mktemp("prometheus")
    http, web, manager = free_port(), free_port(), free_port()
    where = Site(
        f"http://127.0.0.1:{http}",
        f"http://127.0.0.1:{web}",
        f"http://127.0.0.1:{manager}",
        folder,
    )
    flags = ["--simulated", "--http-listen", f"127.0.0.1:{http}"]
    flags += ["--alertmanager", where.alertmanager, "--evaluate-period-s", "0.5"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(alertmanager(folder, manager))
        child = stack.enter_context(collector.child(folder / "ledger.db", *flags))
        declare(folder / "ledger.db")
        stack.enter_context(
            prometheus(folder, web, scrape=f"127.0.0.1:{http}", alertmanager=f"127.0.0.1:{manager}")
        )
        stack.enter_context(agents(folder, child.address, where.agents))
        yield where


def expected(site: Site) -> dict[str, str]:
    """The labels of the one crossing; the collector says which id its model has."""
    (model,) = (
        row
        for row in get_json(f"{site.collector}/api/v1/totals")["models"]
        if row["model"] == "atlas"
    )
    return {**LABELS, "model": model["metrics_id"]}


def crossed(site: Site) -> list[dict[str, str]]:
    """The crossings Prometheus has firing."""
    return [
        labels
        for labels in firing(site.prometheus)
        if labels["alertname"] == "FlopmeterThresholdCrossed"
    ]


def test_a_crossing_is_one_alert(site: Site) -> None:
    """The rule fires, the collector tells Alertmanager as well, and Alertmanager has one alert."""
    site.wait_crossed()
    assert crossed(site) == [expected(site)]
    # Both have told Alertmanager before it is asked.
    wait_until(
        lambda: (
            counted(site.prometheus, "prometheus_notifications_sent_total") > 0
            and counted(site.collector, "flopmeter_alerts_delivered_total") > 0
        ),
        limit_s=10,
        what="Prometheus and the collector tell Alertmanager",
    )
    assert counted(site.alertmanager, "alertmanager_alerts_received_total") >= 2
    alerts = get_json(f"{site.alertmanager}/api/v2/alerts")
    assert [alert["labels"] for alert in alerts] == [expected(site)]
    assert [receiver["name"] for receiver in alerts[0]["receivers"]] == ["simulated"]


def test_every_query_of_the_dashboard_has_an_answer(site: Site) -> None:
    """Each expression returns series from what a collector really exports."""
    site.wait_crossed()
    empty = [
        f"{expression.panel}: {expression.promql}"
        for expression in expressions(load())
        if not query(site.prometheus, expression.promql)
    ]
    assert empty == []


def test_a_healthy_meter_alerts_nobody(site: Site) -> None:
    """Nothing but the crossing fires, and every rule could be evaluated."""
    site.wait_crossed()
    assert firing(site.prometheus) == [expected(site)]
    groups = get_json(f"{site.prometheus}/api/v1/rules")["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


def test_metrics_follow_the_conventions(site: Site) -> None:
    """The linter of Prometheus has nothing to say of the exposition."""
    page = get_text(f"{site.collector}/metrics")
    promtool = require("promtool", "apt-get install prometheus")
    completed = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True
    )
    assert completed.stdout + completed.stderr == ""
