"""One line of the benchmark: our figure, a limit or peer measured in the same run, the budget.

Owns: the shape of a result, its table and its JSON.
May touch: the clock and processor time of this process; standard output.
Called by the cases and by run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One measured line.

    Attributes:
        name: what was measured.
        value: the median of the repetitions, in `unit`.
        unit: of value, limit and budget.
        limit: the peer or physical limit, measured in the same run.
        limit_name: what the limit is.
        budget: the greatest value allowed; None where nothing is promised.
        spread: greatest minus least of the repetitions.
    """

    name: str
    value: float
    unit: str
    limit: float
    limit_name: str
    budget: float | None
    spread: float = 0.0

    @property
    def ratio(self) -> float:
        """Our figure over the limit."""
        return self.value / self.limit if self.limit else float("inf")

    @property
    def ok(self) -> bool:
        """Whether the budget is kept; a line without one is."""
        return self.budget is None or self.value <= self.budget

    def to_json(self) -> dict[str, Any]:
        """The line as plain values."""
        plain = asdict(self)
        del plain["spread"]
        return {**plain, "ratio": self.ratio, "ok": self.ok}


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| what | ours | spread | budget | limit or peer, same run | ratio | kept |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for row in results:
        kept = "yes" if row.ok else "NO"
        budget, kept = ("", "") if row.budget is None else (f"{row.budget:.3g}", kept)
        lines.append(
            f"| {row.name} | {row.value:.3g} {row.unit} | {row.spread:.2g} | {budget} | "
            f"{row.limit_name}: {row.limit:.3g} | {row.ratio:.2f} | {kept} |"
        )
    return "\n".join(lines)


def repeated(measure: Callable[[], float], times: int) -> tuple[float, float]:
    """Median and spread of some repetitions of a measurement."""
    values = [measure() for _ in range(times)]
    return statistics.median(values), max(values) - min(values)


@dataclass(frozen=True, slots=True)
class Pair:
    """Our figure and its limit, taken in turn: a slow moment of the machine meets both."""

    ours: float
    limit: float
    spread: float


def paired(ours: Callable[[], float], limit: Callable[[], float], times: int) -> Pair:
    """Medians of two measurements taken A B A B, so that their ratio means something.

    Args:
        ours: measures our figure once.
        limit: measures its limit or peer once, in the same unit.
        times: how often each is measured.
    """
    taken = [(ours(), limit()) for _ in range(times)]
    mine, theirs = zip(*taken, strict=True)
    return Pair(statistics.median(mine), statistics.median(theirs), max(mine) - min(mine))


def processor_us(work: Callable[[], object], rounds: int) -> float:
    """Processor time of one round in us, over `rounds` of them."""
    started = time.process_time_ns()
    for _ in range(rounds):
        work()
    return (time.process_time_ns() - started) / rounds / 1_000
