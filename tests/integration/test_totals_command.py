"""`flopmeter totals` and `run declare` against a real ledger, and an API that misbehaves."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter.lab import collector_api
from flopmeter_collector import backends


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """An empty simulated ledger."""
    path = tmp_path / "ledger.db"
    backends.collect(str(path), simulated=True).close()
    return str(path)


def test_declare_then_totals(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was declared is in the ledger, with its author, and shows in totals."""
    words = ["--model", "atlas", "--format", "fp8=0.9..0.97,bf16=rest", "--author", "ada"]
    assert main(["run", "declare", "r1", *words, "--ledger", ledger, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["sequence"], written["author"], written["source"]) == (1, "ada", "cli")
    assert main(["totals", "--ledger", ledger, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["simulated"] is True
    (run,) = document["runs"]
    assert (run["run"], run["model"]) == ("r1", "atlas")
    assert run["declared"]["format"] == "fp8=0.9..0.97,bf16=rest"
    assert main(["totals", "--ledger", ledger]) == 0
    text = capsys.readouterr().out
    assert "SIMULATED" in text
    assert "no reading yet" in text
    assert text.rstrip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "fp9"], "unknown number format 'fp9'"),
        (["--format", "fp8=0.9..0.2,bf16=rest"], "does not lie between 0 and 1"),
        (["--workload", "poetry"], "'poetry' is no workload"),
        (["--activity", "napping"], "'napping' is no activity"),
        (["--model", ""], "is empty"),
        ([], "says nothing"),
    ],
)
def test_wrong_declaration(
    arguments: list[str], sentence: str, ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing wrong enters the append-only ledger."""
    assert main(["run", "declare", "r1", *arguments, "--ledger", ledger]) == 65
    assert sentence in capsys.readouterr().err
    with contextlib.closing(backends.read(ledger)) as opened:
        assert list(opened.declarations()) == []


def test_declare_without_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A declaration does not create a ledger."""
    path = tmp_path / "no.db"
    arguments = ["run", "declare", "r1", "--model", "m", "--ledger", str(path)]
    assert main(arguments) == 64
    assert not path.exists()


def test_garbled_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no ledger ends in a sentence."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database, not a database, not a database" * 100)
    assert main(["totals", "--ledger", str(path)]) in (65, 74)
    captured = capsys.readouterr()
    assert captured.err.startswith("flopmeter: ")
    assert "Traceback" not in captured.err


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """Answers with what its server was told."""

    def do_GET(self) -> None:
        """Answer any path."""
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    """A server whose `answer` a test sets."""
    with http.server.HTTPServer(("127.0.0.1", 0), Misbehaving) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "code", "sentence"),
    [
        (404, b"", 69, "answers 404"),
        (503, b'{"error": "rebuilding"}', 69, "answers 503"),
        (200, b"<html>", 65, "does not answer with JSON"),
        (200, b"[]", 65, "no totals document"),
        (200, b'{"schema": 2}', 65, "schema 1; update flopmeter"),
        (200, b" " * 200, 65, "more than 100 bytes"),
    ],
)
def test_misbehaving_collector(
    status: int,
    body: bytes,
    code: int,
    sentence: str,
    server: http.server.HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever answers on the address, the command ends in a sentence."""
    monkeypatch.setattr(collector_api, "MAXIMUM_ANSWER_BYTES", 100)
    server.__dict__["answer"] = (status, body)
    assert main(["totals", "--collector", f"http://127.0.0.1:{server.server_port}"]) == code
    assert sentence in capsys.readouterr().err


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """A port without a collector is unreachable, and the sentence says what to start."""
    with socket.socket() as taken:
        # Bound and not listened on: nobody else can take it, and who connects is refused.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert main(["totals", "--collector", f"http://127.0.0.1:{port}"]) == 69
    told = capsys.readouterr().err
    assert "start one with `flopmeter collector`" in told and "--ledger reads one" in told


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00@\x00",  # HTTP/2, as gRPC speaks it
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 \x1b[31m\xff\r\n\r\n",
        b"HTTP/1.1 404 \x1b[31mred\r\n\r\n",
    ],
)
def test_no_http(answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that speaks something else is said to, in words that print."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=talk)
        thread.start()
        port = listening.getsockname()[1]
        assert main(["totals", "--collector", f"http://127.0.0.1:{port}"]) == 69
        thread.join()
    said = capsys.readouterr().err
    assert said.rstrip("\n").isprintable()
    if b"404" not in answer:
        assert "does not speak HTTP; 8425 is the agents' port, 8426 the page's" in said
