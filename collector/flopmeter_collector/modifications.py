"""Modifications held against the lines that laws draw for them.

Owns: which of those lines apply, and the counted compute or ratio that each is held against.
May touch: the host's time zone tables (through `held`); else nothing: pure functions of a snapshot.
Called by presentation and by reports; explained in docs/runs-and-models.md.

A line in a ratio needs the original's compute; a line that stands in for it (a third of 10^25 or
of 10^23, Commission Guidelines C(2025) 7719, section 3.2) is for an original of which nothing is
known. What else a line asks for no meter sees: each answer is of the number alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from flopmeter_collector.evaluate import counted_by, rules_of
from flopmeter_collector.held import local_date
from flopmeter_collector.snapshot import ModelTotals, Modification
from flopmeter_core.catalogue import Operator, Subject, Threshold, Unit
from flopmeter_core.counting import Profile, count
from flopmeter_core.interval import Interval
from flopmeter_core.legal_status import Status
from flopmeter_core.lineage import OWN_WAY
from flopmeter_core.ratio import Ratio, ratio_of

ORIGINAL_UNKNOWN = "original-unknown"
"""Id of the condition of rows that stand in for an unknown original."""

APPLIES = (Status.IN_FORCE, Status.ADOPTED, Status.GUIDANCE)
"""A row of such a status is held against."""


@dataclass(frozen=True, slots=True)
class Line:
    """A modification against one line.

    Attributes:
        threshold: the line.
        own: the modification's own compute as the row's profile counts it, in FLOP.
        ratio: over the original's, counted alike; None for a line in FLOP.
        met: whether the best value meets the line's number; None where it is not known.
        decided: whether the whole likely range says the same.
    """

    threshold: Threshold
    own: Interval
    ratio: Ratio | None
    met: bool | None
    decided: bool


def modification_rows(thresholds: Iterable[Threshold], unix_ns: int) -> tuple[Threshold, ...]:
    """The rows for modifications on the day of an instant.

    Args:
        thresholds: the catalogue.
        unix_ns: Unix time in ns.
    """
    return tuple(
        row
        for row in thresholds
        if row.subject is Subject.MODIFICATION
        and row.status_on(local_date(unix_ns, row.time_zone)) in APPLIES
    )


def lines_of(
    model: ModelTotals,
    modification: Modification,
    original: ModelTotals | None,
    rows: Iterable[Threshold],
) -> Iterator[Line]:
    """Hold a modification against each line that can be answered.

    Args:
        model: the modified model.
        modification: of which earlier model.
        original: that one's totals; None where nothing is known of it.
        rows: from `modification_rows`.
    """
    mine = [part for part in model.parts if OWN_WAY in part.origin.ways]
    for row in rows:
        profile = rules_of(row)
        stands_in = any(each.id == ORIGINAL_UNKNOWN for each in row.required_conditions)
        if stands_in and modification.ratio is not None:
            continue
        own = count(mine, profile, decision=model.rulings.decision(profile)).decided.total
        if row.unit is Unit.RATIO and modification.ratio is not None and original is not None:
            ratio = ratio_of(own, _below(original, profile))
            yield _line(row, own, ratio, (ratio.lower, ratio.best, ratio.upper))
        elif row.unit is Unit.FLOP:
            likely = (Fraction(own.lower), Fraction(own.best), Fraction(own.upper))
            yield _line(row, own, None, likely)


def _below(original: ModelTotals, profile: Profile) -> Interval:
    """What a profile counts of an original in a ratio: no entry that one person alone stated."""
    if all(part.origin.agreed for part in original.parts):
        return counted_by(original, profile).decided.total
    parts = [part for part in original.parts if part.origin.agreed]
    return count(parts, profile, decision=original.rulings.decision(profile)).decided.total


def _line(
    row: Threshold,
    own: Interval,
    ratio: Ratio | None,
    likely: tuple[Fraction | None, Fraction | None, Fraction | None],
) -> Line:
    lower, best, upper = (None if at is None else _met(row, at) for at in likely)
    # The lower end meets it, so all of the range does; or the upper end does not, so nothing does.
    return Line(row, own, ratio, best, lower is True or upper is False)


def _met(row: Threshold, amount: Fraction) -> bool:
    return amount > row.exact if row.operator is Operator.ABOVE else amount >= row.exact
