"""Import of telemetry against the same pipeline in pandas, in one run.

Owns: the made-up telemetry, both pipelines, and the lines printed.
May touch: a temporary folder; child processes.
Called by ``make bench-bulk`` (DEVICES=8 DAYS=365). Exit 1 below `RATIO` times pandas.

pandas reads the text, as one does; a second line gives it the same numbers from memory, so that
parsing is left out. Both check the same and give the same integers; ours go on into a ledger.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from flopmeter.lab.bulk.importing import import_series
from flopmeter.lab.bulk.metering import meter_file
from flopmeter.lab.bulk.series_file import ROWS_MAXIMUM, SeriesHead, SeriesWriter
from flopmeter_core.allocations import for_run
from flopmeter_core.increments import JITTER_PPM
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.suspicion import (
    GREATEST_CLOCK_KHZ,
    GREATEST_POWER_W,
    GREATEST_SHARE_PPM,
    LOUD_POWER_PPM,
    SILENCE_PPM,
)
from flopmeter_core.units import NS_PER_S, PPM
from flopmeter_proto.daemon.clock import SystemClock
from support.telemetry import EPOCH_NS, record_of

DAY = 86_400
COLUMNS = ("clock_khz", "power_mw", "activity_ppm.sm_active_megacycles",
           "activity_ppm.tensor_megacycles")  # fmt: skip
RATIO = 100
LOWER = (1 << 32) - 1
MOST = 1_980 * 1_000 * (PPM + JITTER_PPM)
LOUD_MW = 700 * LOUD_POWER_PPM // 1_000
PANDAS_ROWS = 1_000_000
YEAR_READINGS = 1_000 * 365 * DAY
"""What the goal is about: a year of 1,000 devices."""


def block_of(seed: int, rows: int) -> list[bytes]:
    """Cells of a busy device: times a second apart with some jitter, and what was read."""
    rng = random.Random(seed)
    since = [0, *(NS_PER_S + rng.randint(-200_000, 200_000) for _ in range(rows - 1))]
    clocks = [rng.choice((1_980_000, 1_755_000, 1_410_000)) for _ in range(rows)]
    powers = [rng.randint(400_000, 700_000) for _ in range(rows)]
    active = [rng.randint(300_000, 1_000_000) for _ in range(rows)]
    tensor = [rng.randint(100_000, 700_000) for _ in range(rows)]
    return [array("I", cells).tobytes() for cells in (since, clocks, powers, active, tensor)]


def write_series(
    path: Path, number: int, days: int, cells: list[bytes], readings: int | None = None
) -> int:
    """A device that worked for so many days, one block a half day; returns how many readings."""
    rows = len(cells[0]) // 4
    wanted = days * DAY if readings is None else readings
    head = SeriesHead(
        f"{number:032x}", record_of(f"GPU-{number:05}", node=f"n{number // 8}"), EPOCH_NS,
        NS_PER_S, Evidence.GPM, COLUMNS,
    )  # fmt: skip
    blocks = wanted // rows
    with path.open("wb") as stream:
        writer = SeriesWriter(stream, head)
        for place in range(blocks):
            writer.block(for_run("pretrain"), place * rows * NS_PER_S, {}, cells)
        writer.end()
    return blocks * rows


def text_of(cells: list[bytes], path: Path, rows: int) -> None:
    """The same numbers as text, for pandas."""
    since, *columns = (array("I", cell) for cell in cells)
    with path.open("w") as stream:
        stream.write("time_ns,device,run," + ",".join(COLUMNS) + "\n")
        at_ns = EPOCH_NS
        for row in range(rows):
            place = row % len(since)
            at_ns += since[place] or NS_PER_S
            said = ",".join(str(column[place]) for column in columns)
            stream.write(f"{at_ns},GPU-{row * 8 // rows},pretrain,{said}\n")


def by_pandas(frame: Any) -> Any:
    """The same pipeline: differences by device, checks, exact sums by device, run and day.

    A product of share, clock and time has 77 bits and a sum more, so both are kept in two columns.
    """
    clock, power = frame["clock_khz"], frame["power_mw"]
    active, tensor = frame[COLUMNS[2]], frame[COLUMNS[3]]
    by_device = frame.groupby("device", sort=False)
    # diff() goes through floating point, in which a time of today has steps of 256 ns.
    span = frame["time_ns"] - by_device["time_ns"].shift(fill_value=0)
    before = by_device["clock_khz"].shift(fill_value=0)
    earlier = by_device["power_mw"].shift(fill_value=0)
    loudest = active.where(active > tensor, tensor)
    usual = (
        (span > 0) & (span <= 2 * NS_PER_S)
        & (clock > 0) & (clock <= GREATEST_CLOCK_KHZ) & (before > 0)
        & (power >= 0) & (power <= GREATEST_POWER_W * 1_000)
        & (loudest >= 0) & (loudest <= GREATEST_SHARE_PPM)
        & (clock * loudest.clip(lower=PPM) <= MOST)
        & ~((loudest <= SILENCE_PPM) & (power >= LOUD_MW) & (earlier >= LOUD_MW))
    )  # fmt: skip
    span = span.where(usual, 0)
    weight = clock * span
    rows = {"device": frame["device"], "run": frame["run"]}
    rows["day"] = frame["time_ns"] // (DAY * NS_PER_S)
    rows["all_ns"], rows["busy_ns"] = span, span.where(loudest > 0, 0)
    products = {
        "elapsed": weight,
        "busy": ((clock + before) // 2) * rows["busy_ns"],
        "energy": (power + earlier) * span,
    }
    for name, column in products.items():
        product = column.to_numpy()
        rows[f"{name}_upper"], rows[f"{name}_lower"] = product >> 32, product & LOWER
    parts = weight.to_numpy()
    for name, column in (("active", active), ("tensor", tensor)):
        share = column.to_numpy()
        rest = share * (parts & LOWER)
        rows[f"{name}_upper"] = share * (parts >> 32) + (rest >> 32)
        rows[f"{name}_lower"] = rest & LOWER
    return frame.__class__(rows).groupby(["device", "run", "day"], sort=False).sum()


def agree(cells: list[bytes], frame: Any, folder: Path) -> None:
    """See that both give the same integers of the same rows.

    Raises:
        AssertionError: they do not.
    """
    rows = len(cells[0]) // 4
    sums = by_pandas(frame.head(rows)).sum()
    write_series(folder / "same.fmseries", 0, 1, cells, rows)
    (vector,) = (each.vector for each in meter_file(folder / "same.fmseries").vectors)

    def whole(name: str) -> int:
        return (int(sums[f"{name}_upper"]) << 32) + int(sums[f"{name}_lower"])

    assert vector[Component.TENSOR_MEGACYCLES] == whole("tensor") * 132 // 10**18
    assert vector[Component.SM_ACTIVE_MEGACYCLES] == whole("active") * 132 // 10**18
    assert vector[Component.BUSY_MEGACYCLES] == whole("busy") * PPM // 10**18
    assert vector[Component.ENERGY_MJ] == whole("energy") // (2 * 10**9)
    assert vector[Component.BUSY_NS] == int(sums["busy_ns"])


def processor_s(work: Callable[[], object], times: int) -> float:
    """Least processor time of some repetitions, of this process."""
    taken = []
    for _ in range(times):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


def peer(cells: list[bytes], folder: Path) -> tuple[float, float]:
    """Processor time of pandas in s a reading: from text, and from memory."""
    pandas = importlib.import_module("pandas")
    text_of(cells, folder / "rows.csv", PANDAS_ROWS)
    whole = processor_s(lambda: by_pandas(pandas.read_csv(folder / "rows.csv")), 3)
    frame = pandas.read_csv(folder / "rows.csv")
    agree(cells, frame, folder)
    return whole / PANDAS_ROWS, processor_s(lambda: by_pandas(frame), 3) / PANDAS_ROWS


def main() -> int:
    """Measure and print; 1 where the goal is missed."""
    options = argparse.ArgumentParser()
    options.add_argument("--devices", type=int, default=8)
    options.add_argument("--days", type=int, default=365)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (series := folder / "series").mkdir()
        cells = block_of(1, DAY // 2)
        assert DAY // 2 <= ROWS_MAXIMUM
        readings = 0
        for number in range(chosen.devices):
            readings += write_series(series / f"{number}.fmseries", number, chosen.days, cells)
        text_s, memory_s = peer(cells, folder)
        one = next(iter(sorted(series.iterdir())))
        each = readings // chosen.devices
        metered_s = processor_s(lambda: meter_file(one), 3) / each
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = time.process_time()
        import_series(
            [series], ledger=str(folder / "ledger.db"), author="bench", clock=SystemClock(),
            done_file=folder / "done",
        )  # fmt: skip
        wall_s = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        imported_s = time.process_time() - cpu + after.ru_utime + after.ru_stime
        imported_s = (imported_s - before.ru_utime - before.ru_stime) / readings
        cores = len(os.sched_getaffinity(0))
    print(f"{chosen.devices} devices, {chosen.days} days: {readings} readings")
    print(f"pandas, from text: {text_s * 1e9:.0f} ns of processor time a reading")
    print(f"pandas, from memory: {memory_s * 1e9:.0f} ns")
    print(
        f"ours, a series metered: {metered_s * 1e9:.1f} ns, {1 / metered_s:.3g} readings/s a core"
    )
    print(f"ours, imported into a ledger: {imported_s * 1e9:.1f} ns; {wall_s:.1f} s in all")
    ratio = text_s / imported_s
    print(
        f"from text {ratio:.0f} times pandas a core, {ratio * cores:.0f} times its one process on "
        f"{cores} cores; from memory {memory_s / imported_s:.0f} times"
    )
    hours = YEAR_READINGS * imported_s / cores / 3_600
    print(
        f"a year of 1,000 devices, {YEAR_READINGS:.3g} readings x {imported_s * 1e9:.1f} ns over "
        f"{cores} cores: {hours:.2f} h; pandas from text, x {text_s * 1e9:.0f} ns: "
        f"{YEAR_READINGS * text_s / 3_600:.0f} h"
    )
    return 0 if ratio * cores >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
