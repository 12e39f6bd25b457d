"""Simulated training runs whose future is known, to score forecasts on.

Owns: what can happen to a run's pace, hour by hour, and what a collector would have known of it.
May touch: nothing; pure functions of a seed.
Called by lab.backtest and by tests. docs/forecast.md lists the ranges.

A run works at a level that ramps up, steps and drifts; it fails and is restarted, stops for longer,
and there are stretches nobody reports of: their work arrives late as a whole, or never.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from flopmeter.lab.simulation.randomness import Randomness
from flopmeter_core.pace import Point
from flopmeter_core.units import NS_PER_HOUR

START_NS = 1_767_225_600 * 1_000_000_000
"""2026-01-01T00:00:00Z, when every simulated run begins."""

SCALE_FLOP = 10**22
"""FLOP of an hour at a level of 1: about 7,000 H100 at 40 %."""

RAMP_KINDS = ("none", "linear", "steps", "steps")


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of hours nobody reported of in time.

    Attributes:
        first, end: the hours, the end exclusive.
        late: whether its work arrives in the hour `end`; otherwise never.
    """

    first: int
    end: int
    late: bool


@dataclass(frozen=True, slots=True)
class KnownRun:
    """One run with its whole story.

    Attributes:
        seed: what it was made from.
        value_flop: the line it crosses.
        crossing_hour: hours from its start to the crossing.
        work_flop: what the meter ends up with for each hour.
        gaps: stretches nobody reported of in time.
    """

    seed: int
    value_flop: int
    crossing_hour: int
    work_flop: Sequence[int]
    gaps: tuple[Gap, ...]

    @property
    def crossing_ns(self) -> int:
        """When the line was crossed, as Unix time in ns."""
        return START_NS + self.crossing_hour * NS_PER_HOUR

    def known_at(self, hour: int) -> tuple[Point, ...]:
        """The published totals a collector would have recorded by the end of an hour."""
        known = [0]
        held = 0
        for number in range(hour):
            gap = next((g for g in self.gaps if g.first <= number < g.end), None)
            if gap is not None:
                held += self.work_flop[number]
                known.append(known[-1])
                continue
            known.append(known[-1] + held + self.work_flop[number])
            held = 0
        return tuple(
            Point(START_NS + number * NS_PER_HOUR, flop) for number, flop in enumerate(known)
        )


def known_run(seed: int) -> KnownRun:
    """Make the run of a seed; the same on any machine."""
    random = Randomness(seed, "backtest")
    hours = 24 * random.between(14, 150)
    # A run goes on after the line: half as long again, so that the line is no end.
    count = hours * 3 // 2
    levels = _levels(random.stream("level"), hours, count)
    up = _working(random.stream("stops"), hours, count)
    noise = random.stream("noise")
    jitter = 0.01 + 0.04 * noise.share()
    work = [
        round(SCALE_FLOP * level * share * (1 + jitter * (noise.share() - 0.5) * 2))
        for level, share in zip(levels, up, strict=True)
    ]
    gaps = _gaps(random.stream("gaps"), count)
    for gap in gaps:
        if not gap.late:
            work[gap.first : gap.end] = [0] * (gap.end - gap.first)
    # The line is wherever the run stands after so many hours; that hour must have work.
    while work[hours - 1] == 0:
        hours += 1
    return KnownRun(seed, sum(work[:hours]), hours, work, gaps)


def _levels(random: Randomness, hours: int, count: int) -> list[float]:
    """How fast the run goes while it works, by hour."""
    levels = [1.0] * count
    kind = random.choose(RAMP_KINDS)
    ramp = max(1, round(hours * (0.02 + 0.28 * random.share())))
    first = 0.08 + 0.5 * random.share()
    steps = random.between(2, 5)
    for hour in range(min(ramp, count)):
        if kind == "linear":
            levels[hour] = first + (1 - first) * hour / ramp
        elif kind == "steps":
            levels[hour] = first + (1 - first) * (hour * steps // ramp) / steps
    for _ in range(random.choose((0, 0, 0, 1, 1, 2))):
        # Devices join or leave, or the batch or the sequence length changes.
        at = random.below(count)
        factor = math.exp((random.share() - 0.5) * 0.9)
        for hour in range(at, count):
            levels[hour] *= factor
    drift = (random.share() - 0.5) * 0.1
    return [level * (1 + drift * hour / hours) for hour, level in enumerate(levels)]


def _working(random: Randomness, hours: int, count: int) -> list[float]:
    """The share of each hour in which the run works."""
    up = [1.0] * count
    mean_h = 6 * math.exp(random.share() * math.log(25))  # 6 to 150 h between two failures
    repair_h = 0.3 * math.exp(random.share() * math.log(15))  # 0.3 to 4.5 h to restart
    at = 0.0
    while True:
        # The first tenth of a run fails twice as often.
        spacing = mean_h * (0.5 if at < hours / 10 else 1.0)
        at += -math.log(1 - random.share()) * spacing
        length = -math.log(1 - random.share()) * repair_h
        if at >= count:
            break
        _stop(up, at, length)
        at += length
    for _ in range(random.choose((0, 0, 1, 1, 2, 3))):
        _stop(up, random.share() * count, 8 + random.share() * 88)
    return up


def _stop(up: list[float], at: float, length: float) -> None:
    """Take a stop of so many hours out of the shares."""
    for hour in range(int(at), min(len(up), math.ceil(at + length))):
        up[hour] = max(0.0, up[hour] - (min(hour + 1, at + length) - max(hour, at)))


def _gaps(random: Randomness, count: int) -> tuple[Gap, ...]:
    """Stretches without data; they do not touch each other."""
    found: list[Gap] = []
    for _ in range(random.choose((0, 0, 1, 2, 3))):
        first = random.below(count - 1)
        found.append(Gap(first, min(count - 1, first + random.between(3, 72)), random.chance(0.6)))
    ordered = sorted(found, key=lambda gap: gap.first)
    return tuple(
        gap
        for before, gap in zip([None, *ordered], ordered, strict=False)
        if before is None or gap.first > before.end
    )


def known_runs(first_seed: int, count: int) -> tuple[KnownRun, ...]:
    """The runs of consecutive seeds."""
    return tuple(map(known_run, itertools.islice(itertools.count(first_seed), count)))
