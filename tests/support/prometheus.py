"""A Prometheus to ask: instant queries, alerts and targets over its HTTP interface.

Owns: the requests and the waiting; knows no flopmeter metric.
May touch: HTTP to one server on loopback.
Called by the integration tests and by the end-to-end run.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

TIMEOUT_S = 10.0


def get_text(url: str) -> str:
    """GET a page; no proxy is asked.

    Raises:
        OSError: no server, or an answer that is no success.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as response:
        return str(response.read().decode("utf-8"))


def get_json(url: str) -> Any:
    """GET a JSON document.

    Raises:
        OSError: as `get_text`.
    """
    return json.loads(get_text(url))


def query(base_url: str, promql: str) -> list[dict[str, Any]]:
    """Run an instant query.

    Args:
        base_url: the server, without a slash at the end.
        promql: the query; its answer must be a vector.

    Returns:
        One entry a series: `metric` (labels) and `value` (time, text).

    Raises:
        OSError: as `get_text`; a query Prometheus refuses is one.
    """
    answer = get_json(f"{base_url}/api/v1/query?{urllib.parse.urlencode({'query': promql})}")
    series: list[dict[str, Any]] = answer["data"]["result"]
    return series


def firing(base_url: str) -> list[dict[str, Any]]:
    """The labels of every alert Prometheus has firing now."""
    alerts = get_json(f"{base_url}/api/v1/alerts")["data"]["alerts"]
    return [alert["labels"] for alert in alerts if alert["state"] == "firing"]


def counted(base_url: str, name: str) -> float:
    """The sum of a family on a server's own metrics page; 0 where it has no such family.

    Args:
        base_url: the server.
        name: the family, exactly; its labels are added up.

    Raises:
        OSError: as `get_text`.
    """
    total = 0.0
    for line in get_text(f"{base_url}/metrics").splitlines():
        series, _, number = line.rpartition(" ")
        if series.partition("{")[0] == name:
            total += float(number)
    return total


def wait_until(reached: Callable[[], bool], *, limit_s: float, what: str) -> float:
    """Wait until something holds.

    Args:
        reached: asked again and again; an OSError counts as not yet.
        limit_s: how long to wait.
        what: what is waited for, for the failure.

    Returns:
        Seconds it took.

    Raises:
        AssertionError: it did not hold in time.
    """
    started_s = time.monotonic()
    said = ""
    while time.monotonic() - started_s < limit_s:
        try:
            if reached():
                return time.monotonic() - started_s
        except OSError as error:
            said = f" ({error})"
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {limit_s:.0f} s{said}")
