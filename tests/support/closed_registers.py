"""Registers that an incarnation left, each with numbers of its own.

Owns: their keys, vectors and fractions.
May touch: nothing.
Called by tests of an agent's closed registers.
"""

from __future__ import annotations

from flopmeter_agent.state import StoredRegister
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS, Evidence, Key, Register
from flopmeter_core.reports import LedgerPosition

RECORD = DeviceRecord("n", "GPU-0", "nvidia", "part")
RECORDS = {RECORD.record_id: RECORD}
POSITION = LedgerPosition("L", 1, 1)


def incarnation(number: int) -> str:
    """The incarnation of a number."""
    return f"{number:032x}"


def stored(
    of: int, *, device: int = 0, run: int = 0, sent: bool = False, acknowledged: int = 0
) -> StoredRegister:
    """A register that an incarnation left."""
    key = Key(
        f"GPU-{device}", incarnation(of), f"run:{run}", run % 3, Evidence.GPM, RECORD.record_id
    )
    units = [of * 1_000 + place for place in range(COMPONENT_COUNT)]
    carry = [(subunits - 1) * (place % 2) for place, subunits in enumerate(SUBUNITS)]
    return StoredRegister(key, Register(units, carry, 5, of * 10**9), acknowledged, sent)
