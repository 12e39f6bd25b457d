"""The full exposition text of a fixed scenario.

A changed name, label or figure shows up as a difference here. To accept one, look at it, then run
`FLOPMETER_GOLDEN=write .venv/bin/pytest tests/golden/test_metrics.py`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from flopmeter_collector.http.metrics import exposition
from flopmeter_collector.http.relay import RelayStatus
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.intake import NodeStatus
from support.requirements import require
from support.totals import AS_OF_NS, scenario, thresholds

GOLDEN = Path(__file__).parent / "metrics.txt"

STATUS = ServiceStatus(
    version="0.1.0",
    nodes={
        "n0": NodeStatus(last_report_ns=AS_OF_NS),
        "n1": NodeStatus(last_report_ns=AS_OF_NS - 1_500_000_000),
    },
    report_count=12,
    acknowledged_vector_count=60,
    refused_vector_count=1,
    refused_stream_count=2,
    open_stream_count=2,
    register_count=7,
    forked_register_count=0,
    commit_count=42,
    refused_declaration_count=0,
    pending_alert_count=1,
    delivered_alert_count=3,
    failed_alert_count=4,
    relay=RelayStatus(
        connected=True,
        backlog_keys=8,
        backlog_age_s=12.5,
        refused_keys=1,
        reconnections=2,
        batches=30,
        vectors=240,
        losses=1,
    ),
)


def text() -> str:
    """The exposition of the scenario."""
    return exposition(scenario(), thresholds(), STATUS)


def test_golden() -> None:
    """Every family, label and digit is the recorded one."""
    if os.environ.get("FLOPMETER_GOLDEN") == "write":
        GOLDEN.write_text(text())
    assert text() == GOLDEN.read_text()


def test_promtool() -> None:
    """Prometheus' own linter reads every line and finds nothing to say."""
    promtool = require("promtool", "apt-get install prometheus")
    result = subprocess.run(
        [promtool, "check", "metrics"],
        input=text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_promtool_sees_a_fault() -> None:
    """The linter does refuse: a counter's name without _total."""
    promtool = require("promtool", "apt-get install prometheus")
    spoiled = text().replace("flopmeter_reports_total", "flopmeter_reports")
    result = subprocess.run(
        [promtool, "check", "metrics"],
        input=spoiled,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode != 0
