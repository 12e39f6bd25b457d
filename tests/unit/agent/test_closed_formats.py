"""The file of closed registers: reserved when it is new, read of every version, else refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent import packing
from flopmeter_agent.closed import SLOT_BYTES, SLOTS, open_closed
from flopmeter_agent.closed_rows import FIRST_FORMAT, FORMAT
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import DataError
from flopmeter_core.registers import COMPONENT_COUNT
from support.closed_registers import RECORD, RECORDS, incarnation, stored


def test_a_new_file_is_reserved_at_once(tmp_path: Path) -> None:
    """So that a disk that fills up later takes nothing from it."""
    open_closed(OsBlockFile(tmp_path / "closed")).close()
    path = tmp_path / "closed"
    assert path.stat().st_size == SLOTS * SLOT_BYTES
    assert path.stat().st_blocks * 512 >= SLOTS * SLOT_BYTES
    assert len(open_closed(OsBlockFile(path))) == 0


@pytest.mark.parametrize(
    "payload", [b"{}", packing.join({"format": FORMAT, "names": []}, []), b"\x02FLOP\xff"]
)
def test_unreadable(tmp_path: Path, payload: bytes) -> None:
    """One sentence."""
    Journal(OsBlockFile(tmp_path / "closed"), slots=SLOTS, slot_bytes=SLOT_BYTES).write(payload)
    with pytest.raises(DataError, match="journal of closed registers cannot be read"):
        open_closed(OsBlockFile(tmp_path / "closed"))


def test_a_later_format_is_named(tmp_path: Path) -> None:
    """An agent that was put back to an older version says what to do."""
    Journal(OsBlockFile(tmp_path / "closed"), slots=SLOTS, slot_bytes=SLOT_BYTES).write(
        packing.join({"format": FORMAT + 1, "names": []}, [])
    )
    with pytest.raises(DataError, match="upgrade the agent"):
        open_closed(OsBlockFile(tmp_path / "closed"))


def test_the_first_format_is_read(tmp_path: Path) -> None:
    """Rows with their own fractions: nothing of an earlier version's room is lost."""
    of = [stored(1, sent=True), stored(2, acknowledged=5), stored(3, run=1)]
    of[2].register.carry = [0] * COMPONENT_COUNT
    names, rows = packing.Names(), []
    for each in of:
        marks = (each.register.sequence, 8 if each.acknowledged else -1, 1 << 1 | each.sent)
        rows.append(
            names.key(each.key)
            + packing.numbers_out(*marks)
            + packing.vector_out(each.register.units)
            + packing.vector_out(each.register.carry)
        )
    told = {
        "format": FIRST_FORMAT,
        "records": {RECORD.record_id: RECORD.to_json()},
        "absorbed": [incarnation(3)],
        "position": None,
        "boots": ["earlier", "boot"],
        "names": names.texts,
    }
    journal = Journal(OsBlockFile(tmp_path / "closed"), slots=SLOTS, slot_bytes=SLOT_BYTES)
    journal.write(packing.join(told, rows))
    closed = open_closed(OsBlockFile(tmp_path / "closed"))
    held = closed.held()
    assert {key: each.units for key, each in held.items()} == {
        each.key: each.register.units for each in of
    }
    # The first two have one owner: its fraction is what the later one held, and stands once.
    assert held[of[0].key].carry == held[of[2].key].carry == [0] * COMPONENT_COUNT
    assert held[of[1].key].carry == of[1].register.carry
    assert closed.holds(incarnation(3)) and closed.records == RECORDS
    assert [each.key for each in closed.unacknowledged()] == [of[0].key, of[2].key]
    closed.distrust("boot")
    assert len(closed.held()) == 3
