"""The file of closed registers: reserved when it is new, read of every version, else refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flopmeter_agent import packing
from flopmeter_agent.closed import RESERVED_BYTES, SLOT_BYTES, SLOTS, ClosedRegisters, open_closed
from flopmeter_agent.closed_room import KEPT_NS
from flopmeter_agent.closed_rows import FIRST_FORMAT, FORMAT, UNKNOWN, ClosedRegister
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import DataError, InvariantError
from flopmeter_core.registers import COMPONENT_COUNT
from support.closed_registers import POSITION, RECORD, RECORDS, Small, incarnation, stored
from support.refusals import said


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


BOOTS = ("earlier", "", "boot")


def of_the_first_format(folder: Path, rows: Sequence[ClosedRegister]) -> ClosedRegisters:
    """What an agent finds that an earlier version left: each row with the fraction it ended on."""
    names, told = packing.Names(), []
    for row, left in zip(rows, LEFT, strict=True):
        mark = BOOTS.index(row.boot_id) << 1 | row.sent
        told.append(
            names.key(row.key)
            + packing.numbers_out(row.sequence, row.root_up_ns, mark)
            + packing.vector_out(row.units)
            + packing.vector_out(left.register.carry)
        )
    head = {
        "format": FIRST_FORMAT,
        "records": {RECORD.record_id: RECORD.to_json()},
        "absorbed": [incarnation(3)],
        "position": None,
        "boots": BOOTS,
        "names": names.texts,
    }
    journal = Journal(OsBlockFile(folder / "closed"), slots=SLOTS, slot_bytes=SLOT_BYTES)
    journal.write(packing.join(head, told))
    journal.close()
    return open_closed(OsBlockFile(folder / "closed"))


LEFT = (stored(1), stored(2), stored(3, run=1), stored(4, run=2))
LEFT[2].register.carry = [0] * COMPONENT_COUNT

FIRST_ROWS = tuple(
    ClosedRegister(left.key, left.register.sequence, left.register.units, boot, sent, root_up_ns)
    for left, boot, sent, root_up_ns in zip(
        LEFT, ("boot", "earlier", "", "boot"), (True, True, False, False), (-1, 8, -1, -1),
        strict=True,
    )
)  # fmt: skip


def test_the_first_format_is_read(tmp_path: Path) -> None:
    """Rows with their own fractions: nothing of an earlier version's room is lost."""
    closed = of_the_first_format(tmp_path, FIRST_ROWS)
    assert tuple(closed._rows.values()) == FIRST_ROWS
    assert len(closed) == len(FIRST_ROWS)
    held = closed.held()
    # The first two have one owner: its fraction is what the later one held, and stands once.
    assert held[LEFT[0].key].carry == held[LEFT[2].key].carry == [0] * COMPONENT_COUNT
    assert held[LEFT[1].key].carry == LEFT[1].register.carry
    assert held[LEFT[3].key].carry == LEFT[3].register.carry
    assert closed.holds(incarnation(3)) and closed.records == RECORDS
    assert (closed.shown, closed.position) == (0, None)
    assert [each.key for each in closed.unacknowledged()] == [LEFT[n].key for n in (0, 2, 3)]
    assert [closed.final_sequence(left.key) for left in LEFT] == [5, 5, 0, 5]


def test_the_first_format_is_written_as_the_present_one(tmp_path: Path) -> None:
    """With the next mark, and an agent after it finds every row as it was."""
    closed = of_the_first_format(tmp_path, FIRST_ROWS)
    closed.offer([FIRST_ROWS[2].key])
    held, carries = closed.held(), closed.carries()
    closed.close()
    again = open_closed(OsBlockFile(tmp_path / "closed"))
    marked = replace(FIRST_ROWS[2], sent=True)
    assert tuple(again._rows.values()) == (*FIRST_ROWS[:2], marked, FIRST_ROWS[3])
    assert (again.held(), again.carries()) == (held, carries)


