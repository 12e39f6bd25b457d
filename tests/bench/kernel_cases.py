"""What the kernels of the counters cost against memory: the compiled core's budget.

Owns: bulk merge and exact replay against NumPy's copy and read of the same bytes; rendering.
May touch: processor time of this process.
Called by run. NumPy is in requirements/bench.txt alone (docs/adr/0029-kernels-interpreted.md).
"""

from __future__ import annotations

from typing import Any

from bench.result import Result, paired, processor_us
from flopmeter_core.kernels.merge import ABOVE, compare
from flopmeter_core.kernels.render import Family, render
from flopmeter_core.kernels.replay import active_cycles, grow
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS
from flopmeter_core.units import NS_PER_S
from support.totals import busy_vector

ROWS = 10_000
LINES = 10_000

COPY_SHARE, READ_SHARE = 0.8, 0.33
"""Of the bandwidth of a copy and of a read, which a compiled kernel is to reach."""


def merge(numpy: Any) -> Result:
    """The newest of each of many vectors, against a copy of as many."""
    held = [busy_vector(100 + number) for number in range(ROWS)]
    came = [busy_vector(101 + number) for number in range(ROWS)]
    rows = numpy.array(came, dtype=numpy.int64)

    def bulk() -> None:
        for place, vector in enumerate(came):
            if compare(vector, held[place]) == ABOVE:
                held[place] = vector

    def copies() -> float:
        return processor_us(rows.copy, 20)

    def ours() -> float:
        held[:] = [busy_vector(99)] * ROWS
        return processor_us(bulk, 1)

    pair = paired(ours, copies, 5)
    name = f"kernels: merge of {ROWS} vectors of {COMPONENT_COUNT}"
    budget = pair.limit / COPY_SHARE
    return Result(name, pair.ours, "us", pair.limit, "NumPy copy", budget, pair.spread)


def replay(numpy: Any) -> Result:
    """Exact integration of samples (time, share, clock), against reading them."""
    samples = [(NS_PER_S + n, 400_000 + n, 1_700_000) for n in range(ROWS)]
    read = numpy.array(samples, dtype=numpy.int64)
    units, carry, none = [0], [0], SUBUNITS[:1]

    def exact() -> None:
        for elapsed_ns, share_ppm, clock_khz in samples:
            grow(units, carry, none, (active_cycles(share_ppm, 132, clock_khz, elapsed_ns),))

    pair = paired(lambda: processor_us(exact, 1), lambda: processor_us(read.sum, 50), 5)
    budget = pair.limit / READ_SHARE
    name = f"kernels: exact replay of {ROWS} samples"
    return Result(name, pair.ours, "us", pair.limit, "NumPy sum", budget, pair.spread)


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
        return [text()]
    return [merge(numpy), replay(numpy), text()]
