"""Three PostgreSQL servers under Patroni, in strict synchronous mode, with one etcd between them.

Owns: their configuration, their processes and a folder for all of it.
May touch: programs of the system (patroni, etcd, PostgreSQL), free ports of 127.0.0.1.
Called by the cases of `make faults`. Every process is ended by its own number.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support.postgres import PASSWORD, as_postgres, private_folder, programs
from support.processes import free_port
from support.requirements import require

MEMBERS = 3
START_LIMIT_S = 90.0

SETTINGS = {
    "ttl": 20,
    "loop_wait": 2,
    "retry_timeout": 5,
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {"max_connections": 100, "shared_buffers": "64MB", "wal_log_hints": "on"},
    },
}
"""Of the cluster; `ttl` is the time after which a dead primary is replaced."""


class Member:
    """One server and the Patroni that watches it."""

    def __init__(self, name: str, folder: Path, etcd: str) -> None:
        """Choose ports and write the configuration."""
        self.name = name
        self.port, self.rest = free_port(), free_port()
        self.folder = folder / name
        self.folder.mkdir()
        shutil.chown(self.folder, "postgres", "postgres")
        self._file = folder / f"{name}.yml"
        user = {"username": "meter", "password": PASSWORD}
        # JSON is YAML.
        self._file.write_text(
            json.dumps(
                {
                    "scope": "ledger",
                    "name": name,
                    "restapi": self._listen(self.rest),
                    "etcd3": {"host": etcd},
                    "bootstrap": {
                        "dcs": SETTINGS,
                        "initdb": [{"encoding": "UTF8"}, "data-checksums", {"locale": "C.UTF-8"}],
                        "pg_hba": ["host all all 127.0.0.1/32 scram-sha-256",
                                   "host replication all 127.0.0.1/32 scram-sha-256"],
                    },
                    "postgresql": {
                        **self._listen(self.port),
                        "data_dir": str(self.folder / "data"),
                        "bin_dir": str(programs()),
                        "pgpass": str(self.folder / "pgpass"),
                        "authentication": {
                            "superuser": user, "replication": user, "rewind": user,
                        },
                        "parameters": {"unix_socket_directories": str(self.folder)},
                    },
                }
            )
        )  # fmt: skip
        self._file.chmod(0o644)
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _listen(port: int) -> dict[str, str]:
        return {"listen": f"127.0.0.1:{port}", "connect_address": f"127.0.0.1:{port}"}

    def start(self) -> None:
        """Start Patroni, which starts the server."""
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                as_postgres([require("patroni", "apt-get install patroni"), self._file]),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
            )

    def state(self) -> Mapping[str, Any]:
        """What Patroni says of this member; empty where it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.rest}/patroni", timeout=2
            ) as answer:
                said: Mapping[str, Any] = json.load(answer)
                return said
        except urllib.error.HTTPError as error:
            with error:
                return dict(json.load(error))
        except OSError:
            return {}

    def kill(self) -> None:
        """End Patroni and the postmaster with SIGKILL, as the machine's power would."""
        assert self._process is not None
        postmaster = self._postmaster()
        self._process.kill()
        if postmaster:
            os.kill(postmaster, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End what still runs of it."""
        if self._process is None:
            return
        postmaster = self._postmaster()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            if postmaster:
                os.kill(postmaster, signal.SIGQUIT)

    def log(self) -> str:
        """The end of what Patroni and the server said."""
        return (self.folder / "log").read_text(errors="replace")[-3_000:]

    def _postmaster(self) -> int:
        try:
            return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0


class Cluster:
    """The members together."""

    def __init__(self, members: list[Member]) -> None:
        """Take over members that run."""
        self.members = members

    def url(self, database: str) -> str:
        """The ledger URL that names every member."""
        places = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"postgresql://meter:{PASSWORD}@{places}/{database}?target_session_attrs=read-write"

    def primary(self) -> Member | None:
        """The member that says it takes writes."""
        for member in self.members:
            if member.state().get("role") in ("master", "primary"):
                return member
        return None

    def wait_synchronous(self) -> Member:
        """Wait until there is a primary with a synchronous standby and every member runs."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            primary = self.primary()
            if primary is not None:
                state = primary.state()
                streams = state.get("replication", [])
                states = [row.get("sync_state") for row in streams]
                if "sync" in states and len(streams) == len(self.members) - 1:
                    return primary
            time.sleep(0.2)
        raise AssertionError("\n".join(member.log() for member in self.members))


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster with a synchronous standby, until the block ends."""
    require("etcd", "apt-get install etcd-server")
    folder = private_folder("flopmeter-patroni-")
    client, peer = free_port(), free_port()
    members: list[Member] = []
    with (folder / "etcd.log").open("wb") as output:
        etcd = subprocess.Popen(
            [
                "etcd", "--name", "e0", "--data-dir", str(folder / "etcd"),
                "--listen-client-urls", f"http://127.0.0.1:{client}",
                "--advertise-client-urls", f"http://127.0.0.1:{client}",
                "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-cluster", f"e0=http://127.0.0.1:{peer}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        for number in range(MEMBERS):
            member = Member(f"m{number}", folder, f"127.0.0.1:{client}")
            members.append(member)
            member.start()
        whole = Cluster(members)
        whole.wait_synchronous()
        yield whole
    finally:
        for member in members:
            member.stop()
        etcd.kill()
        etcd.wait()
        time.sleep(0.5)
        shutil.rmtree(folder, ignore_errors=True)
