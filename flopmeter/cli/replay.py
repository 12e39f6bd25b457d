"""`flopmeter replay`: meter a recording as if it happened now.

Owns: the command's arguments.
May touch: the recording (through the lab); standard output.
Called by the command line; lab.replay does the work with real agents and a real ledger.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json


@click.command("replay")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--run", help="Name of the run, in place of the recording's own.")
@click.option("--model", help="Model the run contributes to.")
@click.option("--format", "formats", metavar="MIX", help="Number formats, e.g. bf16=1.")
@click.option("--workload", metavar="CLASS", help="Class of training, e.g. dense-transformer.")
@json_option
def command(
    path: Path,
    run: str | None,
    model: str | None,
    formats: str | None,
    workload: str | None,
    as_json: bool,
) -> None:
    """Meter a recording as if it happened now.

    PATH is a file or folder of one recorded run; its totals are shown at the end.
    """
    from flopmeter.cli.progress import bar
    from flopmeter.lab.bulk.load import is_series
    from flopmeter.lab.replay import replay

    with _errors_only(), bar("replaying", shown=is_series(path)) as tell:
        document = replay(
            path, run=run, model=model, formats=formats, workload=workload, progress=tell
        )
    if as_json:
        print_json(document)
        return
    from flopmeter.lab.totals_view import totals_view

    out = console()
    out.print(totals_view(document))


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """Show the replayed daemons' errors and nothing else: their warnings are in the totals."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
