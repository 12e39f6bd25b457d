"""`flopmeter alert`: what fires, and what a person does about it.

Owns: the commands' arguments.
May touch: one HTTP request or one ledger (through the lab); the clock and the user's name.
Called by the command line; docs/alerts.md says what each act does.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.sources import source_options, totals_of


@click.group("alert")
def command() -> None:
    """Show alerts, and acknowledge, silence or resolve them."""


@command.command("list")
@click.option("--all", "every", is_flag=True, help="Those that are over as well.")
@source_options
@json_option
def list_alerts(
    every: bool, collector: str | None, ledger: str | None, folder: Path, as_json: bool
) -> None:
    """List alerts; exit code 1 where any of them fires."""
    document = totals_of(collector, ledger, folder)
    rows = [row for row in document.get("alerts", ()) if every or row["status"] != "over"]
    if as_json:
        print_json({"schema": 1, "simulated": document["simulated"], "alerts": rows})
    else:
        from flopmeter.lab.legal_view_text import alerts_view

        console().print(alerts_view(document, rows))
    if any(row["status"] == "firing" for row in rows):
        raise click.exceptions.Exit(1)


def _acting(command_: Callable[..., None]) -> Callable[..., None]:
    """The arguments of the commands that act on an alert."""
    for option in (
        json_option,
        click.option("--author", help="Who acts.  [default: the user's name]"),
        click.option("--reason", required=True, help="Why, for the audit log."),
        click.option("--ledger", metavar="URL", required=True, help="Ledger to write it in."),
        click.argument("number"),
    ):
        command_ = option(command_)
    return command_


@command.command("acknowledge")
@_acting
def acknowledge(number: str, ledger: str, reason: str, author: str | None, as_json: bool) -> None:
    """Take the alert NUMBER: it does not fire any more, and its review stays open."""
    _act("acknowledge", number, ledger, reason, author, as_json)


@command.command("resolve")
@_acting
def resolve(number: str, ledger: str, reason: str, author: str | None, as_json: bool) -> None:
    """End the alert NUMBER: its cause is dealt with."""
    _act("resolve", number, ledger, reason, author, as_json)


@command.command("silence")
@click.option("--until", required=True, metavar="TIME", help="It fires again then (ISO).")
@_acting
def silence(
    number: str, until: str, ledger: str, reason: str, author: str | None, as_json: bool
) -> None:
    """Keep the alert NUMBER quiet until a time."""
    _act("silence", number, ledger, reason, author, as_json, until=until)


def _act(
    action: str,
    number: str,
    ledger: str,
    reason: str,
    author: str | None,
    as_json: bool,
    *,
    until: str | None = None,
) -> None:
    from flopmeter.lab.legal_acts import act_on_alert
    from flopmeter_collector.alerts.acts import Action
    from flopmeter_proto.daemon.clock import SystemClock

    written = act_on_alert(
        ledger,
        number,
        Action(action),
        until=until,
        author=author or getpass.getuser(),
        reason=reason,
        clock=SystemClock(),
    )
    if as_json:
        print_json(
            {
                "schema": 1,
                "sequence": written.sequence,
                "alert": int(written.subject),
                "author": written.author,
                **written.body,
            }
        )
        return
    click.echo(f"declaration {written.sequence}: alert {written.subject}: {action}")
