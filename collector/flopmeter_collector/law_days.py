"""Days that a person may mean: of the law, of a determination, of a model's life.

Owns: the first and last such day, and the sentences about others.
May touch: nothing; pure functions.
Called by the command line and the lab, before anything is read or written.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.units import NS_PER_S

FIRST_DAY = datetime.date(2012, 1, 1)
"""No model of before then is anywhere near a line, and no row of the catalogue is as old."""

LAST_DAY = datetime.date(2100, 12, 31)
"""Nobody plans as far ahead: a later day is a slip of the pen."""


def first_event(rows: Iterable[Threshold]) -> datetime.date | None:
    """The day of the first thing that happened to any law; None where no day is known."""
    days = [event.date for row in rows for event in row.events if event.date is not None]
    return min(days, default=None)


def check_law_day(day: datetime.date, rows: Iterable[Threshold], *, option: str) -> None:
    """Refuse a day on which there was none of these laws, or that nobody can mean.

    Args:
        day: whose law is asked for.
        rows: the catalogue.
        option: what gave the day, for the sentence.

    Raises:
        UsageError: one sentence that says from when on there is any.
    """
    first = first_event(row for row in rows if not row.demonstration)
    if first is not None and day < first:
        raise UsageError(
            f"{option} {day.isoformat()} lies before the first law of the catalogue, of "
            f"{first.isoformat()}; give a later day"
        )
    if day > LAST_DAY:
        raise UsageError(f"{option} {day.isoformat()} lies too far ahead; give an earlier day")


def day_not_ahead(text: str, now_ns: int, *, what: str) -> datetime.date:
    """Read a day on which somebody did something.

    Args:
        text: as ISO 8601.
        now_ns: Unix time in ns at which it is said.
        what: name of the field, for the sentence.

    Raises:
        DataError: no date, one before compute was anybody's law, or one ahead.
    """
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{what} {text[:40]!r} is no date; write it as 2026-11-30") from error
    # It may be tomorrow already where somebody sits.
    if not FIRST_DAY <= day <= day_of(now_ns) + datetime.timedelta(days=1):
        where = "ahead" if day > FIRST_DAY else f"before {FIRST_DAY.isoformat()}"
        raise DataError(f"{what} {day.isoformat()} lies {where}; give the day it was done")
    return day


def day_of(unix_ns: int) -> datetime.date:
    """The day of an instant in UTC."""
    return datetime.datetime.fromtimestamp(unix_ns // NS_PER_S, tz=datetime.UTC).date()
