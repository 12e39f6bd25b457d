"""A node's line is kept until it reports again, and says what a new one would."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.http import nodes as node_lines
from flopmeter_collector.http.nodes import LAST_REPORT, KeptLines, node_families
from flopmeter_collector.intake import NodeStatus
from flopmeter_core.kernels.render import decimal, labels, render

NAMES = ["a", "node-1", 'b"\\\n', "c"]
TIMES_NS = st.one_of(st.integers(0, 3 * 10**9), st.integers(0, 2**62))


def known(times_ns: dict[str, int]) -> dict[str, NodeStatus]:
    """Nodes that reported so."""
    return {name: NodeStatus(last_report_ns=at_ns) for name, at_ns in times_ns.items()}


def shown(text: str) -> dict[str, str]:
    """What a text says of when nodes reported, by their labels."""
    return dict(re.findall(rf"^{LAST_REPORT}(\{{.*\}}) (\S+)$", text, re.MULTILINE))


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), TIMES_NS), min_size=1, max_size=5))
def test_every_scrape_says_what_is_known(scrapes: list[dict[str, int]]) -> None:
    """Whatever reported or came between two scrapes, a text has each node at its newest report."""
    nodes: dict[str, NodeStatus] = {}
    kept = KeptLines()
    for reports in scrapes:
        for name, at_ns in reports.items():
            nodes.setdefault(name, NodeStatus()).last_report_ns = at_ns
        assert shown(render(node_families(nodes, kept=kept))) == {
            labels(node=name): decimal(status.last_report_ns, digits=9)
            for name, status in nodes.items()
        }


def test_only_who_reported_gets_another_line() -> None:
    """Of a fleet few report between two scrapes: the others' lines are the very same text."""
    nodes = known({"a": 1_500_000_001, "b": 2_000_000_003})
    kept = KeptLines()
    before = kept.lines(nodes)
    nodes["b"].last_report_ns += 1
    nodes["c"] = NodeStatus(last_report_ns=5)
    after = kept.lines(nodes)
    assert after[0] is before[0]
    numbers = [line.rpartition(" ")[2] for line in after]
    assert numbers == ["1.500000001\n", "2.000000004\n", "0.000000005\n"]


def test_longest_silent_nodes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap the nodes a person has to look at are shown, and all are counted."""
    monkeypatch.setattr(node_lines, "MAXIMUM_NODE_SERIES", 1)
    text = render(node_families(known({"a": 2_000_000_000, "b": 1})))
    assert shown(text) == {'{node="b"}': "0.000000001"}
    assert "\nflopmeter_nodes 2\n" in text


def test_only_nodes_that_reported_are_shown_as_down() -> None:
    """A declaration may be about a device, or about a node that never came."""
    text = render(node_families(known({"a": 1, "b": 1}), frozenset({"b", "GPU-0", "z"})))
    assert re.findall(r"^flopmeter_node_declared_down(.*)$", text, re.MULTILINE) == ['{node="b"} 1']


def test_answers_go_first_between_two_nodes() -> None:
    """A text of 10,000 nodes takes 10 ms in a thread, and pauses as often as there are nodes."""
    paused: list[None] = []
    KeptLines().lines(known({"a": 1, "b": 2, "c": 3}), lambda: paused.append(None))
    assert len(paused) == 3
