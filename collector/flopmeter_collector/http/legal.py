"""The collector's Prometheus families of forecasts, alerts and reviews.

Owns: their names, and which models have them.
May touch: nothing; pure functions of an immutable legal view.
Called by http.metrics; docs/metrics.md lists the families.
A date that does not exist has no sample: a missing forecast is not the year 1970.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from flopmeter_collector.http.starts import ALERTS, Starts, threshold_name
from flopmeter_collector.legal_view import LegalView
from flopmeter_collector.metric_ids import MetricIds
from flopmeter_core.forecast import Crossing, Outlook
from flopmeter_core.kernels.render import Family, decimal, labels, numbered

Held = tuple[Sequence[Starts], Sequence[str], Sequence[Sequence[str]]]
"""Of each model what its lines begin with, its name, and the thresholds it is held against."""

_ALERTS = (
    (ALERTS[0], False, "1 while the alert of the crossing fires: nobody has taken it yet."),
    (ALERTS[1], True, "1 while the alert of the forecast fires: nobody has taken it yet."),
)

_DATES: Sequence[tuple[str, Callable[[Crossing], int | None]]] = (
    ("earliest", lambda crossing: crossing.earliest_ns),
    ("likely", lambda crossing: crossing.likely_ns),
    ("latest", lambda crossing: crossing.latest_ns),
)


def legal_families(legal: LegalView, held: Held, ids: MetricIds) -> Iterator[Family]:
    """What the law makes of the models.

    Args:
        legal: forecasts, alerts and reviews.
        held: the models that have series of their own.
        ids: what the model of a review is told by.
    """
    firing = legal.firing
    starts, models, against = held
    columns = zip(*[each.alerts for each in starts], strict=True) if starts else ((),) * 2
    for (kind, forecast, text), column in zip(_ALERTS, columns, strict=True):
        lines = list(chain.from_iterable(column))
        numbers = ["0"] * len(lines)
        if firing:
            numbers = [
                "1" if (model, threshold, forecast) in firing else "0"
                for model, thresholds in zip(models, against, strict=True)
                for threshold in thresholds
            ]
        yield Family(threshold_name(f"{kind}_alert"), "gauge", text, text=numbered(lines, numbers))
    found = [
        (rendered, legal.forecasts.get((model, threshold)))
        for each, model, thresholds in (zip(*held, strict=True) if legal.forecasts else ())
        for rendered, threshold in zip(each.held, thresholds, strict=True)
    ]
    known = [(rendered, forecast) for rendered, forecast in found if forecast is not None]
    for name, date in _DATES:
        dates = [(rendered, date(f.shown)) for rendered, f in known if f.shown is not None]
        yield Family(
            f"flopmeter_model_threshold_{name}_crossing_timestamp_seconds",
            "gauge",
            f"Unix time of the {name} crossing by pace, or by plan; none where it is not crossed.",
            [
                (rendered, decimal(at_ns, digits=9))
                for rendered, at_ns in dates
                if at_ns is not None
            ],
        )
    yield Family(
        "flopmeter_model_threshold_foreseen",
        "gauge",
        "1 where it is foreseen that a model will be above a threshold.",
        [(rendered, str(int(f.outlook is Outlook.FORESEEN))) for rendered, f in known],
    )
    yield from _review_families(legal, ids)


def _review_families(legal: LegalView, ids: MetricIds) -> Iterator[Family]:
    waiting = [review for review in legal.reviews if review.open]
    yield Family(
        "flopmeter_reviews_open",
        "gauge",
        "Reviews that wait for a named person's determination.",
        [("", str(len(waiting)))],
    )
    yield Family(
        "flopmeter_review_due_timestamp_seconds",
        "gauge",
        "Unix time until which notice is in time, of open reviews that a law sets one for.",
        [
            (
                labels(
                    review=str(review.number),
                    model=ids.model(review.model),
                    threshold=review.threshold,
                ),
                str(int(datetime.datetime.fromisoformat(review.due).timestamp())),
            )
            for review in waiting
            if review.due
        ],
    )
