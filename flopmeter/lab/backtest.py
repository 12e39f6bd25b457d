"""Scores the forecast on simulated runs whose future is known, and prints the table.

Owns: when forecasts are made, what is counted, and the words of the table.
May touch: nothing but standard output.
Called by ``make backtest`` (``python -m flopmeter.lab.backtest``) and by a test with fewer runs.
docs/forecast.md holds its last figures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flopmeter.lab.backtest_runs import START_NS, KnownRun, known_runs
from flopmeter_core.forecast import FORECAST_COVERAGE, Crossing, at_pace
from flopmeter_core.pace import pace_of
from flopmeter_core.units import NS_PER_HOUR

FIRST_SCORED_SEED = 10_001
SCORED_RUNS = 200
"""Seeds no constant was chosen on: those were 1 to 800."""

SHARES_PERCENT = (25, 50, 75)
"""When a forecast is made: at these shares of the time from a run's start to its crossing."""

NARROWEST, WIDEST = 0.85, 0.97
"""The share of true dates that has to lie inside the stated interval, at each point."""

LARGEST_MEDIAN_ERROR = 0.05
"""Of the remaining time, at the last point."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One forecast and what came true, in hours from when it was made."""

    seed: int
    true_h: float
    earliest_h: float | None
    likely_h: float | None
    latest_h: float | None

    @property
    def inside(self) -> bool:
        """Whether the true date lies in the stated interval; an open end holds everything."""
        return (self.earliest_h is not None and self.earliest_h <= self.true_h) and (
            self.latest_h is None or self.true_h <= self.latest_h
        )

    @property
    def early(self) -> bool:
        """Whether the crossing came before the earliest date."""
        return self.earliest_h is None or self.true_h < self.earliest_h

    @property
    def error(self) -> float:
        """Error of the likely date as a share of the remaining time; no date is an error of all."""
        return 1.0 if self.likely_h is None else abs(self.likely_h - self.true_h) / self.true_h


@dataclass(frozen=True, slots=True)
class Score:
    """All forecasts made at one share of the time to crossing."""

    share_percent: int
    scored: tuple[Scored, ...]

    @property
    def inside(self) -> float:
        """The share of true dates inside the stated interval."""
        return sum(each.inside for each in self.scored) / len(self.scored)

    @property
    def median_error(self) -> float:
        """The median error of the likely date, as a share of the remaining time."""
        return _median(each.error for each in self.scored)

    @property
    def median_width(self) -> float:
        """The median of latest less earliest, as a share of the remaining time."""
        return _median(
            (each.latest_h - each.earliest_h) / each.true_h
            for each in self.scored
            if each.latest_h is not None and each.earliest_h is not None
        )

    @property
    def good(self) -> bool:
        """Whether the interval covers as it claims."""
        return NARROWEST <= self.inside <= WIDEST


def score(runs: Sequence[KnownRun]) -> tuple[Score, ...]:
    """Make every forecast and hold it against what came true."""
    return tuple(
        Score(percent, tuple(_forecast(run, percent) for run in runs)) for percent in SHARES_PERCENT
    )


def _forecast(run: KnownRun, percent: int) -> Scored:
    made_at = max(24, run.crossing_hour * percent // 100)
    points = run.known_at(made_at)
    now_ns = START_NS + made_at * NS_PER_HOUR
    pace = pace_of(points, now_ns=now_ns)
    true_h = (run.crossing_ns - now_ns) / NS_PER_HOUR
    if pace is None:
        return Scored(run.seed, true_h, None, None, None)
    found: Crossing = at_pace(
        pace, best_flop=points[-1].best_flop, value_flop=run.value_flop, now_ns=now_ns
    )

    def hours(date_ns: int | None) -> float | None:
        return None if date_ns is None else (date_ns - now_ns) / NS_PER_HOUR

    return Scored(
        run.seed,
        true_h,
        hours(found.earliest_ns),
        hours(found.likely_ns),
        hours(found.latest_ns),
    )


def _median(numbers: Iterable[float]) -> float:
    ordered = sorted(numbers)
    return ordered[len(ordered) // 2]


def table(scores: Sequence[Score]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| made at | inside 90 % | too early | too late | median error of likely | median width |",
        "|---|---|---|---|---|---|",
    ]
    for each in scores:
        count = len(each.scored)
        early = sum(one.early for one in each.scored) / count
        late = sum(not one.early and not one.inside for one in each.scored) / count
        lines.append(
            f"| {each.share_percent} % | {each.inside:.1%} | {early:.1%} | {late:.1%} "
            f"| {each.median_error:.1%} | {each.median_width:.0%} |"
        )
    return "\n".join(lines) + "\n"


def failures(scores: Sequence[Score]) -> list[str]:
    """What the forecast promises and does not keep, in one sentence each."""
    found = [
        f"at {each.share_percent} % of the time {each.inside:.1%} of the true dates lie inside the "
        f"stated {FORECAST_COVERAGE:.0%} interval, not {NARROWEST:.0%} to {WIDEST:.0%}"
        for each in scores
        if not each.good
    ]
    last = scores[-1]
    if last.median_error > LARGEST_MEDIAN_ERROR:
        found.append(
            f"at {last.share_percent} % the median error of the likely date is "
            f"{last.median_error:.1%} of the remaining time, above {LARGEST_MEDIAN_ERROR:.0%}"
        )
    return found


def main(first_seed: int = FIRST_SCORED_SEED, count: int = SCORED_RUNS) -> int:
    """Print the table; 1 where a promise is not kept."""
    scores = score(known_runs(first_seed, count))
    sys.stdout.write(
        f"{count} simulated runs, seeds {first_seed} to {first_seed + count - 1}; "
        "error and width as shares of the remaining time\n\n" + table(scores)
    )
    found = failures(scores)
    for sentence in found:
        sys.stderr.write(sentence + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
