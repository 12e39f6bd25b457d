"""What a collector refuses to start with, each in one sentence and with its exit code."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter_collector.app import CollectorApp
from flopmeter_core.errors import (
    DataError,
    FlopmeterError,
    NotPermittedError,
    StorageError,
    UnreachableError,
    UsageError,
)
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import child, command, running, settings


async def start(folder: Path, **changes: Any) -> None:
    """Start a collector and stop it at once."""
    app = CollectorApp(settings(folder, **changes), SystemClock())
    await app.start()
    await app.stop()


def start_refused(folder: Path, error: type[FlopmeterError], **changes: Any) -> str:
    """The sentence a start is refused with."""
    with pytest.raises(error) as refused:
        asyncio.run(start(folder, **changes))
    return str(refused.value)


@pytest.fixture
def taken() -> Iterator[str]:
    """An address something listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("key", ["grpc_listen", "http_listen"])
def test_port_in_use(tmp_path: Path, taken: str, key: str) -> None:
    """A taken port is said with the flag to change, and no new ledger is left behind."""
    said = start_refused(tmp_path, UnreachableError, **{key: taken})
    assert list(tmp_path.iterdir()) == []
    assert taken in said and "--" + key.replace("_", "-") in said
    asyncio.run(start(tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"webhooks": ("http://127.0.0.1:9/hook",), "webhook_secret": Path("/nonexistent/secret")},
        {"alertmanager": ("http://127.0.0.1:9",), "webhooks": ("http://127.0.0.1:9",)},
    ],
)
def test_receivers_are_looked_at_before_an_address_is_taken(
    tmp_path: Path, taken: str, settings: dict[str, object]
) -> None:
    """A secret that is not there is said even where the port is taken, and no ledger is made."""
    said = start_refused(tmp_path, UsageError, grpc_listen=taken, **settings)
    assert "webhook_secret" in said or "given twice" in said
    assert list(tmp_path.iterdir()) == []


def test_two_collectors_never_share_a_port(tmp_path: Path) -> None:
    """A second collector on the port of a serving one is refused, never given half the agents."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    async def scenario() -> None:
        async with running(tmp_path / "a") as app:
            with pytest.raises(UnreachableError):
                await start(tmp_path / "b", grpc_listen=app.grpc_address)

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["grpc_listen", "http_listen"])
def test_plaintext_off_loopback(tmp_path: Path, key: str) -> None:
    """Plaintext to other hosts is refused until it is allowed."""
    address = {key: "0.0.0.0:0"}
    assert "--allow-plaintext" in start_refused(tmp_path, UsageError, **address)
    asyncio.run(start(tmp_path, allow_plaintext=True, **address))


def test_no_database(tmp_path: Path) -> None:
    """A file that is no SQLite database is refused and left as it is."""
    (tmp_path / "ledger.db").write_text("something else " * 100)
    assert "no ledger" in start_refused(tmp_path, DataError)
    assert (tmp_path / "ledger.db").read_text() == "something else " * 100


def test_database_of_another_program(tmp_path: Path) -> None:
    """An SQLite database of another program is refused and gets no table of ours."""
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    assert "another program" in start_refused(tmp_path, DataError)
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    other.close()


def test_newer_schema(tmp_path: Path) -> None:
    """A ledger of a newer version is refused, to collect and to read, with what to do."""
    asyncio.run(start(tmp_path))
    with sqlite3.connect(tmp_path / "ledger.db") as newer:
        newer.execute("PRAGMA user_version = 999")
    newer.close()
    assert "upgrade flopmeter" in start_refused(tmp_path, UsageError)


def test_damaged(tmp_path: Path) -> None:
    """A ledger whose pages were overwritten is refused with the way back."""
    asyncio.run(start(tmp_path))
    content = bytearray((tmp_path / "ledger.db").read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    (tmp_path / "ledger.db").write_bytes(content)
    assert "restore it from a backup" in start_refused(tmp_path, DataError)


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that does not exist is named."""
    said = start_refused(tmp_path, UsageError, ledger=str(tmp_path / "nowhere" / "ledger.db"))
    assert f"{tmp_path}/nowhere" in said


def test_kind(tmp_path: Path) -> None:
    """A ledger created for one kind refuses a collector of the other."""
    asyncio.run(start(tmp_path, simulated=True))
    said = start_refused(tmp_path, NotPermittedError)
    assert "never takes real ones" in said


@pytest.mark.slow
def test_exit_codes(tmp_path: Path) -> None:
    """The process prints one sentence and exits with the documented code."""
    ledger = tmp_path / "ledger.db"
    # No port but a free one: what else listens on this host must not be what refuses.
    ports = ("--grpc-listen", "127.0.0.1:0", "--http-listen", "")
    with child(ledger, "--simulated"):
        held = subprocess.run(
            command("collector", "--ledger", str(ledger), "--simulated", *ports),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (held.returncode, held.stdout) == (75, ""), "a service manager tries again"
    assert held.stderr.splitlines() == [
        f"flopmeter: the ledger {ledger} is held by another collector; stop that one, or name "
        "another ledger"
    ]


def test_read_only_folder(tmp_path: Path) -> None:
    """A place where nothing can be written is a storage error that names the lock."""
    (tmp_path / "ledger.db.lock").mkdir()
    assert "ledger.db.lock cannot be opened" in start_refused(tmp_path, StorageError)
