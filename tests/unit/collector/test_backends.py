"""Which file a ledger URL names, and what is said to a URL that names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_collector.backends import ledger_path
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
