"""Registers counted many at a time make the totals that each of them makes by itself."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import counted
from flopmeter_collector.classified import Classified
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.totals import Totals
from flopmeter_core.registers import COMPONENT_COUNT, Vector
from flopmeter_core.reports import KeyedVector
from support.forms import FORMS, kernel
from support.grown import DECLARATIONS, KEYS, branch, seen
from support.totals import AS_OF_NS, POSITION, busy_vector, h100, key_of, table

pytestmark = pytest.mark.timeout(600)

AMOUNT = st.integers(0, 10**6) | st.sampled_from([0, 10**12, 2**58, 2**59])
AMOUNTS = st.lists(AMOUNT, min_size=COMPONENT_COUNT, max_size=COMPONENT_COUNT).map(tuple)
NUMBERS = st.sampled_from([0, 3, 4, 8, 11, 30])
"""Few keys, so that one is counted several times: of two runs, nobody's, overflow, a boundary."""

STEP = st.one_of(
    st.tuples(st.just("grow"), NUMBERS, AMOUNTS),
    st.tuples(st.just("grow"), NUMBERS, AMOUNTS),
    st.tuples(st.just("fork"), NUMBERS, st.just(())),
    st.tuples(st.just("declare"), st.sampled_from(range(len(DECLARATIONS))), st.just(())),
    st.just(("count", 0, ())),
    st.just(("count", 0, ())),
    st.tuples(st.just("look"), st.sampled_from([20, 10**6, 10**12, AS_OF_NS]), st.just(())),
)


UNTOLD = array("q", [0])


def nobody(place: int, boot_ns: int) -> None:
    """Is told of no row."""
    raise AssertionError(place, boot_ns)


def classified(totals: Totals) -> list[tuple[object, list[dict[str, Any]]]]:
    """All that the residual knows of each device and of its writers."""
    enrolled = totals.residuals.enrolled(AS_OF_NS)
    names = ("covered_ns", "lower_flop", "read_ns", "row", "user", "mixed", "keys")
    writers = [
        [{name: getattr(writer, name) for name in names} for writer in device.writers.values()]
        for device in totals.residuals._devices.values()
    ]
    devices = [(d.node, d.division, d.newest) for d in totals.residuals._devices.values()]
    return [*zip(devices, writers, strict=True), (enrolled, [])]


class Sides:
    """The same registers, counted as rows and one by one."""

    def __init__(self) -> None:
        """Begin with none."""
        self.table = RegisterTable()
        self.fast, self.slow = Totals(table()), Totals(table())
        self.sequence = 0

    def merge(self, which: int, vector: Vector) -> None:
        """Merge a newer vector of a key."""
        key, record = KEYS[which]
        self.sequence += 1
        self.table.merge(KeyedVector(key, self.sequence, vector), record)

    def held(self, which: int) -> Vector:
        """The newest vector of a key."""
        branches = self.table.branches(KEYS[which][0])
        return max((each.vector for each in branches), default=(0,) * COMPONENT_COUNT)

    def count(self) -> None:
        """Give both what changed, and up to when it was read."""
        rows = self.table.rows
        places = array("q", self.table.take_uncounted().places)
        read_ns = array("q", [self.sequence * (1 + place) % 7 for place in places])
        untold, told = Sightings(), Sightings()
        for place, boot_ns in zip(places, read_ns, strict=True):
            key = rows.keys[place]
            if boot_ns:
                told.note(key, boot_ns)
            sighting = Sighting(self.table.record(key.record).node, "b", 9, self.sequence)
            for notes in (untold, told):
                notes.note_live(key.incarnation, sighting)
        left = self.fast.count_rows(
            rows, places, read_ns, lambda place, boot_ns: untold.note(rows.keys[place], boot_ns)
        )
        for totals, those in ((self.fast, left), (self.slow, places)):
            for place in those:
                key = rows.keys[place]
                record = self.table.record(key.record)
                row = place if totals is self.fast else -1
                totals.update(key, record, rows.branches_at(place), row)
        found = [
            totals.residuals.sighted(notes, self.sequence, steady_ns=0)
            for totals, notes in ((self.fast, untold), (self.slow, told))
        ]
        assert found[0] == found[1]

    def declare(self, which: int) -> None:
        """Declare to both."""
        for totals in (self.fast, self.slow):
            totals.declare(parse_run_declaration(*DECLARATIONS[which]))


