"""The two dates of a review: from when it is arguable, and until when notice is still in time.

Owns: how a transition's dates are counted by the law's own calendar.
May touch: nothing; pure functions of the catalogue and a time.
Called by judge, which writes them into the transition. Explained in docs/reviews.md.
"""

from __future__ import annotations

from flopmeter_collector.alerts.transitions import JURISDICTION
from flopmeter_collector.evaluate import conditional
from flopmeter_collector.held import local_date, time_zone
from flopmeter_collector.reviews import DUE, DUE_ON, EARLIEST
from flopmeter_collector.spans import time_text
from flopmeter_core.calendars import builtin_calendars, last_ns, period_end
from flopmeter_core.catalogue import Kind, Threshold


def review_dates(
    threshold: Threshold, earliest_ns: int, *, simulated: bool = False
) -> dict[str, str]:
    """The dates of a review.

    Args:
        threshold: the row whose duty it may be.
        simulated: whether the figures are made up: of guidance nobody is asked then.
        earliest_ns: Unix time in ns at which it is first arguable that the line was met, or that
            it was known that it would be.

    Returns:
        Fields for the transition; none for a line that no law draws.
    """
    if threshold.demonstration or (simulated and threshold.kind is Kind.GUIDANCE):
        return {}
    return {EARLIEST: time_text(earliest_ns), **_due(threshold, earliest_ns)}


def _due(threshold: Threshold, earliest_ns: int) -> dict[str, str]:
    """Until when notice is in time, counted from the earliest date; nothing without a duty.

    The end is the one that verified holidays give: one that nobody verified gives no time.
    """
    notice = threshold.notice
    if notice is None:
        return {}
    # The one it was read with: a site's own calendar may be shorter than a built-in one's.
    calendar = threshold.days or builtin_calendars().get(notice.calendar)
    if calendar is None:
        return {}
    event = local_date(earliest_ns, calendar.time_zone)
    end = period_end(event, weeks=notice.weeks, calendar=calendar)
    return {
        DUE: time_text(last_ns(end.sure, time_zone(calendar.time_zone))),
        DUE_ON: f"{end.sure.isoformat()} ({calendar.time_zone})",
        "review_due_latest": end.latest.isoformat(),
        "review_due_moved_by": "; ".join(end.moved_by),
        "review_notice": f"{notice.to}: {notice.citation}",
    }


def legal_fields(threshold: Threshold) -> dict[str, str]:
    """What a transition has to keep of its threshold, as the law was then."""
    return {
        "counting_profile": threshold.counting_profile,
        JURISDICTION: threshold.jurisdiction,
        "may_alert": "true" if threshold.may_alert else "false",
        "conditions": conditional(threshold),
    }
