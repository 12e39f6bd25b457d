"""The agent's own page: whoever connects takes little of the agent, and keeps nobody from it."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from flopmeter_agent import page_server
from flopmeter_agent.exposition import serve
from flopmeter_agent.page_server import MAXIMUM_CONNECTIONS, serving
from flopmeter_core.errors import UsageError

PAGE = "# HELP a What it is.\n# TYPE a gauge\na 1\n"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture
def port() -> Iterator[int]:
    """Where a page is served."""
    with serving(lambda: PAGE, "127.0.0.1", 0) as port:
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


def asked(port: int, method: str, path: str = "/metrics") -> tuple[int, str | None, str]:
    """Status, type and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    told = answer.status, answer.getheader("Content-Type"), answer.read().decode()
    connection.close()
    return told


@pytest.mark.parametrize("path", ["/metrics", "/"])
def test_every_path_is_the_page(port: int, path: str) -> None:
    """In the text format that every Prometheus reads."""
    assert asked(port, "GET", path) == (200, TEXT, PAGE)


def test_a_probe_gets_no_text(port: int) -> None:
    """HEAD says the same of the page without it, and nothing else is served."""
    assert asked(port, "HEAD") == (200, TEXT, "")
    assert asked(port, "POST")[0] == 501


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
    with serving(lambda: PAGE, "127.0.0.1", 0) as port:
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
    with serving(lambda: PAGE, "::1", 0) as port:
        socket.create_connection(("::1", port)).close()


def test_what_goes_wrong_here_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A page that cannot be made ends one answer, with an error in the log."""

    def broken() -> str:
        raise ValueError("no page")

    with (
        caplog.at_level(logging.ERROR),
        serving(broken, "127.0.0.1", 0) as port,
        pytest.raises(http.client.RemoteDisconnected),
    ):
        asked(port, "GET")
    assert [each.message for each in caplog.records] == ["a scrape could not be answered"]


def test_a_reader_that_has_gone_is_no_trouble(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of it."""
    failed = []

    def gone(_: object) -> None:
        failed.append(1)
        raise BrokenPipeError

    monkeypatch.setattr(page_server._Handler, "do_GET", gone)
    with pytest.raises(http.client.RemoteDisconnected):
        asked(port, "GET")
    assert failed and not caplog.records


@pytest.mark.parametrize("listen", ["127.0.0.1:no", "127.0.0.1:99999"])
def test_an_address_that_is_none(listen: str) -> None:
    """One sentence says what to name instead."""
    with pytest.raises(UsageError, match="name a free host:port with --metrics-listen"):
        serve(listen, lambda: PAGE).__enter__()


def test_the_address_is_free_afterwards() -> None:
    """Nothing listens once the context has ended."""
    with serving(lambda: PAGE, "127.0.0.1", 0) as port:
        socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
