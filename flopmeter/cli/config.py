"""`flopmeter config`: the settings in force and the layer each one comes from.

Owns: the command's arguments and its table.
May touch: the environment and the settings file (through cli.options); standard output.
Called by the command line; the layers are those of daemon.settings.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.options import printable, read_settings, settings_options
from flopmeter.cli.output import console, json_option, print_json
from flopmeter_proto.daemon.settings import Loaded, fields_of

DAEMONS = ("agent", "collector")


@click.group("config")
def command() -> None:
    """Print the settings in force and where each comes from."""


@command.command(
    "print",
    # The daemon's own flags follow its name, so that the effect of a flag can be seen as well.
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@json_option
@click.argument("daemon", type=click.Choice(DAEMONS))
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def print_settings(ctx: click.Context, daemon: str, flags: tuple[str, ...], as_json: bool) -> None:
    """Print the settings of DAEMON (agent or collector) and each value's origin.

    FLAGS are those the daemon would be started with.
    """
    schema, file = _schema(daemon)

    @click.command(daemon)
    @settings_options(schema, file=file)
    @json_option
    def read(config_file: Path | None, as_json: bool, **given: object) -> None:
        loaded = read_settings(schema, default_file=file, config_file=config_file, flags=given)
        _print(loaded, daemon, as_json=as_json or outer_json)

    outer_json = as_json
    with read.make_context(f"{ctx.command_path} {daemon}", list(flags)) as inner:
        read.invoke(inner)


def _schema(daemon: str) -> tuple[type[object], Path]:
    """The schema and the settings file of a daemon; neither needs its extra."""
    if daemon == "agent":
        from flopmeter.cli import agent
        from flopmeter_agent.config import AgentConfig

        return AgentConfig, agent.FILE
    from flopmeter.cli import collector
    from flopmeter_collector.config import CollectorConfig

    return CollectorConfig, collector.FILE


def _print(loaded: Loaded[object], daemon: str, *, as_json: bool) -> None:
    rows = [
        (entry, printable(getattr(loaded.config, entry.key)), loaded.origins[entry.key])
        for entry in fields_of(type(loaded.config))
    ]
    if as_json:
        settings = {
            entry.key: {"setting": setting, "origin": origin} for entry, setting, origin in rows
        }
        print_json({"schema": 1, "daemon": daemon, "settings": settings})
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing("key", "origin", Column("value", wraps=True))
    for entry, setting, origin in rows:
        text = "-" if setting in (None, "", []) else str(setting)
        style = "dim" if origin == "default" else ""
        table.add(entry.key, origin, text, style=style)
    console().print(table)
