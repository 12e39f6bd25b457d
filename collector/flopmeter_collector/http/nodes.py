"""When each node last reported, as lines kept from one scrape to the next.

Owns: the families of nodes, the cap on their series, and the line of each node.
May touch: nothing but its own memory; any thread may scrape.
Called by http.metrics; docs/metrics.md lists the families. Explained in docs/performance.md.

A fleet has as many of these lines as nodes, and nearly nothing else. A line says what it said until
its node reports again, so only those of nodes that did are made anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Protocol

from flopmeter_collector.turns import Pause, between, go_on
from flopmeter_core.kernels.render import Family, decimal, escape, labels

MAXIMUM_NODE_SERIES = 50_000
"""Nodes shown one by one, the longest silent of them: more than one collector serves."""

LAST_REPORT = "flopmeter_node_last_report_timestamp_seconds"

_NONE = (-1, "")
"""The line of a node that never had one."""

_FRACTION = 9
"""Decimal places of a second in ns."""


class Reported(Protocol):
    """What is known of a node."""

    @property
    def last_report_ns(self) -> int:
        """Unix time in ns of its last report."""


class KeptLines:
    """A line a node, in the order in which the nodes came."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: tuple[list[str], list[tuple[int, str]]] = [], []

    def lines(self, nodes: Mapping[str, Reported], pause: Pause = go_on) -> list[str]:
        """The lines of all nodes.

        Args:
            nodes: by name; at each call the same and perhaps further ones behind them. Each of
                the two copies is made in one step, since reports go on meanwhile.
            pause: lets answers go first, in a thread.
        """
        names, known = list(nodes), list(nodes.values())
        starts, last = self._kept
        starts = [*starts, *map(_start, names[len(starts) :])]
        last = [*last, *[_NONE] * (len(names) - len(last))]
        now = [
            line if line[0] == (at_ns := node.last_report_ns) else (at_ns, _line(start, at_ns))
            for line, start, node in between(zip(last, starts, known, strict=False), pause)
        ]
        # In one step: another thread may be at it too.
        self._kept = starts, now
        return [text for _, text in now]


def node_families(
    nodes: Mapping[str, Reported],
    down: frozenset[str] = frozenset(),
    kept: KeptLines | None = None,
    pause: Pause = go_on,
) -> Iterator[Family]:
    """When each node last reported.

    Args:
        nodes: by name; may grow meanwhile.
        down: nodes (and devices) that are declared down now.
        kept: what the last scrape of the same nodes left.
        pause: lets answers go first, in a thread.
    """
    if len(nodes) <= MAXIMUM_NODE_SERIES:
        lines = (kept or KeptLines()).lines(nodes, pause)
    else:
        lines = _longest_silent(nodes)
    yield Family(
        "flopmeter_nodes",
        "gauge",
        "Nodes that ever reported since the collector started.",
        [("", str(len(nodes)))],
    )
    yield Family(
        LAST_REPORT,
        "gauge",
        "Unix time of a node's last report, by the collector's clock.",
        text=lines,
    )
    yield Family(
        "flopmeter_node_declared_down",
        "gauge",
        "1 for a node that reported and is declared down now; its silence is expected.",
        [(labels(node=node), "1") for node in sorted(down) if node in nodes],
    )


def _longest_silent(nodes: Mapping[str, Reported]) -> list[str]:
    """The lines of as many nodes as are shown."""
    at_ns = [(node.last_report_ns, name) for name, node in list(nodes.items())]
    return [
        _line(_start(name), reported_ns)
        for reported_ns, name in heapq.nsmallest(MAXIMUM_NODE_SERIES, at_ns)
    ]


def _start(name: str) -> str:
    return f'{LAST_REPORT}{{node="{escape(name)}"}} '


def _line(start: str, at_ns: int) -> str:
    digits = str(at_ns)
    if len(digits) > _FRACTION and not digits.endswith("0"):
        return f"{start}{digits[:-_FRACTION]}.{digits[-_FRACTION:]}\n"
    return f"{start}{decimal(at_ns, digits=_FRACTION)}\n"
