"""A PgBouncer before a test's PostgreSQL server, on a free loopback port, stopped by its pid.

Owns: its settings file, in a folder of its own.
May touch: the system's pgbouncer, a temporary folder, one port of 127.0.0.1.
Called by the integration tests of the PostgreSQL ledger.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from support.postgres import PASSWORD, PostgresServer, as_postgres, private_folder
from support.processes import START_LIMIT_S, STOP_LIMIT_S, free_port
from support.requirements import require


@contextlib.contextmanager
def pooling(server: PostgresServer, database: str, *settings: str) -> Iterator[str]:
    """The URL of a database through a pooler with these lines of settings, until the block ends."""
    program = require("pgbouncer", "apt-get install pgbouncer")
    folder = private_folder("flopmeter-pgbouncer-")
    port = free_port()
    lines = [
        "[databases]",
        f"{database} = host=127.0.0.1 port={server.port} dbname={database}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = plain",
        f"auth_file = {folder}/users",
        *settings,
    ]
    (folder / "users").write_text(f'"meter" "{PASSWORD}"\n')
    (folder / "settings").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        as_postgres([program, "-q", folder / "settings"]), stderr=subprocess.DEVNULL, cwd="/"
    )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None and time.monotonic() < deadline, "it did not start"
            time.sleep(0.05)
        yield f"postgresql://meter:{PASSWORD}@127.0.0.1:{port}/{database}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        finally:
            process.kill()
            shutil.rmtree(folder, ignore_errors=True)
