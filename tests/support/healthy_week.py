"""A week of a healthy fleet as Prometheus would have scraped it, played against the shipped rules.

Owns: what happens in an ordinary week, and counting what fires in it.
May touch: a folder of the caller; promtool, as a child process.
Called by tests/integration/test_page_budget.py and by ``make page-budget``.

Nothing is wrong in such a week: nodes reboot, drain and report late, and the collector is
restarted. Whoever is woken by it will not look when something is wrong.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.requirements import ROOT, require

RULES = ROOT / "deploy/prometheus/rules.yml"

NODES = 500
STEP_S = 120
WEEK_STEPS = 7 * 86_400 // STEP_S

REBOOTS_A_NODE = 7 / 30
"""Each node is restarted about once a month."""
REBOOT_S = (240, 1_200)
DRAINS = 6
"""Batches of nodes that are taken out for maintenance, declared beforehand."""
DRAINED_NODES = (4, 30)
DRAIN_S = (3_600, 4 * 3_600)
LATE_WEEK = 8
"""Times in the week at which a twentieth of the nodes reports late: a switch, a busy network."""
LATE_S = (120, 600)
RESTARTS = 3
"""Restarts of the collector, one scrape each."""

COLLECTOR = 'job="flopmeter-collector",instance="c:8426"'


@dataclass(frozen=True)
class Fired:
    """How often alerts of one name and severity began to fire."""

    alert: str
    severity: str
    count: int


Spans = dict[int, list[tuple[int, int]]]
"""Node -> steps from and until, the end exclusive."""


def silences(seed: int) -> tuple[Spans, Spans]:
    """Steps in which each node does not report, and those of them that are declared."""
    draw = random.Random(seed)
    silent: Spans = {}
    declared: Spans = {}

    def quiet(node: int, seconds: tuple[int, int], at: int) -> tuple[int, int]:
        span = (at, min(WEEK_STEPS, at + -(-draw.randint(*seconds) // STEP_S)))
        silent.setdefault(node, []).append(span)
        return span

    for node in range(NODES):
        if draw.random() < REBOOTS_A_NODE:
            quiet(node, REBOOT_S, draw.randrange(WEEK_STEPS))
    for _ in range(DRAINS):
        at = draw.randrange(WEEK_STEPS)
        for node in draw.sample(range(NODES), draw.randint(*DRAINED_NODES)):
            declared.setdefault(node, []).append(quiet(node, DRAIN_S, at))
    for _ in range(LATE_WEEK):
        at = draw.randrange(WEEK_STEPS)
        for node in draw.sample(range(NODES), NODES // 20):
            quiet(node, LATE_S, at)
    return silent, declared


def _series(name: str, labels: str, values: str) -> str:
    return f"      - series: '{name}{{{COLLECTOR}{labels}}}'\n        values: '{values}'\n"


def _reports(spans: list[tuple[int, int]]) -> str:
    """The times of a node's last report, step by step, as promtool writes a series."""
    parts, at, last = [], 0, 0
    for start, end in sorted(spans):
        if start > at:
            parts.append(f"{at * STEP_S}+{STEP_S}x{start - at - 1}")
            at, last = start, start - 1
        if end > at:
            parts.append(f"{last * STEP_S}x{end - at - 1}")
            at = end
    if at < WEEK_STEPS:
        parts.append(f"{at * STEP_S}+{STEP_S}x{WEEK_STEPS - at - 1}")
    return " ".join(parts)


def _flags(spans: list[tuple[int, int]]) -> str:
    """1 in these steps, no sample elsewhere."""
    parts, at = [], 0
    for start, end in sorted(spans):
        start = max(start, at)
        if start > at:
            parts.append(f"_x{start - at}")
        if end > start:
            parts.append(f"1x{end - start - 1}")
        at = max(at, end)
    return " ".join([*parts, "stale"])


