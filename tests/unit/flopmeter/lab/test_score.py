"""Scoring: which FLOP are inside which interval, and what a page says of it."""

from __future__ import annotations

import dataclasses

import pytest

from flopmeter.lab.importers.base import NodeRecording, Recording
from flopmeter.lab.live_widths import live_widths
from flopmeter.lab.score import (
    ScoreRow,
    Truth,
    as_allocation,
    score_recording,
    score_rung,
    within,
)
from flopmeter.lab.score_text import flop_text, row_table, rung_table, share
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Interval
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.totals import table

CLOCK_KHZ = 1_700_000
SM_COUNT = 132
FLOP_PER_S = SM_COUNT * CLOCK_KHZ * 1_000 * 4096 // 2  # half active, BF16


def truth(executed_flop: int | None, model_flop: int | None = None) -> Truth:
    """A truth of some workload."""
    return Truth("w", model_flop, executed_flop)


def row(executed_flop: int | None, *bounds: int, rung: str = "gpm") -> ScoreRow:
    """A row with these five bounds."""
    return ScoreRow(truth(executed_flop), rung, {}, Interval(*bounds) if bounds else None)


@pytest.mark.parametrize(
    ("executed_flop", "likely", "hard"),
    [
        (9, False, False),
        (10, False, True),
        (19, False, True),
        (20, True, True),
        (40, True, True),
        (41, False, True),
        (50, False, True),
        (51, False, False),
        (None, None, None),
    ],
)
def test_containment(executed_flop: int | None, likely: bool | None, hard: bool | None) -> None:
    """Bounds are inside; a run without truth is in no count."""
    scored = row(executed_flop, 10, 20, 30, 40, 50)
    assert (scored.likely_held, scored.hard_held) == (likely, hard)


def test_no_evidence() -> None:
    """A rung the recording has nothing for has no ratio, no width and is no case."""
    scored = row(30)
    assert (scored.best_over_true, scored.width, scored.likely_held) == (None, None, None)
    assert score_rung("gpm", [scored]).cases == 0


def test_counts() -> None:
    """Cases, hits and the ratio farthest from 1 as a factor, up or down."""
    rows = [
        row(30, 10, 20, 30, 40, 50),
        row(45, 10, 20, 30, 40, 50),
        row(60, 10, 20, 30, 40, 50),
        row(18, 10, 20, 30, 40, 50),
        row(30, 10, 20, 30, 40, 50, rung="energy"),
        row(None, 10, 20, 30, 40, 50),
    ]
    score = score_rung("gpm", rows)
    assert (score.cases, score.likely_count, score.hard_count) == (4, 1, 3)
    assert score.ratio_worst == 0.5
    assert score.ratio_median == pytest.approx((1.0 + 30 / 45) / 2)
    assert score.width_median == 2.0


def test_idle_workload() -> None:
    """Work of no FLOP has no ratio, but its interval can hold it or not."""
    held = row(0, 0, 0, 0, 5, 9)
    missed = row(0, 1, 1, 2, 5, 9)
    assert (held.best_over_true, held.hard_held, missed.hard_held) == (None, True, False)


def test_percentage_from_sixty() -> None:
    """Below 60 cases only k of n is printed."""
    assert share(59, 59) == "59 of 59"
    assert share(57, 60) == "57 of 60 (95 %)"


def test_page() -> None:
    """A miss is told loudly, a rung without a case is unverified with its claim."""
    rows = [row(60, 10, 20, 30, 40, 50)]
    (line,) = row_table(rows)[2:]
    assert line.endswith("| 0.5 | - | 2 | NO | NO |")
    by_rung = {entry.split(" | ")[0]: entry for entry in rung_table(rows, live_widths(table()))[2:]}
    assert by_rung["| gpm"].startswith("| gpm | nothing | 1 | 0 of 1 | 0 of 1 | 0.5 |")
    said = "unverified; budget 0.92 to 1.03 of best, interval 0.56 to 1.05 |"
    assert said in by_rung["| cycles"]
    assert [flop_text(flop) for flop in (None, 0, 12, 123456)] == ["-", "0", "12", "1.23e5"]


# --- from readings to rows -----------------------------------------------------------------------


