"""Packed readings give what readings in columns give, and say where they cannot."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flopmeter_core.columns import Columns, integrate
from flopmeter_core.packed import Shape, Sums, shape_of
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.telemetry import record_of

ACTIVITIES = (
    (Component.SM_ACTIVE_MEGACYCLES, 3),
    (Component.TENSOR_MEGACYCLES, 4),
)
ROW = st.tuples(
    st.integers(0, 3 * NS_PER_S),
    st.sampled_from((0, 1_410_000, 1_980_000, 2_100_000, 20_000_000)),
    st.sampled_from((0, 90_000, 349_999, 350_000, 700_000, 6_000_000)),
    st.integers(0, 1_100_000),
    st.sampled_from((0, 5, 10_000, 10_001, 500_000, 1_020_001)),
)


def shape(evidence: Evidence = Evidence.GPM, **changes: object) -> Shape | None:
    """The shape of a series of these rows."""
    settings = {
        "clock_place": 1,
        "power_place": 2,
        "activity_places": ACTIVITIES,
        "period_ns": NS_PER_S,
        "rated_power_w": 700,
    } | changes
    return shape_of(record_of("GPU-1"), evidence, **settings)  # type: ignore[arg-type]


@given(
    st.lists(ROW, min_size=2, max_size=30), st.sampled_from((Evidence.GPM, Evidence.DCGM_SAMPLED))
)
@example([(0, 2_100_000, 0, 0, 0), (1, 1_410_000, 0, 0, 5)], Evidence.GPM)
def test_usual_rows_add_what_columns_add(rows: list[tuple[int, ...]], evidence: Evidence) -> None:
    """Each stretch that is taken makes exactly the increment of the same readings in columns."""
    of_rows = shape(evidence)
    assert of_rows is not None
    cells = memoryview(array("I", [cell for column in zip(*rows, strict=True) for cell in column]))
    sums, first = Sums(of_rows), 1
    while first < len(rows):
        amount = [0] * COMPONENT_COUNT
        reached, taken_ns = sums.take(cells, len(rows), first, 10**15, amount)
        part = rows[first - 1 : reached]
        times = array("q", [sum(row[0] for row in part[1 : n + 1]) for n in range(len(part))])
        columns = [array("q", column) for column in zip(*part, strict=True)]
        whole = integrate(
            Columns(
                evidence,
                times,
                times,
                clock_khz=columns[1],
                power_mw=columns[2],
                activity_ppm={component: columns[place] for component, place in ACTIVITIES},
            ),
            record_of("GPU-1"),
            period_ns=NS_PER_S,
            allocated=True,
            rated_power_w=700,
        )
        assert tuple(amount) == whole.amount
        assert taken_ns == times[-1]
        first = reached + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"evidence": Evidence.ENERGY},
        {"evidence": Evidence.BUSY_SAMPLED},
        {"clock_place": 0},
        {"activity_places": ()},
        {"activity_places": ((Component.SM_ELAPSED_MEGACYCLES, 3),)},
    ],
)
def test_other_shapes_are_for_columns(changes: dict[str, object]) -> None:
    """A rung or a layout the kernel knows nothing of has no shape."""
    assert shape(**changes) is None  # type: ignore[arg-type]


def test_an_exporter_that_says_no_sm_count_counts_cycles_of_one() -> None:
    """As readings that come alone do: the table's count comes in at the estimate."""
    record = record_of("GPU-1")
    bare = record.__class__(node="n", device="d", vendor="nvidia", product_name="p")
    for evidence, units in ((Evidence.DCGM_SAMPLED, 1), (Evidence.GPM, 0)):
        made = shape_of(
            bare,
            evidence,
            clock_place=1,
            power_place=0,
            activity_places=ACTIVITIES,
            period_ns=NS_PER_S,
            rated_power_w=0,
        )
        assert made is not None
        assert made.units == units
