"""What a call ends with: the status says whether to try again, elsewhere or never."""

from __future__ import annotations

import grpc
import pytest

from flopmeter_collector.calls import VersionError, checked_version, host_of, status_of
from flopmeter_core.errors import (
    FlopmeterError,
    InvariantError,
    NotPermittedError,
    StorageError,
    WireError,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (VersionError("v"), grpc.StatusCode.FAILED_PRECONDITION),
        (WireError("w"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotPermittedError("n"), grpc.StatusCode.PERMISSION_DENIED),
        (StorageError("s"), grpc.StatusCode.UNAVAILABLE),
        (InvariantError("i"), grpc.StatusCode.INTERNAL),
    ],
)
def test_a_fault_has_its_status(error: FlopmeterError, status: grpc.StatusCode) -> None:
    """Only what helps elsewhere or later is `UNAVAILABLE`."""
    assert status_of(error) is status


def test_another_version_is_told_apart() -> None:
    """Who must be upgraded hears it as that, and not as a broken message."""
    checked_version(1)
    with pytest.raises(VersionError):
        checked_version(99)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.1:5000", "ipv4:10.0.0.1"),
        ("ipv6:[::1]:5000", "ipv6:[::1]"),
        ("unix:/run/a", "unix:/run/a"),
        ("ipv4:", "ipv4:"),
    ],
)
def test_a_host_has_no_port(peer: str, host: str) -> None:
    """A port is another one with every connection."""
    assert host_of(peer) == host
