"""Podman, runc and docker-compose inside the namespaces that tests/e2e/run has made.

Owns: the engine's service, the compose project, the health probes' pace, and their end.
May touch: containers, volumes and networks of this run; mounts of its own mount namespace.
Called by e2e.drive. Everything is ended by its own id; whatever were left would end with the
process namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.prometheus import wait_until
from support.requirements import ROOT

SOCKET = Path("/run/flopmeter-e2e.sock")

FILES = ("docker-compose.yml", "tests/e2e/docker-compose.e2e.yml")

PROJECT = "flopmeter-e2e"

SCENARIO_FILE = "./flopmeter/lab/data/demo.toml"
"""Crosses demo-line after 35 s; the one that docker-compose.yml mounts by itself takes 140."""

COMPOSE_LIMIT_S = 180.0


def run(*command: str, limit_s: float = 60.0) -> str:
    """Run a program and return what it printed.

    Raises:
        AssertionError: it failed; with what it said.
    """
    completed = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, cwd=ROOT)
    assert completed.returncode == 0, f"{' '.join(command)}: {completed.stderr[-2000:]}"
    return completed.stdout


def compose(*arguments: str) -> str:
    """Run docker-compose on the project, over podman's socket."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(Path.home()),
        "DOCKER_HOST": f"unix://{SOCKET}",
        "COMPOSE_PROJECT_NAME": PROJECT,
        "COMPOSE_HTTP_TIMEOUT": "120",
        "FLOPMETER_SCENARIO_FILE": SCENARIO_FILE,
    }
    flags = [flag for path in FILES for flag in ("--file", path)]
    completed = subprocess.run(
        ["docker-compose", *flags, "--project-directory", ".", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMPOSE_LIMIT_S,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    return completed.stdout


def inspect(*containers: str) -> list[dict[str, Any]]:
    """What podman knows of containers."""
    rows: list[dict[str, Any]] = json.loads(run("podman", "inspect", *containers))
    return rows


def containers() -> dict[str, str]:
    """Service -> id of its container, of all that exist, ended ones included."""
    found = {}
    for row in json.loads(run("podman", "ps", "--all", "--format", "json")):
        found[row["Labels"]["com.docker.compose.service"]] = row["Id"]
    return found


@contextlib.contextmanager
def service() -> Iterator[None]:
    """The API of podman, on a socket that only this mount namespace has."""
    # Private mounts: the machine's own /run and address leases are neither seen nor written.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    Path("/var/lib/cni").mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/cni")
    run("ip", "link", "set", "lo", "up")
    # A run that was killed leaves its containers in the storage.
    run("podman", "rm", "--all", "--force", "--volumes")
    run("podman", "volume", "rm", "--all", "--force")
    log = (ROOT / "build/e2e/podman.log").open("wb")
    process = subprocess.Popen(
        ["podman", "system", "service", "--time=0", f"unix://{SOCKET}"], stderr=log
    )
    try:
        wait_until(SOCKET.exists, limit_s=20, what="podman's socket")
        yield
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@contextlib.contextmanager
def probing() -> Iterator[None]:
    """Run the health probes at a steady pace, which podman leaves to systemd's timers."""
    stop = threading.Event()

    def probe() -> None:
        while not stop.wait(0.5):
            listed = subprocess.run(["podman", "ps", "-q"], capture_output=True, text=True)
            for container in listed.stdout.split():
                # Not healthy, no probe, or just gone: what the probes say is read elsewhere.
                subprocess.run(["podman", "healthcheck", "run", container], capture_output=True)

    thread = threading.Thread(target=probe, name="probes")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def project() -> Iterator[None]:
    """The compose project, up; taken down with its volumes, and seen to be gone."""
    try:
        compose("up", "--detach", "--no-build")
        yield
    finally:
        compose("down", "--volumes", "--timeout", "10")
    assert run("podman", "ps", "--all", "--quiet") == ""
    assert run("podman", "volume", "ls", "--quiet") == ""
    networks = run("podman", "network", "ls", "--format", "{{.Name}}").split()
    assert networks == ["podman"], networks
