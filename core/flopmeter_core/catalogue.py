"""The threshold catalogue: legal limits as data, and how a figure stands to one.

Owns: the threshold row, what it says on a date, and the state of an interval against it.
May touch: nothing; rows are read by `threshold_files`.
Called by the collector's evaluation, by totals and by the command line; docs/thresholds.md.
The tool compares figures; whether a law is met is a determination a named person records.
"""

from __future__ import annotations

import datetime
import enum
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from flopmeter_core.calendars import Calendar
from flopmeter_core.counting import Profile
from flopmeter_core.errors import invariant
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.legal_status import Dates, Event, Status, dates_of, status_on
from flopmeter_core.values import value_class
from flopmeter_core.verification import Verification


class Kind(enum.StrEnum):
    """What sort of text a number stands in."""

    STATUTE = "statute"
    DELEGATED_ACT = "delegated_act"
    GUIDANCE = "guidance"
    ORDER = "order"
    PROPOSED_RULE = "proposed_rule"
    BILL = "bill"
    DEMONSTRATION = "demonstration"

    @property
    def binding(self) -> bool:
        """Whether such a text binds anybody once it applies."""
        return self in (Kind.STATUTE, Kind.DELEGATED_ACT, Kind.ORDER)


class Unit(enum.StrEnum):
    """What a number counts."""

    FLOP = "FLOP"
    FLOP_PER_S = "FLOP/s"
    USD = "USD"
    RATIO = "ratio"


class Subject(enum.StrEnum):
    """Whose number is held against a threshold."""

    MODEL = "model"
    MODIFICATION = "modification"
    COST = "cost"
    DEVELOPER = "developer"
    CLUSTER = "cluster"


class Role(enum.StrEnum):
    """How a condition stands beside the number."""

    REQUIRED = "required"
    ALTERNATIVE = "alternative"


@value_class(frozen=True, slots=True)
class Condition:
    """What else a law asks for, which no meter can see.

    Attributes:
        id: its name within the row, by which somebody can declare that it is met.
        role: `required` has to hold as well; `alternative` would do without the number.
        text: what it asks.
    """

    id: str
    role: Role
    text: str


@value_class(frozen=True, slots=True)
class Notice:
    """A duty to tell somebody within a period.

    Attributes:
        weeks: length of the period.
        begins: the event it runs from.
        calendar: id of the calendar by whose rule it is counted.
        to: whom to tell.
        citation: where it is written.
    """

    weeks: int
    begins: str
    calendar: str
    to: str
    citation: str


class Operator(enum.StrEnum):
    """How a figure has to stand to the value for the threshold to be met."""

    ABOVE = "above"
    AT_LEAST = "at_least"

    def met(self, flop: int, value_flop: int) -> bool:
        """Whether `flop` meets the threshold; exact integers on both sides."""
        return flop > value_flop if self is Operator.ABOVE else flop >= value_flop


