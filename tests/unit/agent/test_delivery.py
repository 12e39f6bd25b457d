"""What an agent makes of answers: its own work acknowledged, or another process under its keys."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_agent.loop import AgentLoop
from flopmeter_collector.registers import Outcome, RegisterTable
from flopmeter_core.reports import (
    MAXIMUM_SENT_SEQUENCES,
    Acknowledgement,
    Answer,
    Durability,
    LedgerPosition,
    Report,
)
from support.counting_node import CountingNode

POSITION = LedgerPosition("L", 1, 1)


def started(folder: Path, renewed: str) -> CountingNode:
    """An agent of the incarnation that every first one here has."""
    folder.mkdir()
    node = CountingNode(folder, devices=2)
    loop = node.start()
    names = iter(f"{renewed}{number:031x}" for number in range(100))
    loop._past._new_incarnation = lambda: next(names)
    # No two machines count the same to the nanosecond.
    node.step()
    node.step(node.period_ns + ord(renewed))
    return node


def exchange(table: RegisterTable, loop: AgentLoop, *, answered: bool = True) -> Report | None:
    """Report to a table as a collector does, and take its answer where it is not lost."""
    report = loop.report()
    if report is None:
        return None
    acks = []
    for keyed in report.vectors:
        held = table.branches(keyed.key)
        if table.merge(keyed, report.records[keyed.key.record]) is Outcome.CONTESTED:
            told = held[0].sequence if held[0].sequence != keyed.sequence else 0
            acks.append(Acknowledgement(keyed.key, told, Durability.CONTESTED))
        else:
            acks.append(Acknowledgement(keyed.key, keyed.sequence, Durability.AT_ROOT))
    if answered:
        loop.acknowledge(Answer(tuple(acks), POSITION))
    return report


STEPS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(("step", "report", "lost"))))


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_two_writers_of_one_incarnation(steps: list[tuple[int, str]]) -> None:
    """However two processes of one incarnation take turns, the ledger holds what both did."""
    with tempfile.TemporaryDirectory() as folder:
        nodes = [started(Path(folder) / name, name) for name in "ab"]
        table = RegisterTable()
        for who, act in [*steps, *[(who, act) for act in ("step", "report") for who in (0, 1)] * 3]:
            loop = nodes[who].loop
            assert loop is not None
            if act == "step":
                nodes[who].step()
            else:
                exchange(table, loop, answered=act == "report")
        loops = [node.loop for node in nodes if node.loop is not None]
        done = [held.vector for loop in loops for held in loop.held().values()]
        ledger = [each.vector for _, branches in table.items() for each in branches]
        assert list(map(sum, zip(*ledger, strict=True))) == list(map(sum, zip(*done, strict=True)))
        # One of them was told, and nobody twice.
        assert sorted(loop.counters.second_writers for loop in loops) == [0, 1]


def test_an_answer_to_what_came_late(tmp_path: Path) -> None:
    """A contest by a sequence that this process sent itself is none."""
    node = started(tmp_path / "a", "a")
    table = RegisterTable()
    loop = node.loop
    assert loop is not None
    for _ in range(MAXIMUM_SENT_SEQUENCES + 3):
        node.step()
        exchange(table, loop, answered=False)
    sent = exchange(table, loop)
    assert sent is not None
    for keyed in sent.vectors:
        assert keyed.sent == ()  # too many to tell
        late = Acknowledgement(keyed.key, keyed.sequence, Durability.CONTESTED)
        loop.acknowledge(Answer((late,), POSITION))
    node.step()
    again = exchange(table, loop)
    assert again is not None
    assert {keyed.sent for keyed in again.vectors} == {(each.sequence,) for each in sent.vectors}
    assert loop.counters.second_writers == 0
