"""`flopmeter thresholds`: the catalogue in force, built-in rows and the site's own.

Owns: the command's arguments and its table.
May touch: the threshold rows of the package and of a folder (reading); standard output.
Called by the command line; the rows are parsed by core.catalogue.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter_core.catalogue import Threshold, parse_catalogue
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import StorageError

SITE_FOLDER = Path("/etc/flopmeter/thresholds.d")


@click.command("thresholds")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=SITE_FOLDER,
    show_default=True,
    help="The site's own rows, one TOML file each.",
)
@json_option
def command(folder: Path, as_json: bool) -> None:
    """List the compute thresholds and their sources."""
    rows = parse_catalogue(builtin_thresholds() | site_thresholds(folder))
    if as_json:
        print_json({"schema": 1, "thresholds": [_json(row) for row in rows]})
    else:
        _print_table(rows)


def site_thresholds(folder: Path) -> dict[str, str]:
    """Read the site's own rows: path -> text; a folder that does not exist has none.

    Raises:
        StorageError: a file or the folder cannot be read.
    """
    try:
        if not folder.is_dir():
            return {}
        return {str(path): path.read_text("utf-8") for path in sorted(folder.glob("*.toml"))}
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"the threshold rows in {folder} cannot be read: {error}; check their permissions"
        ) from error


def _json(row: Threshold) -> dict[str, object]:
    return {
        "id": row.id,
        "jurisdiction": row.jurisdiction,
        "instrument": row.instrument,
        "kind": row.kind,
        "quantity": row.quantity,
        "operator": str(row.operator),
        "value_flop": row.value_flop,
        "value_flop_str": str(row.value_flop),
        "counts": row.counts,
        "verification": row.verification,
        "source": row.source,
        "checked_on": row.checked_on.isoformat(),
    }


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
