"""The agent's settings.

Owns: the keys of agent.toml with their units and defaults, and the checks that need several.
May touch: nothing; proto's settings module reads file, environment and flags.
Called by the command line and by app; docs/configuration.md lists every key.
"""

from __future__ import annotations

import socket
from pathlib import Path

from flopmeter_core.errors import UsageError
from flopmeter_core.values import value_class
from flopmeter_proto.daemon.addresses import is_target
from flopmeter_proto.daemon.logs import LogLevel
from flopmeter_proto.daemon.settings import setting

SHORTEST_PERIOD_S = 0.1

ALLOCATION_SOURCES = ("exec", "slurm", "kubernetes", "cgroup")

LONGEST_COLLECT_PERIOD_S = 600
"""A value that stands for more than ten minutes is no sample of anything."""


@value_class(frozen=True, slots=True)
class AgentConfig:
    """Everything an agent can be told."""

    collector: str = setting("127.0.0.1:8425", description="host:port of the collector")
    cluster: str = setting("", description="name of the cluster this node belongs to")
    node: str = setting("", description="name of this node; its host name when empty")
    state: Path = setting(Path("/var/lib/flopmeter/agent"), description="folder of the journal")
    sensor: str = setting("auto", description="auto, nvml, dcgm, cpu, simulated or none")
    dcgm_url: str = setting(
        "",
        description="page of the exporter that sensors dcgm and auto read; "
        "http://127.0.0.1:9400/metrics for dcgm when empty",
    )
    dcgm_part: str = setting(
        "", description="part of the device table, where an exporter's devices have no PCI id"
    )
    dcgm_period_s: float = setting(
        30.0, description="seconds between two collections of that exporter"
    )
    require_real: bool = setting(
        False, description="refuse every sensor whose readings are made up"
    )
    scenario: Path | None = setting(None, description="scenario file of sensor simulated")
    scenario_epoch: int = setting(
        0, description="Unix time in ns at which the scenario starts; 0 starts it now"
    )
    run: str = setting("", description="run that every device of this node works for")
    allocations: tuple[str, ...] = setting(
        ("exec", "slurm", "kubernetes", "cgroup"),
        description="how users of devices are told apart, where run is empty; none when empty",
    )
    allocations_folder: Path = setting(
        Path("/run/flopmeter"), description="folder of run files and of a Slurm prolog's files"
    )
    kubelet_socket: str = setting(
        "auto", description="path of the kubelet's pod-resources socket; off when empty"
    )
    site_key: Path | None = setting(
        None, description="file with the key that hashes names; one of the agent's own when empty"
    )
    claims_socket: str = setting(
        "auto", description="path of the socket training processes claim on; off when empty"
    )
    sample_period_s: float = setting(1.0, description="seconds between two readings")
    report_period_s: float = setting(10.0, description="seconds between two reports")
    tls_ca: Path | None = setting(None, description="PEM file of the collector's authority")
    tls_cert: Path | None = setting(None, description="PEM file of this agent's certificate")
    tls_key: Path | None = setting(None, description="PEM file of this agent's private key")
    allow_plaintext: bool = setting(False, description="allow plaintext to another host")
    metrics_listen: str = setting(
        "", description="host:port of the agent's own metrics; off when empty"
    )
    log_level: LogLevel = setting(LogLevel.INFO, description="debug, info, warning or error")

    def __post_init__(self) -> None:
        """Check what one value cannot show alone.

        Raises:
            UsageError: an address that is none, periods that make no sense, or a scenario
                without its sensor.
        """
        _check_collector(self.collector)
        if self.sample_period_s < SHORTEST_PERIOD_S:
            raise UsageError(
                f"sample_period_s is {self.sample_period_s}; give {SHORTEST_PERIOD_S} or more, "
                "counters are not fresher than that"
            )
        if self.report_period_s < self.sample_period_s:
            raise UsageError("report_period_s must not be shorter than sample_period_s")
        if not SHORTEST_PERIOD_S <= self.dcgm_period_s <= LONGEST_COLLECT_PERIOD_S:
            raise UsageError(
                f"dcgm_period_s is {self.dcgm_period_s}; an exporter collects every "
                f"{SHORTEST_PERIOD_S} to {LONGEST_COLLECT_PERIOD_S} s"
            )
        unknown = [name for name in self.allocations if name not in ALLOCATION_SOURCES]
        if unknown or len(set(self.allocations)) != len(self.allocations):
            raise UsageError(
                f"allocations names each of {', '.join(ALLOCATION_SOURCES)} once at most; "
                f"take {unknown[0] if unknown else self.allocations[0]!r} out"
            )
        if (self.scenario is not None) != (self.sensor == "simulated"):
            raise UsageError("--sensor simulated and --scenario FILE go together; give both")

    def looks_for_users(self, *, simulated: bool) -> bool:
        """Whether users of devices are told apart: not where one run has all, nor on made-up ones.

        Args:
            simulated: whether the devices are made up.
        """
        return bool(self.allocations) and not self.run and not simulated

    @property
    def node_name(self) -> str:
        """The node's name as it is reported."""
        return self.node or socket.gethostname()


def _check_collector(address: str) -> None:
    """Refuse what gRPC could only fail to connect to, again and again.

    Raises:
        UsageError: neither ``host:port`` with a port of 1 to 65535 nor a gRPC target.
    """
    if not is_target(address):
        raise UsageError(f"collector {address!r} is no address; write it as collector.example:8425")
