"""`flopmeter doctor`: each setting that falls short is said, with what is lost and exit code 1."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from flopmeter.cli import main
from flopmeter.cli.doctor import command
from flopmeter_agent import volatile
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Finding
from flopmeter_collector.ledger.sqlite.settings import examine, file_system
from flopmeter_core.errors import UnreachableError, UsageError
from support.postgres import PASSWORD, serving, shared_server


def by_setting(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by their setting; each is there once."""
    found = {finding.setting: finding for finding in findings}
    assert len(found) == len(findings)
    return found


MOUNTS = """overlay / overlay rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/sda /var/lib ext4 rw 0 0
server:/x /var/lib/far\\040away nfs4 rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/x.db", "overlay"),
        ("/run/x.db", "tmpfs"),
        ("/runner/x.db", "overlay"),
        ("/var/lib/flopmeter/x.db", "ext4"),
        ("/var/lib/far away/x.db", "nfs4"),
    ],
)
def test_file_system(path: str, kind: str) -> None:
    """The nearest mount says what a file lies on."""
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "good", "said"),
    [("ext4", True, ""), ("tmpfs", False, "next restart"), ("nfs4", False, "network")],
)
def test_place_of_a_file(tmp_path: Path, kind: str, good: bool, said: str) -> None:
    """Memory and networks are said to lose a ledger; a disk is good, and so are SQLite's modes."""
    path = tmp_path / "ledger.db"
    backends.collect(str(path), simulated=False).close()
    found = by_setting(list(examine(path, f"x / {kind} rw 0 0\n")))
    assert found["file system"].good is good
    assert said in found["file system"].told
    assert found["journal_mode"].good
    assert found["synchronous"].found == "full"


def test_command_on_a_file(tmp_path: Path) -> None:
    """The command prints one line a finding, or JSON, and names what is missing with exit 64."""
    path = tmp_path / "ledger.db"
    backends.collect(str(path), simulated=False).close()
    said = CliRunner().invoke(command, ["--ledger", str(path)], standalone_mode=False)
    assert "journal_mode = wal" in said.output
    told = CliRunner().invoke(command, ["--ledger", str(path), "--json"], standalone_mode=False)
    document = json.loads(told.output)
    assert len(document["findings"]) == len(said.output.splitlines())
    assert document["good"] is (said.return_value == 0)
    with pytest.raises(UsageError, match="no ledger"):
        backends.examine(str(tmp_path / "none.db"))
    with pytest.raises(UsageError, match="PostgreSQL"):
        backends.examine(str(path), patroni="http://127.0.0.1:1")


def test_weak_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that can lose what was acknowledged falls short in each of its settings."""
    weak = {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
    }
    with serving(weak) as server:
        url = server.create("ledger")
        monkeypatch.setattr("sys.argv", ["flopmeter", "doctor", "--ledger", url])
        assert main() == 1
        printed = capsys.readouterr().out
        found = by_setting(backends.examine(url))
        # A collector does not acknowledge what the server would have forgotten.
        with contextlib.closing(backends.collect(url, simulated=False)) as ledger:
            session = ledger._connection.raw  # type: ignore[attr-defined]
            assert session.execute("SHOW synchronous_commit").fetchone() == ("on",)
    for name in (*list(weak)[:4], "synchronous_standby_names", "pg_stat_replication"):
        assert found[name].good is False, name
        assert f"SHORT {name} = " in printed
    assert found["data_checksums"].good
    assert PASSWORD not in printed


@pytest.mark.parametrize(
    ("parameters", "short"),
    [
        ("", set()),
        ("?target_session_attrs=any", {"target_session_attrs"}),
        ("?connect_timeout=60&tcp_user_timeout=0", {"connect_timeout", "tcp_user_timeout"}),
    ],
)
def test_client(parameters: str, short: set[str]) -> None:
    """What the URL itself spoils is said."""
    found = by_setting(backends.examine(shared_server().url("postgres") + parameters))
    ours = {"target_session_attrs", "connect_timeout", "tcp_user_timeout", "hosts", "session"}
    assert {name for name in ours if found[name].good is False} == short
    assert found["synchronous_mode_strict"].good is None


@contextlib.contextmanager
def patroni(settings: dict[str, Any]) -> Iterator[str]:
    """What answers as Patroni's REST interface does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(settings).encode()
            self.send_response(200 if self.path == "/config" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("settings", "short"),
    [
        ({"synchronous_mode": True, "synchronous_mode_strict": True, "ttl": 20}, set()),
        ({"synchronous_mode": True, "ttl": 20}, {"synchronous_mode_strict"}),
        ({"ttl": 30}, {"synchronous_mode", "synchronous_mode_strict", "ttl"}),
        ({}, {"synchronous_mode", "synchronous_mode_strict", "ttl"}),
    ],
)
def test_patroni(settings: dict[str, Any], short: set[str]) -> None:
    """Patroni's modes and the time after which it replaces a primary are looked at."""
    with patroni(settings) as address:
        found = by_setting(backends.examine(shared_server().url("postgres"), patroni=address))
    told = {"synchronous_mode", "synchronous_mode_strict", "ttl"}
    assert {name for name in told if not found[name].good} == short


def test_patroni_that_is_none() -> None:
    """An address nobody answers at is said."""
    with patroni({}) as address:
        pass
    with pytest.raises(UnreachableError, match="tells no configuration"):
        backends.examine(shared_server().url("postgres"), patroni=address)


def test_a_synchronous_standby_is_asked_for() -> None:
    """Standbys that are named but not there fall short; the name alone is not enough."""
    with serving({"synchronous_standby_names": "far"}) as server:
        url = server.url("postgres")
        found = by_setting(backends.examine(url))
        assert found["synchronous_standby_names"].good
        assert found["pg_stat_replication"].good is False
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET ALL")


@pytest.mark.parametrize(
    ("kind", "good", "said"),
    [("ext4", True, "outliving"), ("tmpfs", False, "--state"), ("overlay", False, "volume")],
)
def test_an_agents_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, good: bool, said: str
) -> None:
    """A folder that goes with a reboot or a container falls short; no ledger is looked for."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - {kind} none rw\n")
    monkeypatch.setattr(volatile, "_MOUNTS", mounts)
    arguments = ["--state-folder", str(tmp_path)]
    shown = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert shown.return_value == (0 if good else 1)
    assert shown.output.startswith(f"{'good ' if good else 'SHORT'} state_folder = {tmp_path}: ")
    assert said in shown.output
    told = CliRunner().invoke(command, [*arguments, "--json"], standalone_mode=False)
    document = json.loads(told.output)
    assert document["good"] is document["findings"][0]["good"] is good


def test_a_state_folder_is_looked_at_alone(tmp_path: Path) -> None:
    """Together with a ledger it is a usage error, and a folder has to exist."""
    both = ["doctor", "--state-folder", str(tmp_path), "--ledger", "x.db"]
    assert main(both) == 64
    assert main(["doctor", "--state-folder", str(tmp_path / "none")]) == 64
