"""What the kernels of the counters cost against memory: the compiled core's budget.

Owns: bulk merge and exact replay against copies and reads of the same bytes; rendering.
May touch: processor time of this process.
Called by run (beside NumPy, which is in requirements/bench.txt alone) and by quick (beside copies
that Python makes itself). Explained in docs/adr/0031-kernels-compiled-by-the-block.md.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from bench.result import Result, paired, processor_us
from flopmeter_core.columns import Columns, integrate
from flopmeter_core.kernels import columns, merge_block
from flopmeter_core.kernels.render import Family, render
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.totals import busy_vector, h100

COMPILED = hasattr(merge_block, "SOURCE_SHA256")
"""Whether the kernels run compiled; interpreted they take a hundredth of the rows."""

ROWS = 1_000_000 if COMPILED else 10_000
QUICK_ROWS = 200_000
SAMPLES = 4_000_000 if COMPILED else 40_000
READINGS = 86_400 if COMPILED else 8_640
LINES = 10_000

COPY_SHARE, READ_SHARE = 0.8, 0.33
"""Of the bandwidth of a copy and of a read, which a kernel is to reach."""

REPEATS = 7

POINT_WISE = 100
"""A reading in columns is to cost less than this part of one that an agent takes."""


def merging(rows: int, repeats: int = REPEATS) -> tuple[array[int], Callable[[], object]]:
    """Rows that came, and a merge of them that takes every one of them."""
    came = array("q", [*busy_vector(100), *busy_vector(101)]) * (rows // 2)
    held, places = came[:], array("q", range(rows))
    sequences, outcomes = array("q", bytes(8 * rows)), bytearray(rows)
    newer = iter([array("q", [number]) * rows for number in range(1, 2 + repeats)])

    def merge() -> int:
        return merge_block.merge_rows(
            held, sequences, places, came, next(newer), outcomes, COMPONENT_COUNT
        )

    assert merge() == 0
    assert not any(outcomes)
    return came, merge


def summing(samples: int) -> tuple[array[int], array[int], Callable[[], object]]:
    """Two columns (ppm; kHz x ns), and their exact sum of products."""
    shares = array("q", range(400_000, 401_000)) * (samples // 1_000)
    weights = array("q", range(1_700_000 * NS_PER_S, 1_700_000 * NS_PER_S + 1_000))
    weights *= samples // 1_000
    words = array("Q", bytes(24))
    return shares, weights, lambda: columns.dot(shares, weights, words)


def merge(numpy: Any) -> Result:
    """The newest of each of many vectors, against a copy of as many."""
    came, work = merging(ROWS)
    rows = numpy.frombuffer(came, dtype=numpy.int64)
    target = numpy.empty_like(rows)

    def copies() -> float:
        return processor_us(lambda: numpy.copyto(target, rows), 3)

    pair = paired(lambda: processor_us(work, 1), copies, REPEATS)
    name = f"kernels: merge of {ROWS} vectors of {COMPONENT_COUNT}"
    budget = pair.limit / COPY_SHARE
    return Result(name, pair.ours, "us", pair.limit, "NumPy copy", budget, pair.spread)


def replay(numpy: Any) -> Result:
    """The exact sum of share x clock x time over samples, against reading them."""
    shares, weights, work = summing(SAMPLES)
    read = [numpy.frombuffer(each, dtype=numpy.int64) for each in (shares, weights)]

    def reads() -> float:
        return processor_us(lambda: [each.sum() for each in read], 3)

    pair = paired(lambda: processor_us(work, 1), reads, REPEATS)
    budget = pair.limit / READ_SHARE
    name = f"kernels: exact sum over {SAMPLES} samples"
    return Result(name, pair.ours, "us", pair.limit, "NumPy sum", budget, pair.spread)


def readings() -> Result:
    """A day of readings with every check, against the same readings taken one by one."""
    at = array("q", range(0, READINGS * NS_PER_S, NS_PER_S))
    day = Columns(
        Evidence.GPM,
        at,
        at,
        clock_khz=array("q", [1_700_000, 1_710_000]) * (READINGS // 2),
        power_mw=array("q", [600_000, 610_000]) * (READINGS // 2),
        activity_ppm={
            Component.TENSOR_MEGACYCLES: array("q", [400_000, 410_000]) * (READINGS // 2),
            Component.SM_ACTIVE_MEGACYCLES: array("q", [900_000, 910_000]) * (READINGS // 2),
        },
    )
    part, record = day.part(0, 400), h100("0-0", node="n0")
    # A doubt about each period makes two readings of it, decided as an agent does.
    odd = Columns(Evidence.GPM, part.monotonic_ns, part.boottime_ns, power_mw=part.power_mw)

    def bulk() -> float:
        told = integrate(day, record, period_ns=NS_PER_S, allocated=True, rated_power_w=700)
        assert told.doubted == 0
        return 0.0

    def alone() -> object:
        return integrate(odd, record, period_ns=NS_PER_S, allocated=True, rated_power_w=700)

    pair = paired(
        lambda: processor_us(bulk, 1) / READINGS, lambda: processor_us(alone, 1) / len(odd), 5
    )
    name = f"kernels: a reading of {READINGS} in columns, with every check"
    budget = pair.limit / POINT_WISE
    return Result(name, pair.ours, "us", pair.limit, "one by one", budget, pair.spread)


def quick_merge() -> Result:
    """As `merge`, against a copy that Python makes."""
    came, work = merging(QUICK_ROWS)
    view, target = memoryview(came), came[:]
    into = memoryview(target)

    def copy() -> None:
        into[:] = view

    pair = paired(lambda: processor_us(work, 1), lambda: processor_us(copy, 3), REPEATS)
    name = f"kernels: merge of {QUICK_ROWS} vectors of {COMPONENT_COUNT}"
    return Result(name, pair.ours, "us", pair.limit, "copy", 0, pair.spread)


def quick_replay() -> Result:
    """As `replay`, against a copy of one of the columns, which reads and writes as much."""
    shares, _, work = summing(QUICK_ROWS * 10)
    view, into = memoryview(shares), memoryview(shares[:])

    def copy() -> None:
        into[:] = view

    pair = paired(lambda: processor_us(work, 1), lambda: processor_us(copy, 3), REPEATS)
    name = f"kernels: exact sum over {len(shares)} samples"
    return Result(name, pair.ours, "us", pair.limit, "copy", 0, pair.spread)


def text() -> Result:
    """Lines of samples, against joining lines that are there already."""
    samples = [(f'{{run="r{number}"}}', str(10**21 + number)) for number in range(LINES)]
    ready = [f"flopmeter_bench{labels} {number}\n" for labels, number in samples]
    family = Family("flopmeter_bench", "gauge", "Lines.", samples)
    pair = paired(
        lambda: processor_us(lambda: render([family]), 5),
        lambda: processor_us(lambda: "".join(ready), 20),
        5,
    )
    # 0.5 us a line: 50 ms for 100,000 of them.
    name, budget = f"kernels: render of {LINES} lines", 0.5 * LINES
    return Result(name, pair.ours, "us", pair.limit, "join of ready lines", budget, pair.spread)


def cases() -> list[Result]:
    """All lines about the kernels; those beside NumPy only where it is installed."""
    try:
        import numpy  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return [readings(), text()]
    return [merge(numpy), replay(numpy), readings(), text()]
