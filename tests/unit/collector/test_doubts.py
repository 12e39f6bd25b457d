"""Who is asked whether a vector is theirs: each stream of the node once, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from flopmeter_collector import doubts as rooms
from flopmeter_collector.doubts import Doubts
from flopmeter_core.reports import Doubt, Held
from flopmeter_core.writers import key_digest
from support.ingest import key


def doubt(number: int, node: str = "node-1") -> Doubt:
    """A vector of a node."""
    return Doubt(node, key_digest(key()), Held(number, number))


def numbers(told: Iterable[Doubt]) -> list[int]:
    """Which were told, in ascending order."""
    return sorted(each.held.sequence for each in told)


def test_each_stream_of_the_node_is_told_once() -> None:
    """One that opens later too; the one that it came on and those of other nodes are not."""
    noted = Doubts()
    sender, other, foreign = (noted.listen((node,)) for node in ("node-1", "node-1", "node-2"))
    assert noted.tell(other) == ()
    noted.note(doubt(1), sender, late=True)
    noted.note(doubt(2), sender, late=False)
    assert [numbers(noted.tell(each)) for each in (sender, other, foreign)] == [[], [1, 2], []]
    noted.note(doubt(3), None, late=True)
    assert [numbers(noted.tell(each)) for each in (sender, other, foreign)] == [[3], [3], []]
    assert noted.tell(other) == ()
    assert numbers(noted.tell(noted.listen(("node-1",)))) == [1, 2, 3]


def test_what_is_known_is_not_told_again() -> None:
    """A vector that comes late each time is one doubt."""
    noted = Doubts()
    listener = noted.listen(("node-1",))
    for _ in range(3):
        noted.note(doubt(1), None, late=True)
    assert (noted.count, len(noted)) == (1, 1)
    assert numbers(noted.tell(listener)) == [1]


def test_a_relay_is_told_of_the_nodes_it_told_of() -> None:
    """What was noted before it told of a node, and after."""
    noted = Doubts()
    relay = noted.listen()
    relay.hear({"node-1", "node-3"})
    for number in (1, 2, 3, 4):
        noted.note(doubt(number, f"node-{number}"), None, late=number != 3)
    assert numbers(noted.tell(relay)) == [1, 3]
    relay.hear({"node-2"})
    assert numbers(noted.tell(relay)) == [2]
    relay.hear({"node-2", "node-1"})
    assert noted.tell(relay) == ()
    noted.note(doubt(5, "node-1"), None, late=True)
    relay.hear({"node-4"})
    assert numbers(noted.tell(relay)) == [4, 5]


def test_a_node_is_told_of_once_where_it_is_new_and_so_is_the_doubt() -> None:
    """Both at once are one."""
    noted = Doubts()
    relay = noted.listen()
    relay.hear({"node-2", "node-3"})
    noted.note(doubt(1), None, late=True)
    relay.hear({"node-1"})
    assert numbers(noted.tell(relay)) == [1]


def test_what_goes_up() -> None:
    """What stands below another vector, of any node; never what came from there."""
    noted = Doubts()
    upward = noted.listen(everything=True)
    noted.note(doubt(1), noted.listen(("node-1",)), late=True)
    noted.note(doubt(2, "node-2"), None, late=False)
    noted.note(doubt(3, "node-3"), upward, late=True)
    assert numbers(noted.tell(upward)) == [1]
    upward.begin_again()
    assert numbers(noted.tell(upward)) == [1], "the answer may be lost with the stream"


def test_many_are_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer grows without end, and none is left out."""
    monkeypatch.setattr(rooms, "MAXIMUM_DOUBTS_PER_MESSAGE", 3)
    noted = Doubts()
    listener = noted.listen(("node-1",))
    for number in range(1, 8):
        noted.note(doubt(number), None, late=number % 2 == 0)
    parts = [numbers(noted.tell(listener)) for _ in range(4)]
    assert [len(part) for part in parts] == [3, 3, 1, 0]
    assert sorted(number for part in parts for number in part) == list(range(1, 8))


def test_a_node_pushes_out_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends late vectors without end costs nobody else a place."""
    monkeypatch.setattr(rooms, "MAXIMUM_DOUBTS_PER_NODE", 3)
    noted = Doubts(limit=10)
    noted.note(doubt(1, "honest"), None, late=True)
    for number in range(100):
        noted.note(doubt(number + 1, "hostile"), None, late=True)
    assert len(noted) == 4
    assert numbers(noted.tell(noted.listen(("honest",)))) == [1]
    assert numbers(noted.tell(noted.listen(("hostile",)))) == [98, 99, 100]


def test_many_nodes_are_bounded() -> None:
    """The node that was heard of last stays; what is sent again pushes out nothing late."""
    noted = Doubts(limit=4)
    noted.note(doubt(1, "late"), None, late=True)
    for number in range(100):
        noted.note(doubt(1, f"node-{number}"), None, late=False)
    assert len(noted) == 5
    told = noted.listen()
    told.hear({"late", *(f"node-{number}" for number in range(100))})
    assert {each.node for each in noted.tell(told)} == {
        "late",
        *(f"node-{number}" for number in range(96, 100)),
    }
    for number in range(5):
        noted.note(doubt(2, f"other-{number}"), None, late=True)
    assert noted.tell(noted.listen(("late",))) == ()
