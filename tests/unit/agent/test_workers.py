"""A call that hangs blocks its own key only; the others are answered in the same round."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from flopmeter_agent.workers import Done, Stuck, Workers

PATIENCE_S = 0.1


@pytest.fixture
def workers() -> Iterator[Workers[object]]:
    """Workers with a short patience."""
    made: Workers[object] = Workers("test", patience_s=PATIENCE_S)
    yield made
    made.close()


class Gate:
    """A library call that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.left = threading.Event()

    def call(self) -> object:
        """Hang, then answer."""
        self.entered.set()
        self.opened.wait()
        self.left.set()
        return "late"


def answer(key: str) -> Callable[[], object]:
    """A call that answers its key."""
    return lambda: key


def test_order_and_thread(workers: Workers[object]) -> None:
    """Calls are made in order, in one thread that is not the caller's."""
    made: list[tuple[str, int]] = []

    def call(key: str) -> Callable[[], object]:
        def note() -> int:
            made.append((key, threading.get_ident()))
            return len(made)

        return note

    outcomes = workers.run({key: call(key) for key in "cab"})
    assert outcomes == {"c": Done(1), "a": Done(2), "b": Done(3)}
    assert [key for key, _ in made] == ["c", "a", "b"]
    assert {thread for _, thread in made} != {threading.get_ident()}
    assert len({thread for _, thread in made}) == 1


def test_errors_are_outcomes(workers: Workers[object]) -> None:
    """A call that raises hurts no other one, and its error is handed over."""
    error = ValueError("broken")

    def broken() -> object:
        raise error

    assert workers.run({"a": broken, "b": lambda: 1}) == {"a": Done(error=error), "b": Done(1)}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_stuck_call_blocks_only_itself(workers: Workers[object], place: int) -> None:
    """Wherever the hanging call stands in the round, the others are answered in that round."""
    gate = Gate()
    calls = {key: answer(key) for key in "abc"}
    stuck = "abc"[place]
    calls[stuck] = gate.call
    for _ in range(3):
        outcomes = workers.run(calls)
        assert outcomes[stuck] == Stuck()
        assert [outcomes[key] for key in "abc" if key != stuck] == [
            Done(key) for key in "abc" if key != stuck
        ]
        assert workers.stuck(stuck)
        assert workers.any_stuck
    gate.opened.set()


def test_stuck_call_is_made_once(workers: Workers[object]) -> None:
    """While a call hangs no second one is sent after it; afterwards its key is called again."""
    gate = Gate()
    calls = 0

    def count() -> object:
        nonlocal calls
        calls += 1
        return gate.call() if calls == 1 else "fresh"

    assert workers.run({"a": count}) == {"a": Stuck()}
    assert workers.run({"a": count}) == {"a": Stuck()}
    assert calls == 1
    gate.opened.set()
    gate.left.wait()
    while workers.stuck("a"):
        threading.Event().wait(0.001)
    # What the late call returned was dropped.
    assert workers.run({"a": count}) == {"a": Done("fresh")}


def test_others_are_called_once(workers: Workers[object]) -> None:
    """A thread that comes back from a stuck call does not make the others' calls again."""
    gate = Gate()
    made: list[str] = []
    workers.run({"a": gate.call, "b": lambda: made.append("b"), "c": lambda: made.append("c")})
    gate.opened.set()
    while workers.stuck("a"):
        threading.Event().wait(0.001)
    assert made == ["b", "c"]


def test_two_stuck_calls(workers: Workers[object]) -> None:
    """Each hanging key has a thread of its own; what is left still shares one."""
    first, second = Gate(), Gate()
    calls = {"a": first.call, "b": second.call, "c": lambda: threading.current_thread().name}
    outcomes = workers.run(calls)
    assert outcomes == {"a": Stuck(), "b": Stuck(), "c": Done("test")}
    first.opened.set()
    second.opened.set()


def test_slow_calls_within_patience(workers: Workers[object]) -> None:
    """A round may take longer than the patience when no single call does."""

    def slow() -> object:
        return threading.Event().wait(PATIENCE_S / 2)

    outcomes = workers.run({key: slow for key in "abcdef"}, patience_s=20 * PATIENCE_S)
    assert set(outcomes.values()) == {Done(False)}
    assert not workers.any_stuck


def test_close_leaves_no_thread_but_the_stuck() -> None:
    """After close only a thread whose call hangs is left, and it ends with its call."""
    workers: Workers[object] = Workers("closing", patience_s=PATIENCE_S)
    gate = Gate()
    workers.run({"a": gate.call, "b": lambda: 1})
    workers.close()
    left = [thread for thread in threading.enumerate() if thread.name == "closing"]
    assert len(left) == 1
    assert left[0].daemon
    gate.opened.set()
    left[0].join(5)
    assert not left[0].is_alive()
