"""`flopmeter totals`: the compute of every run and model, from a collector or from a ledger.

Owns: the command's arguments.
May touch: one HTTP request or one ledger file (through the lab); standard output.
Called by the command line; figures and tables are made by lab and collector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.thresholds_options import folder_option
from flopmeter_core.errors import UsageError

COLLECTOR_URL = "http://127.0.0.1:8426"


@click.command("totals")
@click.option("--collector", metavar="URL", help=f"HTTP address.  [default: {COLLECTOR_URL}]")
@click.option("--ledger", metavar="URL", help="Read this ledger instead of asking a collector.")
@folder_option
@json_option
def command(collector: str | None, ledger: str | None, folder: Path, as_json: bool) -> None:
    """Show the compute of every run and model.

    Exit code 0; 69 when no collector answers.
    """
    document = totals_of(collector, ledger, folder)
    if as_json:
        print_json(document)
        return
    from flopmeter.lab.totals_view import totals_view

    out = console()
    out.print(totals_view(document, columns=out.width))


def totals_of(collector: str | None, ledger: str | None, folder: Path) -> dict[str, Any]:
    """The totals document, from a ledger or from a collector.

    Args:
        collector: HTTP address; the default one where both are None.
        ledger: URL of a ledger.
        folder: of threshold files, for a ledger.

    Raises:
        UsageError: both are given.
        UnreachableError, DataError, StorageError: it cannot be had.
    """
    if collector is not None and ledger is not None:
        raise UsageError("--collector and --ledger name two sources; give one")
    if ledger is not None:
        from flopmeter.lab.ledger_totals import ledger_totals
        from flopmeter_collector.site import thresholds_in_force
        from flopmeter_proto.daemon.clock import SystemClock

        return ledger_totals(ledger, thresholds_in_force(folder), SystemClock())
    from flopmeter.lab.collector_api import fetch_totals

    return fetch_totals(collector or COLLECTOR_URL)
