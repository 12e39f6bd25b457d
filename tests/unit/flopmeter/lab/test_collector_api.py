"""Asking a collector for its totals: one sentence for each way it can fail."""

from __future__ import annotations

import email.message
import io
import urllib.error
import urllib.request
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from flopmeter.lab import collector_api
from flopmeter.lab.collector_api import fetch_totals
from flopmeter_core.errors import DataError, UnreachableError, UsageError

URL = "http://127.0.0.1:8426"


class Collector:
    """Whatever answers."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = b'{"schema": 1}'
        self.asked: list[str] = []

    def open(self, url: str, timeout: float) -> io.BytesIO:
        """In place of the request."""
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    """Instead of a network."""
    made = Collector()
    monkeypatch.setattr(urllib.request, "build_opener", lambda *_: made)
    return made


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_totals(url: str, collector: Collector) -> None:
    """The document comes from the collector's one path."""
    assert fetch_totals(url) == {"schema": 1}
    assert collector.asked == [f"{URL}/api/v1/totals"]


@pytest.mark.parametrize("url", ["127.0.0.1:8426", "ftp://host", "http://", ""])
def test_no_url(url: str, collector: Collector) -> None:
    """It is said how one is written, and nobody is asked."""
    with pytest.raises(UsageError, match="is no URL; write it as http://127"):
        fetch_totals(url)
    assert collector.asked == []


def http_error(code: int, reason: str) -> Exception:
    """What a server that has no such page says."""
    return urllib.error.HTTPError(URL, code, reason, email.message.Message(), io.BytesIO())


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (http_error(404, "Not\x1b Found"), r"answers 404 Not\? Found; is this a collector's HTTP"),
        (RemoteDisconnected("gone"), r"no collector answers at .*\(gone\)"),
        (BadStatusLine("PRI"), "it does not speak HTTP; 8425 is the agents' port, 8426 the page's"),
        (
            urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")),
            r"no collector answers at .* \(Connection refused\); start one with",
        ),
        (IncompleteRead(b"half"), "no collector answers at"),
        (TimeoutError("timed out"), r"no collector answers at .*\(timed out\)"),
    ],
)
def test_nobody_answers(answer: Exception, sentence: str, collector: Collector) -> None:
    """Who is there instead, or that nobody is, and what to do."""
    collector.answer = answer
    with pytest.raises(UnreachableError, match=sentence):
        fetch_totals(URL)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"<html>", "does not answer with JSON; is this a collector"),
        (b"[]", "no totals document of schema 1; update flopmeter"),
        (b'{"schema": 2}', "no totals document of schema 1"),
        (b'{"schema": 1, "runs": [' + b" " * 100 + b"]}", "answers with more than 64 bytes"),
    ],
)
def test_no_totals(
    answer: Any, sentence: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no totals document is not shown as one, and what is too large is not read."""
    monkeypatch.setattr(collector_api, "MAXIMUM_ANSWER_BYTES", 64)
    collector.answer = answer
    with pytest.raises(DataError, match=sentence):
        fetch_totals(URL)
