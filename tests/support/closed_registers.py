"""Registers that an incarnation left, each with numbers of its own, and a small room for them.

Owns: their keys, vectors and fractions, and the steps of a test that closes them.
May touch: a folder of the caller.
Called by tests of an agent's closed registers.
"""

from __future__ import annotations

from pathlib import Path

from flopmeter_agent.closed import SLOTS, ClosedRegisters
from flopmeter_agent.journal import Journal, OsBlockFile
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


class Small:
    """Closed registers in a small room, over any number of processes."""

    def __init__(self, folder: Path, slot_bytes: int = 8 * 1024) -> None:
        self.path = folder / "closed"
        self.slot_bytes = slot_bytes
        self.open()

    def open(self) -> ClosedRegisters:
        """What a new process finds."""
        self.file = OsBlockFile(self.path)
        self.journal = Journal(self.file, slots=SLOTS, slot_bytes=self.slot_bytes)
        self.closed = ClosedRegisters(self.journal)
        return self.closed

    def absorb(
        self,
        of: int,
        registers: list[StoredRegister] | None = None,
        *,
        boot: str = "boot",
        up_ns: int = 0,
        running: str = "",
    ) -> tuple[Key, ...] | None:
        """Close an incarnation."""
        return self.closed.absorb(
            incarnation(of),
            [stored(of)] if registers is None else registers,
            RECORDS,
            boot_id=boot,
            running=running or incarnation(of + 1),
            up_ns=up_ns,
        )

    def fill(self, *, sent: bool = False, boot: str = "boot", first: int = 1) -> int:
        """Close incarnations until there is no room without further steps; gives the next one."""
        of = first
        while len(self.journal.payload or b"") < self.journal.room - 400:
            assert self.absorb(of, [stored(of, sent=sent)], boot=boot) == ()
            of += 1
        return of

    def acknowledge(self, *, up_ns: int = 0) -> None:
        """The root has everything."""
        for keyed in list(self.closed.unacknowledged()):
            self.closed.acknowledge(keyed.key, keyed.sequence, up_ns=up_ns)
