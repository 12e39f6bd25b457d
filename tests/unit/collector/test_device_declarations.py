"""Declarations of devices: what is needed of each, and one sentence for what cannot be."""

from __future__ import annotations

import pytest

from flopmeter_collector.device_declarations import (
    DeviceDeclaration,
    DeviceState,
    parse_device_declaration,
)
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S

FROM, TO = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
FROM_NS = 1_793_491_200 * NS_PER_S


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (
            {"state": "enrolled", "from": FROM, "part": "h100", "node": "n0"},
            DeviceDeclaration("GPU-0", DeviceState.ENROLLED, FROM_NS, 0, "h100", "n0"),
        ),
        (
            {"state": "retired", "at": FROM, "reason": "sold"},
            DeviceDeclaration("GPU-0", DeviceState.RETIRED, FROM_NS),
        ),
        (
            {"state": "down", "from": FROM, "to": TO, "reason": "moved"},
            DeviceDeclaration("GPU-0", DeviceState.DOWN, FROM_NS, FROM_NS + 86_400 * NS_PER_S),
        ),
    ],
)
def test_read(body: dict[str, str], read: DeviceDeclaration) -> None:
    """Each state with its own fields."""
    assert parse_device_declaration("GPU-0", body) == read


@pytest.mark.parametrize(
    ("subject", "body", "sentence"),
    [
        ("", {"state": "retired", "at": FROM, "reason": "x"}, "printable characters"),
        ("a\nb", {"state": "retired", "at": FROM, "reason": "x"}, "printable characters"),
        ("x" * 5_000, {"state": "retired", "at": FROM, "reason": "x"}, "printable characters"),
        ("GPU-0", {}, "has no state; use one of enrolled, retired, down"),
        ("GPU-0", {"state": "sold"}, "has no state"),
        ("GPU-0", {"state": "retired", "at": FROM}, "reason is missing"),
        ("GPU-0", {"state": "retired", "at": FROM, "reason": " "}, "reason is missing"),
        ("GPU-0", {"state": "enrolled", "from": FROM, "to": TO}, "not to"),
        ("GPU-0", {"state": "enrolled", "from": "yesterday"}, "is no time"),
        (
            "n0",
            {"state": "down", "from": TO, "to": FROM, "reason": "x"},
            "does not lie after from",
        ),
        (
            "n0",
            {"state": "down", "from": FROM, "to": FROM, "reason": "x"},
            "does not lie after from",
        ),
    ],
)
def test_refused(subject: str, body: dict[str, str], sentence: str) -> None:
    """What is missing, unknown or contradicts itself is named, and changes nothing."""
    with pytest.raises(DataError, match=sentence):
        parse_device_declaration(subject, body)
