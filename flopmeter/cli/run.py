"""`flopmeter run`: say what a training run is.

Owns: the command's arguments.
May touch: one ledger (through the collector's backends); the clock and the user's name.
Called by the command line; a declaration is checked by collector.declarations before it is
written, because the ledger is append-only.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flopmeter.cli import attribution, claims, lists
from flopmeter.cli.declaring import declaring, given, rules_in, say, who
from flopmeter.cli.details import details_options, show
from flopmeter.cli.output import json_option, print_json
from flopmeter.cli.thresholds_options import folder_option
from flopmeter_core.errors import UsageError


@click.group("run")
def command() -> None:
    """Declare what a training run is."""


for _command in (lists.runs, *attribution.COMMANDS, *claims.COMMANDS):
    command.add_command(_command)


@command.command("declare")
@click.argument("name")
@click.option("--model", help="Model the run contributes to.")
@click.option(
    "--format", "formats", metavar="MIX", help="Number formats, e.g. fp8=0.90..0.97,bf16=rest."
)
@click.option("--workload", metavar="CLASS", help="Class of training, e.g. dense-transformer.")
@click.option("--activity", metavar="CLASS", help="What was done, e.g. pretraining.")
@click.option("--disposition", metavar="CLASS", help="What became of the result, e.g. discarded.")
@click.option("--data-visibility", metavar="CLASS", help="non_public, public or unknown.")
@click.option("--reason", help="Why; a label that lowers a legal total needs one.")
@click.option(
    "--recompute",
    metavar="MODE",
    help="Activation recomputation: none, selective, full, or LOW..HIGH.",
)
@click.option("--from", "since", metavar="TIME", help="It holds from this time on (ISO).")
@click.option("--until", metavar="TIME", help="It holds until this time, exclusive.")
@click.option("--phase", metavar="N", help="It holds for this phase of the run only.")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to declare it in.")
@folder_option
@click.option("--author", help="Who states it.  [default: the user's name]")
@json_option
def declare(
    name: str,
    model: str | None,
    formats: str | None,
    workload: str | None,
    activity: str | None,
    disposition: str | None,
    data_visibility: str | None,
    reason: str | None,
    recompute: str | None,
    since: str | None,
    until: str | None,
    phase: str | None,
    ledger: str,
    folder: Path,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare what the run NAME is; a field left out keeps what was declared before.

    A serving collector takes the declaration within about a second, for the past as well.
    """
    from flopmeter.lab.declaring import declare_run, is_reported
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    fields = {
        "model": model,
        "format": formats,
        "workload": workload,
        "activity": activity,
        "disposition": disposition,
        "data_visibility": data_visibility,
        "reason": reason,
        "recompute": recompute,
        "from": since,
        "until": until,
        "phase": phase,
    }
    body = {field: text for field, text in fields.items() if text is not None}
    written = declare_run(
        ledger,
        name,
        body,
        author=author or getpass.getuser(),
        source="cli",
        clock=SystemClock(),
        profiles=rules,
    )
    if not is_reported(ledger, name, profiles=rules):
        click.echo(
            f"flopmeter: no device has reported for run {name!r} yet, so nothing changes until one "
            "does; check the name if the run is under way",
            err=True,
        )
    stated = ", ".join(f"{field} {text}" for field, text in body.items())
    say(
        written,
        f"run {written.subject} is {stated}",
        as_json=as_json,
        ledger=ledger,
        rules=rules,
    )


@command.command("label")
@click.argument("name")
@click.option("--activity", metavar="CLASS", help="What was done, e.g. evaluation.")
@click.option("--disposition", metavar="CLASS", help="What became of the result, e.g. discarded.")
@click.option("--data-visibility", metavar="CLASS", help="non_public, public or unknown.")
@click.option("--from", "since", metavar="TIME", help="It holds from this time on (ISO).")
@click.option("--until", metavar="TIME", help="It holds until this time, exclusive.")
@click.option("--phase", metavar="N", help="It holds for this phase of the run only.")
@declaring()
def label(
    name: str,
    activity: str | None,
    disposition: str | None,
    data_visibility: str | None,
    since: str | None,
    until: str | None,
    phase: str | None,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare what the work of the run NAME was, all of it or a part of it.

    A label that lowers a legal total waits for people (`flopmeter approve`).
    """
    from flopmeter.lab.declaring import declare_run
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    if not (activity or disposition or data_visibility):
        raise UsageError(
            "say what the work was: at least one of --activity, --disposition, --data-visibility"
        )
    body = given(
        activity=activity,
        disposition=disposition,
        data_visibility=data_visibility,
        from_=since,
        until=until,
        phase=phase,
        reason=reason,
    )
    written = declare_run(
        ledger,
        name,
        body,
        author=who(author),
        source="cli",
        clock=SystemClock(),
        must_exist=True,
        profiles=rules,
    )
    stated = ", ".join(f"{field} {text}" for field, text in body.items())
    say(
        written,
        f"run {written.subject} is {stated}",
        as_json=as_json,
        ledger=ledger,
        rules=rules,
    )


@command.command("show")
@click.argument("name")
@details_options
def show_run(
    name: str, collector: str | None, ledger: str | None, folder: Path, as_json: bool
) -> None:
    """Show what the total of the run NAME is made of, and what was declared of it."""
    show("run", name, collector, ledger, folder, as_json=as_json)


def _sealing(command_: Callable[..., None]) -> Callable[..., None]:
    """The arguments of the commands that end a run and open it again."""
    for option in (
        json_option,
        click.option("--author", help="Who states it.  [default: the user's name]"),
        click.option("--reason", required=True, help="Why, for the audit log."),
        click.option("--ledger", metavar="URL", required=True, help="Ledger to declare it in."),
        click.argument("name"),
    ):
        command_ = option(command_)
    return command_


@command.command("end")
@_sealing
def end(name: str, ledger: str, reason: str, author: str | None, as_json: bool) -> None:
    """Declare the run NAME over: nothing more can be declared of it.

    Its hours are told by the day once they are old enough, unless they are held.
    """
    _seal(name, ledger, reason, author, as_json, ended=True)


@command.command("reopen")
@_sealing
def reopen(name: str, ledger: str, reason: str, author: str | None, as_json: bool) -> None:
    """Open the ended run NAME to declarations again."""
    _seal(name, ledger, reason, author, as_json, ended=False)


def _seal(
    name: str,
    ledger: str,
    reason: str,
    author: str | None,
    as_json: bool,
    *,
    ended: bool,
) -> None:
    from flopmeter.lab.declaring import end_run
    from flopmeter_proto.daemon.clock import SystemClock

    written = end_run(
        ledger,
        name,
        ended=ended,
        author=author or getpass.getuser(),
        reason=reason,
        clock=SystemClock(),
    )
    state = written.body["state"]
    if as_json:
        print_json({"schema": 1, "sequence": written.sequence, "run": name, "state": state})
    else:
        click.echo(f"declaration {written.sequence}: run {name} is {state}")


@command.command("hints")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to read.")
@json_option
def hints(ledger: str, as_json: bool) -> None:
    """List runs that may be one run, with their joint total; evidence, never a verdict."""
    from flopmeter.lab.hinting import hinted
    from flopmeter_proto.daemon.clock import SystemClock

    document: Any = hinted(ledger, clock=SystemClock())
    if as_json:
        print_json(document)
        return
    for hint in document["hints"]:
        click.echo(f"{', '.join(hint['runs'])}: together {hint['joint']} FLOP")
        click.echo(f"  {'; '.join(hint['likenesses'])}")
    told = document["note"] if document["hints"] else "no runs look like one run"
    click.echo(told)
