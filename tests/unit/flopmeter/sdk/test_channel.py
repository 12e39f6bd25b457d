"""The way to the agent: nothing waits, nothing raises, what is not sent is counted."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter.sdk import channel
from flopmeter.sdk.channel import FIRST_RETRY_S, LONGEST_RETRY_S, Channel


class Agent:
    """Whoever listens at the socket."""

    def __init__(self, path: Path) -> None:
        """Listen."""
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(10)
        self.peer: socket.socket | None = None

    def take(self) -> bytes:
        """The next message."""
        if self.peer is None:
            self.peer, _ = self._listener.accept()
            self.peer.settimeout(10)
        return self.peer.recv(1 << 16)

    def hang_up(self) -> None:
        """Close the connection, and go on listening."""
        assert self.peer is not None
        self.peer.close()
        self.peer = None

    def close(self) -> None:
        """Stop."""
        if self.peer is not None:
            self.peer.close()
        self._listener.close()
        self.path.unlink()


class Now:
    """The process' clock, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        """Its time in s."""
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    """In place of the real one."""
    made = Now()
    monkeypatch.setattr(channel, "time", made)
    return made


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """One that listens."""
    made = Agent(tmp_path / "agent.sock")
    yield made
    made.close()


def test_messages_stay_whole(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message arrives as it was sent, on the socket the environment names."""
    monkeypatch.setenv(channel.SOCKET_VARIABLE, str(agent.path))
    way = Channel()
    assert way.send(b"one") and way.send(b"two")
    assert (agent.take(), agent.take()) == (b"one", b"two")
    assert (way.sent, way.dropped) == (2, 0)
    way.close()
    way.close()


def test_an_empty_path_sends_nothing() -> None:
    """Nobody is to be told: messages are dropped, and counted."""
    way = Channel("")
    assert not way.send(b"one")
    assert (way.sent, way.dropped) == (0, 1)


def test_it_tries_again_later_and_later(tmp_path: Path, now: Now) -> None:
    """Where nobody listens it asks after 1, 2, 4 ... up to 30 s, and not in between."""
    way = Channel(str(tmp_path / "agent.sock"))
    waited, expected = 0.0, FIRST_RETRY_S
    for _ in range(8):
        assert not way.send(b"x")
        agent = Agent(tmp_path / "agent.sock")
        now.seconds += expected - 0.1
        assert not way.send(b"x"), "it is not asked before the time"
        agent.close()
        now.seconds += 0.1
        waited, expected = waited + expected, min(2 * expected, LONGEST_RETRY_S)
    assert way.dropped == 16
    agent = Agent(tmp_path / "agent.sock")
    now.seconds += LONGEST_RETRY_S
    assert way.send(b"at last") and agent.take() == b"at last"
    agent.close()
    way.close()


def test_an_agent_that_started_again_is_found_at_once(agent: Agent, now: Now) -> None:
    """A connection that is gone costs one message, and the next one makes a new one."""
    way = Channel(str(agent.path))
    assert way.send(b"one") and agent.take() == b"one"
    agent.hang_up()
    assert not way.send(b"lost")
    assert way.send(b"two") and agent.take() == b"two"
    assert (way.sent, way.dropped) == (2, 1)
    way.close()


def test_a_busy_agent_costs_messages_and_no_time(agent: Agent) -> None:
    """Once the kernel holds as much as it will, messages are dropped; the connection stays."""
    way = Channel(str(agent.path))
    assert way.send(b"first") and agent.take() == b"first"
    while way.send(b"x" * 1_000):
        assert way.sent < 10_000
    sent, dropped = way.sent, way.dropped
    assert dropped == 1
    for _ in range(sent - 1):
        agent.take()
    assert way.send(b"last") and agent.take() == b"last"
    way.close()


def test_a_message_that_cannot_be_sent(agent: Agent, now: Now) -> None:
    """One beyond what the kernel takes is dropped, and the agent is left alone for a while."""
    way = Channel(str(agent.path))
    assert not way.send(b"x" * (1 << 26))
    assert not way.send(b"soon after")
    now.seconds += FIRST_RETRY_S
    assert way.send(b"later")
    way.close()


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_a_path_that_is_none(path: str) -> None:
    """It is never raised to the training."""
    assert not Channel(path).send(b"x")


def test_a_forked_child_makes_its_own_connection(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins to count at nought, and its parent's connection is not spoken on."""
    way = Channel(str(agent.path))
    way.send(b"parent")
    agent.take()
    first, agent.peer = agent.peer, None
    assert first is not None
    monkeypatch.setattr(os, "getpid", lambda: 4_242)
    assert way.send(b"child") and agent.take() == b"child"
    assert way.sent == 1
    assert first.recv(1) == b"", "the copy in the child is closed"
    first.close()
    way.close()
