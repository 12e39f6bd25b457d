"""What must hold of the running compose project; each check returns what it saw.

Owns: the checks and their words.
May touch: HTTP to the published ports, and containers of the run through e2e.engine.
Called by e2e.drive in the order of CHECKS.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e import engine
from support.dashboard import expressions, load
from support.prometheus import counted, firing, get_json, get_text, query, wait_until

COLLECTOR = "http://127.0.0.1:8426"
PROMETHEUS = "http://127.0.0.1:9090"
ALERTMANAGER = "http://127.0.0.1:9093"
WEBHOOK = "http://127.0.0.1:9095"

NODES = ("n0", "n1", "n2", "n3")
SERVING = {
    "collector",
    *(f"agent-{node}" for node in NODES),
    "prometheus",
    "alertmanager",
    "webhook",
}
PORTS = {8425, 8426, 9090, 9093, 9095}
DECLARING = {"declare-pretrain", "declare-tune"}

CROSSING = {
    "alertname": "FlopmeterThresholdCrossed",
    "threshold": "demo-line",
    "jurisdiction": "none, demonstration only",
    "severity": "critical",
    "simulated": "true",
}

METERED = '(flopmeter_run_compute_flop > 0) and on (run) flopmeter_run_info{name="atlas-pretrain"}'

CROSSING_LIMIT_S = 90.0
HEALTHY_LIMIT_S = 60.0


def crossing() -> dict[str, str]:
    """The labels of the one crossing; the collector says which id its model has."""
    return {**CROSSING, "model": _atlas()["metrics_id"]}


def _atlas() -> dict[str, Any]:
    """The model as the collector's JSON has it."""
    models = get_json(f"{COLLECTOR}/api/v1/totals")["models"]
    (model,) = (row for row in models if row["model"] == "atlas")
    found: dict[str, Any] = model
    return found


def healthy() -> str:
    """Every service runs and its own probe says healthy; what only declares has ended with 0."""
    ids = engine.containers()
    assert set(ids) == SERVING | DECLARING, sorted(ids)
    states: dict[str, str] = {}

    def all_healthy() -> bool:
        for name, row in zip(ids, engine.inspect(*ids.values()), strict=True):
            states[name] = row["State"]["Health"]["Status"]
        return all(states[name] == "healthy" for name in SERVING)

    try:
        wait_until(all_healthy, limit_s=HEALTHY_LIMIT_S, what="every container is healthy")
    except AssertionError as error:
        raise AssertionError(f"{error}: {states}") from error
    for name, row in zip(ids, engine.inspect(*ids.values()), strict=True):
        assert row["State"]["Running"] == (name in SERVING), name
        assert row["State"]["ExitCode"] == 0, name
    return f"{len(SERVING)} containers healthy, {len(DECLARING)} declarations written"


def shut_in() -> str:
    """No container is root, writable, capable or unbounded: by podman, and by the kernel."""
    ids = engine.containers()
    users = set()
    ports: set[int] = set()
    for name, row in zip(ids, engine.inspect(*ids.values()), strict=True):
        host = row["HostConfig"]
        user = row["Config"]["User"].split(":")[0]
        users.add(user)
        assert user.isdigit() and user != "0", f"{name} runs as {user!r}"
        assert host["ReadonlyRootfs"], f"{name} can write to its root file system"
        assert not row["EffectiveCaps"] and not row["BoundingCaps"], f"{name} has capabilities"
        assert not host["Privileged"], f"{name} is privileged"
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, f"{name} is not bounded"
        # A port that the image only declares is bound to nothing.
        bound = [binding for some in host["PortBindings"].values() for binding in some or []]
        assert {binding["HostIp"] for binding in bound} <= {"127.0.0.1"}, name
        ports |= {int(binding["HostPort"]) for binding in bound}
        if name in SERVING:
            _kernel_agrees(name, row["State"]["Pid"], user)
    assert ports == PORTS, ports
    return (
        f"{len(ids)} containers: users {', '.join(sorted(users))}, read-only, no capability, "
        f"{len(ports)} ports on 127.0.0.1 only"
    )


def _kernel_agrees(name: str, pid: int, user: str) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert set(status["Uid"].split()) == {user}, name
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, name
    assert status["NoNewPrivs"] == "1", name


def cannot_write() -> str:
    """Writing outside the volume fails, writing inside it works."""
    script = (
        "import pathlib\n"
        "for place in ('/', '/opt/flopmeter', '/etc', '/var/lib'):\n"
        "    try: pathlib.Path(place, 'x').write_text('x')\n"
        "    except OSError as error: assert error.errno == 30, error\n"
        "    else: raise SystemExit(place + ' can be written')\n"
        "pathlib.Path('/var/lib/flopmeter/x').write_text('x')\n"
        "pathlib.Path('/var/lib/flopmeter/x').unlink()\n"
    )
    ids = engine.containers()
    for name in ("collector", "agent-n0"):
        engine.run("podman", "exec", ids[name], "python3", "-c", script)
    return "collector and agent: read-only but for /var/lib/flopmeter"