def _week(seed: int) -> Iterator[str]:
    """The input series of a week."""
    draw = random.Random(seed + 1)
    restarts = sorted(draw.sample(range(1, WEEK_STEPS - 1), RESTARTS))
    up, at = [], 0
    for step in restarts:
        up += [f"1x{step - at - 1}"] if step > at else []
        up.append("0x0")
        at = step + 1
    yield _series("up", "", " ".join([*up, f"1x{WEEK_STEPS - at - 1}"]))
    whole = f"x{WEEK_STEPS - 1}"
    yield _series("flopmeter_build_info", ',simulated="false"', f"1{whole}")
    yield _series("flopmeter_totals_timestamp_seconds", "", f"0+{STEP_S}{whole}")
    for counter in ("vectors_refused_total", "streams_refused_total", "declarations_refused_total"):
        yield _series(f"flopmeter_{counter}", "", f"0{whole}")
    for gauge in ("alerts_pending", "forked_registers", "collector_quarantined_registers"):
        yield _series(f"flopmeter_{gauge}", "", f"0{whole}")
    run = ',run="atlas",simulated="false"'
    # Of all the device time a thirtieth of a percent is lost to reboots.
    for name, a_step in (("busy", 3_900), ("idle", 95), ("unobserved", 2), ("suspect", 0)):
        yield _series(f"flopmeter_run_{name}_device_seconds", run, f"0+{a_step * STEP_S}{whole}")
    silent, declared = silences(seed)
    for node in range(NODES):
        yield _series(
            "flopmeter_node_last_report_timestamp_seconds",
            f',node="n{node}"',
            _reports(silent.get(node, [])),
        )
    for node, spans in sorted(declared.items()):
        yield _series("flopmeter_node_declared_down", f',node="n{node}"', _flags(spans))


def play(folder: Path, seed: int, rules: Path = RULES) -> list[Fired]:
    """Play a week; returns what began to fire, by name.

    Args:
        folder: an empty folder.
        seed: another one is another week.
        rules: the rule file.
    """
    promtool = require("promtool", "apt-get install prometheus")
    fires = 'ALERTS{alertstate="firing"}'
    began = f"sum by (alertname, severity) (sum_over_time(({fires} unless {fires} offset "
    began += f"{STEP_S}s)[7d:{STEP_S}s]))"
    (folder / "rules.yml").write_text(rules.read_text())
    (folder / "week.yml").write_text(
        "rule_files: [rules.yml]\n"
        f"evaluation_interval: {STEP_S}s\n"
        "tests:\n"
        f"  - interval: {STEP_S}s\n"
        "    input_series:\n" + "".join(_week(seed)) + "    promql_expr_test:\n"
        f"      - expr: '{began} or vector(-1)'\n"
        f"        eval_time: {WEEK_STEPS * STEP_S - STEP_S}s\n"
        "        exp_samples: []\n"
    )
    done = subprocess.run(
        [promtool, "test", "rules", folder / "week.yml"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    told = done.stdout + done.stderr
    got = re.search(r"got:\s*(.*)", told, re.DOTALL)
    assert got is not None, told
    assert "-1" in got[1], told
    return [
        Fired(name, severity, int(float(count)))
        for name, severity, count in re.findall(
            r'\{alertname="(\w+)", severity="(\w+)"\} ([0-9.eE+]+)', got[1]
        )
    ]


def main(weeks: int = 2) -> int:
    """Print what fires in so many healthy weeks; 1 where somebody is woken too often."""
    pages = 0
    for seed in range(1, weeks + 1):
        with tempfile.TemporaryDirectory() as folder:
            fired = play(Path(folder), seed)
        pages += sum(each.count for each in fired if each.severity == "critical")
        told = ", ".join(f"{e.alert} {e.count} ({e.severity})" for e in fired) or "nothing fired"
        print(f"week {seed}, {NODES} healthy nodes: {told}")
    print(f"{pages} pages in {weeks} weeks; at most {weeks} may be")
    return 1 if pages > weeks else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
