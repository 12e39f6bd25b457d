"""Which file a ledger URL names, and what is said to a URL that names none."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from flopmeter_collector import backends
from flopmeter_collector.backends import ledger_path
from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.errors import UsageError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("ledger.db", "ledger.db"),
        ("/var/lib/ledger.db", "/var/lib/ledger.db"),
        ("sqlite:///ledger.db", "ledger.db"),
        ("sqlite:////var/lib/ledger.db", "/var/lib/ledger.db"),
    ],
)
def test_file(url: str, path: str) -> None:
    """A plain path and an SQLite URL name a file."""
    assert ledger_path(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "names no ledger"),
        ("sqlite:///", "names no ledger"),
        ("sqlite://ledger.db", "names no ledger"),
        ("mysql://host/db", "names no ledger"),
        ("postgresql://host/db", "in a file only"),
        ("postgres://host/db", "in a file only"),
        ("/", "is a folder"),
    ],
)
def test_no_file(url: str, said: str) -> None:
    """Any other URL is refused with what to write instead."""
    with pytest.raises(UsageError, match=said):
        ledger_path(url)


@pytest.mark.parametrize("field", ["author", "subject", "reason"])
def test_words_that_nobody_could_read_are_not_declared(tmp_path: Path, field: str) -> None:
    """Bytes of a command line that are no UTF-8 would stand in the ledger, and in answers."""
    url = str(tmp_path / "l.db")
    backends.collect(url, simulated=False).close()
    words = {"author": "ada", "subject": "a", "reason": "why", field: "\udcff"}
    body = {"model": "m", "reason": words["reason"]}
    row = Declaration(0, 1, words["author"], "cli", "run", words["subject"], body)
    with pytest.raises(UsageError, match=r"'\\udcff' holds bytes that are no text in UTF-8; write"):
        backends.declare(url, row)
    with contextlib.closing(backends.read(url)) as ledger:
        assert not list(ledger.declarations())
