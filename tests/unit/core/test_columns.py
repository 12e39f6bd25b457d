"""Columns: one call over many readings adds what they add one by one, to the last sub-unit."""

from __future__ import annotations

from array import array
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core import columns as module
from flopmeter_core.columns import Columns, integrate, judged
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import DataError
from flopmeter_core.kernels import columns as installed
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence, Register, covered_ns
from flopmeter_core.suspicion import Stillness
from support.forms import FORMS, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

S = 10**9
H100 = DeviceRecord(
    node="n",
    device="GPU-1",
    vendor="nvidia",
    product_name="H100",
    sm_count=132,
    max_sm_clock_mhz=1_980,
)
RECORDS = st.sampled_from(
    [
        H100,
        replace(H100, sm_count=0),
        replace(H100, device="node:n", device_count=8, energy_scope=EnergyScope.NODE),
        replace(H100, device_count=4_000),
    ]
)
TENSOR, ACTIVE, ELAPSED = (
    Component.TENSOR_MEGACYCLES,
    Component.SM_ACTIVE_MEGACYCLES,
    Component.SM_ELAPSED_MEGACYCLES,
)


@pytest.fixture(params=FORMS, autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with the kernels in both forms."""
    monkeypatch.setattr(module, "kernels", kernel("columns", request.param))


def one_by_one(
    columns: Columns,
    record: DeviceRecord,
    *,
    first: int = 0,
    period_ns: int = S,
    allocated: bool = True,
    rated_power_w: int = 0,
    stillness: Stillness = Stillness(),  # noqa: B008 -- frozen
) -> list[int]:
    """What an agent adds, reading by reading."""
    amount = [0] * COMPONENT_COUNT
    rows = [columns.reading(row, record.device) for row in range(first, len(columns))]
    for before, after in pairwise(rows):
        stillness = stillness.after(before, after)
        one = judged(
            before,
            after,
            record,
            period_ns=period_ns,
            allocated=allocated,
            rated_power_w=rated_power_w,
            stillness=stillness,
        )
        amount = [sum(pair) for pair in zip(amount, one, strict=True)]
    return amount


def steps(draw: st.DrawFn, count: int, usual: int, odd: st.SearchStrategy[int]) -> array[int]:
    """A column that grows by about `usual`, and now and then by something else."""
    near = st.integers(usual - usual // 50, usual + usual // 50)
    taken = draw(st.lists(near | near | near | odd, min_size=count, max_size=count))
    column, total = array("q"), draw(st.integers(0, 2**40))
    for step in taken:
        total = min(max(total + step, -5), 2**62 + 5)
        column.append(total)
    return column


def values(draw: st.DrawFn, count: int, usual: st.SearchStrategy[int]) -> array[int]:
    """A column of usual values, and now and then something no device says."""
    odd = st.sampled_from([-1, 0, 2**47, 2**47 + 3, 10 * 2**47, 2**62, 2**63 - 1, -(2**63)])
    rows = st.lists(usual | usual | usual | odd, min_size=count, max_size=count)
    return array("q", draw(rows))


@st.composite
def stretches(draw: st.DrawFn) -> Columns:
    """Columns of any rung, mostly usual."""
    evidence = draw(st.sampled_from([e for e in Evidence if e is not Evidence.CYCLES]))
    count = draw(st.integers(1, 12))
    odd = st.sampled_from([0, -1, -S, S // 2, 3 * S, 300 * S, 2**61])
    monotonic = steps(draw, count, S, odd)
    boottime = monotonic
    if draw(st.booleans()):
        slept = draw(st.lists(st.sampled_from([0, 0, 3, -3, S]), min_size=count, max_size=count))
        boottime = array("q", [a + sum(slept[:row]) for row, a in enumerate(monotonic)])
    share = st.integers(0, 1_020_001) | st.just(0) | st.integers(0, 12_000)
    optional: dict[str, Any] = {
        "clock_khz": lambda: values(draw, count, st.integers(200_000, 2_200_000)),
        "power_mw": lambda: values(draw, count, st.integers(50_000, 800_000)),
        "energy_mj": lambda: steps(draw, count, 500_000, st.sampled_from([0, 0, -1, 2**41])),
        "busy_ppm": lambda: values(draw, count, share),
        "engine_ppm": lambda: values(draw, count, share),
    }
    said = {name: make() for name, make in optional.items() if draw(st.booleans())}
    kinds = draw(st.sets(st.sampled_from([TENSOR, ACTIVE, ELAPSED])))
    activity = {kind: values(draw, count, share) for kind in kinds}
    return Columns(evidence, monotonic, boottime, activity_ppm=activity, **said)


@given(
    columns=stretches(),
    record=RECORDS,
    period_ns=st.sampled_from([S // 2, S, 60 * S]),
    allocated=st.booleans(),
    rated_power_w=st.sampled_from([0, 700, 10**8]),
)
def test_as_one_by_one(columns: Columns, record: DeviceRecord, **rest: Any) -> None:
    """Whatever the readings say, their sum is that of the rule for two readings."""
    integrated = integrate(columns, record, **rest)
    assert list(integrated.amount) == one_by_one(columns, record, **rest)


def training(count: int, **optional: array[int]) -> Columns:
    """A second apart: half tensor activity at 1.5 GHz, 600 W."""
    at = array("q", [row * S for row in range(count)])
    return Columns(
        Evidence.GPM,
        at,
        at,
        clock_khz=array("q", [1_500_000]) * count,
        power_mw=array("q", [600_000]) * count,
        activity_ppm={TENSOR: array("q", [500_000]) * count},
        **optional,
    )


def test_known() -> None:
    """An hour of an H100: 132 SMs, 1.5 GHz, half of it tensor work, 600 W."""
    integrated = integrate(training(3_601), H100, period_ns=S, allocated=True)
    register = Register()
    register.add(integrated.amount)
    assert integrated.doubted == 0
    assert register.units[ELAPSED] == 132 * 1_500 * 3_600
    assert register.units[TENSOR] == 132 * 750 * 3_600
    assert register.units[Component.BUSY_MEGACYCLES] == 1_500 * 3_600
    assert register.units[Component.ENERGY_MJ] == 600_000 * 3_600
    assert covered_ns(register.vector) == 3_600 * S == register.units[Component.BUSY_NS]


def test_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a stretch is cut, inside or by the caller, changes nothing."""
    columns = training(100)
    whole = integrate(columns, H100, period_ns=S, allocated=True).amount
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    assert integrate(columns, H100, period_ns=S, allocated=True).amount == whole
    parts = [columns.part(0, 41), columns.part(40, 100)]
    amounts = [integrate(part, H100, period_ns=S, allocated=True).amount for part in parts]
    assert tuple(map(sum, zip(*amounts, strict=True))) == whole
    later = integrate(columns, H100, first=40, period_ns=S, allocated=True).amount
    assert later == amounts[1]


def test_frozen_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that says the same for seconds is doubted, wherever the stretch is cut."""
    monkeypatch.setattr(module, "BLOCK_ROWS", 4)
    energy = array("q", [*range(0, 6_000_000, 600_000), *[6_000_000] * 12])
    columns = training(len(energy), energy_mj=energy)
    integrated = integrate(columns, H100, period_ns=S, allocated=True)
    assert list(integrated.amount) == one_by_one(columns, H100)
    assert integrated.amount[Component.SUSPECT_NS] > 0
    assert integrated.stillness.periods == 11


def test_fast_clock() -> None:
    """Cycles beyond SMs x the device's highest clock make a period suspect, as one by one."""
    clock = array("q", [1_500_000, 1_500_000, 2_300_000, 1_500_000])
    columns = replace(training(4), clock_khz=clock)
    told = integrate(columns, H100, period_ns=S, allocated=True)
    assert list(told.amount) == one_by_one(columns, H100)
    assert told.amount[Component.SUSPECT_NS] == S


def test_usual_is_not_asked() -> None:
    """Idle and busy readings of a healthy device are all taken by the kernels."""
    count = 60
    columns = replace(
        training(count, energy_mj=array("q", [300_000 * row for row in range(count)])),
        power_mw=array("q", [90_000, 650_000] * (count // 2)),
        activity_ppm={
            TENSOR: array("q", [0, 700_000] * (count // 2)),
            ACTIVE: array("q", [0, 990_000] * (count // 2)),
        },
    )
    told = integrate(columns, H100, period_ns=S, allocated=True, rated_power_w=700)
    assert told.doubted == 0
    assert list(told.amount) == one_by_one(columns, H100, rated_power_w=700)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (array("i", [1, 2]), "64-bit"),
        (array("d", [1, 2]), "64-bit"),
        (memoryview(array("q", [1, 2, 3, 4]))[::2], "64-bit"),
        (array("q", [1]), "1 rows, not 2"),
    ],
)
def test_wrong_columns(column: Any, sentence: str) -> None:
    """A column that cannot be read in place is refused, in one sentence."""
    columns = replace(training(2), power_mw=column)
    with pytest.raises(DataError, match=sentence):
        integrate(columns, H100, period_ns=S, allocated=True)


def test_cycles() -> None:
    """Cumulative cycle counters pass 2^63, so they are no columns."""
    columns = replace(training(2), evidence=Evidence.CYCLES)
    with pytest.raises(DataError, match="replay"):
        integrate(columns, H100, period_ns=S, allocated=True)


@pytest.mark.parametrize("count", [0, 1])
def test_no_period(count: int) -> None:
    """Less than two readings add nothing."""
    told = integrate(training(count), H100, period_ns=S, allocated=True)
    assert not any(told.amount)


def test_blank_limit() -> None:
    """What may be a blank is never usual."""
    assert module._GREATEST_PLAIN < installed.GREATEST
