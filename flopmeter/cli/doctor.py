"""`flopmeter doctor`: whether the ledger's storage gives what flopmeter promises.

Owns: the command's arguments and its lines.
May touch: the ledger's storage, read-only; the collector's settings; standard output.
Called by the command line; what is looked at is the backends'.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import json_option, print_json


@click.command("doctor")
@click.option("--ledger", metavar="URL", help="The ledger.  [default: the collector's]")
@click.option("--patroni", metavar="URL", default="", help="One member's Patroni, if there is one.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings file.")
@json_option
def command(ledger: str | None, patroni: str, config_file: Path | None, as_json: bool) -> int:
    """Say whether the ledger's storage gives what flopmeter promises.

    Exit code 0 when it does, 1 when something falls short.
    """
    from flopmeter_collector import backends

    url = ledger if ledger is not None else _of_the_collector(config_file)
    found = backends.examine(url, patroni=patroni)
    short = [finding for finding in found if finding.good is False]
    if as_json:
        rows = [
            {"setting": f.setting, "found": f.found, "good": f.good, "told": f.told} for f in found
        ]
        print_json(
            {"schema": 1, "ledger": backends.shown(url), "good": not short, "findings": rows}
        )
    else:
        words = {True: "good", False: "SHORT", None: "?"}
        for finding in found:
            click.echo(
                f"{words[finding.good]:5} {finding.setting} = {finding.found}: {finding.told}"
            )
    return 1 if short else 0


def _of_the_collector(config_file: Path | None) -> str:
    from flopmeter.cli.collector import FILE
    from flopmeter.cli.options import read_settings
    from flopmeter_collector.config import CollectorConfig

    loaded = read_settings(CollectorConfig, default_file=FILE, config_file=config_file, flags={})
    return loaded.config.ledger
