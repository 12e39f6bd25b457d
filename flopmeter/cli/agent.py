"""`flopmeter agent`: meter this node's accelerators.

Owns: the command's flags, one for each key of the agent's settings.
May touch: the environment and the settings file (through cli.options); imports the agent's
application only when it is to be served.
Called by the command line; the agent itself is flopmeter_agent.app.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.options import read_settings, settings_options
from flopmeter_agent.config import AgentConfig

FILE = Path("/etc/flopmeter/agent.toml")


@click.command("agent")
@settings_options(AgentConfig, file=FILE)
def command(config_file: Path | None, **flags: object) -> int:
    """Meter this node's accelerators and report to a collector."""
    loaded = read_settings(AgentConfig, default_file=FILE, config_file=config_file, flags=flags)
    from flopmeter_agent.app import run

    return run(loaded.config)
