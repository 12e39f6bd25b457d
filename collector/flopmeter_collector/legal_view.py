"""What is shown of forecasts, alerts and reviews: immutable, beside a snapshot.

Owns: the values that page, metrics, JSON and commands are handed.
May touch: nothing; frozen data.
Made by judge (and by the lab from a ledger); read by http, presentation and commands, from any
thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flopmeter_collector.alerts.acts import Determination
from flopmeter_collector.alerts.lifecycle import Alert, Event
from flopmeter_collector.alerts.transitions import ALERT_NAME, FORECAST_NAME
from flopmeter_collector.outlook import Forecasts
from flopmeter_collector.reviews import Review
from flopmeter_core.values import value_class


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert as it stands.

    Attributes:
        number: what people name it by.
        name: the alert's name at the receivers.
        status: firing, silenced, acknowledged, resolved, determined or over.
        forecast: whether it is of the forecast; otherwise of the figure itself.
        opened_ns: Unix time in ns of the totals that opened it.
        why: why it does not fire any more; empty while it does.
    """

    number: int
    name: str
    model: str
    threshold: str
    status: str
    forecast: bool
    opened_ns: int
    why: str

    @property
    def fires(self) -> bool:
        """Whether it fires now."""
        return self.status == "firing"


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One review as it stands.

    Attributes:
        number: what people name it by.
        opened_ns: Unix time in ns of the totals that opened it.
        earliest: the earliest arguable date, as ISO 8601.
        due: the instant at which the last due day is over, as ISO 8601; empty without a duty.
        due_on: that day with its time zone.
        transitions: the sequences of the transitions it is about.
        determination: the one that stands; None while it is open.
        determination_count: how many there were.
    """

    number: int
    model: str
    threshold: str
    opened_ns: int
    earliest: str
    due: str
    due_on: str
    transitions: tuple[int, ...]
    determination: Determination | None
    determination_count: int

    @property
    def open(self) -> bool:
        """Whether nobody has determined anything yet."""
        return self.determination is None


@value_class(frozen=True, slots=True)
class LegalView:
    """Everything beside the totals.

    Attributes:
        forecasts: by model and threshold, where there is one.
        alerts, reviews: all of them, in the order of their numbers.
        as_of_ns: Unix time in ns it holds at.
    """

    forecasts: Forecasts = field(default_factory=dict)
    alerts: tuple[AlertView, ...] = ()
    reviews: tuple[ReviewView, ...] = ()
    as_of_ns: int = 0

    @property
    def firing(self) -> frozenset[tuple[str, str, bool]]:
        """(model, threshold, whether it is of the forecast) of each alert that fires."""
        return frozenset((a.model, a.threshold, a.forecast) for a in self.alerts if a.fires)


NO_LEGAL_VIEW = LegalView()


def view_of(
    alerts: Iterable[Alert], reviews: Iterable[Review], forecasts: Forecasts, now_ns: int
) -> LegalView:
    """Copy what stands now.

    Args:
        alerts: all alerts.
        reviews: all reviews.
        forecasts: by model and threshold.
        now_ns: Unix time in ns.
    """
    return LegalView(
        forecasts,
        tuple(_alert(alert, now_ns) for alert in alerts),
        tuple(map(_review, reviews)),
        now_ns,
    )


def _alert(alert: Alert, now_ns: int) -> AlertView:
    row = alert.opening
    told = alert.events(now_ns)
    return AlertView(
        number=alert.number,
        name=FORECAST_NAME if row.foresight else ALERT_NAME,
        model=row.model,
        threshold=row.threshold,
        status=alert.status(now_ns),
        forecast=row.foresight,
        opened_ns=row.occurred_at_ns,
        why=_why(alert, told),
    )


def _why(alert: Alert, told: Sequence[Event]) -> str:
    """Why an alert does not fire; empty while it does."""
    if not told or told[-1].fires:
        return ""
    # Of one that was silenced and then resolved, the resolution is the last word on it.
    end = alert.end()
    return told[-1].why if end is None else end[1]


def _review(review: Review) -> ReviewView:
    return ReviewView(
        number=review.number,
        model=review.model,
        threshold=review.threshold,
        opened_ns=review.transitions[0].occurred_at_ns,
        earliest=review.earliest,
        due=review.due,
        due_on=review.due_on,
        transitions=tuple(row.sequence for row in review.transitions),
        determination=review.determinations[-1] if review.determinations else None,
        determination_count=len(review.determinations),
    )
