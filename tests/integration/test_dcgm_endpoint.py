"""The request to an exporter over real HTTP: what goes wrong is one sentence, soon."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from flopmeter_agent.sensors.dcgm.endpoint import GREATEST_BYTES, Endpoint
from flopmeter_core.errors import SensorError, UsageError
from flopmeter_proto.daemon.clock import SystemClock
from support.fake_exporter import FakeExporter

PATIENT_S, SHORT_S = 30.0, 0.5
"""How long a page may take that does come, however busy the machine, and one that never does."""


@pytest.fixture
def exporter() -> Iterator[FakeExporter]:
    """A web server that shows what the test says."""
    made = FakeExporter()
    yield made
    made.close()


def fetch(url: str, timeout_s: float = PATIENT_S) -> str:
    """One request."""
    return Endpoint(url, SystemClock(), timeout_s=timeout_s).fetch()


def test_a_page(exporter: FakeExporter) -> None:
    """A page comes as it is, with or without its path in the address."""
    exporter.text = "DCGM_FI_X 1\n# ü\n"
    assert fetch(exporter.url) == exporter.text
    assert fetch(exporter.url.removesuffix("/metrics")) == exporter.text


def answer(status: int, body: bytes, *, length: int | None = None) -> Callable[..., None]:
    """An answer with this status, body and claimed length."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if length is not None:
            request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(body)

    return behave


def flood(request: BaseHTTPRequestHandler) -> None:
    """An answer without end."""
    request.send_response(200)
    request.end_headers()
    for _ in range(2 * GREATEST_BYTES >> 16):
        request.wfile.write(b"#" * (1 << 16))


def trickle(request: BaseHTTPRequestHandler) -> None:
    """An answer of one byte now and then: each read is in time, the whole never is.

    It ends when nobody listens any more, as all answers here do.
    """
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"#")
        request.wfile.flush()
        time.sleep(SHORT_S / 3)


def steady_trickle(request: BaseHTTPRequestHandler) -> None:
    """A byte every millisecond: no read ever has to wait."""
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"#")
        request.wfile.flush()
        time.sleep(0.001)


def hang(request: BaseHTTPRequestHandler) -> None:
    """No answer for as long as anybody waits for it."""
    request.rfile.read(1)


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """The connection ends before an answer."""
    request.connection.shutdown(socket.SHUT_RDWR)


def chunk_cut_off(request: BaseHTTPRequestHandler) -> None:
    """A chunk that ends before its length."""
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"ff\r\nDCGM_FI_X 1\n")


TROUBLES: dict[str, tuple[Callable[..., None], str]] = {
    "an error": (answer(500, b"oops"), "answers with HTTP 500"),
    "another place": (answer(302, b""), "answers with HTTP 302"),
    "cut off": (answer(200, b"DCGM_FI_X 1\n", length=500), "cut off"),
    "cut off in a chunk": (chunk_cut_off, "cut off"),
    "said to be huge": (answer(200, b"", length=1 << 40), "above 8 MiB"),
    "huge": (flood, "above 8 MiB"),
    "binary": (answer(200, b"\xff\xfe\x00"), "is no text"),
    "slow": (hang, "within 0.5 s"),
    "a trickle": (trickle, "within 0.5 s"),
    "a steady trickle": (steady_trickle, "within 0.5 s"),
    "hangs up": (hang_up, "the exporter"),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_troubles(exporter: FakeExporter, case: str) -> None:
    """Each trouble is one sentence that names the exporter; what would last for ever is cut off."""
    exporter.behave, sentence = TROUBLES[case]
    comes = "within" not in sentence
    with pytest.raises(SensorError, match=sentence) as refused:
        fetch(exporter.url, PATIENT_S if comes else SHORT_S)
    assert exporter.url in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nobody_there() -> None:
    """Nobody listening is said so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SensorError, match="cannot be reached"):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/metrics")


def test_no_http() -> None:
    """A port that speaks something else is said so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/metrics"

        def greet() -> None:
            connection, _ = server.accept()
            connection.recv(1_000)
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with pytest.raises(SensorError, match="does not speak HTTP"):
            fetch(url)
        thread.join()


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:9400", "ftp://h/metrics", "http://", "http://h:99999/", "http://[::1/m",
     "http://u:p@h/metrics", "http://h/a b", "http://h/\r\nX: y"],
)  # fmt: skip
def test_no_address(url: str) -> None:
    """What is no address of a page, or holds a secret, is refused at the start."""
    with pytest.raises(UsageError) as refused:
        Endpoint(url, SystemClock())
    assert "u:p" not in str(refused.value)


def test_whose_host() -> None:
    """Only a loopback address is certainly this host's."""
    for url in ("http://127.0.0.1:9400/metrics", "http://localhost/", "http://[::1]:9400/"):
        assert Endpoint(url, SystemClock()).on_this_host
    for url in ("http://node7:9400/", "http://10.0.0.1/", "http://127.example.org/"):
        assert not Endpoint(url, SystemClock()).on_this_host