def recording(readings: list[Reading]) -> Recording:
    """A recording of one H100."""
    record = DeviceRecord(
        "n1",
        "GPU-0",
        "nvidia",
        "H100",
        part="h100-sxm5-80gb",
        sm_count=SM_COUNT,
        max_sm_clock_mhz=1980,
        energy_scope=EnergyScope.GPU,
    )
    return Recording(
        run="r",
        epoch_ns=0,
        start_ns=readings[0].monotonic_ns,
        stop_ns=readings[-1].monotonic_ns,
        sample_period_ns=NS_PER_S,
        simulated=True,
        nodes=(NodeRecording("n1", (record,), readings),),
    )


def reading(second: int, percent: int, *, evidence: Evidence = Evidence.GPM) -> Reading:
    """A reading after a second of this tensor activity."""
    return Reading(
        device="GPU-0",
        evidence=evidence,
        monotonic_ns=second * NS_PER_S,
        boottime_ns=second * NS_PER_S,
        activity_ppm={
            component: percent * 10_000
            for component in (Component.TENSOR_MEGACYCLES, Component.HMMA_MEGACYCLES)
        },
        clock_khz=CLOCK_KHZ,
        allocation=for_run("r"),
    )


def test_gpm_figure() -> None:
    """Ten seconds of half the tensor cores in bf16 are what arithmetic says, exactly."""
    taken = recording([reading(second, 50) for second in range(11)])
    (scored,) = score_recording(
        taken, truth(10 * FLOP_PER_S), table(), rung="gpm", declarations=[{"format": "bf16=1"}]
    )
    assert scored.best_over_true == 1.0
    assert scored.likely_held
    (wrong,) = score_recording(
        taken, truth(10 * FLOP_PER_S), table(), rung="gpm", declarations=[{"format": "fp8=1"}]
    )
    assert wrong.best_over_true == 2.0


def test_within() -> None:
    """A stretch holds its work whole, and nothing of the stretches beside it but a moment."""
    percents = [0, 0, 0, 50, 50, 50, 0, 0, 80, 80]
    taken = recording([reading(second, percent) for second, percent in enumerate(percents)])
    half_s = NS_PER_S // 2
    part = within(taken, 2 * NS_PER_S + half_s, 5 * NS_PER_S - half_s, run="matmul")
    assert [r.monotonic_ns // NS_PER_S for r in part.nodes[0].readings] == [2, 3, 4, 5]
    (scored,) = score_recording(
        part, truth(3 * FLOP_PER_S), table(), rung="gpm", declarations=[{"format": "bf16=1"}]
    )
    assert scored.best_over_true == 1.0


@pytest.mark.parametrize(("start_s", "stop_s"), [(-1, 3), (2, 99)])
def test_within_needs_both_sides(start_s: int, stop_s: int) -> None:
    """A stretch that was not recorded from before to after cannot be scored."""
    taken = recording([reading(second, 50) for second in range(5)])
    with pytest.raises(DataError, match="both sides of matmul"):
        within(taken, start_s * NS_PER_S, stop_s * NS_PER_S, run="matmul")


def test_allocation_knows_nothing_else() -> None:
    """Seen as an allocation, a recording says its time and its user only."""
    taken = recording([reading(second, 50) for second in range(5)])
    bare = as_allocation(taken).nodes[0].readings
    assert {r.evidence for r in bare} == {Evidence.ALLOCATION}
    assert not any(r.activity_ppm or r.clock_khz or r.energy_mj for r in bare)
    (idle,) = score_recording(
        as_allocation(
            dataclasses.replace(
                taken,
                nodes=(
                    dataclasses.replace(
                        taken.nodes[0],
                        readings=[
                            dataclasses.replace(r, allocation=NONE) for r in taken.nodes[0].readings
                        ],
                    ),
                ),
            )
        ),
        truth(1),
        table(),
        rung="allocation",
        declarations=[{}],
    )
    assert idle.interval is not None
    assert idle.interval.best == 0


def test_unknown_format() -> None:
    """A declaration its field refuses ends in one sentence."""
    taken = recording([reading(second, 50) for second in range(3)])
    with pytest.raises(DataError, match="fp7"):
        score_recording(taken, truth(1), table(), rung="gpm", declarations=[{"format": "fp7"}])
