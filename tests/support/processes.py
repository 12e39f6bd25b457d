"""Server programs for tests: a free port, an orderly start, and an end by process id.

Owns: waiting until a port answers, and stopping what was started here and nothing else.
May touch: child processes of its own and ports of 127.0.0.1.
Called by integration tests.
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

LEAST_PORT = 15_000
PORTS_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")

START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that nobody is given by chance later.

    Whoever connects anywhere, or asks for any port, is given one of the kernel's range; a server
    of a test may be down for a while, and has to find its port free when it comes back.
    """
    own = range(LEAST_PORT, int(PORTS_GIVEN.read_text().split()[0]))
    while True:
        port = random.SystemRandom().choice(own)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def serving(command: Sequence[str | Path], port: int, log: Path) -> Iterator[None]:
    """Run a server until the block ends; it listens on the port when the block begins.

    Args:
        command: the program and its arguments.
        port: the port of 127.0.0.1 it will listen on.
        log: gets its output; shown when it does not start.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}: {log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port} after {START_LIMIT_S} s: {log.read_text()}")
