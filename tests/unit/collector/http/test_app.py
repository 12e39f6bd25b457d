"""The HTTP side: its paths, its status codes, its headers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from flopmeter_collector.http.app import Sources, build_app
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.intake import NodeStatus
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_core.catalogue import Threshold
from flopmeter_core.reports import Hello
from support.totals import scenario, thresholds

LAWS: Sequence[Threshold] = thresholds()
NODE = NodeStatus(
    hello=Hello(node="n0", incarnation="ab" * 16, simulated=True, method_version="1", sensor="cpu"),
    last_report_ns=1_700_000_000 * 10**9,
    display_flop={"run:a": 10**30},
    streams=1,
)
READY = Sources(
    snapshot=scenario,
    status=ServiceStatus,
    not_ready=lambda: "",
    thresholds=lambda: LAWS,
    nodes=lambda: {"n0": NODE},
)


def nothing() -> TotalsSnapshot | None:
    """No totals yet."""
    return None


def client(sources: Sources) -> TestClient:
    """A client that speaks to the application itself, without a socket."""
    return TestClient(build_app(sources))


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/", "text/html", "SIMULATED"),
        ("/metrics", "text/plain; version=0.0.4", "flopmeter_run_compute_flop{"),
        ("/healthz", "text/plain", "ok"),
        ("/readyz", "text/plain", "ready"),
        ("/api/v1/totals", "application/json", '"schema": 1'),
        ("/api/v1/thresholds", "application/json", "eu-ai-act-51-2"),
        ("/api/v1/nodes", "application/json", '"node": "n0"'),
    ],
)
def test_paths(path: str, kind: str, content: str) -> None:
    """Each path answers 200 with its type, and forbids a browser to load anything."""
    answer = client(READY).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert content in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 503),
        ("/readyz", 503),
        ("/api/v1/totals", 503),
        ("/healthz", 200),
        ("/metrics", 200),
        ("/api/v1/thresholds", 200),
        ("/nowhere", 404),
    ],
)
def test_before_the_totals_are_rebuilt(path: str, status: int) -> None:
    """Without totals nothing claims to be ready, and the process still answers for itself."""
    answer = client(replace(READY, snapshot=nothing)).get(path)
    assert answer.status_code == status


def test_ledger_that_fails() -> None:
    """When commits fail, readyz says why; what was published stays readable."""
    failing = replace(READY, not_ready=lambda: "the disk is full; free some space")
    answer = client(failing).get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the disk is full; free some space\n")
    assert client(failing).get("/api/v1/totals").status_code == 200


def test_an_agents_own_estimate_is_shown_and_never_added() -> None:
    """It stands beside its node, with its method version, and nowhere else."""
    (node,) = client(READY).get("/api/v1/nodes").json()["nodes"]
    assert node["display_estimate"] == {
        "method_version": "1",
        "compute_flop_str": {"run:a": "1" + "0" * 30},
    }
    assert "1" + "0" * 30 not in client(READY).get("/api/v1/totals").text
    assert "1" + "0" * 30 not in client(READY).get("/metrics").text


def test_waiting_is_told_in_json() -> None:
    """A JSON reader gets a JSON sentence."""
    answer = client(replace(READY, snapshot=nothing)).get("/api/v1/totals")
    assert "rebuilt" in json.loads(answer.text)["error"]


def test_read_only() -> None:
    """Nothing can be written over HTTP."""
    for path in ("/", "/metrics", "/api/v1/totals"):
        assert client(READY).post(path, content=b"{}").status_code == 405


def test_json_is_exact() -> None:
    """Integers in the JSON are the exact ones."""
    document = json.loads(client(READY).get("/api/v1/totals").text)
    best = scenario().runs[0].account.figures.total.best
    assert document["runs"][0]["compute_flop"]["best"] == best


def test_words_that_are_no_text_do_not_end_the_answer() -> None:
    """What an earlier version took from a command line is shown with a mark in its place."""
    told = replace(READY, site="\udcff")
    assert json.loads(client(told).get("/api/v1/totals").text)["site_view"] == "?"


def test_a_collector_that_follows_another_one() -> None:
    """It is ready, says who exports the totals, and shows none itself."""
    said = "another one <b> exports"
    follows = replace(READY, snapshot=nothing, following=lambda: said)
    ready = client(follows).get("/readyz")
    assert (ready.status_code, ready.text) == (200, f"ready; {said}\n")
    page = client(follows).get("/")
    assert page.status_code == 200 and "another one &lt;b&gt; exports" in page.text
    totals = client(follows).get("/api/v1/totals")
    assert totals.status_code == 503 and json.loads(totals.text)["error"] == said
