"""What a recording says of the counters: each answer with its numbers, and what it cannot say."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest

from flopmeter.lab.findings import NOT_ANSWERED, Finding, of_recording
from flopmeter.lab.recording import Header, Recorded, Row
from flopmeter.lab.truths import TimedTruth
from flopmeter_core.units import NS_PER_S
from support.telemetry import DEVICE, record_of

CLOCK_KHZ = 1_000_000
CYCLES = 132 * CLOCK_KHZ * 1_000
"""Of all SMs in a second."""


def sample(second: float, gpm: Mapping[int, float], *, clock_khz: int | None = CLOCK_KHZ) -> Row:
    """A row with what GPM answered."""
    row = {"monotonic_ns": round(second * NS_PER_S)}
    if clock_khz is not None:
        row["clock_khz"] = clock_khz
    for metric, answer in gpm.items():
        row[f"gpm.{metric}"] = struct.unpack("<q", struct.pack("<d", answer))[0]
        row[f"gpm_return.{metric}"] = 0
    return row


def found(rows: Sequence[Row], *truths: TimedTruth) -> dict[str, Finding]:
    """What these rows answer."""
    header = Header("n1", "b", 0, 0, 0, NS_PER_S, "nvml", "", "580.1", True, "0")
    recorded = Recorded(header, [(record_of(DEVICE),)], rows={DEVICE: list(rows)})
    return of_recording(recorded, truths)


def ran(workload: str, start_s: int, stop_s: int, flop: int = 0, issued: int = 0) -> TimedTruth:
    """A workload that ran."""
    return TimedTruth(
        workload,
        workload,
        start_s * NS_PER_S,
        stop_s * NS_PER_S,
        flop_model=flop,
        flop_issued=issued,
    )


def test_a_recording_without_counters_answers_nothing() -> None:
    """No question is guessed at: each says that it is not answered, and why."""
    told = found([sample(second, {}) for second in range(4)], ran("bf16-8192", 0, 3, 10**15))
    assert told["cumulative"].answer == "no id answers"
    for question, why in (
        ("parity", ": the cumulative ids do not answer"),
        ("classes", ": no workload shows tensor activity"),
        ("rate", ": no workload shows tensor activity"),
        ("sample_cost", ""),
        ("tile", ""),
    ):
        assert told[question].answer == NOT_ANSWERED + why, question
        assert not told[question].numbers


def test_the_unit_is_that_of_periods_with_a_clock() -> None:
    """A row without a clock, or at the time of the one before, is no period."""
    elapsed = [0, CYCLES, 5 * CYCLES, 5 * CYCLES, 6 * CYCLES]
    rows = [
        sample(second, {248: cycles}, clock_khz=clock_khz)
        for second, cycles, clock_khz in zip(
            (0, 1, 2, 2, 3), elapsed, (CLOCK_KHZ, CLOCK_KHZ, None, CLOCK_KHZ, CLOCK_KHZ),
            strict=True,
        )
    ]  # fmt: skip
    told = found(rows)["cumulative"]
    assert told.numbers["counts_per_clock_cycle"] == pytest.approx(132)
    assert "nearest to 132 (sum over the SMs)" in told.answer


def test_parity_is_of_periods_in_which_cycles_went_by() -> None:
    """A counter that stood still, or a sample that lacks an id, tells no share."""
    rows = [
        sample(0, {248: 0.0, 250: 0.0, 5: 99.0}),
        sample(1, {248: 100.0, 250: 40.0, 5: 41.0}),
        sample(2, {248: 100.0, 250: 40.0, 5: 77.0}),
        sample(3, {248: 200.0, 5: 5.0}),
        sample(4, {248: 300.0, 250: 140.0, 5: 5.0}),
    ]
    told = found(rows)["parity"]
    assert told.numbers == {"samples": 1}
    assert told.answer == "they differ by 1.00 points in the median, 1.00 at most"


def test_classes_and_rates_of_what_was_tensor_work() -> None:
    """The class with most of the share, and FLOP for each SM and active cycle."""
    busy = {5: 50.0, 7: 45.0, 9: 5.0}
    rows = [sample(second, busy if second < 5 else {5: 1.0}) for second in range(10)]
    rows[2] = sample(2, {5: 50.0, 7: 45.0, 9: 5.0}, clock_khz=None)
    product = ran("bf16-8192", 0, 4, 4 * CYCLES * 1_000, issued=4 * CYCLES * 1_100)
    idle = ran("idle", 5, 9)
    told = found(rows, product, idle, TimedTruth("fp8", "fp8", not_run="no such format"))
    assert told["classes"].answer == "bf16-8192: HMMA"
    assert told["classes"].numbers["shares"]["bf16-8192"] == pytest.approx(
        {"HMMA": 0.9, "IMMA": 0.1}
    )
    # Three periods of half a second's cycles each and one without a clock; 10 more after them.
    (name, rate), *others = told["rate"].numbers["rates"].items()
    assert name == "bf16-8192" and not others
    assert rate["issued"] == pytest.approx(1.1 * rate["model"])
    assert rate["model"] == pytest.approx(4 * 1_000 / 1.5)


def test_a_workload_of_no_class() -> None:
    """Tensor activity that no class shows is said to be of none."""
    rows = [sample(second, {5: 50.0}) for second in range(4)]
    assert found(rows, ran("mxfp4", 0, 3))["classes"].answer == "mxfp4: none"


def test_what_a_sample_costs() -> None:
    """Of the sensor's reading and of each call; a reading that was not timed says nothing."""
    timed = [
        {**sample(n, {}), "read_ns": 1_000 * (n + 1), "nvml_ns.power": 500} for n in range(100)
    ]
    told = found([*timed, sample(100, {})])["sample_cost"]
    assert told.numbers["read_ns"] == {"median_us": 50.5, "p99_us": 99.0}
    assert told.numbers["nvml_ns.power"]["median_us"] == 0.5
    assert "takes 50 us in the median, 99 us at p99" in told.answer


@pytest.mark.parametrize(
    ("flop", "answer"), [(10**15, "8193 reaches 0.500 of the FLOP/s of 8192"), (0, NOT_ANSWERED)]
)
def test_what_a_size_off_the_tile_costs(flop: int, answer: str) -> None:
    """Two products of the same work, one of them in twice the time; without work no ratio."""
    rows = [sample(second, {}) for second in range(4)]
    told = found(rows, ran("bf16-8192", 0, 1, flop), ran("bf16-8193", 1, 3, flop))["tile"]
    assert told.answer == answer
