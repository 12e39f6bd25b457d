"""How long nobody was answered after a failover, as `make faults CASE=failover` tells it."""

from __future__ import annotations

import pytest

from faults.failover import Fleet


@pytest.mark.parametrize(
    ("times", "ended", "gap_s"),
    [
        ([9.0, 12.0, 40.0, 41.0], 42.0, 28.0),
        ([9.0, 10.5, 11.0], 130.0, 119.0),
        ([9.0], 130.0, 120.0),
        ([9.0, 50.0, 90.0], 55.0, 40.0),
    ],
)
def test_the_gap_reaches_to_the_end(times: list[float], ended: float, gap_s: float) -> None:
    """A ledger that never answers again has a gap to the end, not a short one before it."""
    fleet = Fleet(times=times, ended=ended)
    assert fleet.gap_s(since=10.0) == gap_s