def test_a_boot_of_the_first_format_is_distrusted(tmp_path: Path) -> None:
    """All of it and nothing else, whatever number its name has in the file."""
    closed = of_the_first_format(tmp_path, FIRST_ROWS)
    closed.distrust("boot")
    assert [closed.final_sequence(left.key) for left in LEFT] == [0, 5, 0, 0]
    boots = [row.boot_id for row in closed._rows.values()]
    assert boots == [f"boot{UNKNOWN}", "earlier", "", f"boot{UNKNOWN}"]
    again = open_closed(OsBlockFile(tmp_path / "closed"))
    assert again._rows == closed._rows


def test_what_the_first_format_says_the_root_has_goes(tmp_path: Path) -> None:
    """90 days after the root had it, as of any row."""
    closed = of_the_first_format(tmp_path, FIRST_ROWS)
    for up_ns, left in ((8 + KEPT_NS, 4), (9 + KEPT_NS, 3)):
        closed.absorb(
            incarnation(up_ns), [], RECORDS, boot_id="boot", running=incarnation(9), up_ns=up_ns
        )
        assert len(closed) == left
    assert FIRST_ROWS[1].key not in set(closed)


def test_whose_a_fraction_is(tmp_path: Path) -> None:
    """A fraction names its owner by a key of no incarnation, and stands before the rows."""
    small = Small(tmp_path)
    small.absorb(1, [stored(1), stored(1, run=1)])
    packed = packing.Packed(small.journal.payload or b"")
    found = [(key, packed.vector()) for key in packed.rows(packed.head["carries"])]
    left = [stored(1), stored(1, run=1)]
    assert found == [(replace(each.key, incarnation=""), each.register.carry) for each in left]


def unread(small: Small) -> bool:
    """Whether the rows a process found were not looked at yet."""
    return small.closed._text._unread is not None


def filled(folder: Path, slot_bytes: int = 8 * 1024) -> Small:
    """A new process that found five rows, of which the root has two."""
    small = Small(folder, slot_bytes)
    small.absorb(1, [stored(1, run=run, acknowledged=5 * (run > 2)) for run in range(5)], up_ns=7)
    small.open()
    return small


def test_what_a_process_found_is_not_read_for_a_start(tmp_path: Path) -> None:
    """Until something may go: what there is stays as it is, and nothing of it is lost."""
    small = filled(tmp_path)
    small.absorb(2, up_ns=7 + KEPT_NS)
    assert unread(small)
    small.open()
    assert unread(small) and len(small.closed) == 6
    assert set(small.closed) == {stored(1, run=run).key for run in range(5)} | {stored(2).key}
    small.open()
    small.absorb(3, up_ns=8 + KEPT_NS)
    assert not unread(small) and len(small.closed) == 5


def test_nor_as_long_as_there_is_room(tmp_path: Path) -> None:
    """To the last byte beside what acknowledgements may add."""
    large = filled(tmp_path)
    around = large.slot_bytes - large.journal.room + RESERVED_BYTES
    large.absorb(2)
    size = len(large.journal.payload or b"")
    for spare in (0, -1):
        folder = tmp_path / str(spare)
        folder.mkdir()
        small = filled(folder, size + around + spare)
        small.absorb(2)
        assert unread(small) == (spare == 0)


def test_what_was_not_read_is_not_told_otherwise(tmp_path: Path) -> None:
    """A programmer's error, that says which rule it breaks."""
    text = filled(tmp_path).closed._text
    assert said(text.of_rows, (), text.head, error=InvariantError) == (
        "internal rule broken: bytes of all rows are made of rows that were read; please report "
        "this"
    )
    assert said(text.spell_anew, error=InvariantError) == (
        "internal rule broken: what is unread is told by the names it was spelled with; please "
        "report this"
    )


def test_where_the_ledger_stood_is_kept(tmp_path: Path) -> None:
    """With the next incarnation that is closed, too."""
    small = filled(tmp_path)
    small.acknowledge()
    small.closed.save(POSITION)
    small.absorb(2)
    assert small.closed.position == small.open().position == POSITION
