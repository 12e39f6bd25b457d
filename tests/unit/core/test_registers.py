"""Registers: exact whatever the partition, never decreasing, never wrapping."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import InvariantError
from flopmeter_core.registers import (
    COMPONENT_COUNT,
    SUBUNITS,
    SUBUNITS_PER_MEGACYCLE,
    SUBUNITS_PER_MJ,
    TIME_COMPONENTS,
    Component,
    Evidence,
    Key,
    Register,
    covered_ns,
)
from flopmeter_core.units import (
    J_PER_KWH,
    MJ_PER_J,
    MJ_PER_KWH,
    NS_PER_MS,
    NS_PER_S,
    PPM,
    REGISTER_LIMIT,
)

increments = st.lists(
    st.lists(st.integers(0, 10**17), min_size=COMPONENT_COUNT, max_size=COMPONENT_COUNT),
    max_size=6,
)


def only(component: Component, subunits: int) -> list[int]:
    """An increment of one component."""
    return [subunits if place == component else 0 for place in Component]


def test_units() -> None:
    """The conversions are the definitions, by hand."""
    assert (NS_PER_S, NS_PER_MS, PPM) == (10**9, 10**6, 10**6)
    assert (MJ_PER_J, J_PER_KWH, MJ_PER_KWH) == (1_000, 3_600_000, 3_600_000_000)
    assert REGISTER_LIMIT == 4_611_686_018_427_387_904


def test_places_on_the_wire() -> None:
    """A component's place is part of the protocol: a moved one would be read as another."""
    work = ("TENSOR", "HMMA", "IMMA", "DMMA", "DFMA", "FP64", "FP32", "FP16", "INT")
    names = ("SM_ELAPSED", "SM_ACTIVE", *work, "BUSY")
    assert [place.name for place in Component] == [f"{name}_MEGACYCLES" for name in names] + [
        "ENERGY_MJ",
        "BUSY_NS",
        "IDLE_NS",
        "SUSPENDED_NS",
        "UNOBSERVED_NS",
        "SUSPECT_NS",
    ]
    assert [place.value for place in Component] == list(range(COMPONENT_COUNT))


@given(increments=increments)
def test_any_partition(increments: list[list[int]]) -> None:
    """Many small increments give the units and the carry of their sum in one."""
    one_by_one, at_once = Register(), Register()
    for increment in increments:
        one_by_one.add(increment)
    sums = [sum(column) for column in zip(*increments, strict=True)] or [0] * COMPONENT_COUNT
    at_once.add(sums)
    assert one_by_one.units == at_once.units
    assert one_by_one.carry == at_once.carry
    for place, total in enumerate(sums):
        assert at_once.units[place] * SUBUNITS[place] + at_once.carry[place] == total
        assert 0 <= at_once.carry[place] < SUBUNITS[place]


@given(increments=increments)
def test_sequence_and_dominance(increments: list[list[int]]) -> None:
    """Each increment is a new sequence whose vector no older one exceeds anywhere."""
    register = Register()
    older = register.vector
    for count, increment in enumerate(increments, start=1):
        register.add(increment)
        assert register.sequence == count
        assert all(now >= before for now, before in zip(register.vector, older, strict=True))
        older = register.vector


def test_below_a_unit_is_carried() -> None:
    """Half a megacycle twice is one; half a millijoule twice is one; a ns is itself."""
    register = Register()
    for component, subunits in (
        (Component.HMMA_MEGACYCLES, SUBUNITS_PER_MEGACYCLE // 2),
        (Component.ENERGY_MJ, SUBUNITS_PER_MJ // 2),
    ):
        register.add(only(component, subunits))
        assert register.vector[component] == 0
        register.add(only(component, subunits))
        assert register.vector[component] == 1
    register.add(only(Component.IDLE_NS, 7))
    assert register.vector[Component.IDLE_NS] == 7


@pytest.mark.parametrize("component", Component)
def test_decrease_is_refused(component: Component) -> None:
    """A negative increment is a programmer's error and leaves the register as it was."""
    register = Register()
    register.add(only(component, SUBUNITS[component]))
    with pytest.raises(InvariantError, match="broken: a register never decreases; "):
        register.add(only(component, -1))
    assert register.vector[component] == 1
    assert register.sequence == 1


@pytest.mark.parametrize("component", Component)
def test_limit(component: Component) -> None:
    """2^62 - 1 is held, 2^62 is refused: an int64 in a kernel can never wrap."""
    register = Register()
    register.add(only(component, SUBUNITS[component] * (REGISTER_LIMIT - 1)))
    assert register.vector[component] == REGISTER_LIMIT - 1
    with pytest.raises(InvariantError, match=r"broken: a register stays below 2\^62; "):
        register.add(only(component, SUBUNITS[component]))


def test_shape() -> None:
    """An increment with a number too few is refused."""
    with pytest.raises(InvariantError, match="broken: an increment has one number a component; "):
        Register().add([0] * (COMPONENT_COUNT - 1))


def test_covered_time() -> None:
    """Covered time is the sum of the five classes of time and of nothing else."""
    vector = [10**place for place in range(COMPONENT_COUNT)]
    assert len(TIME_COMPONENTS) == 5
    assert covered_ns(vector) == sum(10**place for place in range(13, 18))


def test_evidence() -> None:
    """Only what the hardware integrates survives a late reading; levels have public names."""
    assert [e for e in Evidence if e.integrates] == [
        Evidence.CYCLES,
        Evidence.GPM,
        Evidence.ENERGY,
    ]
    assert [e.level for e in Evidence] == (
        ["cycles", "gpm", "dcgm", "energy", "energy", "busy", "allocation"]
    )


KEY = Key("GPU-0", "0" * 32, "run:alpha", 0, Evidence.GPM, "record")


def test_keys_are_their_fields() -> None:
    """Keys of the same fields are one key of a table, a changed one is another."""
    same = Key(KEY.device, KEY.incarnation, KEY.allocation, KEY.phase, KEY.evidence, KEY.record)
    later = replace(KEY, phase=1)
    assert {KEY: 1}[same] == 1
    assert later not in {KEY}
    assert later > KEY
    assert "_hash" not in repr(KEY)
    others = {"device": "GPU-1", "incarnation": "1" * 32, "allocation": "none", "record": "other"}
    for change in [*({name: text} for name, text in others.items()), {"evidence": Evidence.CYCLES}]:
        assert replace(KEY, **change) != KEY  # type: ignore[arg-type]
    fields = (KEY.device, KEY.incarnation, KEY.allocation, KEY.phase, KEY.evidence, KEY.record)
    assert fields != KEY


def test_keys_travel_without_their_hash() -> None:
    """A key that comes from another process has this one's hash: that of a text is salted."""
    of_another = copy.copy(KEY)
    object.__setattr__(of_another, "_hash", hash(KEY) + 1)
    for came in (pickle.loads(pickle.dumps(of_another)), copy.deepcopy(of_another)):
        assert came == KEY
        assert came in {KEY}
