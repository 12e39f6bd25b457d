"""The collector's settings are checked together before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flopmeter_collector.config import CollectorConfig
from flopmeter_core.errors import UsageError
from flopmeter_proto.daemon.settings import load
from support.requirements import ROOT


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grpc_listen": "8425"}, "grpc_listen"),
        ({"grpc_listen": "localhost:http"}, "grpc_listen"),
        ({"http_listen": "127.0.0.1:70000"}, "http_listen"),
        ({"evaluate_period_s": 0.0}, "evaluate_period_s"),
        ({"maximum_streams": 0}, "maximum_streams"),
        ({"claim_bound": 0.5}, "claim_bound is 0.5; give a factor of 1 to"),
        ({"silence_s": 0.0}, "silence_s is 0.0; give"),
        ({"forecast_days": 0}, "forecast_days is 0; give"),
        ({"hourly_days": -1}, "hourly_days is -1; give 0 or more"),
        ({"webhook_secret": Path("s")}, "webhook_secret is given without webhooks"),
        ({"maximum_hours_per_node": 0}, "maximum_hours_per_node"),
        ({"upstream": "root"}, "upstream 'root' is no address"),
        ({"upstream": "root:0"}, "is no address"),
        ({"upstream": "root:8425", "alertmanager": ("http://am",)}, "raises no alert"),
        ({"upstream": "root:8425", "ledger": "postgresql://db/x"}, "a file of its own"),
        ({"upstream": "root:8425", "forward_period_s": 0.0}, "forward_period_s"),
        ({"upstream_tls_ca": Path("ca.pem")}, "upstream_tls_ca is given without upstream"),
        ({"relay_name": "r"}, "relay_name is given without upstream"),
        ({"share_grpc_port": True}, "a ledger in a file has one collector"),
    ],
)
def test_refused(settings: dict[str, Any], said: str) -> None:
    """Each wrong setting is refused with a sentence that names it."""
    with pytest.raises(UsageError, match=said):
        CollectorConfig(**settings)


def test_accepted() -> None:
    """Defaults, port 0, IPv6 and no HTTP pass."""
    CollectorConfig()
    CollectorConfig(grpc_listen="[::1]:0", http_listen="")
    CollectorConfig(ledger="postgresql://db/x", share_grpc_port=True)
    CollectorConfig(upstream="root.example:8425", upstream_tls_ca=Path("ca.pem"), relay_name="r")


def test_the_shipped_settings_of_a_relay() -> None:
    """They are taken as they stand, and make a relay that shows its certificate."""
    shipped = ROOT / "deploy/relay/collector.toml"
    config = load(CollectorConfig, file=shipped, environ={}, flags={}).config
    assert config.upstream and config.upstream_tls_ca
    assert config.upstream_tls_cert and config.upstream_tls_key
    assert not config.allow_plaintext
