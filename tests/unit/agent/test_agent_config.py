"""The agent's settings are checked together before anything starts."""

from __future__ import annotations

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
