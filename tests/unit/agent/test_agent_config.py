"""The agent's settings are checked together before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flopmeter_agent.config import AgentConfig
from flopmeter_core.errors import UsageError


@pytest.mark.parametrize(
    "address",
    [
        "",
        "8425",
        "collector.example",
        ":8425",
        "host:http",
        "host:0",
        "host:70000",
        "host:\uff18\uff14\uff12\uff15",
        "http://127.0.0.1:8425",
        "two words:8425",
        "fe80::1",
        "unix:",
        "dns:",
    ],
)
def test_no_address(address: str) -> None:
    """A collector nobody can connect to is refused at the start, with the setting's name."""
    with pytest.raises(UsageError, match=r"collector .* is no address; write it as"):
        AgentConfig(collector=address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8425",
        "collector.example:65535",
        "[::1]:8425",
        "unix:/run/flopmeter.sock",
        "unix-abstract:flopmeter",
        "ipv4:127.0.0.1:8425",
        "ipv6:[::1]:8425",
        "dns:collector.example:8425",
        "dns:///collector.example:8425",
    ],
)
def test_addresses(address: str) -> None:
    """host:port and what gRPC can connect to besides pass."""
    assert AgentConfig(collector=address).collector == address


@pytest.mark.parametrize("period_s", [0.0, 0.0001, 10.0**6])
def test_an_exporter_collects_at_a_period_it_can_have(period_s: float) -> None:
    """The sentence names both ends."""
    with pytest.raises(UsageError, match=r"dcgm_period_s is .*; an exporter collects every"):
        AgentConfig(collector="c:8425", dcgm_period_s=period_s)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sample_period_s": 0.01}, "counters are not fresher than"),
        ({"report_period_s": 1.0, "sample_period_s": 2.0}, "must not be shorter than sample_perio"),
        ({"sensor": "simulated"}, "--sensor simulated and --scenario FILE go together"),
        ({"scenario": Path("x.toml")}, "--sensor simulated and --scenario FILE go together"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    """Each is refused with a sentence that names it."""
    with pytest.raises(UsageError, match=said):
        AgentConfig(collector="c:8425", **settings)


@pytest.mark.parametrize(
    ("sources", "named"), [(("slurm", "moon"), "moon"), (("slurm", "slurm"), "slurm")]
)
def test_each_source_of_users_once(sources: tuple[str, ...], named: str) -> None:
    """One that is unknown, or named twice, is the one to take out."""
    with pytest.raises(UsageError, match=f"once at most; take '{named}' out"):
        AgentConfig(collector="c:8425", allocations=sources)
