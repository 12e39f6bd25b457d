"""Keys of all kinds that totals tell apart, and what is declared of them.

Owns: the keys, the declarations, and what totals show of them at one instant.
May touch: the built-in tables, reading.
Called by tests of how totals count what grew.
"""

from __future__ import annotations

from dataclasses import replace

from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_core.registers import Evidence, Vector
from support.totals import AS_OF_NS, POSITION, h100, key_of

RECORDS = [h100(f"GPU-{number}", node=f"n{number % 2}") for number in range(3)]
RECORDS.append(replace(RECORDS[0], device="GPU-9", product_name="another", device_count=4))
KEYS = [
    (key_of(record, allocation, evidence=evidence), record)
    for record in RECORDS
    for allocation in ("run:a", "run:b", "none", "overflow", "boundary(run:a,run:b)")
    for evidence in (Evidence.GPM, Evidence.BUSY_SAMPLED)
]
DECLARATIONS = [
    ("a", {"format": "fp8=0.90..0.97,bf16=rest", "model": "m"}),
    ("a", {"format": "bf16"}),
    ("b", {"format": "fp4", "model": "m"}),
    ("b", {"activity": "evaluation"}),
]


def seen(totals: Totals) -> TotalsSnapshot:
    """Everything that is shown, at one instant."""
    return totals.snapshot(AS_OF_NS, POSITION)


def branch(vector: Vector) -> Vector:
    """A vector that neither follows the other nor is followed by it."""
    return (vector[0] + 1, max(0, vector[1] - 1), *vector[2:])
