"""`flopmeter report`: what a law lets somebody ask, from a ledger, at three times.

Owns: the command's arguments, and which of JSON, Markdown and HTML is printed.
May touch: one ledger (through the lab); the threshold folder; the clock and the user's name.
Called by the command line; documents are made by lab.filing_acts. docs/filings.md.
"""

from __future__ import annotations

import datetime
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.thresholds_options import folder_option
from flopmeter_core.errors import UsageError

if TYPE_CHECKING:
    from flopmeter_core.lawbook import LawBook

_REPORT_OPTIONS = (
    click.option("--model", help="Model to report on."),
    click.option("--form", default="eu-ai-act", show_default=True, help="Form of which law."),
    click.option("--recipient", default="internal", show_default=True, help="At whose precision."),
    click.option("--measured-to", metavar="TIME", help="Work after this instant is left out."),
    click.option("--law-as-of", metavar="DATE", help="Day at which the law is read."),
    click.option("--known-at", type=int, metavar="SEQ", help="Last declaration that counts."),
    click.option("--as-of", metavar="TIME", help="Sets --measured-to and --law-as-of."),
    folder_option,
)

_ledger = click.option("--ledger", metavar="URL", help="Ledger to read.")
_markdown = click.option("--markdown", is_flag=True, help="Print Markdown.")
_html = click.option("--html", is_flag=True, help="Print one HTML page.")


def _reporting(command_: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_REPORT_OPTIONS):
        command_ = option(command_)
    return command_


