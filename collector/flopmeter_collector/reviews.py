"""Review items: what a named person has to determine, from when, and by when.

Owns: which transitions open a review, its two dates, and what was determined.
May touch: nothing; a pure function of ledger rows.
Called by judge (feeds it), http and presentation (show it) and the lab's review command.
Explained in docs/reviews.md and docs/adr/0023-alerts-and-reviews.md.

The tool presents evidence and dates. It never says that a law is met or not: a person does, with a
name, a date and a reason, and what that person says moves no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flopmeter_collector.alerts.acts import Determination
from flopmeter_collector.alerts.transitions import alerts
from flopmeter_collector.evaluate import Subject
from flopmeter_collector.ledger.base import Transition

EARLIEST = "review_earliest"
DUE = "review_due"
DUE_ON = "review_due_on"
"""Fields of a transition's figures: the dates are those of the law as it was then. The due date is
the instant at which its last day is over, and that day with its time zone."""


@dataclass(slots=True)
class Review:
    """One review item.

    Attributes:
        number: the sequence of the transition that opened it.
        transitions: that one, and those of the same model and threshold since.
        determinations: what was determined, oldest first; the last one stands.
    """

    number: int
    transitions: list[Transition]
    determinations: list[Determination] = field(default_factory=list)

    @property
    def model(self) -> str:
        """Whose figure it is about."""
        return self.transitions[0].model

    @property
    def threshold(self) -> str:
        """Against which line."""
        return self.transitions[0].threshold

    @property
    def open(self) -> bool:
        """Whether nobody has determined anything yet."""
        return not self.determinations

    @property
    def earliest(self) -> str:
        """The earliest arguable date of "met or known that it will be met", as ISO 8601."""
        return min(row.figures[EARLIEST] for row in self.transitions if EARLIEST in row.figures)

    @property
    def due(self) -> str:
        """The latest due date counted from there, as ISO 8601; empty where no law sets one."""
        return self._soonest[0]

    @property
    def due_on(self) -> str:
        """The last day, with its time zone, as people say it; empty where no law sets one."""
        return self._soonest[1]

    @property
    def _soonest(self) -> tuple[str, str]:
        dates = [
            (row.figures[DUE], row.figures.get(DUE_ON, ""))
            for row in self.transitions
            if row.figures.get(DUE)
        ]
        return min(dates, default=("", ""))


class Reviews:
    """All reviews of a ledger; fed in the ledger's order, on one thread."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_number: dict[int, Review] = {}
        self._open: dict[Subject, int] = {}

    def reset(self) -> None:
        """Forget all: they are about to be found again."""
        self._by_number.clear()
        self._open.clear()

    def record(self, transitions: Iterable[Transition]) -> None:
        """Take recorded transitions, oldest first."""
        for row in transitions:
            subject = (row.model, row.threshold)
            number = self._open.get(subject)
            if number is not None:
                self._by_number[number].transitions.append(row)
            elif opens(row):
                self._open[subject] = row.sequence
                self._by_number[row.sequence] = Review(row.sequence, [row])

    def determine(self, determination: Determination) -> Review | None:
        """Take a determination; returns its review, None where there is none of that number."""
        review = self._by_number.get(determination.review)
        if review is not None:
            review.determinations.append(determination)
            subject = (review.model, review.threshold)
            # What changes after it opens a review of its own.
            if self._open.get(subject) == review.number:
                del self._open[subject]
        return review

    def all(self) -> Sequence[Review]:
        """Every review, in the order of the numbers."""
        return list(self._by_number.values())

    def get(self, number: int) -> Review | None:
        """The review of a number; None where there is none."""
        return self._by_number.get(number)


def opens(transition: Transition) -> bool:
    """Whether a transition opens a review: what alerts, of a line that a law draws."""
    return alerts(transition) and EARLIEST in transition.figures