class State(enum.StrEnum):
    """How the best figure of a model stands to a threshold."""

    BELOW = "below"
    ABOVE = "above"
    ABOVE_BY_UNOBSERVED_ONLY = "above_by_unobserved_only"
    CONDITIONS_NOT_MET = "conditions_not_met"
    """The number is met, and something else that the law asks for is declared not to hold."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Threshold:
    """One row of the catalogue.

    Attributes:
        value_text: the number as the law writes it, such as ``10^25/3``.
        exact: the same number, exactly, in `unit`.
        subject: whose number is held against it.
        planned_counts: whether compute that is only intended counts as well.
        replaces_builtin: whether a site's own row stands in the place of a built-in one.
        counts: what the law counts, in a sentence; the rules are the profile's.
        counting_profile: id of the counting profile.
        events: what happened to it, in order.
        verification: the weakest of number, operator and dates.
        number_verification: the weaker of number and operator alone.
        rules: the counting profile itself, of a row that was read together with it.
        days: the calendar of its notice itself, likewise.
    """

    id: str
    jurisdiction: str
    time_zone: str
    instrument: str
    kind: Kind
    quantity: str
    operator: Operator
    value_text: str
    exact: Fraction
    unit: Unit
    subject: Subject
    counts: str
    counting_profile: str
    verification: Verification
    number_verification: Verification
    source: str
    checked_on: datetime.date
    events: tuple[Event, ...] = ()
    conditions: tuple[Condition, ...] = ()
    supersedes: tuple[str, ...] = ()
    notice: Notice | None = None
    planned_counts: bool = False
    replaces_builtin: bool = False
    note: str = ""
    rules: Profile | None = field(default=None, hash=False, repr=False)
    days: Calendar | None = field(default=None, hash=False, repr=False)

    @property
    def demonstration(self) -> bool:
        """Whether no law stands behind this row; it is tested on simulated models only."""
        return self.kind is Kind.DEMONSTRATION

    @functools.cached_property
    def value_flop_or_none(self) -> int | None:
        """The whole number of FLOP that decides as the exact one does; None for other units.

        FLOP are whole, so being above 10^25/3 and above the whole number below it is the same.
        """
        if self.unit is not Unit.FLOP:
            return None
        whole = math.floor if self.operator is Operator.ABOVE else math.ceil
        return whole(self.exact)

    @functools.cached_property
    def value_flop(self) -> int:
        """`value_flop_or_none` of a row in FLOP; asking any other is a programmer's error."""
        whole = self.value_flop_or_none
        invariant(whole is not None, f"threshold {self.id} counts {self.unit}, not FLOP")
        return whole or 0

    @property
    def may_alert(self) -> bool:
        """Whether its crossing may raise an alert; an unverified row is a note and no more."""
        return self.verification is not Verification.UNVERIFIED

    @property
    def required_conditions(self) -> tuple[Condition, ...]:
        """What has to hold beside the number, so that compute alone never meets the row."""
        return tuple(c for c in self.conditions if c.role is Role.REQUIRED)

    def conditions_met(self, declared: Mapping[str, bool]) -> bool | None:
        """Whether what has to hold beside the number holds, as far as somebody declared it.

        Args:
            declared: id of a condition -> whether it is met.

        Returns:
            False where one is declared not met, None where one is not declared, else True.
        """
        answers = [declared.get(condition.id) for condition in self.required_conditions]
        if False in answers:
            return False
        return None if None in answers else True

    @property
    def dates(self) -> Dates:
        """The days of the row that people ask for."""
        return dates_of(self.events)

    def status_on(self, date: datetime.date) -> Status | None:
        """How it stands on a day of its jurisdiction; None before its first event."""
        return status_on(self.events, date)

    def projected(self, date: datetime.date) -> bool:
        """Whether what it says of a day is a forecast: nobody checked it since."""
        return date > self.checked_on

    def held_on(self, date: datetime.date) -> bool:
        """Whether a model's compute is held against it on a day.

        A number in FLOP for a model's own compute, that applies, or was adopted and will, or is
        guidance; and the demonstration's line always.
        """
        if self.demonstration:
            return True
        return (
            self.unit is Unit.FLOP
            and self.subject is Subject.MODEL
            and self.status_on(date) in (Status.IN_FORCE, Status.ADOPTED, Status.GUIDANCE)
        )


def held_on(thresholds: Iterable[Threshold], date: datetime.date) -> tuple[Threshold, ...]:
    """The rows a model's compute is held against on a day, in the catalogue's order."""
    return tuple(row for row in thresholds if row.held_on(date))


@value_class(frozen=True, slots=True)
class Standing:
    """A figure held against a threshold.

    Attributes:
        state: the best figure against the value.
        decided: whether all of lower..upper lies on one side.
        ratio_lower, ratio_best, ratio_upper: figure over value.
        conditions: whether what else the law asks for holds; None while nobody declared it, True
            where it asks for nothing else.
    """

    threshold: Threshold
    state: State
    decided: bool
    ratio_lower: float
    ratio_best: float
    ratio_upper: float
    conditions: bool | None = None


def stand(
    figures: Figures,
    threshold: Threshold,
    total: Interval | None = None,
    *,
    declared: Mapping[str, bool] = MappingProxyType({}),
) -> Standing:
    """Hold figures against a threshold.

    A best figure is never raised by time nobody measured; when only the unobserved addend
    carries upper over the line, the state says so and nothing else follows from it.

    Args:
        figures: what is held.
        threshold: the line.
        total: `figures.total`, of who holds the same figures against many lines.
        declared: id of each other condition that somebody declared -> whether it is met.
    """
    met = threshold.operator.met
    total, value = figures.total if total is None else total, threshold.value_flop
    conditions = threshold.conditions_met(declared)
    if met(total.best, value):
        state = State.CONDITIONS_NOT_MET if conditions is False else State.ABOVE
    elif met(total.upper, value) and not met(figures.without_unobserved.upper, value):
        state = State.ABOVE_BY_UNOBSERVED_ONLY
    elif total.upper == 0:
        state = State.UNKNOWN
    else:
        state = State.BELOW
    return Standing(
        threshold=threshold,
        state=state,
        decided=met(total.lower, value) == met(total.upper, value),
        # Python divides whole numbers of any size to the nearest float.
        ratio_lower=total.lower / value,
        ratio_best=total.best / value,
        ratio_upper=total.upper / value,
        conditions=conditions,
    )
