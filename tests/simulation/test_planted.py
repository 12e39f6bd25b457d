"""The simulator finds what it is there to find: each planted defect ends in a violation."""

from __future__ import annotations

import pytest

from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.plan import plan_for
from flopmeter.lab.simulation.topology import DRAWN, SHARED, TREE
from flopmeter.lab.simulation.world import simulate
from simulation.defects import DEFECTS, FAULTS

SEEDS = range(1, 17)
MORE_SEEDS = range(1, 41)
"""For what strikes in one world of five."""


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_found(name: str) -> None:
    """Within a few seeds a fleet with this defect breaks the promise it belongs to."""
    defect, sentence = DEFECTS[name]
    found: list[str] = []
    faults = FAULTS.get(name, tuple(TABLE))
    seeds = MORE_SEEDS if name in FAULTS else SEEDS
    for seed in seeds:
        with defect():
            collectors = TREE if "relay" in name else SHARED if "shared" in name else DRAWN
            outcome = simulate(
                plan_for(seed, nodes=2, devices=2, faults=faults, collectors=collectors)
            )
        found += outcome.violations
        if any(sentence in each for each in found):
            return
    pytest.fail(f"not found in {len(seeds)} seeds; violations: {found}")


def test_sound_code_passes() -> None:
    """The same seeds break nothing in the code as it is."""
    for seed in SEEDS:
        outcome = simulate(plan_for(seed, nodes=2, devices=2, faults=tuple(TABLE)))
        assert outcome.equal, (outcome.violations, outcome.command)
