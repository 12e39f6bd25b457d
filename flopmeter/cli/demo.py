"""`flopmeter demo`: watch a simulated training run cross a line.

Owns: the command's arguments and what is printed at the end.
May touch: the environment variable DEMO_SECONDS; standard output.
Called by the command line and by `make demo`; lab.demo does the work.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json


@click.command("demo")
@click.option("--seed", type=int, help="Another course of the same scenario.")
@click.option("--scenario", type=click.Path(path_type=Path), help="Another scenario file.")
@click.option("--state", type=click.Path(path_type=Path), help="Empty folder to write to and keep.")
@click.option("--keep", is_flag=True, help="Keep the temporary folder.")
@json_option
def command(
    seed: int | None, scenario: Path | None, state: Path | None, keep: bool, as_json: bool
) -> None:
    """Watch a simulated training run cross a line.

    A real collector and real agents meter simulated nodes, and this host's processor as if it
    were an accelerator. Ends by itself in about a minute and a half, earlier with Ctrl-C or when
    the environment says DEMO_SECONDS=20. With --json the totals are printed as JSON at the end
    and everything else goes to standard error.
    """
    from flopmeter.lab.demo import DemoOptions, demo, read_seconds
    from flopmeter.lab.totals_view import totals_view
    from flopmeter_proto.daemon.clock import SystemClock

    options = DemoOptions(
        state=state, keep=keep, seed=seed, scenario=scenario, seconds=read_seconds(os.environ)
    )
    out = console(stderr=as_json)
    outcome = demo(options, clock=SystemClock(), console=out)
    if as_json:
        print_json(
            {
                **outcome.document,
                "demo": {
                    "ended": outcome.reason,
                    "crossings": list(outcome.crossings),
                    "restarts": outcome.restarts,
                    "folder": str(outcome.kept) if outcome.kept else None,
                },
            }
        )
        return
    out.print(f"\n{outcome.reason}; final totals:\n")
    out.print(totals_view(outcome.document))
    for line in ("", *outcome.crossings):
        out.print(line, style="bold red", markup=False)
    if outcome.kept:
        out.print(f"kept in {outcome.kept}", soft_wrap=True, markup=False)
