"""The collector's settings.

Owns: the keys of collector.toml with their units and defaults, and the checks that need several.
May touch: nothing; proto's settings module reads file, environment and flags.
Called by the command line and by app; docs/configuration.md lists every key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flopmeter_collector.limits import MAXIMUM_HOURS_PER_NODE
from flopmeter_collector.site import THRESHOLDS_FOLDER
from flopmeter_core.errors import UsageError
from flopmeter_proto.daemon.addresses import is_host_port, is_target
from flopmeter_proto.daemon.logs import LogLevel
from flopmeter_proto.daemon.settings import setting

SHORTEST_EVALUATE_PERIOD_S = 0.05

LARGEST_CLAIM_BOUND = 1_000

LONGEST_FORECAST_DAYS = 3_650
"""Ten years, as far as any forecast goes."""

SHORTEST_SILENCE_S = 1
LONGEST_SILENCE_S = 86_400
"""A day: what is silent for longer is missing, whatever a report period is."""


@dataclass(frozen=True)
class CollectorConfig:
    """Everything a collector can be told."""

    ledger: str = setting(
        "sqlite:////var/lib/flopmeter/ledger.db",
        description="where figures are kept: a path or URL",
    )
    simulated: bool = setting(
        False, description="keep simulated readings, in a ledger created for them"
    )
    grpc_listen: str = setting("127.0.0.1:8425", description="host:port agents report to")
    share_grpc_port: bool = setting(
        False,
        description="let further collectors of a PostgreSQL ledger listen on the same gRPC port",
    )
    http_listen: str = setting(
        "127.0.0.1:8426", description="host:port of page, metrics and API; off when empty"
    )
    names_in_metrics: bool = setting(
        False, description="tell the names of runs and models in metrics and alerts, not only ids"
    )
    tls_cert: Path | None = setting(None, description="PEM file of this collector's certificate")
    tls_key: Path | None = setting(None, description="PEM file of this collector's private key")
    tls_client_ca: Path | None = setting(
        None, description="PEM file of the agents' authority; agents then need a certificate"
    )
    node_names_from_certificates: bool = setting(
        True, description="with tls_client_ca: an agent reports only for names in its certificate"
    )
    relays: tuple[str, ...] = setting(
        (), description="names of certificates that may report for other nodes, as relays do"
    )
    allow_plaintext: bool = setting(False, description="allow plaintext with other hosts")
    thresholds_dir: Path = setting(
        THRESHOLDS_FOLDER, description="folder of threshold files added to the built-in ones"
    )
    alertmanager: tuple[str, ...] = setting((), description="URLs of the Alertmanagers to tell")
    webhooks: tuple[str, ...] = setting((), description="URLs that are told each alert by a POST")
    webhook_secret: Path | None = setting(
        None, description="file whose content signs what webhooks are told"
    )
    forecast_days: int = setting(
        90, description="days ahead within which a crossing counts as foreseen"
    )
    alert_off_loopback: bool = setting(
        False, description="allow alerts of simulated readings to be sent to another host"
    )
    evaluate_period_s: float = setting(1.0, description="seconds between two evaluations")
    claim_bound: float = setting(
        1.25, description="factor beyond which claims and meter contradict each other"
    )
    silence_s: float = setting(
        300.0, description="seconds without a report after which a device's time is missing"
    )
    hourly_days: int = setting(
        400, description="days that hours of ended runs are kept one by one; 0 keeps them all"
    )
    maximum_streams: int = setting(30_000, description="agents served at a time")
    maximum_streams_per_address: int = setting(
        1_000, description="agents served at a time from one address"
    )
    maximum_work_per_node_s: int = setting(
        5_000, description="vectors a second one node may send for long; 0: any number"
    )
    maximum_work_per_address_s: int = setting(
        10_000, description="vectors a second one address may send for long; 0: any number"
    )
    maximum_keys: int = setting(10_000_000, description="registers held in all")
    maximum_keys_per_node: int = setting(100_000, description="registers held of one node")
    maximum_allocations_per_node: int = setting(
        10_000, description="users of one node's devices that are told apart"
    )
    maximum_hours_per_node: int = setting(
        MAXIMUM_HOURS_PER_NODE, description="hourly vectors kept of one node"
    )
    upstream: str = setting(
        "", description="host:port of the collector this one forwards to; none when empty"
    )
    upstream_tls_ca: Path | None = setting(
        None, description="PEM file of the upstream collector's authority"
    )
    upstream_tls_cert: Path | None = setting(
        None, description="PEM file of the certificate shown to the upstream collector"
    )
    upstream_tls_key: Path | None = setting(
        None, description="PEM file of that certificate's private key"
    )
    relay_name: str = setting(
        "", description="name of this relay in the upstream collector's log; host name when empty"
    )
    forward_period_s: float = setting(
        10.0, description="seconds between two rounds of forwarding what changed"
    )
    log_level: LogLevel = setting(LogLevel.INFO, description="debug, info, warning or error")

    def __post_init__(self) -> None:
        """Check what one value cannot show alone.

        Raises:
            UsageError: an address that is none, or numbers that make no sense.
        """
        check_listen("grpc_listen", self.grpc_listen)
        if self.http_listen:
            check_listen("http_listen", self.http_listen)
        if self.share_grpc_port and not self._has_shared_ledger:
            raise UsageError(
                "share_grpc_port is for several collectors of one ledger, and a ledger in a file "
                "has one collector; name a PostgreSQL ledger with --ledger, or leave it out"
            )
        if self.evaluate_period_s < SHORTEST_EVALUATE_PERIOD_S:
            raise UsageError(
                f"evaluate_period_s is {self.evaluate_period_s}; give at least "
                f"{SHORTEST_EVALUATE_PERIOD_S}"
            )
        if not 1 <= self.claim_bound <= LARGEST_CLAIM_BOUND:
            raise UsageError(
                f"claim_bound is {self.claim_bound}; give a factor of 1 to {LARGEST_CLAIM_BOUND}"
            )
        if not SHORTEST_SILENCE_S <= self.silence_s <= LONGEST_SILENCE_S:
            raise UsageError(
                f"silence_s is {self.silence_s}; give {SHORTEST_SILENCE_S} to {LONGEST_SILENCE_S}"
            )
        if not 1 <= self.forecast_days <= LONGEST_FORECAST_DAYS:
            raise UsageError(
                f"forecast_days is {self.forecast_days}; give 1 to {LONGEST_FORECAST_DAYS}"
            )
        if self.webhook_secret is not None and not self.webhooks:
            raise UsageError("webhook_secret is given without webhooks; give an address as well")
        if self.hourly_days < 0:
            raise UsageError(f"hourly_days is {self.hourly_days}; give 0 or more")
        self._check_limits()
        self._check_upstream()

    @property
    def _has_shared_ledger(self) -> bool:
        """Whether several collectors may use the ledger at once."""
        return self.ledger.startswith(("postgresql://", "postgres://"))

    def _check_upstream(self) -> None:
        """Check what makes a relay.

        Raises:
            UsageError: an address that is none, or settings that exclude each other.
        """
        if not self.upstream:
            for name in ("upstream_tls_ca", "upstream_tls_cert", "upstream_tls_key", "relay_name"):
                if getattr(self, name):
                    raise UsageError(f"{name} is given without upstream; give the address as well")
            return
        if not is_target(self.upstream):
            raise UsageError(
                f"upstream {self.upstream!r} is no address; write it as collector.example:8425"
            )
        if self._has_shared_ledger:
            raise UsageError(
                "a relay keeps its ledger in a file of its own; name one with --ledger, and let "
                "the upstream collector keep the database"
            )
        if self.alertmanager or self.webhooks:
            raise UsageError(
                "a relay sees one site and raises no alert of its own; give --alertmanager and "
                "--webhooks to the upstream collector"
            )
        if self.forward_period_s < SHORTEST_EVALUATE_PERIOD_S:
            raise UsageError(
                f"forward_period_s is {self.forward_period_s}; give at least "
                f"{SHORTEST_EVALUATE_PERIOD_S}"
            )

    def _check_limits(self) -> None:
        """Check what one sender may take.

        Raises:
            UsageError: a limit that lets nobody in.
        """
        for name in (
            "maximum_streams",
            "maximum_streams_per_address",
            "maximum_keys",
            "maximum_keys_per_node",
            "maximum_allocations_per_node",
            "maximum_hours_per_node",
        ):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give at least 1")
        for name in ("maximum_work_per_node_s", "maximum_work_per_address_s"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; give 0 or more")


def check_listen(key: str, address: str) -> None:
    """Refuse an address nobody can listen on.

    Raises:
        UsageError: not ``host:port`` with a port of 0 to 65535.
    """
    if not is_host_port(address, lowest_port=0):
        raise UsageError(
            f"{key} {address!r} is no address; write it as HOST:PORT, with a port of 0 to 65535"
        )
