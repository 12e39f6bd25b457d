"""`flopmeter totals`: the compute of every run and model, from a collector or from a ledger.

Owns: the command's arguments.
May touch: one HTTP request or one ledger file (through the lab); standard output.
Called by the command line; figures and tables are made by lab and collector.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.sources import source_options, totals_of


@click.command("totals")
@source_options
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
    out.print(totals_view(document))
