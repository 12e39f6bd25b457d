"""Who may read a new ledger: nobody but its owner, whatever the umask is."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_collector.ledger import sqlite


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def collect_once(path: Path) -> dict[str, str]:
    """Open and close a ledger to collect; the rights of its files while it was open."""
    ledger = sqlite.open_for_collecting(path, simulated=False, new_ledger_id=lambda: "1" * 32)
    with contextlib.closing(ledger):
        return {
            file.name: oct(stat.S_IMODE(file.stat().st_mode))
            for file in path.parent.iterdir()
            if file.name.startswith(path.name)
        }


@pytest.mark.usefixtures("open_umask")
def test_new_ledger_is_its_owners(tmp_path: Path) -> None:
    """The file, its journal and its lock are created 0600."""
    rights = collect_once(tmp_path / "ledger.db")
    assert {"ledger.db", "ledger.db-wal", "ledger.db.lock"} <= set(rights)
    assert set(rights.values()) == {"0o600"}


@pytest.mark.usefixtures("open_umask")
def test_rights_of_an_old_ledger_stay(tmp_path: Path) -> None:
    """What its owner allowed since is not taken back."""
    path = tmp_path / "ledger.db"
    collect_once(path)
    path.chmod(0o640)
    assert collect_once(path)["ledger.db"] == "0o640"
