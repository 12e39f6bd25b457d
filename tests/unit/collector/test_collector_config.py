"""The collector's settings are checked together before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from flopmeter_collector.config import CollectorConfig
from flopmeter_core.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grpc_listen": "8425"}, "grpc_listen"),
        ({"grpc_listen": "localhost:http"}, "grpc_listen"),
        ({"http_listen": "127.0.0.1:70000"}, "http_listen"),
        ({"evaluate_period_s": 0.0}, "evaluate_period_s"),
        ({"maximum_streams": 0}, "maximum_streams"),
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
