"""Hints that several runs may be one: what they have in common, never a verdict.

Owns: what is compared of two runs, how near is near, and how many likenesses make a hint.
May touch: nothing; pure functions.
Called by the lab's hinting; how often a hint is wrong is measured by lab.hint_score.
Explained in docs/hints.md.

A run split in two, each below a line, is the obvious way round a threshold, and an honest requeue
looks the same: so a hint lists what agrees and the joint total, and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from flopmeter_core.units import NS_PER_HOUR

NEAR_NS = 6 * NS_PER_HOUR
"""Two runs are near in time where they start, or one starts after the other's end, within this."""

SAME_RATE_RATIO = 0.03
"""FLOP a busy device-second that differ by less are the same cadence. Chosen; lab.hint_score says
what it makes of unrelated runs and of one run cut in two."""

SAME_BUSY_SHARE = 0.02
"""Difference in the share of time that devices worked."""

FEWEST_LIKENESSES = 2
"""Besides being near in time; one alone is common among runs that have nothing in common."""


@dataclass(frozen=True, slots=True)
class RunTraits:
    """What is compared of a run; None where nobody knows it.

    Attributes:
        run, model: names; runs of one model are one total already and are not compared.
        first_ns, last_ns: Unix time in ns of its first and last recorded hour.
        parts: kinds of accelerator.
        device_count: distinct devices.
        busy_share: time with work over time observed, from 0 to 1.
        flop_per_busy_s: most likely FLOP per device-second with work.
        image: site-keyed hash of the container image.
        parents: models whose checkpoints its model began from.
    """

    run: str
    model: str
    first_ns: int
    last_ns: int
    parts: frozenset[str]
    device_count: int
    busy_share: float
    flop_per_busy_s: float
    image: str | None = None
    parents: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hint:
    """Runs that may be one, and what speaks for it."""

    runs: tuple[str, ...]
    likenesses: tuple[str, ...]


def hints(traits: Iterable[RunTraits]) -> list[Hint]:
    """Group runs that may be one run.

    Returns:
        Groups of two and more, in the order of their first run; a run is in at most one.
    """
    runs = sorted(traits, key=lambda each: (each.first_ns, each.run))
    group_of = {each.run: {each.run} for each in runs}
    found: dict[str, set[str]] = {}
    for one, other in combinations(runs, 2):
        if other.first_ns - one.last_ns > NEAR_NS and other.first_ns - one.first_ns > NEAR_NS:
            continue
        alike = likenesses(one, other)
        if alike:
            joined = group_of[one.run] | group_of[other.run]
            words = found.pop(min(group_of[one.run]), set())
            words |= found.pop(min(group_of[other.run]), set())
            found[min(joined)] = words | set(alike)
            for run in joined:
                group_of[run] = joined
    return [
        Hint(tuple(sorted(group_of[first])), tuple(sorted(words)))
        for first, words in sorted(found.items())
    ]


def likenesses(one: RunTraits, other: RunTraits) -> Sequence[str]:
    """What speaks for two runs being one; empty where that is too little for a hint."""
    if one.model == other.model or not _near(one, other):
        return ()
    alike = [
        words
        for words, holds in (
            ("same accelerators, and as many", _same_shape(one, other)),
            ("same cadence", _same_cadence(one, other)),
            ("same image", one.image is not None and one.image == other.image),
            ("began from the same checkpoint", bool(one.parents & other.parents)),
        )
        if holds
    ]
    return ("near in time", *alike) if len(alike) >= FEWEST_LIKENESSES else ()


def _near(one: RunTraits, other: RunTraits) -> bool:
    """Whether both start together, or one takes over from the other."""
    earlier, later = sorted((one, other), key=lambda each: each.first_ns)
    return (
        later.first_ns - earlier.first_ns <= NEAR_NS
        or abs(later.first_ns - earlier.last_ns) <= NEAR_NS
    )


def _same_shape(one: RunTraits, other: RunTraits) -> bool:
    return one.parts == other.parts and one.device_count == other.device_count


def _same_cadence(one: RunTraits, other: RunTraits) -> bool:
    greater = max(one.flop_per_busy_s, other.flop_per_busy_s)
    return (
        greater > 0
        and abs(one.flop_per_busy_s - other.flop_per_busy_s) <= SAME_RATE_RATIO * greater
        and abs(one.busy_share - other.busy_share) <= SAME_BUSY_SHARE
    )
