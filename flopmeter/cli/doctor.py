"""`flopmeter doctor`: whether the storage of a ledger or an agent gives what flopmeter promises.

Owns: the command's arguments and its lines.
May touch: the ledger's storage and /proc, read-only; the collector's settings; standard output.
Called by the command line; what is looked at is the backends' and the agent's.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import json_option, print_json
from flopmeter_core.errors import UsageError


@click.command("doctor")
@click.option("--ledger", metavar="URL", help="The ledger.  [default: the collector's]")
@click.option("--patroni", metavar="URL", default="", help="One member's Patroni, if there is one.")
@click.option(
    "--state-folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="An agent's state folder, instead of a ledger.",
)
@click.option("--agent", is_flag=True, help="How an agent here tells users of devices apart.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings file.")
@json_option
def command(
    ledger: str | None,
    patroni: str,
    state_folder: Path | None,
    agent: bool,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Say whether the storage of a ledger, or of an agent, gives what flopmeter promises.

    With --agent: what each way of telling users of devices apart needs, and whether it has it.
    Exit code 0 when it does, 1 when something falls short.
    """
    if agent:
        if state_folder is not None or ledger is not None or patroni:
            raise UsageError("--agent is looked at alone; ask for the rest in another call")
        return _of_the_sources(config_file, as_json=as_json)
    if state_folder is not None:
        if ledger is not None or patroni or config_file is not None:
            raise UsageError(
                "--state-folder is looked at alone; ask for the ledger in another call"
            )
        return _of_an_agent(state_folder, as_json=as_json)
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


def _of_an_agent(folder: Path, *, as_json: bool) -> int:
    """Say whether an agent's memory outlives its host's or container's restart; the exit code."""
    from flopmeter_agent.volatile import volatility

    reason = volatility(folder)
    told = reason or "nothing speaks against what lies there outliving a restart"
    if as_json:
        row = {"setting": "state_folder", "found": str(folder), "good": not reason, "told": told}
        print_json(
            {"schema": 1, "state_folder": str(folder), "good": not reason, "findings": [row]}
        )
    else:
        click.echo(f"{'SHORT' if reason else 'good':5} state_folder = {folder}: {told}")
    return 1 if reason else 0


def _of_the_sources(config_file: Path | None, *, as_json: bool) -> int:
    """Say what each allocation source needs and has; the exit code."""
    from flopmeter.cli.agent import FILE
    from flopmeter.cli.options import read_settings
    from flopmeter_agent.config import AgentConfig
    from flopmeter_agent.privileges import findings

    loaded = read_settings(AgentConfig, default_file=FILE, config_file=config_file, flags={})
    found = list(findings(loaded.config))
    short = [finding for finding in found if finding.has is False]
    if as_json:
        rows = [
            {"source": f.source, "needs": f.needs, "has": f.has, "found": f.found, "lost": f.lost}
            for f in found
        ]
        print_json({"schema": 1, "good": not short, "findings": rows})
    else:
        words = {True: "good", False: "SHORT", None: "-"}
        for finding in found:
            click.echo(f"{words[finding.has]:5} {finding.source}: {finding.found}")
            click.echo(f"      needs {finding.needs}")
            if finding.has is not True:
                click.echo(f"      without it {finding.lost}")
    return 1 if short else 0


def _of_the_collector(config_file: Path | None) -> str:
    from flopmeter.cli.collector import FILE
    from flopmeter.cli.options import read_settings
    from flopmeter_collector.config import CollectorConfig

    loaded = read_settings(CollectorConfig, default_file=FILE, config_file=config_file, flags={})
    return loaded.config.ledger
