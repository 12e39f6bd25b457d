"""What the commands of `flopmeter thresholds` share: the folder, the day, today.

Owns: these options and what they mean.
May touch: the clock.
Called by cli.thresholds, cli.thresholds_upkeep, cli.ledger and cli.totals.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from flopmeter_collector.catalogue_view import DayOf
from flopmeter_collector.held import local_date
from flopmeter_collector.site import THRESHOLDS_FOLDER
from flopmeter_proto.daemon.clock import SystemClock

folder_option = click.option(
    "--thresholds-dir",
    "folder",
    type=click.Path(path_type=Path),
    default=THRESHOLDS_FOLDER,
    show_default=True,
    help="The site's own threshold rows.",
)

as_of_option = click.option(
    "--as-of",
    "as_of",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day to look at.  [default: today, where each law is in force]",
)


def day_of(as_of: datetime.datetime | None) -> DayOf:
    """The day to look at a row on: the one asked for, or today on the row's own calendar."""
    if as_of is not None:
        day = as_of.date()
        return lambda _row: day
    now_ns = SystemClock().wall_ns()
    return lambda row: local_date(now_ns, row.time_zone)


def today() -> datetime.date:
    """Today in UTC: for how old something is, not for what holds."""
    return local_date(SystemClock().wall_ns(), "UTC")
