"""What the demo starts: folders, free addresses, and the command line of every child.

Owns: the layout of the demo's folder and the arguments of its children.
May touch: the folder it is given; loopback ports, bound for a moment to see whether they are free.
Called by lab.demo.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flopmeter.lab.demo_view import Addresses
from flopmeter_agent.scenario import Scenario, parse_scenario
from flopmeter_core.errors import (
    DataError,
    StorageError,
    UnreachableError,
    UsageError,
    not_text,
    unreadable,
)

GRPC_PORT = 8425
HTTP_PORT = 8426

SAMPLE_PERIOD_S = 0.5
REPORT_PERIOD_S = 1.0
EVALUATE_PERIOD_S = 0.5

OWN_NODE = "this-host"
"""Name and run of this host's own agent."""


@dataclass(frozen=True)
class Plan:
    """One demo on disk.

    Attributes:
        folder: everything the demo writes lies below it.
        scenario: the script, with the seed that was asked for.
        addresses: where the collector will listen; they stay the same when it is restarted.
    """

    folder: Path
    scenario: Scenario
    addresses: Addresses

    @property
    def ledger(self) -> Path:
        """The simulated ledger."""
        return self.folder / "ledger.db"

    @property
    def logs(self) -> Path:
        """Folder of the children's logs."""
        return self.folder / "logs"

    def elsewhere(self) -> Plan:
        """The same demo on other ports, whichever are free."""
        return dataclasses.replace(self, addresses=free_addresses(0, 0))

    def collector_arguments(self) -> list[str]:
        """The command line of the collector."""
        return [
            *self._command("collector"),
            f"--ledger={self.ledger}",
            "--simulated",
            f"--grpc-listen={self.addresses.grpc}",
            f"--http-listen={self.addresses.http}",
            f"--evaluate-period-s={EVALUATE_PERIOD_S}",
        ]

    def agents(self, epoch_ns: int) -> Iterator[tuple[str, list[str]]]:
        """The name and command line of every agent.

        Args:
            epoch_ns: Unix time in ns at which the scenario begins.
        """
        for node in self.scenario.nodes:
            yield (
                f"agent-{node}",
                [
                    *self._agent(node),
                    "--sensor=simulated",
                    f"--scenario={self.folder / 'scenario.toml'}",
                    f"--scenario-epoch={epoch_ns}",
                ],
            )
        yield f"agent-{OWN_NODE}", [*self._agent(OWN_NODE), "--sensor=cpu", f"--run={OWN_NODE}"]

    def _agent(self, node: str) -> list[str]:
        return [
            *self._command("agent"),
            f"--collector={self.addresses.grpc}",
            f"--node={node}",
            f"--state={self.folder / 'agents' / node}",
            f"--sample-period-s={SAMPLE_PERIOD_S}",
            f"--report-period-s={REPORT_PERIOD_S}",
        ]

    def _command(self, daemon: str) -> list[str]:
        """The daemon with an empty settings file: the host's own is not for the demo."""
        settings = self.folder / "settings.toml"
        return [
            sys.executable,
            "-m",
            "flopmeter",
            daemon,
            f"--config={settings}",
            "--log-level=warning",
        ]


def make_plan(folder: Path, *, scenario_file: Path | None, seed: int | None) -> Plan:
    """Lay out a demo in an empty folder.

    Args:
        folder: exists and is empty.
        scenario_file: another script than the built-in one.
        seed: replaces the script's seed.

    Raises:
        DataError, UsageError: the script cannot be read or has no seed; its file is named.
        StorageError: the folder cannot be written.
    """
    text = read_scenario(scenario_file)
    try:
        text = seeded(text, seed)
        scenario = parse_scenario(text)
    except (DataError, UsageError) as error:
        raise type(error)(f"{scenario_file or 'the built-in scenario'}: {error}") from error
    try:
        (folder / "scenario.toml").write_text(text, "utf-8")
        (folder / "settings.toml").write_text("")
        for each in ("agents", "logs"):
            (folder / each).mkdir()
    except OSError as error:
        raise StorageError(
            f"the demo's folder {folder} cannot be written: {error.strerror}; give another --state"
        ) from error
    return Plan(folder, scenario, free_addresses())


def read_scenario(file: Path | None) -> str:
    """The script's text: a file's, or the built-in one's.

    Raises:
        UsageError: the file cannot be read.
        DataError: it is no text.
    """
    if file is None:
        return (resources.files("flopmeter.lab") / "data" / "demo.toml").read_text("utf-8")
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise unreadable(f"the scenario {file}", error) from error
    except UnicodeDecodeError as error:
        raise not_text(f"the scenario {file}") from error


def seeded(text: str, seed: int | None) -> str:
    """The script with its seed replaced.

    Raises:
        UsageError: the script has no line ``seed = ...`` to replace.
    """
    if seed is None:
        return text
    replaced, count = re.subn(r"(?m)^seed\s*=.*$", f"seed = {seed}", text, count=1)
    if not count:
        raise UsageError("the scenario has no line 'seed = ...', so --seed has nothing to replace")
    return replaced


def free_addresses(grpc_port: int = GRPC_PORT, http_port: int = HTTP_PORT) -> Addresses:
    """The named ports where they are free, else any."""
    with contextlib.ExitStack() as held:
        grpc, http = (_free_port(held, port) for port in (grpc_port, http_port))
    return Addresses(http=f"127.0.0.1:{http}", grpc=f"127.0.0.1:{grpc}")


def _free_port(held: contextlib.ExitStack, usual: int) -> int:
    """The usual port or a free one; held until the other is found, so that the two differ."""
    for port in (usual, 0):
        listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        # As the servers do: connections that linger from an earlier demo do not block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            listener.listen()
            bound: int = listener.getsockname()[1]
            return bound
    raise UnreachableError(
        "this host has no free port on 127.0.0.1; end some programs and try again"
    )
