"""A collector for tests: in this process, or as a child that may be killed.

Owns: settings with free ports and a ledger in a folder of the test.
May touch: that folder, loopback sockets, child processes.
Called by the integration tests.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_proto.daemon.clock import SystemClock


def settings(folder: Path, **changes: Any) -> CollectorConfig:
    """Settings of a collector of real readings on free ports, without HTTP."""
    defaults: dict[str, Any] = {
        "ledger": str(folder / "ledger.db"),
        "grpc_listen": "127.0.0.1:0",
        "http_listen": "",
    }
    return CollectorConfig(**(defaults | changes))


@contextlib.asynccontextmanager
async def running(folder: Path, **changes: Any) -> AsyncIterator[CollectorApp]:
    """A collector in this process, stopped at the end."""
    app = CollectorApp(settings(folder, **changes), SystemClock())
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


class Child:
    """A collector process."""

    def __init__(self, process: subprocess.Popen[str], address: str, http: str = "") -> None:
        """Take over a process that serves."""
        self.process = process
        self.address = address
        self.http = http

    def kill(self) -> None:
        """End it as a power cut would: nothing of it runs any more."""
        self.process.kill()
        self.process.wait()


_MAIN = (
    "import sys; from flopmeter.cli import main; sys.argv = ['flopmeter', *sys.argv[1:]];"
    "sys.exit(main())"
)


def command(*arguments: str) -> list[str]:
    """The command line that starts flopmeter with these arguments."""
    return [sys.executable, "-c", _MAIN, *arguments]


@contextlib.contextmanager
def child(ledger: Path | str, *flags: str) -> Iterator[Child]:
    """A collector process that serves; killed at the end if it still runs."""
    arguments = ["collector", "--ledger", str(ledger), "--grpc-listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command(*arguments, "--http-listen", "", *flags),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield Child(process, *_addresses(process))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _addresses(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Read the log until the collector says where it serves: gRPC, HTTP."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        found = re.search(r"collector serves .*?grpc=(\S+) http=(\S+)", line)
        if found:
            return found[1], found[2]
    raise AssertionError(f"the collector ended with {process.wait()}: {''.join(said)}")
