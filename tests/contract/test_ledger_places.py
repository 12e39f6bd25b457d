"""Places on the bus, as any ledger keeps them: what ends them is derived, and never stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flopmeter.lab.ledger_totals import load_totals
from flopmeter_collector.ledger.base import Batch, Coverage, StoredVector
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.units import NS_PER_HOUR
from support.ingest import INCARNATION, RECORD, key, vector
from support.ledger_places import Place

EPOCH_NS = 1_790_000_000 * 10**9
PLACE = replace(RECORD, device="PCI-node-1-0000:1b:00.0", driver_version="")


def stored(of: DeviceRecord, hours: int, *, since: int, live: bool) -> Batch:
    """What an agent classified of a device, and what a collector knows of when.

    Args:
        of: the device.
        hours: how many.
        since: hour since boot with which they begin.
        live: whether the agent was heard itself; else its reports came as it went on.
    """
    first_ns = EPOCH_NS + (since + 1) * NS_PER_HOUR
    boot, since_ns, anchor_ns = (
        ("boot", since * NS_PER_HOUR, EPOCH_NS) if live else ("", None, None)
    )
    row = Coverage(
        INCARNATION, of.device, of.node, boot, since_ns, anchor_ns, first_ns, NS_PER_HOUR
    )
    return Batch(
        records={of.record_id: of},
        vectors=(StoredVector(key(of), 0, 1, vector(hours * 3_600)),),
        coverage=(row,),
    )


@pytest.mark.parametrize("live", [True, False])
def test_a_place_ends_by_what_is_stored(place: Place, live: bool) -> None:
    """A ledger of before says so too, whichever of the two was written, or is read, first."""
    ledger = place.open()
    batches = [stored(PLACE, 5, since=0, live=live), stored(RECORD, 9, since=8, live=live)]
    for batch in batches:
        ledger.commit(batch)
    ledger.close()
    for backwards in (False, True):
        reader = place.read()
        with reader.consistent():
            totals = load_totals(reader, backwards=backwards)
            totals.snapshot(EPOCH_NS + 20 * NS_PER_HOUR, None)
            enrolled = totals.residuals.enrolled(EPOCH_NS + 20 * NS_PER_HOUR)
        ends = {each.device: each.periods[-1].until_ns for each in enrolled}
        assert ends == {PLACE.device: EPOCH_NS + 8 * NS_PER_HOUR, RECORD.device: None}
        assert {each.device: each.named for each in enrolled}[PLACE.device]
        missing = {each.device: sum(each.classes.residual_ns.values()) for each in enrolled}
        assert missing == {PLACE.device: 3 * NS_PER_HOUR, RECORD.device: 3 * NS_PER_HOUR}
