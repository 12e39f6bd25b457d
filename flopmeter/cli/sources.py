"""Where a command takes totals from: a serving collector, or a ledger.

Owns: the two options and their meaning.
May touch: one HTTP request or one ledger (through the lab).
Called by the commands totals, forecast, alert and review.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flopmeter.cli.thresholds_options import folder_option
from flopmeter_core.errors import UnreachableError, UsageError

COLLECTOR_URL = "http://127.0.0.1:8426"


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options `--collector`, `--ledger` and `--thresholds-dir` of a command that shows."""
    for option in (
        folder_option,
        click.option(
            "--ledger", metavar="URL", help="Read this ledger instead of asking a collector."
        ),
        click.option(
            "--collector", metavar="URL", help=f"HTTP address.  [default: {COLLECTOR_URL}]"
        ),
    ):
        command = option(command)
    return command


def totals_of(collector: str | None, ledger: str | None, folder: Path) -> dict[str, Any]:
    """The totals document of a collector, or of a ledger.

    Raises:
        UsageError: both are named, or the ledger does not exist.
        UnreachableError, DataError, StorageError: it cannot be had.
    """
    if collector is not None and ledger is not None:
        raise UsageError("--collector and --ledger name two sources; give one")
    if ledger is None:
        from flopmeter.lab.collector_api import fetch_totals

        try:
            return fetch_totals(collector or COLLECTOR_URL)
        except UnreachableError as error:
            raise UnreachableError(f"{error}; --ledger reads one without a collector") from error
    from flopmeter.lab.ledger_totals import ledger_totals
    from flopmeter_collector.site import thresholds_in_force
    from flopmeter_proto.daemon.clock import SystemClock

    return dict(ledger_totals(ledger, thresholds_in_force(folder), SystemClock()))
