"""`flopmeter thresholds`: the catalogue in force, built-in rows and the site's own.

Owns: the command's arguments and its table.
May touch: the threshold rows of the package and of a folder (reading); standard output.
Called by the command line; the rows are parsed by core.catalogue.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter_collector.presentation import thresholds_document
from flopmeter_collector.site import THRESHOLDS_FOLDER, thresholds_in_force
from flopmeter_core.catalogue import Threshold

folder_option = click.option(
    "--thresholds-dir",
    "folder",
    type=click.Path(path_type=Path),
    default=THRESHOLDS_FOLDER,
    show_default=True,
    help="The site's own threshold rows.",
)


@click.command("thresholds")
@folder_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """List the compute thresholds and their sources."""
    rows = thresholds_in_force(folder)
    if as_json:
        print_json(thresholds_document(rows))
    else:
        _print_table(rows)


def _print_table(rows: tuple[Threshold, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 1, 0))
    table.add_column("id", no_wrap=True)
    table.add_column("threshold", no_wrap=True)
    table.add_column("law")
    table.add_column("checked", no_wrap=True)
    for row in rows:
        table.add_row(
            row.id,
            f"{row.operator.replace('_', ' ')} {row.value_flop:.0e}".replace("e+", "e") + " FLOP",
            f"{row.jurisdiction}: {row.instrument}",
            row.checked_on.isoformat(),
        )
    console().print(table)
