"""The primary of a highly available ledger dies while nodes report.

Owns: the promise that a failover loses nothing and needs nobody, at a size that every run affords.
May touch: a Patroni cluster and two collectors of its own, on loopback.
``make faults CASE=failover`` is the same at its full size.
"""

from __future__ import annotations

import pytest

from faults import failover
from support.requirements import require

pytestmark = [pytest.mark.needs_server, pytest.mark.slow, pytest.mark.timeout(240)]


def test_nothing_acknowledged_is_lost_and_reporting_resumes_by_itself() -> None:
    """Kill -9 of the primary and its Patroni: 0 lost, 0 doubled, acknowledged again within 40 s."""
    require("patroni", "apt-get install patroni")
    require("etcd", "apt-get install etcd-server")

    found = failover.measure(nodes=200, after_s=failover.LONGEST_GAP_S - 10)

    assert found.acknowledged_before >= 200
    assert found.acknowledged_after > 0
    assert found.lost == 0
    assert found.repeated_transitions == 0
    assert found.longest_gap_s <= failover.LONGEST_GAP_S
