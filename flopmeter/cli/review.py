"""`flopmeter review`: what waits for a named person's determination, and recording it.

Owns: the commands' arguments.
May touch: one HTTP request or one ledger (through the lab); the clock and the user's name.
Called by the command line; docs/reviews.md says what a review is.
"""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.sources import source_options, totals_of
from flopmeter_core.errors import UsageError


@click.group("review")
def command() -> None:
    """Show reviews, and record what a named person determines."""


@command.command("list")
@click.option("--all", "every", is_flag=True, help="Those that are determined as well.")
@source_options
@json_option
def list_reviews(
    every: bool, collector: str | None, ledger: str | None, folder: Path, as_json: bool
) -> None:
    """List reviews; exit code 1 where any of them is open."""
    document = totals_of(collector, ledger, folder)
    rows = [row for row in document.get("reviews", ()) if every or row["open"]]
    if as_json:
        print_json({"schema": 1, "simulated": document["simulated"], "reviews": rows})
    else:
        from flopmeter.lab.legal_view_text import reviews_view

        console().print(reviews_view(document, rows))
    if any(row["open"] for row in rows):
        raise click.exceptions.Exit(1)


@command.command("show")
@click.argument("number", type=int)
@click.option("--ledger", metavar="URL", required=True, help="Ledger to read.")
@json_option
def show(number: int, ledger: str, as_json: bool) -> None:
    """Show the review NUMBER: every change it is about, with its figures, and who said what."""
    from flopmeter.lab.legal_acts import review_of
    from flopmeter.lab.legal_view_text import review_details, review_text

    details = review_details(review_of(ledger, number))
    if as_json:
        print_json({"schema": 1, **details})
        return
    console().print(review_text(details))


@command.command("determine")
@click.argument("number")
@click.option(
    "--determination",
    required=True,
    metavar="WORD",
    help="met, will_be_met, not_met or not_applicable.",
)
@click.option("--date", required=True, metavar="DATE", help="The day it holds from (2026-11-30).")
@click.option("--reason", required=True, help="Why, in that person's words.")
@click.option(
    "--evidence", type=click.Path(path_type=Path), help="File it rests on; its SHA-256 is kept."
)
@click.option("--author", help="The person.  [default: the user's name]")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to write it in.")
@json_option
def determine(
    number: str,
    determination: str,
    date: str,
    reason: str,
    evidence: Path | None,
    author: str | None,
    ledger: str,
    as_json: bool,
) -> None:
    """Record what a person determined about the review NUMBER; it ends the alerts beside it.

    The tool presents evidence and dates and checks nothing of the determination. It moves no
    figure, and it is never changed: a later one stands beside it.
    """
    from flopmeter.lab.legal_acts import determine as record
    from flopmeter_proto.daemon.clock import SystemClock

    if not number.isdigit():
        raise UsageError(
            f"{number[:40]!r} is no number; `flopmeter review list` has those there are"
        )
    written = record(
        ledger,
        number,
        determination=determination,
        date=date,
        author=author or getpass.getuser(),
        reason=reason,
        evidence=evidence,
        clock=SystemClock(),
    )
    if as_json:
        print_json(
            {
                "schema": 1,
                "sequence": written.sequence,
                "review": int(written.subject),
                "author": written.author,
                **written.body,
            }
        )
        return
    click.echo(
        f"declaration {written.sequence}: review {written.subject} is determined "
        f"{determination} on {date} by {written.author}"
    )
