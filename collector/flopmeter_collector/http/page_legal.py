"""The page's parts about time and duty: forecasts, alerts, reviews, and what no run has.

Owns: their words and mark-up.
May touch: nothing; pure functions of an immutable legal view. Every text is escaped.
Called by http.page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from flopmeter_collector.evaluate import Subject
from flopmeter_collector.forecast_words import NO_PACE, basis_words, never_words
from flopmeter_collector.http.axis import figure_html
from flopmeter_collector.http.page_table import Row, table
from flopmeter_collector.legal_view import AlertView, LegalView, ReviewView
from flopmeter_collector.outlook import Forecast
from flopmeter_collector.rounding import Rounding
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.spans import time_text
from flopmeter_core.forecast import Crossing, Outlook
from flopmeter_core.units import NS_PER_S

_REVIEW_COLUMNS = (
    ("Number", ""),
    ("Model", "name"),
    ("Threshold", ""),
    ("Earliest arguable (UTC)", ""),
    ("Due by the end of", ""),
    ("Determination", ""),
)
_ALERT_COLUMNS = (
    ("Number", ""),
    ("Alert", ""),
    ("Model", "name"),
    ("Threshold", ""),
    ("Since (UTC)", ""),
    ("Now", ""),
)

NO_DATE = f'<span class="soft">{NO_PACE}</span>'
"""The cell of a line whose crossing nothing foretells."""

MAXIMUM_ROWS = 100
"""More alerts or reviews would make the page slow; the rest is complete in the JSON."""


def forecast_cell(legal: LegalView, subject: Subject) -> str:
    """When a model will be above a line: the likely day and its interval."""
    found = legal.forecasts.get(subject)
    if found is None:
        return ""
    shown = found.shown
    if shown is None:
        return NO_DATE
    if shown.likely_ns is None:
        kept = f"<br>{_open_end(shown)}" if shown.earliest_ns is not None else ""
        never = never_words(paced=found.by_pace is not None)
        return f'{never}<span class="soft">{kept}{_beside(found)}</span>'
    mark = "<b>" if found.outlook is Outlook.FORESEEN else "<span>"
    end = "</b>" if found.outlook is Outlook.FORESEEN else "</span>"
    return (
        f"{mark}{_day(shown.likely_ns)}{end}<br>"
        f'<span class="soft">{_day(shown.earliest_ns)} to {_day(shown.latest_ns)}, '
        f"{_by(found)}{_beside(found)}</span>"
    )


def could_add(snapshot: TotalsSnapshot, values: Sequence[int]) -> str:
    """What work of no run could add to any model: said beside every verdict."""
    upper = snapshot.unattributed.figures.total.upper
    if not upper:
        return '<p class="soft">No work is unattributed.</p>'
    return (
        f'<p class="soft">Unattributed work could add up to '
        f"{figure_html(upper, values, Rounding.UP)} FLOP to "
        "any of these.</p>"
    )


def legal_sections(legal: LegalView) -> str:
    """Reviews that are open, alerts that fire, and how many more there were."""
    return _reviews(legal.reviews) + _alerts(legal.alerts)


def _reviews(reviews: Sequence[ReviewView]) -> str:
    if not reviews:
        return ""
    ordered = sorted(reviews, key=_urgency)
    rows = [
        Row(
            (
                str(review.number),
                escape(review.model),
                f'<span class="id">{escape(review.threshold)}</span>',
                escape(_minute(review.earliest)),
                escape(review.due_on) or "none set",
                _determined(review),
            )
        )
        for review in ordered[:MAXIMUM_ROWS]
    ]
    return (
        '<h2 id="reviews">Reviews</h2><p class="soft">A person determines, not the meter: '
        "<code>flopmeter review determine NUMBER</code>.</p>"
        f'<div class="card">{table(_REVIEW_COLUMNS, rows)}{_more(len(reviews), "reviews")}</div>'
    )


def _urgency(review: ReviewView) -> tuple[bool, bool, str, int]:
    """Open ones first, and of these the one that is due soonest."""
    return (not review.open, not review.due, review.due, review.number)


def _determined(review: ReviewView) -> str:
    determined = review.determination
    if determined is None:
        return '<span class="state open">open</span>'
    return (
        f"{escape(determined.finding.value.replace('_', ' '))} on {determined.on.isoformat()}<br>"
        f'<span class="soft">{escape(determined.author)}: {escape(determined.reason)}</span>'
    )


def _alerts(alerts: Sequence[AlertView]) -> str:
    if not alerts:
        return ""
    newest = sorted(alerts, key=lambda alert: (not alert.fires, -alert.number))
    rows = [
        Row(
            (
                str(alert.number),
                escape(alert.name),
                escape(alert.model),
                f'<span class="id">{escape(alert.threshold)}</span>',
                _minute(time_text(alert.opened_ns)),
                f'<span class="state {"above" if alert.fires else "unknown"}">{alert.status}</span>'
                f'<br><span class="soft">{escape(alert.why)}</span>',
            )
        )
        for alert in newest[:MAXIMUM_ROWS]
    ]
    return (
        f'<h2>Alerts</h2><div class="card">{table(_ALERT_COLUMNS, rows)}'
        f"{_more(len(alerts), 'alerts')}</div>"
    )


def _more(count: int, what: str) -> str:
    more = count - MAXIMUM_ROWS
    return f'<p class="soft">{more} more {what} are in /api/v1/totals.</p>' if more > 0 else ""


def _by(found: Forecast) -> str:
    return basis_words(paced=found.by_pace is not None)


def _beside(found: Forecast) -> str:
    """What the plan says where the pace is shown."""
    if found.by_pace is None or found.by_plan is None:
        return ""
    if found.by_plan.likely_ns is None:
        return "; its plan ends below"
    return f"; {basis_words(paced=False)} {_day(found.by_plan.likely_ns)}"


def _open_end(shown: Crossing) -> str:
    return f"at the most {_day(shown.earliest_ns)}"


def _day(at_ns: int | None) -> str:
    """A date in UTC; a sooner one than a day from now would need the hour, which a page shows."""
    return "open" if at_ns is None else time_text(at_ns // NS_PER_S * NS_PER_S)[:10]


def _minute(text: str) -> str:
    """A time to the minute, as people read it."""
    return text[:16].replace("T", " ")
