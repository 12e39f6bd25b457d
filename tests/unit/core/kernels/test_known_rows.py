"""Rows of known keys: what is marked is what Python would take, and the rest is left to it."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.admit import BOOT_SLACK_NS, greatest_rates, refusal
from flopmeter_collector.held_rows import HeldRows
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.kernels import known_rows
from flopmeter_core.kernels.known_rows import CAME_WIDTH, WIDTH
from flopmeter_core.kernels.merge import ABOVE, EQUAL, compare
from flopmeter_core.registers import (
    COMPONENT_COUNT,
    SM_CYCLE_COMPONENTS,
    TIME_COMPONENTS,
    Component,
    Vector,
)
from support.forms import COMPILED, FORMS, INTERPRETED, kernel
from support.ingest import RECORD, key, vector

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

INT64 = st.integers(-(2**63), 2**63 - 1)
HOSTILE = st.integers(0, 3) | st.sampled_from([-1, 2**62 - 1, 2**62, 2**63 - 1, -(2**63)]) | INT64
CAME = st.lists(HOSTILE, min_size=CAME_WIDTH, max_size=CAME_WIDTH)
HELD = st.lists(HOSTILE, min_size=WIDTH, max_size=WIDTH)


def judged(
    form: str, held: list[list[int]], places: list[int], came: list[list[int]], stream: int = 0
) -> tuple[int, list[int], list[int]]:
    """How many rows are not usual, the marks, and what is held once the usual ones are taken."""
    rows = array("q", [each for row in held for each in row])
    before, marks = rows[:], bytearray(b"\7" * len(places))
    block = array("q", [each for row in came for each in row])
    module = kernel("known_rows", form)
    unusual = module.judge_rows(rows, array("q", places), block, marks, stream)
    assert rows == before
    module.take_rows(rows, array("q", places), block, marks, stream)
    return unusual, list(marks), list(rows)


@given(held=st.lists(HELD, min_size=2, max_size=2), came=st.lists(CAME, max_size=3), data=st.data())
def test_forms_are_equal(held: list[list[int]], came: list[list[int]], data: st.DataObject) -> None:
    """Both forms leave the same integers everywhere, whatever int64 they are given."""
    places = [data.draw(st.integers(-1, 1)) for _ in came]
    stream = data.draw(st.integers(0, 2))
    told = [judged(form, held, places, came, stream) for form in (COMPILED, INTERPRETED)]
    assert told[0] == told[1]


RECORDS = st.builds(
    DeviceRecord,
    node=st.just("n"),
    device=st.just("GPU-1"),
    vendor=st.just(""),
    product_name=st.just(""),
    sm_count=st.sampled_from([0, 1, 132, 10**6, 10**6 + 1, 2**31 - 1]),
    max_sm_clock_mhz=st.sampled_from([0, 1, 1980, 5_001, 2**31 - 1]),
    device_count=st.sampled_from([0, 1, 8, 4_000]),
    energy_scope=st.just(EnergyScope.GPU),
)


@st.composite
def near_a_bound(draw: st.DrawFn) -> tuple[DeviceRecord, Vector, int]:
    """A vector with each component at, below or above what its device can do, and a boot time."""
    record = draw(RECORDS)
    found = [draw(st.integers(0, 2)) for _ in range(COMPONENT_COUNT)]
    span_ns = draw(st.integers(0, 10**13) | st.sampled_from([2**56 - 1, 2**56, 2**60]))
    for time in TIME_COMPONENTS:
        found[time] = draw(st.sampled_from([0, 0, span_ns, span_ns // 2]))
    total_ns = sum(found[time] for time in TIME_COMPONENTS)
    seconds = (total_ns - found[Component.SUSPENDED_NS]) / 1e9
    off = st.sampled_from([-2, -1, 0, 1, 2, 1_000])
    cycles, clock, power = greatest_rates(record)
    for component, rate in (
        (draw(st.sampled_from(SM_CYCLE_COMPONENTS)), cycles),
        (Component.BUSY_MEGACYCLES, clock),
        (Component.ENERGY_MJ, power * 1_000),
    ):
        if draw(st.booleans()):
            found[component] = min(2**62 - 1, max(0, int(rate * seconds) + draw(off)))
    boot_ns = draw(st.sampled_from([total_ns, total_ns - BOOT_SLACK_NS, 10**13])) + draw(off)
    return record, tuple(found), boot_ns


@pytest.mark.parametrize("form", FORMS)
@given(near=near_a_bound(), sequence=st.sampled_from([0, 1, 2, 3, 2**40, 2**40 + 3, 2**62]))
def test_usual_is_right(form: str, near: tuple[DeviceRecord, Vector, int], sequence: int) -> None:
    """Whoever is marked would be admitted and win, by the rules for one that comes alone."""
    record, coming, boot_ns = near
    before: Vector = tuple(each // 2 for each in coming)
    rows = HeldRows()
    rows.put(key(RECORD), (StoredVector(key(RECORD), 0, 2, before, 1),), record)
    came = array("q", [sequence, min(boot_ns, 2**63 - 1), *coming])
    marks = bytearray(1)
    kernel("known_rows", form).judge_rows(rows.block, array("q", [0]), came, marks, 0)
    if marks[0]:
        assert refusal(coming, record, boot_ns=boot_ns) == ""
        assert compare(coming, before) in (ABOVE, EQUAL)
        assert 2 < sequence < 2**40 and boot_ns >= 1


def held_row(amounts: Vector, sequence: int = 5, boot_ns: int = 10**13) -> list[int]:
    """A row of the test's device."""
    return [sequence, boot_ns, 0, *greatest_rates(RECORD), *amounts]


