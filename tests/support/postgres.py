"""A PostgreSQL server for tests: initialised once, started on a free loopback port, stopped by pid.

Owns: a data folder of its own, and one empty database a test.
May touch: the system's PostgreSQL programs, a temporary folder, one port of 127.0.0.1.
Called by the contract suite and the integration tests of the PostgreSQL ledger.
Durability is left as it is by default (fsync on): what is tested is what is promised.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from support.processes import START_LIMIT_S, STOP_LIMIT_S, free_port
from support.requirements import missing

PASSWORD = "s3cret-of-the-test"
"""Of the test's user; no log, message or page may show it."""


def programs() -> Path:
    """The folder of PostgreSQL's programs, or the end of the test as `missing` does."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: str(p))
    if not found:
        missing("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


def as_postgres(command: Sequence[str | Path]) -> list[str]:
    """The command as the user `postgres` where this is root, which PostgreSQL refuses."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *words]


def private_folder(prefix: str) -> Path:
    """A folder that the server's user owns."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


@dataclass
class PostgresServer:
    """A running server."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str) -> str:
        """The ledger URL of a database, with the password in it."""
        return f"postgresql://meter:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Create an empty database; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def kill(self) -> None:
        """End it as a power cut would, and wait until its children have noticed.

        A session that has not may still take a commit, and answer it.
        """
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(children, timeout=STOP_LIMIT_S)
        assert not alive, "a server's sessions outlived it"

    def stop(self) -> None:
        """End it at once but orderly: sessions are cut off, everything is written."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def start(self) -> None:
        """Start again on the same port and data."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.process = _started(self.folder, self.port, {})
                return
            except AssertionError:
                # Sessions of a killed postmaster take a moment to notice and go.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def initialise(folder: Path) -> None:
    """Make a database cluster in an empty folder, with data checksums and one user."""
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    subprocess.run(
        as_postgres(
            [
                programs() / "initdb",
                "-D",
                folder / "data",
                "-U",
                "meter",
                "--auth=scram-sha-256",
                f"--pwfile={password}",
                "--data-checksums",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]
        ),
        check=True,
        capture_output=True,
        cwd="/",
    )


@contextlib.contextmanager
def serving(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A fresh server until the block ends."""
    folder = private_folder("flopmeter-pg-")
    try:
        initialise(folder)
        port = free_port()
        server = PostgresServer(folder, port, _started(folder, port, settings or {}))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_server() -> PostgresServer:
    """One server for all tests of this process; stopped when it ends."""
    stack = contextlib.ExitStack()
    server = stack.enter_context(serving())
    atexit.register(stack.close)
    return server


def _started(folder: Path, port: int, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    given = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "50",
        "shared_buffers": "32MB",
        **settings,
    }
    flags = [word for name, text in given.items() for word in ("-c", f"{name}={text}")]
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            as_postgres([programs() / "postgres", "-D", folder / "data", *flags]),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
        )
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended with {process.returncode}: {log.read_text()}")
        ready = subprocess.run(
            [programs() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
        )
        if ready.returncode == 0:
            return process
        time.sleep(0.05)
    raise AssertionError(f"PostgreSQL did not start: {log.read_text()}")
