"""`flopmeter collector`: collect reports, keep the ledger, serve page and metrics.

Owns: the command's flags, one for each key of the collector's settings.
May touch: the environment and the settings file (through cli.options); imports the collector's
application only when it is to be served.
Called by the command line; the collector itself is flopmeter_collector.app.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.options import read_settings, settings_options
from flopmeter_collector.config import CollectorConfig

FILE = Path("/etc/flopmeter/collector.toml")


@click.command("collector")
@settings_options(CollectorConfig, file=FILE)
def command(config_file: Path | None, **flags: object) -> int:
    """Collect reports, keep the ledger, serve page and metrics."""
    loaded = read_settings(CollectorConfig, default_file=FILE, config_file=config_file, flags=flags)
    from flopmeter_collector.process import run

    return run(loaded.config)
