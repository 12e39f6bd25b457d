"""The claims' socket where the node has no descriptor left, or a peer is gone at once."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flopmeter_agent import claim_socket as module
from flopmeter_agent.claim_socket import ClaimSocket, writer_of
from flopmeter_proto.daemon.clock import SystemClock


class Listener:
    """A listener whose next connection is given."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def accept(self) -> tuple[Any, str]:
        """It, or the reason why there is none."""
        if isinstance(self.found, OSError):
            raise self.found
        return self.found, ""


def served(found: Any, peers: dict[int, Any] | None = None) -> tuple[ClaimSocket, list[str]]:
    """A socket that nobody serves, and what it counts as refused."""
    refused: list[str] = []
    made = object.__new__(ClaimSocket)
    made._listener = Listener(found)  # type: ignore[assignment]
    made._peers = peers or {}
    made._book = SimpleNamespace(counters=SimpleNamespace(refuse=refused.append))  # type: ignore[assignment]
    return made, refused


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_no_descriptor_is_left(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, and whoever is connected longest makes room: it comes again by itself."""
    first, second = SimpleNamespace(), SimpleNamespace()
    made, refused = served(OSError(number, "too many"), {1: first, 2: second})
    dropped: list[Any] = []
    monkeypatch.setattr(ClaimSocket, "_drop", lambda self, peer: dropped.append(peer))
    made._accept()
    assert refused == ["connections"] and dropped == [first]
    made._peers = {}
    waits: list[float] = []
    monkeypatch.setattr("select.select", lambda *_: waits.append(_[-1]))
    made._woken = None  # type: ignore[assignment]
    made._accept()
    assert dropped == [first] and waits == [module.REST_S]  # not again and again at once


def test_a_peer_that_went_again() -> None:
    """It costs nothing and is counted as nothing."""
    made, refused = served(OSError(errno.ECONNABORTED, "gone"))
    made._accept()
    assert (refused, made._peers) == ([], {})


class Stranger:
    """A connection that does not say who it is."""

    closed = False

    def setblocking(self, _: bool) -> None:
        """Never wait."""

    def getsockopt(self, *_: int) -> bytes:
        """Refuse."""
        raise OSError(errno.ENOTCONN, "gone")

    def close(self) -> None:
        """Let go."""
        self.closed = True


def test_a_peer_that_nobody_knows() -> None:
    """Who speaks has to be told by the kernel; without that nothing is read."""
    stranger = Stranger()
    made, refused = served(stranger)
    made._accept()
    assert stranger.closed and made._peers == {} and refused == []


def test_what_stands_for_a_process(tmp_path: Path) -> None:
    """The same process is the same writer, a reused pid another one."""
    assert writer_of("n", "boot", 7, "100") == writer_of("n", "boot", 7, "100")
    assert writer_of("n", "boot", 7, "100") != writer_of("n", "boot", 7, "101")
    assert module._started(2**30) == ""
    assert struct.calcsize("3i") == module._CREDENTIALS.size and socket.AF_UNIX is not None


def test_what_is_said_is_saved_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said right after a save waits for a save period, not until a socket looks itself."""
    monkeypatch.setattr(module, "SAVE_PERIOD_S", 0.2)
    saved = threading.Event()

    class Book:
        unsaved = False
        phases = SimpleNamespace(gone=lambda number: None)

        def take(self, *_: object, **__: object) -> None:
            self.unsaved = True

        def save(self) -> None:
            if self.unsaved:
                self.unsaved = False
                saved.set()

    path = tmp_path / "s"
    with (
        ClaimSocket(path, Book(), SystemClock(), node="n"),  # type: ignore[arg-type]
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer,
    ):
        peer.connect(str(path))
        for _ in range(2):
            peer.send(b"{}")
            assert saved.wait(module.IDLE_S / 2)
            saved.clear()


class Book:
    """Takes what a peer says, or fails as nobody foresaw."""

    unsaved = False

    def __init__(self) -> None:
        self.phases = SimpleNamespace(gone=lambda number: None)
        self.refused: list[str] = []
        self.counters = SimpleNamespace(refuse=self.refused.append, throttled=0)
        self.taken: list[bytes] = []

    def take(self, message: bytes, *_: object, **__: object) -> None:
        """One message."""
        if message == b"fault":
            raise RuntimeError("planted")
        self.taken.append(message)

    def save(self) -> None:
        """Nothing to save."""


def until(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    for _ in range(2_000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never held")


def peer_of(path: Path) -> socket.socket:
    """A connected peer."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.connect(str(path))
    return peer


def test_a_message_that_finds_a_fault(tmp_path: Path) -> None:
    """It costs its peer the connection; claims of all others go on."""
    book, path = Book(), tmp_path / "s"
    with ClaimSocket(path, book, SystemClock(), node="n"):  # type: ignore[arg-type]
        bad, good = peer_of(path), peer_of(path)
        bad.send(b"fault")
        until(lambda: book.refused)
        assert bad.recv(1) == b""
        good.send(b"{}")
        until(lambda: book.taken)
        bad.close()
        good.close()


def test_a_peer_let_go_of_in_the_same_round() -> None:
    """One that made room has nothing to be read any more, though it had spoken."""
    connection = SimpleNamespace(fileno=lambda: 7, close=lambda: None)
    made, _ = served(OSError(errno.EMFILE, "too many"), {7: SimpleNamespace()})
    made._peers[7].connection = connection  # type: ignore[assignment]
    made._book, made._clock = Book(), SystemClock()  # type: ignore[assignment]
    made._resting, made._saved_ns, made._stopping = set(), 0, True
    spoken = [SimpleNamespace(fileobj=made._listener, fd=3), SimpleNamespace(fileobj=None, fd=7)]
    rounds = [[(key, 1) for key in spoken], []]
    made._selector = SimpleNamespace(  # type: ignore[assignment]
        select=lambda pause_s: rounds.pop(0), unregister=lambda each: None
    )
    made._woken = None  # type: ignore[assignment]
    made._serve()
    assert made._peers == {} and rounds == []