@click.group("report", invoke_without_command=True)
@_reporting
@click.option("--all-models", is_flag=True, help="Every model against every line, on one page.")
@_ledger
@_markdown
@_html
@json_option
@click.pass_context
def command(
    context: click.Context,
    model: str | None,
    form: str,
    recipient: str,
    measured_to: str | None,
    law_as_of: str | None,
    known_at: int | None,
    as_of: str | None,
    folder: Path,
    all_models: bool,
    ledger: str | None,
    markdown: bool,
    html: bool,
    as_json: bool,
) -> None:
    """Report a model's compute as a law asks for it.

    It is a draft until it is filed. Prints Markdown unless --html or --json is given.
    """
    if context.invoked_subcommand is not None:
        return
    if ledger is None:
        raise UsageError("a report is read from a ledger: name it with --ledger")
    if (model is None) == (not all_models):
        raise UsageError("name one model with --model, or give --all-models")
    chosen = [
        name
        for name in ("form", "recipient")
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if all_models and chosen:
        raise UsageError("--all-models has no form and no recipient; leave out those options")
    _one_form(markdown, html, as_json)
    from flopmeter.lab.filing_acts import board, form_named, report
    from flopmeter_collector.site import read_law
    from flopmeter_proto.daemon.clock import SystemClock

    law, clock = read_law(folder), SystemClock()
    times = _times(measured_to, law_as_of, known_at, as_of, law)
    if model is None:
        _print(board(ledger, times=times, law=law, clock=clock), html, as_json, board=True)
        return
    told = report(
        ledger,
        model,
        form_named(form),
        recipient=recipient,
        times=times,
        law=law,
        clock=clock,
    )
    _print(told, html, as_json)


@command.command("file")
@_reporting
@click.option("--signed-by", required=True, metavar="NAME", help="The person it is filed by.")
@click.option("--placed-on-market", metavar="DATE", help="Day the model was placed on the market.")
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option("--author", help="Who files it.  [default: the user's name]")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to read and to file in.")
@json_option
def file(
    model: str | None,
    form: str,
    recipient: str,
    measured_to: str | None,
    law_as_of: str | None,
    known_at: int | None,
    as_of: str | None,
    folder: Path,
    signed_by: str,
    placed_on_market: str | None,
    reason: str,
    author: str | None,
    ledger: str,
    as_json: bool,
) -> None:
    """File a report in a person's name: the ledger keeps it as it was sent, for good."""
    if model is None:
        raise UsageError("name the model with --model")
    from flopmeter.lab.filing_acts import file_report, form_named
    from flopmeter_collector.site import read_law
    from flopmeter_proto.daemon.clock import SystemClock

    law = read_law(folder)
    written: Any = file_report(
        ledger,
        model,
        form_named(form),
        recipient=recipient,
        times=_times(measured_to, law_as_of, known_at, as_of, law),
        law=law,
        signed_by=signed_by,
        placed_on_market=placed_on_market,
        author=author or getpass.getuser(),
        reason=reason,
        clock=SystemClock(),
    )
    if as_json:
        print_json(written)
    else:
        click.echo(
            f"declaration {written['declaration']}: report on {model} filed for {recipient} in the "
            f"name of {signed_by}, SHA-256 {written['sha256']}"
        )


@command.command("filed")
@click.option("--model", help="Only this model.")
@click.option("--form", help="Only this form.")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to read.")
@json_option
def filed(model: str | None, form: str | None, ledger: str, as_json: bool) -> None:
    """List the filed versions and how long each has to be kept."""
    from flopmeter.lab.filing_acts import filed as filed_rows

    rows: Any = filed_rows(ledger, model=model, form=form)
    if as_json:
        print_json({"schema": 1, "filed": rows})
        return
    if not rows:
        click.echo("no such report was filed")
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing(
        "declaration",
        "model",
        "form",
        "for",
        Column("version", right=True, aside=4),
        Column("filed at", aside=2),
        Column("signed by", aside=3),
        Column("kept until", aside=1),
    )
    for row in rows:
        table.add(
            str(row["declaration"]),
            row["model"],
            row["form"],
            row["recipient"],
            str(row["version"]),
            row["filed_at"],
            row["signed_by"],
            row["kept_until"] or "not on the market",
        )
    console().print(table)


@command.command("show")
@click.argument("declaration", type=int)
@click.option("--ledger", metavar="URL", required=True, help="Ledger to read.")
@_markdown
@_html
@json_option
def show(declaration: int, ledger: str, markdown: bool, html: bool, as_json: bool) -> None:
    """Give a filed version back as its recipient got it."""
    _one_form(markdown, html, as_json)
    from flopmeter.lab.filing_acts import filed_document

    _print(filed_document(ledger, declaration), html, as_json)


def _one_form(*chosen: bool) -> None:
    if sum(chosen) > 1:
        raise UsageError("--markdown, --html and --json are three forms; give one")


def _print(told: Any, html: bool, as_json: bool, *, board: bool = False) -> None:
    if as_json:
        print_json(told)
        return
    from flopmeter_collector.filings import blocks, markdown
    from flopmeter_collector.filings import board as board_page
    from flopmeter_collector.filings import html as page

    shown = board_page.blocks(told) if board else blocks.blocks(told)
    if html:
        title = "Every model" if board else f"{told['model']}: {told['title']}"
        click.echo(page.render(shown, title=title, simulated=told["simulated"]), nl=False)
    else:
        click.echo(markdown.render(shown), nl=False)


def _times(
    measured_to: str | None,
    law_as_of: str | None,
    known_at: int | None,
    as_of: str | None,
    law: LawBook,
) -> Any:
    from flopmeter.lab.report_reading import Times
    from flopmeter_collector.law_days import check_law_day
    from flopmeter_collector.spans import parse_time

    if as_of is not None and (measured_to is not None or law_as_of is not None):
        raise UsageError("--as-of sets --measured-to and --law-as-of; give it alone or those two")
    instant = measured_to if as_of is None else as_of
    option = "--law-as-of" if as_of is None else "--as-of"
    day = _date(law_as_of if as_of is None else as_of[:10], option)
    if day is not None:
        check_law_day(day, law.rows, option=option)
    return Times(
        measured_to_ns=None if instant is None else parse_time(instant, what="the time"),
        law_as_of=day,
        known_at=known_at,
    )


def _date(text: str | None, option: str) -> datetime.date | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is no date; write it as 2026-11-30") from error