@pytest.mark.parametrize("form", FORMS)
@given(steps=st.lists(STEP, max_size=30))
def test_as_one_by_one(form: str, steps: list[tuple[str, int, Vector]]) -> None:
    """Whatever grows, forks and is declared in between, both are told the same totals."""
    sides = Sides()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted, "COMPILED", True)
        patch.setattr(counted, "count_rows", kernel("count_rows", form).count_rows)
        for what, which, more in steps:
            if what == "declare":
                sides.declare(which)
            elif what == "count":
                sides.count()
            elif what == "look":
                fast, slow = (each.snapshot(which, POSITION) for each in (sides.fast, sides.slow))
                assert fast == slow
            else:
                held = sides.held(which)
                grown = tuple(min(2**62 - 1, a + b) for a, b in zip(held, more, strict=False))
                sides.merge(which, branch(held) if what == "fork" else grown)
        sides.count()
    assert seen(sides.fast) == seen(sides.slow)
    for key, _ in KEYS:
        name = key.allocation
        assert sides.fast.allocation_flop(name) == sides.slow.allocation_flop(name)
    assert classified(sides.fast) == classified(sides.slow)


def test_when_rows_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known to the residual as if each row had been sighted by itself."""
    monkeypatch.setattr(counted, "COMPILED", True)
    sides = Sides()
    for seconds in (1, 2, 3):
        sides.merge(0, busy_vector(seconds))
        sides.count()
    fast, slow = map(classified, (sides.fast, sides.slow))
    assert fast == slow
    assert [told["read_ns"] for _, writers in fast for told in writers] == [3]


def test_a_device_that_goes_on_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the usual growth no object of a device hears before somebody looks; then all is there."""
    monkeypatch.setattr(counted, "COMPILED", True)
    sides = Sides()
    told: list[object] = []
    grow = Classified.grow
    monkeypatch.setattr(
        Classified,
        "grow",
        lambda *of: (told.append(of[1:]), grow(*of)),  # type: ignore[func-returns-value]
    )
    for seconds in (1, 2, 3, 4):
        sides.merge(0, busy_vector(seconds))
        if seconds == 3:
            told.clear()
            assert sides.fast.snapshot(20, POSITION) == sides.slow.snapshot(20, POSITION)
        sides.count()
    assert len(told) == 2, "those of the slow side"
    for as_of_ns in (30, AS_OF_NS):
        fast, slow = (each.snapshot(as_of_ns, POSITION) for each in (sides.fast, sides.slow))
        assert fast == slow
    # Its silence is relied on since, so it is told the next time, and no longer after that.
    for seconds, heard in ((5, 2), (6, 1)):
        told.clear()
        sides.merge(0, busy_vector(seconds))
        sides.count()
        assert len(told) == heard
    assert seen(sides.fast) == seen(sides.slow)
    assert classified(sides.fast) == classified(sides.slow)


def test_where_kernels_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is left to be counted as one that comes alone, which costs less there."""
    monkeypatch.setattr(counted, "COMPILED", False)
    sides = Sides()
    for seconds in (1, 2):
        sides.merge(0, busy_vector(seconds))
        sides.count()
    sides.merge(0, busy_vector(3))
    places = array("q", sides.table.take_uncounted().places)
    told: list[tuple[int, int]] = []
    read_ns, note = array("q", [7]), lambda *of: told.append(of)
    assert sides.fast.count_rows(sides.table.rows, places, read_ns, note) == list(places)
    assert told == [(places[0], 7)]
    assert seen(sides.fast) == seen(sides.slow)


def test_the_usual_row_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only grew is counted by the kernel, from the second time on."""
    monkeypatch.setattr(counted, "COMPILED", True)
    totals, registers = Totals(table()), RegisterTable()
    record = h100()
    left = []
    for sequence in (1, 2, 3):
        registers.merge(KeyedVector(key_of(record), sequence, busy_vector(sequence)), record)
        places = array("q", registers.take_uncounted().places)
        left.append(totals.count_rows(registers.rows, places, UNTOLD, nobody))
        for place in left[-1]:
            branches = registers.rows.branches_at(place)
            assert totals.update(key_of(record), record, branches, place)
    assert left == [[0], [], []]
    again = Totals(table())
    again.update(key_of(record), record, registers.branches(key_of(record)))
    assert seen(totals).runs == seen(again).runs
    assert classified(totals) == classified(again)


def test_a_slice_costs_by_its_rows_not_by_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many runs only those are looked at whose rows grew; a look at all held answers up."""
    monkeypatch.setattr(counted, "COMPILED", True)
    registers, totals, record = RegisterTable(), Totals(table()), h100()
    keys = [key_of(record, f"run:r{number}") for number in range(50)]
    for sequence in (1, 2):
        for key in keys:
            registers.merge(KeyedVector(key, sequence, busy_vector(sequence)), record)
        for place, key in enumerate(registers.rows.keys):
            totals.update(key, record, registers.rows.branches(key), place)
    registers.merge(KeyedVector(keys[7], 3, busy_vector(3)), record)
    looked: list[Any] = []

    class Groups(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            looked.append(at)
            return super().__getitem__(at)

    totals._counted._growths = Groups(totals._counted._growths)
    assert totals.count_rows(registers.rows, array("q", [7]), UNTOLD, nobody) == []
    assert len(looked) == 1
    assert totals.count_rows(registers.rows, array("q", [7]), UNTOLD, nobody) == []
