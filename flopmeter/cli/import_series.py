"""`flopmeter import`: years of recorded telemetry into a ledger.

Owns: the command's arguments and its progress bar.
May touch: standard output and error; the series and the ledger (through lab.bulk); the clock and
the user's name.
Called by the command line; docs/bulk.md.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

from flopmeter.cli.output import json_option, print_json
from flopmeter_core.errors import DataError, UsageError


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--ledger", metavar="URL", default="", help="Ledger that no running collector has.")
@click.option(
    "--collector", metavar="HOST:PORT", default="", help="Running collector on this host instead."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one a core]")
@click.option(
    "--done",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where it is noted what was imported.  [default: .imported beside the series]",
)
@click.option("--author", help="Who imports.  [default: the user's name]")
@json_option
def command(
    paths: tuple[Path, ...],
    ledger: str,
    collector: str,
    jobs: int | None,
    done: Path | None,
    author: str | None,
    as_json: bool,
) -> None:
    """Take recorded telemetry into a ledger.

    PATHS are series that flopmeter pack made, or folders of them. An import that was killed goes
    on where it was when it is started again.
    """
    if bool(ledger) == bool(collector):
        raise UsageError("name either a --ledger or a running --collector")
    from flopmeter.cli.progress import bar
    from flopmeter.lab.bulk.done_file import NAME
    from flopmeter.lab.bulk.importing import import_series
    from flopmeter_proto.daemon.clock import SystemClock

    first = paths[0]
    with bar("importing") as tell:
        loaded = import_series(
            paths,
            ledger=ledger,
            collector=collector,
            author=author or getpass.getuser(),
            clock=SystemClock(),
            done_file=done or (first if first.is_dir() else first.parent) / NAME,
            jobs=jobs,
            progress=tell,
        )
    if as_json:
        print_json(
            {
                "schema": 1,
                "series": loaded.series,
                "skipped": loaded.skipped,
                "readings": loaded.rows,
                "looked_at_one_by_one": loaded.doubted,
                "refused": loaded.refused,
            }
        )
    else:
        click.echo(
            f"{loaded.series} series imported, {loaded.skipped} were there already; "
            f"{loaded.rows} readings, {loaded.doubted} of them looked at one by one"
        )
        if collector and loaded.series:
            sys.stderr.write(
                "devices that report no more are missed from now on: flopmeter device retire\n"
            )
    if loaded.refused:
        name, reason = next(iter(loaded.refused.items()))
        raise DataError(
            f"the ledger did not take all of {len(loaded.refused)} series; of {name}: {reason}"
        )
