"""The kernels' work in the tools that people would take for it.

Owns: the newest of many vectors, and exact sums of products, in NumPy, Polars, DuckDB and Python.
May touch: processor time of this process, all threads of it; memory.
Called by run; the three libraries are in requirements/bench.txt alone. Nothing here has a budget:
what the kernels are held against is memory (kernel_cases). Sums are held to be ours; of merges
only the time is compared.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from operator import mul
from typing import Any

from bench.kernel_cases import COMPILED, merging, summing
from bench.result import Result, paired, processor_us
from flopmeter_core.kernels import columns
from flopmeter_core.registers import COMPONENT_COUNT

ROWS = 100_000 if COMPILED else 1_000
SAMPLES = 1_000_000 if COMPILED else 10_000
REPEATS = 3
TOOLS = 4

COLUMNS = [f"c{number}" for number in range(COMPONENT_COUNT)]


def cases() -> list[Result]:
    """A row for each kernel and tool; none where the tools are not installed."""
    try:
        import duckdb  # type: ignore[import-not-found,unused-ignore]
        import numpy  # type: ignore[import-not-found,unused-ignore]
        import polars  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return []
    came, merge = merging(ROWS, TOOLS * REPEATS)
    merges: dict[str, Callable[[], object]] = {
        "NumPy": numpy_merge(numpy, came),
        "Polars": polars_merge(numpy, polars, came),
        "DuckDB": duckdb_merge(numpy, duckdb, came),
        "pure Python": python_merge(came),
    }
    shares, weights, add = summing(SAMPLES)
    sums: dict[str, Callable[[], object]] = {
        "NumPy": numpy_sum(numpy, shares, weights),
        "Polars": polars_sum(numpy, polars, shares, weights),
        "DuckDB": duckdb_sum(numpy, duckdb, shares, weights),
        "pure Python": lambda: sum(map(mul, shares, weights)),
    }
    words = array("Q", bytes(24))
    columns.dot(shares, weights, words)
    exact = sum(word << 64 * place for place, word in enumerate(words))
    for tool, work in sums.items():
        assert work() == exact, tool
    return [
        *_beside(f"kernels: newest of {ROWS} vectors of {COMPONENT_COUNT}", merge, merges),
        *_beside(f"kernels: exact sum over {SAMPLES} samples", add, sums),
    ]


def _beside(
    name: str, ours: Callable[[], object], tools: Mapping[str, Callable[[], object]]
) -> list[Result]:
    """One row a tool, ours and its taken in turn."""

    def beside(tool: str, work: Callable[[], object]) -> Result:
        pair = paired(lambda: processor_us(ours, 1), lambda: processor_us(work, 1), REPEATS)
        row = f"{name}, beside {tool}"
        return Result(row, pair.ours, "us", pair.limit, tool, None, pair.spread)

    return [beside(tool, work) for tool, work in tools.items()]


# --- the newest of each of many vectors -----------------------------------------------------------


def numpy_merge(numpy: Any, came: array[int]) -> Callable[[], object]:
    """Rows whose sequence is newer, by a mask."""
    rows = numpy.frombuffer(came, dtype=numpy.int64).reshape(-1, COMPONENT_COUNT)
    held, sequences = rows.copy(), numpy.zeros(len(rows), dtype=numpy.int64)
    newer = iter(range(1, 1_000))

    def work() -> None:
        arrived = numpy.full(len(rows), next(newer))
        mask = arrived > sequences
        held[mask] = rows[mask]
        sequences[mask] = arrived[mask]

    return work


def _frame(numpy: Any, polars: Any, came: array[int], sequence: int) -> Any:
    """Vectors as columns, with the number of their device and their sequence."""
    rows = numpy.frombuffer(came, dtype=numpy.int64).reshape(-1, COMPONENT_COUNT)
    cells = {name: rows[:, place] for place, name in enumerate(COLUMNS)}
    device = numpy.arange(len(rows))
    return polars.DataFrame({"device": device, **cells}).with_columns(
        sequence=polars.lit(sequence, dtype=polars.Int64)
    )


def polars_merge(numpy: Any, polars: Any, came: array[int]) -> Callable[[], object]:
    """Of both frames the row of each device with the greatest sequence."""
    held, arrived = (_frame(numpy, polars, came, sequence) for sequence in (0, 1))

    def work() -> object:
        both = polars.concat([held, arrived])
        return both.sort("sequence").unique("device", keep="last")

    assert work()["sequence"].min() == 1  # type: ignore[index]
    return work


def duckdb_merge(numpy: Any, duckdb: Any, came: array[int]) -> Callable[[], object]:
    """An upsert that takes what has a greater sequence."""
    connection = duckdb.connect()
    cells = ", ".join(f"{name} BIGINT" for name in (*COLUMNS, "sequence"))
    connection.execute(f"CREATE TABLE held (device BIGINT PRIMARY KEY, {cells})")
    rows = numpy.frombuffer(came, dtype=numpy.int64).reshape(-1, COMPONENT_COUNT)
    frame = {name: rows[:, place].copy() for place, name in enumerate(COLUMNS)}
    frame = {"device": numpy.arange(len(rows)), **frame, "sequence": numpy.zeros(len(rows), int)}
    connection.register("came", frame)
    connection.execute("INSERT INTO held SELECT * FROM came")
    taken = ", ".join(f"{name} = excluded.{name}" for name in (*COLUMNS, "sequence"))
    newer = iter(range(1, 1_000))

    def work() -> None:
        connection.execute(
            f"INSERT INTO held SELECT * REPLACE ({next(newer)} AS sequence) FROM came "
            f"ON CONFLICT DO UPDATE SET {taken} WHERE excluded.sequence > held.sequence"
        )

    return work


def python_merge(came: array[int]) -> Callable[[], object]:
    """The newest in a dict, by reference: nothing is copied."""
    rows = [came[at : at + COMPONENT_COUNT] for at in range(0, len(came), COMPONENT_COUNT)]
    held = {device: (0, row) for device, row in enumerate(rows)}
    newer = iter(range(1, 1_000))

    def work() -> None:
        sequence = next(newer)
        for device, row in enumerate(rows):
            if sequence > held[device][0]:
                held[device] = (sequence, row)

    return work


# --- the exact sum of products --------------------------------------------------------------------


def numpy_sum(numpy: Any, shares: array[int], weights: array[int]) -> Callable[[], object]:
    """In parts of 22 bits: a sum of products of 2^20 times as many leaves no 64 bits."""
    left, right = (numpy.frombuffer(each, dtype=numpy.int64) for each in (shares, weights))

    def work() -> int:
        parts = (((right >> place) & ((1 << 22) - 1), place) for place in (0, 22, 44))
        return sum(int(numpy.dot(left, part)) << place for part, place in parts)

    return work


def polars_sum(
    numpy: Any, polars: Any, shares: array[int], weights: array[int]
) -> Callable[[], object]:
    """In its integers of 128 bits."""
    frame = polars.DataFrame(
        {
            "share": numpy.frombuffer(shares, dtype=numpy.int64),
            "weight": numpy.frombuffer(weights, dtype=numpy.int64),
        }
    ).lazy()
    product = polars.col("share").cast(polars.Int128) * polars.col("weight").cast(polars.Int128)
    return lambda: int(frame.select(product.sum()).collect().item())


def duckdb_sum(
    numpy: Any, duckdb: Any, shares: array[int], weights: array[int]
) -> Callable[[], object]:
    """In its integers of 128 bits, from a table of its own."""
    connection = duckdb.connect()
    frame = {
        "share": numpy.frombuffer(shares, dtype=numpy.int64),
        "weight": numpy.frombuffer(weights, dtype=numpy.int64),
    }
    connection.register("came", frame)
    connection.execute("CREATE TABLE samples AS SELECT * FROM came")
    query = "SELECT sum(share::HUGEINT * weight) FROM samples"
    return lambda: int(connection.execute(query).fetchone()[0])
