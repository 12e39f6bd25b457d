"""`flopmeter run`: say what a training run is.

Owns: the command's arguments.
May touch: one ledger (through the collector's backends); the clock and the user's name.
Called by the command line; a declaration is checked by collector.declarations before it is
written, because the ledger is append-only.
"""

from __future__ import annotations

import getpass

import click

from flopmeter.cli.output import json_option, print_json


@click.group("run")
def command() -> None:
    """Declare what a training run is."""


@command.command("declare")
@click.argument("name")
@click.option("--model", help="Model the run contributes to.")
@click.option(
    "--format", "formats", metavar="MIX", help="Number formats, e.g. fp8=0.90..0.97,bf16=rest."
)
@click.option("--workload", metavar="CLASS", help="Class of training, e.g. dense-transformer.")
@click.option("--activity", metavar="CLASS", help="What was done, e.g. pretraining.")
@click.option(
    "--recompute",
    metavar="MODE",
    help="Activation recomputation: none, selective, full, or LOW..HIGH.",
)
@click.option("--from", "since", metavar="TIME", help="The format holds from this time on (ISO).")
@click.option("--until", metavar="TIME", help="The format holds until this time, exclusive.")
@click.option("--phase", metavar="N", help="The format holds for this phase of the run only.")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to declare it in.")
@click.option("--author", help="Who states it.  [default: the user's name]")
@json_option
def declare(
    name: str,
    model: str | None,
    formats: str | None,
    workload: str | None,
    activity: str | None,
    recompute: str | None,
    since: str | None,
    until: str | None,
    phase: str | None,
    ledger: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare what the run NAME is; a field left out keeps what was declared before.

    A serving collector takes the declaration within about a second, for the past as well.
    """
    from flopmeter.lab.declaring import declare_run
    from flopmeter_proto.daemon.clock import SystemClock

    fields = {
        "model": model,
        "format": formats,
        "workload": workload,
        "activity": activity,
        "recompute": recompute,
        "from": since,
        "until": until,
        "phase": phase,
    }
    body = {field: text for field, text in fields.items() if text is not None}
    written = declare_run(
        ledger, name, body, author=author or getpass.getuser(), source="cli", clock=SystemClock()
    )
    if as_json:
        print_json(
            {
                "schema": 1,
                "sequence": written.sequence,
                "run": written.subject,
                "author": written.author,
                "source": written.source,
                "declared": dict(written.body),
            }
        )
        return
    stated = ", ".join(f"{field} {text}" for field, text in body.items())
    click.echo(f"declaration {written.sequence}: run {name} is {stated}")
