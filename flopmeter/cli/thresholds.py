"""`flopmeter thresholds`: the catalogue of laws, as it stands on a day.

Owns: the commands' arguments and their tables.
May touch: the rows of the package and of a folder (reading); the clock; standard output.
Called by the command line; rows are read by collector.site, told by collector.catalogue_view.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from flopmeter.cli import thresholds_upkeep
from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.thresholds_options import as_of_option, day_of, folder_option, today
from flopmeter_collector.catalogue_view import (
    DayOf,
    full_document,
    list_document,
    thresholds_document,
)
from flopmeter_collector.evaluate import profiles_in
from flopmeter_collector.law_days import check_law_day
from flopmeter_collector.rounding import exact_flop
from flopmeter_collector.site import stale_sentence, thresholds_in_force
from flopmeter_core.catalogue import Threshold, Unit
from flopmeter_core.errors import UsageError


@click.group("thresholds", invoke_without_command=True)
@folder_option
@json_option
@click.pass_context
def command(context: click.Context, folder: Path, as_json: bool) -> None:
    """List the compute thresholds and their sources.

    Without a command: the rows that models are held against today; with --json every row.
    """
    if context.invoked_subcommand is not None:
        return
    rows, day = _rows(folder), day_of(None)
    if as_json:
        print_json(thresholds_document(rows, day))
        return
    held = [row for row in rows if row.held_on(day(row))]
    _print_table(held, day)
    click.echo(f"{len(rows) - len(held)} other rows: flopmeter thresholds list")


@command.command("list")
@as_of_option
@folder_option
@json_option
def list_rows(as_of: datetime.datetime | None, folder: Path, as_json: bool) -> None:
    """List the laws as they stood, or will stand, on a day.

    A row whose first event lies after that day is not there; a day before every row is refused.
    """
    rows, day = _rows(folder), day_of(as_of)
    if as_of is not None:
        check_law_day(as_of.date(), rows, option="--as-of")
    if as_json:
        print_json(list_document(rows, day))
    else:
        _print_table([row for row in rows if row.status_on(day(row)) is not None], day)


@command.command("show")
@click.argument("name", metavar="ID")
@as_of_option
@click.option("--ledger", metavar="URL", help="Also what its people declared.")
@folder_option
@json_option
def show(
    name: str, as_of: datetime.datetime | None, ledger: str | None, folder: Path, as_json: bool
) -> None:
    """Show one row with its history, conditions and sources.

    With --ledger also what was declared of its conditions, model by model.
    """
    rows = thresholds_in_force(folder)
    row = _row(rows, name)
    date = day_of(as_of)(row)
    declared = None if ledger is None else _declared(ledger, rows, row)
    if as_json:
        told = full_document(row, date)
        print_json(told if declared is None else {**told, "declared": declared})
    else:
        _print_row(row, date, declared)


def _declared(ledger: str, rows: tuple[Threshold, ...], row: Threshold) -> list[dict[str, Any]]:
    """What a ledger's people declared of a row's conditions, by model."""
    from flopmeter.lab.ruling import declared_of

    return declared_of(ledger, row, profiles_in(rows))


for _upkeep in (
    thresholds_upkeep.check,
    thresholds_upkeep.lint,
    thresholds_upkeep.diff,
    thresholds_upkeep.update,
    thresholds_upkeep.pack_files,
):
    command.add_command(_upkeep)


def _rows(folder: Path) -> tuple[Threshold, ...]:
    """The rows a site applies; where some are old, standard error says so."""
    rows = thresholds_in_force(folder)
    if warning := stale_sentence(rows, today()):
        click.echo(f"flopmeter: {warning}", err=True)
    return rows


def _row(rows: tuple[Threshold, ...], name: str) -> Threshold:
    for row in rows:
        if row.id == name:
            return row
    raise UsageError(f"no threshold has the id {name!r}; `flopmeter thresholds` lists them")


def _amount(row: Threshold) -> str:
    """The number as people read it: ``above 1e25 FLOP``."""
    number = row.value_text
    if row.unit is Unit.USD:
        number = f"{int(row.exact):,}"
    elif row.exact.denominator == 1 and row.exact >= 10**6:
        number = str(exact_flop(int(row.exact)))
    return f"{row.operator.replace('_', ' ')} {number} {row.unit}"


def _print_table(rows: tuple[Threshold, ...] | list[Threshold], day: DayOf) -> None:
    from flopmeter.lab.listing import Column, Listing

    table = Listing("id", "threshold", "status", "verified", Column("law", aside=1))
    for row in rows:
        status = row.status_on(day(row))
        table.add(
            row.id,
            _amount(row),
            "no law" if status is None else status.replace("_", " "),
            row.verification,
            f"{row.jurisdiction}: {row.instrument}",
        )
    console().print(table)


def _declared_text(each: dict[str, Any]) -> str:
    return (
        f"model {each['model']}: {each['id']} {each['state'].replace('_', ' ')} by "
        f"{each['author']} on {each['date']}: {each['reason']}"
    )


def _print_row(
    row: Threshold, date: datetime.date, declared: list[dict[str, Any]] | None = None
) -> None:
    from rich.text import Text

    from flopmeter.lab.listing import Column, Listing

    status = row.status_on(date)
    table = Listing("", Column("", wraps=True))
    lines = [
        ("law", f"{row.jurisdiction}: {row.instrument}"),
        ("number", f"{_amount(row)} ({row.value_text}), of {row.quantity}"),
        ("counts", row.counts),
        ("profile", row.counting_profile),
        (f"on {date.isoformat()}", "no status yet" if status is None else status.replace("_", " ")),
        ("verified", f"{row.verification}, checked on {row.checked_on.isoformat()}"),
        ("source", row.source),
    ]
    lines += [(f"{c.role} condition", f"{c.id}: {c.text}") for c in row.conditions]
    lines += [("declared", _declared_text(each)) for each in declared or ()]
    if declared == [] and row.required_conditions:
        lines.append(("declared", "nothing: other conditions are unknown for every model"))
    if row.notice is not None:
        notice = row.notice
        lines.append(("notice", f"{notice.weeks} weeks to {notice.to}, once {notice.begins}"))
    if row.note:
        lines.append(("note", row.note))
    for event in row.events:
        when = event.date.isoformat() if event.date else f"unknown ({event.reason})"
        by = f", known by {event.known_by.isoformat()}" if event.known_by else ""
        lines.append((event.kind.replace("_", " "), f"{when}{by}: {event.citation}"))
    for name, text in lines:
        table.add(Text(name, style="dim"), text)
    console().print(table)
