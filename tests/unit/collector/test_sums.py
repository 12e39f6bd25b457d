"""An account is added up anew when something of it changed, and only then."""

from __future__ import annotations

from dataclasses import replace

from flopmeter_collector.presence import Charge
from flopmeter_collector.sums import Sums, account_of
from flopmeter_collector.weighed import FLOP_COLUMNS, NOTHING, Amounts, Slot
from flopmeter_core.registers import TIME_COMPONENTS
from support.ingest import RECORD, key

SLOT = Slot("a")
OTHER = replace(RECORD, device="GPU-other")
DONE = Amounts((7,) * FLOP_COLUMNS, (5,) * len(TIME_COMPONENTS), 3)


def test_every_change_is_told() -> None:
    """Each kind of change is in the next account; without one the last account is given again."""
    sums = Sums()
    assert account_of(sums, simulated=True).device_count == 0
    sums.enter(key(RECORD), RECORD, SLOT, known=True)
    before = account_of(sums, simulated=True)
    assert (before.device_count, before.busy_ns) == (1, 0)
    assert account_of(sums, simulated=True) is before
    sums.replace(key(RECORD), RECORD, SLOT, DONE, NOTHING)
    assert account_of(sums, simulated=True).busy_ns == 5
    sums.enter(key(OTHER), OTHER, SLOT, known=True)
    assert account_of(sums, simulated=True).device_count == 2
    sums.leave(key(OTHER), SLOT)
    assert account_of(sums, simulated=True).device_count == 1
    sums.fork_count += 1
    assert account_of(sums, simulated=True).fork_count == 1
    bounded = account_of(sums, simulated=True, boundary=(17, 19, 0))
    assert bounded.figures.boundary_upper == 17
    charged = account_of(sums, simulated=True, charge=Charge(11, 13))
    assert (charged.residual_ns, charged.residual_flop) == (11, 13)
    assert before.busy_ns == 0
