"""The page's words for forecasts, reviews and alerts."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace

import pytest

from flopmeter_collector.alerts.acts import Determination, Finding
from flopmeter_collector.forecast_words import NO_PACE
from flopmeter_collector.http.page import render_page
from flopmeter_collector.http.page_legal import MAXIMUM_ROWS, forecast_cell, legal_sections
from flopmeter_collector.legal_view import AlertView, LegalView, ReviewView
from flopmeter_collector.outlook import Forecast
from flopmeter_core.forecast import Basis, Crossing, Outlook
from flopmeter_core.pace import Pace
from support.totals import AS_OF_NS, scenario, thresholds

DAY_NS = 86_400 * 10**9
SUBJECT = ("m", "eu-ai-act-51-2")
PACE = object.__new__(Pace)
"""Which one it is says nothing on the page."""


def crossing(earliest: int | None, likely: int | None, latest: int | None) -> Crossing:
    """Dates in days from the totals on; they were of 2026-09-21."""
    at = [None if day is None else AS_OF_NS + day * DAY_NS for day in (earliest, likely, latest)]
    return Crossing(at[0], at[1], at[2], Basis.PACE)


def words(
    by_pace: Crossing | None,
    by_plan: Crossing | None = None,
    outlook: Outlook = Outlook.NOT_FORESEEN,
) -> str:
    """A model's cell without its mark-up."""
    found = Forecast(PACE, by_pace, None, by_plan, outlook)
    return re.sub("<[^>]+>", " ", forecast_cell(LegalView({SUBJECT: found}), SUBJECT)).strip()


def test_dates_of_a_forecast() -> None:
    """The likely day, its interval and what they rest on; the plan stands beside the pace."""
    dates = crossing(1, 2, None)
    told = " ".join(words(dates).split())
    assert told == "2026-09-23 2026-09-22 to open, at this pace"
    assert words(None, dates).endswith("by its plan")
    assert words(dates, crossing(4, 5, 6)).endswith("at this pace; by its plan 2026-09-26")
    assert words(dates, crossing(None, None, None)).endswith("; its plan ends below")


def test_no_date() -> None:
    """Nothing is foreseen, or nothing can be said yet; an earliest date stays."""
    assert forecast_cell(LegalView(), SUBJECT) == ""
    assert words(None) == NO_PACE == "no pace: no day of history yet, or no work for two weeks"
    assert words(None, crossing(None, None, None)) == "not by its plan"
    assert words(crossing(None, None, None)) == "not at this pace"
    assert "at the most 2026-09-22" in words(crossing(1, None, None))


def test_what_no_line_has_is_said_once() -> None:
    """No column repeats in each row that nothing foretells a crossing; one date brings it back."""
    totals = scenario()
    held = [(model.model, row.id) for model in totals.models for row in thresholds()]
    none = Forecast(PACE, None, None, None, Outlook.NOT_FORESEEN)
    silent = render_page(totals, thresholds(), legal=LegalView(dict.fromkeys(held, none)))
    assert silent.count(NO_PACE) == len(totals.models)
    assert "Crossing (in 90 % of cases)" not in silent
    dated = {**dict.fromkeys(held, none), held[0]: replace(none, by_pace=crossing(1, 2, 3))}
    assert "Crossing (in 90 % of cases)" in render_page(
        totals, thresholds(), legal=LegalView(dated)
    )


def test_what_is_foreseen_is_set_in_bold() -> None:
    """Only that."""
    for outlook, bold in ((Outlook.FORESEEN, True), (Outlook.NOT_FORESEEN, False)):
        found = Forecast(PACE, crossing(1, 2, 3), None, None, outlook)
        assert ("<b>" in forecast_cell(LegalView({SUBJECT: found}), SUBJECT)) is bold


def review(number: int, *, due: str = "", determined: bool = False) -> ReviewView:
    """A review of a model whose name is mark-up."""
    found = Determination(
        number, Finding.NOT_MET, datetime.date(2026, 11, 1), 1, "ada", "<i>", "", 1
    )
    earliest = "2026-11-30T10:00:00Z"
    by = found if determined else None
    return ReviewView(number, "<m>", "line", 1, earliest, due, due[:10], (1,), by, int(determined))


def test_reviews() -> None:
    """Open ones come first, and of these the one that is due soonest; every text is escaped."""
    rows = (
        review(1, determined=True),
        review(2),
        review(3, due="2027-01-02"),
        review(4, due="2026-12-02"),
    )
    html = legal_sections(LegalView(reviews=rows))
    numbers = re.findall(r"<tr><td[^>]*>(?:<[^>]*>)?(\d)", html) or re.findall(r">(\d)<", html)
    assert numbers == ["4", "3", "2", "1"]
    assert "<m>" not in html and "&lt;m&gt;" in html
    assert "not met on 2026-11-01" in html and "ada: &lt;i&gt;" in html
    assert "none set" in html and "2026-11-30 10:00" in html


@pytest.mark.parametrize("count", [MAXIMUM_ROWS, MAXIMUM_ROWS + 3])
def test_many_alerts(count: int) -> None:
    """Those that fire come first, then the newest; how many more there are is said."""
    alerts = [
        AlertView(number, f"A{number}", "m", "line", "over", False, AS_OF_NS, "below again")
        for number in range(2, count + 1)
    ]
    fires = AlertView(1, "A1", "m", "line", "firing", False, AS_OF_NS, "")
    html = legal_sections(LegalView(alerts=(fires, *alerts)))
    names = re.findall(r"A(\d+)<", html)
    assert names[:2] == ["1", str(count)]
    assert len(names) == MAXIMUM_ROWS
    assert ("3 more alerts are in /api/v1/totals" in html) is (count > MAXIMUM_ROWS)


def test_nothing() -> None:
    """A site without either has no empty tables."""
    assert legal_sections(LegalView()) == ""
