"""Figures between two readings of one ledger: what surely, and what at most, was done by a time.

Owns: the rule by which two totals of the same work make one interval.
May touch: nothing; pure functions.
Called by the lab's reporting; docs/filings.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from flopmeter_core.counting import WorkPart
from flopmeter_core.interval import NO_FIGURES, Figures, Interval

PartName = tuple[object, ...]


def between(sure: Figures, at_most: Figures) -> Figures:
    """Floor, lower and best of what is sure; upper, ceiling and every addend of what may be."""
    upper = max(sure.observed.best, at_most.observed.upper)
    return Figures(
        observed=Interval(
            floor=sure.observed.floor,
            lower=sure.observed.lower,
            best=sure.observed.best,
            upper=upper,
            ceiling=max(upper, at_most.observed.ceiling),
        ),
        # What was measured later hides earlier gaps on one side only: the greater one is sound.
        unobserved_ceiling=max(sure.unobserved_ceiling, at_most.unobserved_ceiling),
        boundary_upper=at_most.boundary_upper,
        boundary_ceiling=at_most.boundary_ceiling,
    )


def parts_between(sure: Iterable[WorkPart], at_most: Iterable[WorkPart]) -> tuple[WorkPart, ...]:
    """The same for the parts of a model; of a part that only may have begun nothing is sure."""
    begun = _by_name(sure)
    return tuple(
        replace(
            part,
            figures=between(begun[name].figures if name in begun else NO_FIGURES, part.figures),
        )
        for name, part in _by_name(at_most).items()
    )


def _by_name(parts: Iterable[WorkPart]) -> Mapping[PartName, WorkPart]:
    return {(part.run, part.label, part.origin): part for part in parts}
