"""The agent's own page: whoever connects takes little of the agent, and keeps nobody from it."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from flopmeter_agent import page_server
from flopmeter_agent.page_server import MAXIMUM_CONNECTIONS, serving


@pytest.fixture
def port() -> Iterator[int]:
    """Where a page is served."""
    with serving(make_wsgi_app(CollectorRegistry()), "127.0.0.1", 0) as port:
        yield port


def threads() -> int:
    """Threads of connections."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def until_threads(most: int) -> None:
    """Wait until so many are left at most."""
    for _ in range(1_000):
        if threads() <= most:
            return
        time.sleep(0.02)
    raise AssertionError(f"{threads()} threads are left")


def scraped(port: int) -> int:
    """The status of a scrape."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return int(answer.status)


def test_connections_that_say_nothing(port: int) -> None:
    """Of many only a few are served, and a scrape is answered beside them."""
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(20 * MAXIMUM_CONNECTIONS)]
    assert scraped(port) == 200
    until_threads(MAXIMUM_CONNECTIONS)
    for connection in held:
        connection.close()
    until_threads(0)


def test_silence_ends_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that neither asks nor reads is let go of by itself, and nothing is written of it."""
    monkeypatch.setattr(page_server._Handler, "timeout", 0.2)
    with serving(make_wsgi_app(CollectorRegistry()), "127.0.0.1", 0) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(10)
            assert connection.recv(1) == b""
        assert scraped(port) == 200


def test_errors_are_silent(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Nonsense and a reset fill no log."""
    for sent in (b"\x00" * 100 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until_threads(0)
    assert scraped(port) == 200
    assert capfd.readouterr().err == ""


def test_address_of_six() -> None:
    """An address of IPv6 is listened at."""
    with serving(make_wsgi_app(CollectorRegistry()), "::1", 0) as port:
        socket.create_connection(("::1", port)).close()