def metered() -> str:
    """Prometheus has the series of the run and of every node."""
    wait_until(
        lambda: (
            bool(query(PROMETHEUS, METERED))
            and len(query(PROMETHEUS, "flopmeter_node_last_report_timestamp_seconds")) == len(NODES)
        ),
        limit_s=60,
        what="Prometheus has the run's series",
    )
    series = query(PROMETHEUS, "flopmeter_node_last_report_timestamp_seconds")
    assert {row["metric"]["node"] for row in series} == set(NODES)
    families = {
        line.split()[2]
        for line in get_text(f"{COLLECTOR}/metrics").splitlines()
        if line.startswith("# TYPE")
    }
    names = query(PROMETHEUS, 'count by (__name__) ({__name__=~"flopmeter_.+"})')
    known = {row["metric"]["__name__"] for row in names}
    return (
        f"{len(families)} families at the collector, {len(known & families)} of them in Prometheus"
    )


def _crossings() -> list[dict[str, str]]:
    return [labels for labels in firing(PROMETHEUS) if labels["alertname"] == CROSSING["alertname"]]


def crossed() -> str:
    """The rule fires once the simulated model is above demo-line, with the labels of both."""
    took_s = wait_until(lambda: bool(_crossings()), limit_s=CROSSING_LIMIT_S, what="the rule fires")
    assert _crossings() == [crossing()], _crossings()
    return f"FlopmeterThresholdCrossed for atlas / demo-line, waited {took_s:.0f} s"


def one_alert() -> str:
    """The collector and Prometheus have both told Alertmanager, and it has one alert."""
    wait_until(
        lambda: (
            counted(COLLECTOR, "flopmeter_alerts_delivered_total") == 1
            and counted(PROMETHEUS, "prometheus_notifications_sent_total") > 0
        ),
        limit_s=30,
        what="both tell Alertmanager",
    )
    alerts = get_json(f"{ALERTMANAGER}/api/v2/alerts")
    assert [alert["labels"] for alert in alerts] == [crossing()], alerts
    received = counted(ALERTMANAGER, "alertmanager_alerts_received_total")
    assert received >= 2, received
    return f"1 alert of {received:.0f} received"


def notified() -> str:
    """The receiver of simulations, and no other, was told once, and the alert says simulated."""
    wait_until(lambda: bool(get_json(WEBHOOK)), limit_s=60, what="the webhook is told")
    notifications = get_json(WEBHOOK)
    assert [row["receiver"] for row in notifications] == ["simulated"], notifications
    (alert,) = notifications[0]["body"]["alerts"]
    assert alert["status"] == "firing"
    assert alert["labels"] == crossing()
    assert alert["annotations"]["summary"].startswith("SIMULATED: ")
    return str(alert["annotations"]["summary"])


def dashboard_answered() -> str:
    """Every query of the dashboard returns series from what was scraped."""
    found = expressions(load())
    empty = [
        f"{expression.panel}: {expression.promql}"
        for expression in found
        if not query(PROMETHEUS, expression.promql)
    ]
    assert not empty, empty
    return f"{len(found)} queries, none empty"


def healthy_meter() -> str:
    """Nothing but the crossing fires, and every rule can be evaluated."""
    assert firing(PROMETHEUS) == [crossing()], firing(PROMETHEUS)
    groups = get_json(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    return f"{len(rules)} rules evaluated, no other alert"


def page_says_simulated() -> str:
    """The collector's page and its JSON mark every figure as simulated."""
    assert "SIMULATED" in get_text(f"{COLLECTOR}/").upper()
    totals = get_json(f"{COLLECTOR}/api/v1/totals")
    figures = [*totals["runs"], *totals["models"]]
    assert figures
    assert all(row["simulated"] is True for row in figures)
    return f"{len(figures)} figures"


def survives_a_kill() -> str:
    """A collector that is killed comes back by itself with no FLOP less and no second alert."""

    def best() -> int:
        return int(_atlas()["compute_flop_str"]["best"])

    before_flop = best()
    (row,) = engine.inspect(engine.containers()["collector"])
    os.kill(row["State"]["Pid"], signal.SIGKILL)
    took_s = wait_until(
        lambda: get_text(f"{COLLECTOR}/readyz") == "ready\n",
        limit_s=60,
        what="the collector is back",
    )
    (after,) = engine.inspect(engine.containers()["collector"])
    assert after["State"]["Pid"] != row["State"]["Pid"]
    after_flop = best()
    assert after_flop >= before_flop, (before_flop, after_flop)
    alerts = get_json(f"{ALERTMANAGER}/api/v2/alerts")
    assert [alert["labels"] for alert in alerts] == [crossing()], alerts
    return f"ready again after {took_s:.1f} s, {before_flop:.3e} before, {after_flop:.3e} after"


CHECKS: tuple[Callable[[], str], ...] = (
    healthy,
    shut_in,
    cannot_write,
    metered,
    crossed,
    one_alert,
    notified,
    dashboard_answered,
    healthy_meter,
    page_says_simulated,
    survives_a_kill,
)


def images() -> str:
    """The images of the run, with their sizes."""
    rows = json.loads(engine.run("podman", "images", "--format", "json"))
    names = sorted((row["Names"][0], row["Size"]) for row in rows if row.get("Names"))
    return ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in names)