def came_row(amounts: Vector, sequence: int = 6, boot_ns: int = 10**13) -> list[int]:
    """A row that came."""
    return [sequence, boot_ns, *amounts]


@pytest.mark.parametrize("form", FORMS)
def test_growth_is_usual(form: str) -> None:
    """A device that worked on is usual, in each of a message's rows, and is written whole."""
    held = [held_row(vector(seconds)) for seconds in (100, 200, 300)]
    came = [came_row(vector(seconds)) for seconds in (310, 110)]
    unusual, marks, rows = judged(form, held, [2, 0], came)
    assert (unusual, marks) == (0, [1, 1])
    expected = [held_row(vector(110), 6), held[1], held_row(vector(310), 6)]
    assert rows == [each for row in expected for each in row]


ABOVE_CLOCK = vector(110, SM_ACTIVE_MEGACYCLES=132 * 1980 * 130)
ABOVE_POWER = vector(110, ENERGY_MJ=20_001 * 110 * 1_000)

UNUSUAL = {
    "below": ([held_row(vector(100))], [came_row(vector(99))]),
    "its first component below": (
        [held_row(vector(100))],
        [came_row(vector(110, SM_ELAPSED_MEGACYCLES=0))],
    ),
    "the same sequence": ([held_row(vector(100))], [came_row(vector(110), 5)]),
    "another mark": ([held_row(vector(100))], [came_row(vector(110), 2**40 + 6)]),
    "several branches": ([held_row(vector(100), -1)], [came_row(vector(110))]),
    "a negative component": ([held_row(vector(100))], [came_row(vector(110, BUSY_NS=-1))]),
    "2^62": ([held_row(vector(100))], [came_row(vector(110, SUSPECT_NS=2**62))]),
    "no boot time": ([held_row(vector(100), 5, -1)], [came_row(vector(110), 6, 0)]),
    "an earlier boot time": ([held_row(vector(100))], [came_row(vector(110), 6, 10**13 - 1)]),
    "more time than the boot": (
        [held_row(vector(100), 5, 1)],
        [came_row(vector(110), 6, 110 * 10**9 - BOOT_SLACK_NS - 1)],
    ),
    "cycles above the clock": ([held_row(vector(100))], [came_row(ABOVE_CLOCK)]),
    "power above any": ([held_row(vector(100))], [came_row(ABOVE_POWER)]),
    "a clock above any": (
        [held_row(vector(100))],
        [came_row(vector(110, BUSY_MEGACYCLES=6_000 * 110))],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("why", UNUSUAL)
def test_left_to_python(form: str, why: str) -> None:
    """Whatever is not plain growth is not marked, and nothing of it is written."""
    held, came = UNUSUAL[why]
    unusual, marks, rows = judged(form, held, [0], came)
    assert (unusual, marks, rows) == (1, [0], held[0])


@pytest.mark.parametrize("form", FORMS)
def test_streams_of_relays(form: str) -> None:
    """On a relay's stream only what came on it before is usual, and a row says where it came."""
    held, came = [held_row(vector(100))], [came_row(vector(110))]
    assert judged(form, held, [0], came, 7)[1] == [0]
    held[0][2] = 7
    unusual, marks, rows = judged(form, held, [0], came, 7)
    assert (unusual, marks, rows[2]) == (0, [1], 7)
    assert judged(form, held, [0], came)[2][2] == 0


@pytest.mark.parametrize("form", FORMS)
def test_buffers(form: str) -> None:
    """A place that is not held and a buffer that is too short are errors, never other memory."""
    module, marks = kernel("known_rows", form), bytearray(1)
    held, came = array("q", held_row(vector(100))), array("q", came_row(vector(110)))
    for places, block, room in (
        ([1], came, marks),
        ([2**40], came, marks),
        ([0], came[:-1], marks),
        ([0], came, bytearray()),
    ):
        with pytest.raises(IndexError):
            module.judge_rows(held, array("q", places), block, room, 0)
        marks[:] = b"\1"
        with pytest.raises(IndexError):
            module.take_rows(held, array("q", places), block, room, 0)
    assert module.judge_rows(held, array("q", [-1]), came, marks, 0) == 1
    assert module.judge_rows(held, array("q"), array("q"), bytearray(), 0) == 0


def test_places_are_those_of_the_vector() -> None:
    """The kernel has no imports; what it says of components is what the registers say."""
    assert known_rows.COMPONENTS == COMPONENT_COUNT
    assert known_rows.BUSY == Component.BUSY_MEGACYCLES == len(SM_CYCLE_COMPONENTS)
    assert known_rows.ENERGY == Component.ENERGY_MJ
    assert TIME_COMPONENTS[0] == known_rows.TIMES and TIME_COMPONENTS[-1] == COMPONENT_COUNT - 1
    assert known_rows.SUSPENDED == Component.SUSPENDED_NS
    assert known_rows.SLACK_NS == BOOT_SLACK_NS
    assert known_rows.FIRST + COMPONENT_COUNT == WIDTH
    assert known_rows.CAME_FIRST + COMPONENT_COUNT == CAME_WIDTH
