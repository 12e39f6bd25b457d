"""An account of nothing is the same however it is made."""

from __future__ import annotations

import pytest

from flopmeter_collector.presence import Charge
from flopmeter_collector.sums import Sums, account_of


@pytest.mark.parametrize("simulated", [True, False])
def test_no_work_at_all(simulated: bool) -> None:
    """What is told at once of sums without work is what adding them up tells."""
    # A charge of nothing that is not the usual object is added up like any other.
    added_up = account_of(Sums(), simulated=simulated, charge=Charge())
    assert account_of(Sums(), simulated=simulated) == added_up
    charged = account_of(Sums(), simulated=simulated, charge=Charge(5, 7))
    assert (charged.residual_ns, charged.figures.unobserved_ceiling) == (5, 7)
