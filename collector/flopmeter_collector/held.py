"""Which rows of the catalogue a model is held against at an instant.

Owns: the day of an instant on a jurisdiction's calendar, and the choice of rows on that day.
May touch: the host's time zone tables, through `zoneinfo`; nothing else.
Called by evaluate, presentation, http and the lab, with the instant of a snapshot.
Explained in docs/thresholds.md.
"""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from collections.abc import Iterable

from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S

QUARTER_NS = 900 * NS_PER_S
"""Clocks of all zones stand whole quarters of an hour apart (tz database, since 1972), so a day
begins nowhere within one."""


def local_date(unix_ns: int, zone: str) -> datetime.date:
    """The day of an instant where a law is in force.

    Args:
        unix_ns: Unix time in ns.
        zone: name of the time zone, such as ``Europe/Brussels``.

    Raises:
        DataError: the host knows no such zone.
    """
    return datetime.datetime.fromtimestamp(unix_ns // NS_PER_S, tz=time_zone(zone)).date()


@functools.cache
def time_zone(zone: str) -> zoneinfo.ZoneInfo:
    """The rules of a time zone.

    Raises:
        DataError: the host knows no such zone.
    """
    try:
        return zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"{zone!r} is no time zone this host knows; correct time_zone, or install tzdata"
        ) from error


def held_at(thresholds: Iterable[Threshold], unix_ns: int) -> tuple[Threshold, ...]:
    """Keep the rows that a model's compute is held against at an instant.

    Args:
        thresholds: the catalogue.
        unix_ns: Unix time in ns.
    """
    days: dict[str, datetime.date] = {}  # of few zones, and asked for in every round
    held = []
    for row in thresholds:
        zone = row.time_zone
        day = days.get(zone) or days.setdefault(zone, local_date(unix_ns, zone))
        if row.held_on(day):
            held.append(row)
    return tuple(held)


class RowsOfTheDay:
    """Keeps what `held_at` says until a day may have begun somewhere: rounds ask each second."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._of: tuple[Threshold, ...] | None = None
        self._quarter = 0
        self._held: tuple[Threshold, ...] = ()

    def at(self, thresholds: tuple[Threshold, ...], unix_ns: int) -> tuple[Threshold, ...]:
        """The rows that a model's compute is held against at an instant; see `held_at`."""
        quarter = unix_ns // QUARTER_NS
        if thresholds is not self._of or quarter != self._quarter:
            self._held = held_at(thresholds, unix_ns)
            self._of, self._quarter = thresholds, quarter
        return self._held
