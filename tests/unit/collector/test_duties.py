"""Dates of a review and of a forecast, where there is nothing to count them from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flopmeter_collector.duties import review_dates
from flopmeter_collector.outlook import forecast
from flopmeter_collector.reviews import DUE, EARLIEST
from flopmeter_core.catalogue import Kind, State
from flopmeter_core.forecast import Outlook
from support.totals import AS_OF_NS, thresholds

ROWS = {row.id: row for row in thresholds()}
EU = ROWS["eu-ai-act-51-2"]


def test_a_duty_has_a_date() -> None:
    """The EU's notice is due two weeks after the line was met."""
    assert review_dates(EU, AS_OF_NS)[DUE].startswith("2026-10-0")


def test_no_duty_without_a_calendar() -> None:
    """A calendar that nobody has gives no date, and the earliest one is told all the same."""
    assert EU.notice is not None
    lost = replace(EU, days=None, notice=replace(EU.notice, calendar="moon"))
    assert list(review_dates(lost, AS_OF_NS)) == [EARLIEST]
    bare = replace(EU, notice=None)
    assert list(review_dates(bare, AS_OF_NS)) == [EARLIEST]


def test_lines_that_no_law_draws() -> None:
    """The demonstration's line, and guidance on made-up figures, ask nobody."""
    assert review_dates(ROWS["demo-line"], AS_OF_NS) == {}
    guidance = replace(EU, kind=Kind.GUIDANCE)
    assert review_dates(guidance, AS_OF_NS, simulated=True) == {}
    assert review_dates(guidance, AS_OF_NS) != {}


@pytest.mark.parametrize("state", [State.UNKNOWN, State.ABOVE, State.CONDITIONS_NOT_MET])
def test_no_forecast(state: State) -> None:
    """Without a figure and a plan there is none; above the line it has come true."""
    found = forecast(
        cast(Any, SimpleNamespace(model="m", planned=None)),
        cast(Any, SimpleNamespace(state=state)),
        0,
        cast(Any, None),
        now_ns=AS_OF_NS,
        horizon_ns=1,
        before=Outlook.NOT_FORESEEN,
    )
    assert found is None
